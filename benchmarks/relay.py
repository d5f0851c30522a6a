"""A slow link on the loopback: relays TCP connections, each at its own pace and with a delay.

    with Relay(server_port, Link(rate=20e6, round_trip=0.1)) as relay:
        fetch(f"http://127.0.0.1:{relay.port}/file.bin")

A server's own throttle is no fair pace: nginx's limit_rate lets the first second's worth of every request through.
Here the connection is paced, whatever is asked on it. Connecting through the relay costs a round trip, too; how
TCP itself slowly begins to use a long link is not imitated.

The relay is a process of its own, `python -m benchmarks.relay`, with one thread for all connections: pieces of 5 ms
worth, each with the moment at which it is due. Unpaced it passes on more than a gigabyte a second.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import itertools
import selectors
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

PIECE = 256 * 1024  # the most that is received at once
TICK = 0.005  # seconds' worth of a paced connection that are passed on at once
WINDOW = 4 * 1024 * 1024  # bytes under way in one direction of one connection, as a TCP window would allow


@dataclass(frozen=True, slots=True)
class Link:
    """What each connection gets: *rate* bytes a second towards the client (0: all there is), *round_trip* seconds.

    Of every *slow_every* connections one, not the first, is *slow_times* slower than the others.
    """

    rate: float = 0.0
    round_trip: float = 0.0
    slow_every: int = 0
    slow_times: float = 80.0

    def rate_of(self, number: int) -> float:
        """Return the rate of the connection that was made after *number* others."""
        is_slow = self.slow_every and number % self.slow_every == self.slow_every // 2
        return self.rate / self.slow_times if is_slow else self.rate


class Relay:
    """The relay as the harness has it: a process that ends with the `with`, or with its parent."""

    def __init__(self, port: int, link: Link) -> None:
        self._words = [
            *(sys.executable, "-m", "benchmarks.relay", str(port)),
            *("--rate", str(link.rate), "--round-trip", str(link.round_trip)),
            *("--slow-every", str(link.slow_every), "--slow-times", str(link.slow_times)),
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        root = Path(__file__).parents[1]
        self._process = subprocess.Popen(
            self._words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root, bufsize=0
        )
        self._answer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.communicate(timeout=10)  # at the end of its stdin it leaves

    def reset(self) -> None:
        """Close what is open and count connections from the first again, so that every run finds the same link."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._answer()

    def _answer(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        self.port = int(self._process.stdout.readline())


@dataclass(eq=False, slots=True)
class _Flow:
    """One direction of a connection: what was received from *source* waits here until it is due at *sink*."""

    source: socket.socket
    sink: socket.socket
    rate: float
    delay: float
    free_at: float  # when the link has passed on all that was received
    queue: deque[tuple[float, memoryview]] = field(default_factory=deque)
    waiting: int = 0  # bytes in the queue
    ended: bool = False  # the source has sent its last byte
    shut: bool = False  # and the sink was told so
    blocked: bool = False  # the sink takes no more for now
    scheduled: bool = False

    @property
    def piece(self) -> int:
        return min(PIECE, max(1024, int(self.rate * TICK))) if self.rate else PIECE

    @property
    def room(self) -> int:
        """How much may be received now: not far ahead of what is due, so that the sender feels the pace."""
        ahead = self.rate * (self.delay + 2 * TICK) + self.piece if self.rate else WINDOW
        return max(0, int(min(ahead, WINDOW)) - self.waiting)


class _Server:
    """All connections of the relay, and the one loop that moves their bytes."""

    def __init__(self, port: int, link: Link) -> None:
        self._target = ("127.0.0.1", port)
        self._link = link
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        self._flows: dict[
            socket.socket, tuple[_Flow, _Flow]
        ] = {}  # by socket: what leaves it, what enters it
        self._due: list[tuple[float, int, _Flow]] = []
        self._order = itertools.count()
        self._accepted = 0

    def run(self) -> None:
        print(self._listener.getsockname()[1], flush=True)
        while True:
            pause = None if not self._due else max(0.0, self._due[0][0] - time.monotonic())
            for key, events in self._selector.select(pause):
                if key.fileobj == sys.stdin:
                    if not sys.stdin.readline():
                        return
                    self._reset()
                elif key.fileobj is self._listener:
                    self._accept()
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    self._serve(key.fileobj, events)
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                flow = heapq.heappop(self._due)[2]
                flow.scheduled = False
                self._guarded(flow.sink, self._send, flow)

    def _reset(self) -> None:
        for one in list(self._flows):
            self._close(one)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._listener.accept()[0].close()
        self._due.clear()
        self._accepted = 0
        print(self._listener.getsockname()[1], flush=True)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection(self._target)
        for end in client, server:
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        now, link = time.monotonic(), self._link
        rate = link.rate_of(self._accepted)
        self._accepted += 1
        # The kernel has accepted at once; the round trip that connecting would take is laid on the first bytes.
        up = _Flow(client, server, 0.0, link.round_trip / 2, free_at=now + link.round_trip)
        down = _Flow(server, client, rate, link.round_trip / 2, free_at=now)
        self._flows[client], self._flows[server] = (up, down), (down, up)
        for end in client, server:
            self._selector.register(end, selectors.EVENT_READ)

    def _serve(self, end: socket.socket, events: int) -> None:
        if end not in self._flows:  # closed by an event before this one
            return
        leaving, entering = self._flows[end]
        if events & selectors.EVENT_WRITE:
            self._guarded(end, self._send, entering)
        if events & selectors.EVENT_READ:
            self._guarded(end, self._receive, leaving)

    def _guarded(self, end: socket.socket, step: Callable[[_Flow], None], flow: _Flow) -> None:
        if end not in self._flows:
            return
        try:
            step(flow)
        except BlockingIOError:
            pass
        except OSError:  # one end is gone
            self._close(end)

    def _receive(self, flow: _Flow) -> None:
        data = flow.source.recv(max(1, min(flow.piece, flow.room)))
        if not data:
            flow.ended = True
        else:
            start = max(flow.free_at, time.monotonic())
            flow.free_at = start + (len(data) / flow.rate if flow.rate else 0.0)
            flow.queue.append((flow.free_at + flow.delay, memoryview(data)))
            flow.waiting += len(data)
        self._send(flow)

    def _send(self, flow: _Flow) -> None:
        """Pass on what is due, and watch for what holds up the rest."""
        flow.blocked = False
        while flow.queue and not flow.blocked:
            due, data = flow.queue[0]
            if due > time.monotonic():
                if not flow.scheduled:
                    flow.scheduled = True
                    heapq.heappush(self._due, (due, next(self._order), flow))
                break
            try:
                count = flow.sink.send(data)
            except BlockingIOError:
                flow.blocked = True
                break
            flow.waiting -= count
            if count < len(data):
                flow.queue[0] = due, data[count:]
            else:
                flow.queue.popleft()
        if flow.ended and not flow.queue and not flow.shut:
            flow.shut = True
            flow.sink.shutdown(socket.SHUT_WR)
        leaving, entering = self._flows[flow.sink]
        if leaving.shut and entering.shut:
            self._close(flow.sink)
            return
        self._watch(flow.source)
        self._watch(flow.sink)

    def _watch(self, end: socket.socket) -> None:
        """Have the selector tell what can be used: bytes where there is room for them, room where bytes wait for it."""
        leaving, entering = self._flows[end]
        events = selectors.EVENT_WRITE if entering.blocked else 0
        if not leaving.ended and leaving.room > 0:
            events |= selectors.EVENT_READ
        known = self._selector.get_map().get(end)
        if known is None and events:
            self._selector.register(end, events)
        elif known is not None and not events:
            self._selector.unregister(end)
        elif known is not None and known.events != events:
            self._selector.modify(end, events)

    def _close(self, end: socket.socket) -> None:
        leaving, _ = self._flows[end]
        for one in leaving.source, leaving.sink:
            del self._flows[one]
            with contextlib.suppress(KeyError):
                self._selector.unregister(one)
            one.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("port", type=int, help="the server on the loopback that connections are relayed to")
    parser.add_argument("--rate", type=float, default=0.0, help="bytes a second of each connection")
    parser.add_argument("--round-trip", type=float, default=0.0, help="seconds")
    parser.add_argument("--slow-every", type=int, default=0, help="one connection in so many is slow")
    parser.add_argument("--slow-times", type=float, default=80.0, help="how much slower it is")
    wish = parser.parse_args()
    _Server(wish.port, Link(wish.rate, wish.round_trip, wish.slow_every, wish.slow_times)).run()


if __name__ == "__main__":
    main()
