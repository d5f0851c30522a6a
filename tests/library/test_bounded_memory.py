"""A server that cannot be paused by ranges does not fill the memory, however long its body is."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from smartremote_cli import errors
from tests.support import faults
from tests.support.managers import manager
from tests.support.server import Patterned, Resource, Server, pattern
from tests.support.threads import PATIENCE, wait_until

HEADS = {
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "until it closes": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
    "announced": b"HTTP/1.1 200 OK\r\nContent-Length: 4294967296\r\n\r\n",
}
PIECE = bytes(range(256)) * 4096
# MiB. The interpreter has 30, the copy in memory 32, buffers some; before there was a bound it grew past 300 in a
# second.
BOUND = 130
# MiB that a server must have sent before the memory is judged, unless it has waited for the reader before.
ENOUGH = 200

READS = {"nothing": "", "the size": "f.size", "in order": "while f.read(100_000): pass"}


class Endless:
    """A server without ranges, whose bodies have no end."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        self.sent = 0  # MiB
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/endless.bin"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        piece = b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if b"chunked" in self.head else PIECE
        try:
            with connection:
                connection.recv(65536)
                connection.sendall(self.head)
                while True:
                    connection.sendall(piece)
                    self.sent += 1
        except OSError:
            pass


def peak(process: subprocess.Popen[bytes]) -> int:
    """Return the most memory, in MiB, that *process* has had resident."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM"))


@contextmanager
def running(*arguments: str, stdin: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, *arguments], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        if process.stdin is not None:
            process.stdin.close()


def fills(server: Endless) -> bool:
    """Wait until *server* has sent enough, or nothing for a while because nobody takes it; return which."""
    end = time.monotonic() + PATIENCE
    sent, since = -1, time.monotonic()
    while time.monotonic() < end and server.sent < ENOUGH:
        if server.sent != sent:
            sent, since = server.sent, time.monotonic()
        elif sent > 0 and time.monotonic() - since > 2:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc: memory cannot be read")
@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("reads", READS)
def test_a_reader_without_a_file_is_bounded(kind: str, reads: str) -> None:
    server = Endless(HEADS[kind])
    script = f"""
import smartremote_cli as smartremote, time
f = smartremote.DownloadManager().reader_at({server.url!r})
f.read(10)
{READS[reads]}
time.sleep(60)
"""
    with running("-c", script) as process:
        fills(server)
        assert peak(process) < BOUND
    server.listener.close()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc: memory cannot be read")
@pytest.mark.parametrize("kind", ["chunked", "announced"])
@pytest.mark.parametrize("more", [[], ["--offset", "-100"]], ids=["all", "end"])
def test_cat_into_a_reader_that_does_not_read_is_bounded(kind: str, more: list[str]) -> None:
    server = Endless(HEADS[kind])
    with running("-m", "smartremote_cli", "cat", "--no-cache", server.url, *more) as process:
        wait_until(lambda: server.sent, "the first MiB")
        fills(server)
        assert peak(process) < BOUND
    server.listener.close()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc: memory cannot be read")
@pytest.mark.parametrize("has_ranges", [True, False])
def test_completing_a_reader_without_a_file_is_bounded(has_ranges: bool) -> None:
    script = """
import smartremote_cli as smartremote, sys
shots = []
with smartremote.DownloadManager() as m, m.reader_at(sys.argv[1]) as f:
    f.complete(shots.append)
    print(shots[-1].bytes_present, f.read_at(1 << 20, 4).hex(), flush=True)
    sys.stdin.read()
"""
    size = ENOUGH * 2**20
    with Server(Resource(Patterned(size))) as server:
        if not has_ranges:
            server.faults.append(faults.ignore_range())
        with running("-c", script, server.url(), stdin=subprocess.PIPE) as process:
            assert process.stdout is not None
            there = pattern(2 << 20)[1 << 20 :][:4].hex()
            assert process.stdout.readline().split() == [str(size).encode(), there.encode()]
            assert peak(process) < BOUND


def test_completing_a_reader_without_a_file_compares_digests(tmp_path: Path) -> None:
    """Of more than memory may hold."""
    size = 40 * 2**20
    with Server(Resource(Patterned(size))) as server:
        server.faults.append(faults.digest(right=False))
        with manager(tmp_path) as m, m.reader_at(server.url()) as f, pytest.raises(errors.ChecksumError):
            f.complete()
