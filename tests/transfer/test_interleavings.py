"""Readers and workers at the same bytes, in an order that a copy of the test's own forces.

A worker compares what arrives with what the copy reads back. These copies do something else in just that moment:
they let a reader have the bytes first, or they let go of some.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.errors import RemoteChangedError
from smartremote_cli.protocol.identity import Identity
from smartremote_cli.store.copies import AnswerHead, Opened, RecordDraft
from smartremote_cli.store.destinations import first_of_nothing
from smartremote_cli.store.memory_copy import MemoryCopy
from smartremote_cli.transfer.state import Policy
from smartremote_cli.transfer.transfer import Transfer
from smartremote_cli.transport.options import Options
from smartremote_cli.transport.remote import Remote
from smartremote_cli.transport.transport import Transport
from tests.support import faults
from tests.support.server import Content, Patched, Patterned, Resource, Server, pattern
from tests.support.threads import nothing_left_behind

MIB = 1 << 20
SIZE = 8 * MIB + 12_345  # more than the first request asks for
ONE = Patterned(SIZE)


class Copy(MemoryCopy):
    """A copy that calls *compared* when a worker reads from it, before it gives the bytes out."""

    def __init__(self, compared: Callable[[ByteRange], None]) -> None:
        super().__init__(Identity(None))
        self._compared = compared

    def read(self, wanted: ByteRange) -> bytes:
        if threading.current_thread().name.startswith("smartremote"):
            self._compared(wanted)
        return super().read(wanted)


@contextmanager
def transferring(server: Server, copy: MemoryCopy) -> Iterator[Transfer]:
    """A transfer into *copy* that has its first 4 MiB."""

    def opener(identity: Identity, head: AnswerHead) -> Opened:
        copy.settle(identity)
        return Opened(copy)

    with nothing_left_behind(), Transport(Options(netrc=False)) as transport:
        first, policy = first_of_nothing(0, None), Policy(connections=1, retries=3)
        transfer = Transfer(Remote(server.url(), transport), opener, first, policy)
        try:
            transfer.open()
            transfer.wait(ByteRange(0, 4 * MIB - BLOCK))
            yield transfer
        finally:
            transfer.stop()


def becomes(server: Server, content: Content) -> None:
    """From the next request on serve *content*, without a validator that tells it from what was there, in one piece."""
    server.resources["/file.bin"] = replace(server.resource, content=content)
    server.faults.append(faults.ignore_range())


def bare(content: Content) -> Resource:
    return Resource(content, etag=None, last_modified=None)


def test_bytes_that_a_reader_takes_while_they_are_compared_are_not_replaced() -> None:
    """What was read is not replaced: the look whether anybody has read it, and its end, are one step.

    A thread saves the transfer, and holds its guard meanwhile: so long that the worker, which has just found that
    block 0 differs, comes to wait for it. Only then does a reader take block 0.
    """
    taken: list[bytes] = []
    holds = threading.Event()

    class Holding(Copy):
        def draft_record(self) -> RecordDraft:
            if threading.current_thread() is saver:
                holds.set()
                time.sleep(0.3)  # the worker gets to the guard; were it slower, nothing would be tested
                part = ByteRange(0, BLOCK)
                if transfer.try_expose(part):
                    taken.append(MemoryCopy.read(self, part))
            return super().draft_record()

    def compared(part: ByteRange) -> None:
        if part.start == 0 and not holds.is_set():
            saver.start()
            assert holds.wait(30)

    saver = threading.Thread(target=lambda: transfer.checkpoint())
    with Server(bare(ONE)) as server, transferring(server, copy := Holding(compared)) as transfer:
        becomes(server, Patterned(SIZE, seed=2))
        with pytest.raises(RemoteChangedError):
            transfer.ensure()
        saver.join(30)
        assert taken == [pattern(BLOCK)]
        assert copy.read(ByteRange(0, BLOCK)) in (b"", pattern(BLOCK))


def test_what_was_let_go_of_does_not_hide_that_the_rest_differs() -> None:
    """A reader takes the blocks before *edge* and lets go of them while they are compared, together with the next one.

    That one differs, in its first bytes alone.
    """
    edge = 8 * BLOCK
    gate = threading.Event()
    let_go: list[ByteRange] = []

    def compared(part: ByteRange) -> None:
        if part.stop == edge - 1000:
            gate.set()
        if part.start < edge < part.stop and not let_go:
            assert transfer.try_expose(ByteRange(0, edge))
            transfer.let_go(ByteRange(0, edge + BLOCK))  # the last block of it stays
            assert not copy.blocks.holds_block(edge // BLOCK - 1)
            let_go.append(part)

    with Server(bare(ONE)) as server, transferring(server, copy := Copy(compared)) as transfer:
        becomes(server, Patched(ONE, {edge: b"other"}))
        server.faults.append(faults.hold(gate, after=edge - 1000))
        rest = ByteRange(5 * MIB, SIZE)
        transfer.request(rest)
        with pytest.raises(RemoteChangedError):
            transfer.wait(rest)
        assert let_go


@pytest.mark.parametrize("announced", [False, True], ids=["chunked", "with a length"])
def test_a_request_that_is_cancelled_does_not_cut_a_stream_short(announced: bool) -> None:
    """A server without ranges gives one answer: what is cut off is missing, and its end is no sign of the rest."""
    gate = threading.Event()
    with Server(Resource(ONE)) as server:
        server.faults += [faults.ignore_range(), faults.hold(gate, after=4 * MIB)]
        server.faults += [] if announced else [faults.chunked()]
        with transferring(server, MemoryCopy(Identity(None))) as transfer:
            ahead = ByteRange(4 * MIB, 6 * MIB)
            transfer.request(ahead)
            transfer.cancel(ahead, cut=True)
            gate.set()
            transfer.ensure()
            assert transfer.copy.read(ByteRange(0, SIZE)) == pattern(SIZE)
        assert len(server.requests) == 1
