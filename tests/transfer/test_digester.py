"""The digest that follows a download."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.store.destinations import MemoryDestination, first_of_nothing
from smartremote_cli.transfer.digester import Digester
from smartremote_cli.transfer.state import Policy
from smartremote_cli.transfer.transfer import Transfer
from smartremote_cli.transport.remote import Remote
from smartremote_cli.transport.transport import Transport
from tests.support import faults
from tests.support.server import Server, pattern
from tests.support.threads import nothing_left_behind, wait_until

MIB = 1 << 20
DATA = pattern(6 * MIB + 77)
RIGHT = hashlib.sha256(DATA).hexdigest()


@contextmanager
def opened(server: Server, connections: int = 1) -> Iterator[Transfer]:
    with nothing_left_behind(), Transport() as transport:
        target = MemoryDestination("file.bin")
        first = first_of_nothing(0, None)
        transfer = Transfer(
            Remote(server.url(), transport), target.open, first, Policy(connections=connections)
        )
        transfer.open()
        yield transfer
        transfer.stop()


def test_what_is_here_is_digested_while_the_rest_is_still_to_come() -> None:
    gate = threading.Event()
    with Server(DATA) as server:
        server.faults.append(faults.hold(gate, after=3 * MIB))
        with opened(server) as transfer, Digester(transfer, "sha256") as digester:
            transfer.request(ByteRange(0, len(DATA)))
            wait_until(lambda: digester.done > 2 * MIB)
            assert digester.done <= 3 * MIB
            gate.set()
            transfer.ensure()
            assert digester.hexdigest() == RIGHT


@pytest.mark.parametrize("damaged", [0, 2 * MIB + 5, 6 * MIB])
def test_what_is_dropped_and_fetched_again_is_digested_again(damaged: int) -> None:
    with Server(DATA) as server, opened(server) as transfer, Digester(transfer, "sha256") as digester:
        transfer.ensure()
        wait_until(lambda: digester.done == len(DATA))
        transfer.copy.write(damaged, memoryview(b"??"))
        transfer.forget(ByteRange(damaged, damaged + 1))
        transfer.ensure()
        assert digester.hexdigest() == RIGHT


@pytest.mark.parametrize("size", [0, 1, len(DATA)])
@pytest.mark.parametrize("connections", [1, 8])
def test_any_size_over_any_number_of_connections(size: int, connections: int) -> None:
    with (
        Server(DATA[:size]) as server,
        opened(server, connections) as transfer,
        Digester(transfer, "md5") as digester,
    ):
        transfer.ensure()
        assert digester.hexdigest() == hashlib.md5(DATA[:size]).hexdigest()


def test_leaving_early_leaves_no_thread() -> None:
    gate = threading.Event()
    with Server(DATA) as server:
        server.faults.append(faults.hold(gate, after=MIB))
        with opened(server) as transfer, Digester(transfer, "sha256"):
            transfer.request(ByteRange(0, len(DATA)))
        gate.set()
