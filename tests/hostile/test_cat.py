"""What cat prints is of one version, to the last byte before an error."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.errors import SmartRemoteError
from smartremote_cli.library.reading import Reader
from smartremote_cli.protocol.identity import Identity
from smartremote_cli.store.memory_copy import MemoryCopy
from smartremote_cli.transfer.receive import Receiver
from smartremote_cli.transfer.state import Policy, State
from smartremote_cli.transfer.transfer import Transfer
from smartremote_cli.transport.remote import Remote
from smartremote_cli.transport.transport import Options, Transport
from tests.hostile import (
    test_codings,
    test_connections,
    test_digests,
    test_framing,
    test_ranges,
    test_versions,
)
from tests.hostile.rows import (
    CONTENT,
    ONE,
    QUERY,
    SECRETS,
    SIZE,
    TWO,
    Row,
    after,
    nth,
    swap,
)
from tests.hostile.runs import hearing, left_behind
from tests.support import faults
from tests.support.server import (
    Patterned,
    Resource,
    Server,
)
from tests.support.threads import wait_until

# Whatever might mix versions, and some of what breaks.
TABLES = {
    "connection": test_connections.ROWS,
    "range": test_ranges.ROWS,
    "version": test_versions.ROWS,
    "coding": test_codings.ROWS,
    "framing": test_framing.ROWS,
    "digest": test_digests.ROWS,
}
TOLD = [
    pytest.param(each, id=f"{table}: {each.name}")
    for table, rows in TABLES.items()
    for each in rows
    if not each.name.startswith(("Content-Range", "length", "head")) and "each time" not in each.name
]


def test_bytes_that_are_about_to_be_replaced_are_not_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader comes between the look whether anybody has read the first answer's bytes and their end."""
    delivered: list[bytes] = []
    strict: Callable[[State], bool] = vars(State)["is_strict"].fget

    def overtaken(state: State) -> bool:
        found = strict(state)
        if sys._getframe(1).f_code.co_name == "_compare" and reader.transfer is not None:
            other = threading.Thread(target=read_if_exposed, args=(reader.transfer,))
            other.start()
            other.join(0.2)
        return found

    def read_if_exposed(transfer: Transfer) -> None:
        part = ByteRange(0, BLOCK)
        delivered.append(transfer.copy.read(part) if transfer.try_expose(part) else b"")

    monkeypatch.setattr(State, "is_strict", property(overtaken))
    with Server(Resource(CONTENT, etag=None, last_modified=None)) as server:
        server.faults += [
            faults.call(swap(Resource(Patterned(SIZE, seed=2), None, None)), when=nth(2)),
            faults.ignore_range(when=after(1)),
        ]
        with Transport(Options(netrc=False)) as transport:
            reader = Reader(Remote(server.url(), transport), None, policy=Policy(8, 3))
            assert reader.open(0, None) == SIZE
            assert reader.transfer is not None
            reader.transfer.ensure()
            wait_until(lambda: delivered)
            assert set(delivered) <= {b"", TWO[:BLOCK]}
            assert reader.read(ByteRange(0, SIZE)) == TWO
            reader.close()


def test_what_was_let_go_of_does_not_hide_that_the_rest_differs() -> None:
    part = ByteRange(1000, 4 * BLOCK)
    copy = MemoryCopy(Identity(SIZE))
    copy.write(0, memoryview(ONE[: part.stop]))
    copy.forget(ByteRange(0, BLOCK))
    receiver = Receiver(cast(State, SimpleNamespace(copy=copy)), "x", None, 1.0)
    assert not receiver._differs(part, memoryview(ONE)[part.start : part.stop])
    assert receiver._differs(part, memoryview(TWO)[part.start : part.stop])


@pytest.mark.parametrize("each", TOLD)
def test_cat_prints_one_version_up_to_where_it_fails(each: Row) -> None:
    policy = Policy(8, 3, pause=lambda failures, chance: 0.01)
    printed, code, said = bytearray(), 0, ""
    with hearing() as logged, Server(replace(each.resource)) as server:
        server.faults += each.make()
        url = server.url(f"/file.bin{QUERY}").replace("://", "://m:hunter2@")
        with Transport(Options(netrc=False, timeout=each.timeout)) as transport:
            reader = Reader(Remote(url, transport), None, policy=policy)
            try:
                for piece in reader.stream(0, reader.open(0, None)):
                    printed += piece
            except SmartRemoteError as error:
                code, said = error.exit_code, f"{error}\n{error.hint}"
            finally:
                reader.close()
        said = "\n".join([said, *logged])
    assert code != 1, said
    assert not [secret for secret in SECRETS if secret in said]
    if code == 0:
        assert bytes(printed) in each.versions
    else:
        assert any(version.startswith(printed) for version in each.versions), said
    assert not left_behind()
