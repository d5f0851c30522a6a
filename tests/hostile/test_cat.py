"""What cat prints is of one version, to the last byte before an error."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smartremote_cli.errors import SmartRemoteError
from smartremote_cli.library.reading import Reader
from smartremote_cli.transfer.state import Policy
from smartremote_cli.transport.options import Options
from smartremote_cli.transport.remote import Remote
from smartremote_cli.transport.transport import Transport
from tests.hostile import (
    test_codings,
    test_connections,
    test_digests,
    test_framing,
    test_ranges,
    test_versions,
)
from tests.hostile.rows import QUERY, SECRETS, Row
from tests.hostile.runs import hearing, left_behind
from tests.support.server import Server

# Every kind of fault that might mix versions, and some that break connections.
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
