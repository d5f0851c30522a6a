"""A second change within the second of the first: nginx and Apache give both the same ETag and Last-Modified."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from smartremote_cli.library.reading import Reader
from smartremote_cli.store.cache import Cache
from smartremote_cli.transport.options import Options
from smartremote_cli.transport.remote import Remote
from smartremote_cli.transport.transport import Transport
from tests.support import faults
from tests.support.server import Resource, Server, pattern

ONE, TWO = pattern(100_000), pattern(100_000, seed=2)


def cat(url: str, folder: Path) -> bytes:
    with (
        Transport(Options(netrc=False)) as transport,
        Reader(Remote(url, transport), Cache(str(folder))) as reader,
    ):
        return b"".join(bytes(piece) for piece in reader.stream(0, reader.open(0, None)))


@pytest.mark.parametrize("date", ["Wed, 01 Jan 2025 00:00:00 GMT", "Wed, 01 Jan 2025 00:00:02 GMT"])
def test_cached_bytes_of_what_had_just_changed_are_fetched_again(date: str, tmp_path: Path) -> None:
    with Server(Resource(ONE)) as server:
        server.faults.append(faults.header("Date", date))
        assert cat(server.url(), tmp_path) == ONE
        server.resources["/file.bin"] = replace(server.resource, content=TWO)
        assert cat(server.url(), tmp_path) == TWO
        assert [seen.status for seen in server.requests] == [206, 206]


def test_cached_bytes_of_what_had_settled_are_only_confirmed(tmp_path: Path) -> None:
    with Server(Resource(ONE)) as server:
        server.faults.append(faults.header("Date", "Wed, 01 Jan 2025 00:00:03 GMT"))
        assert cat(server.url(), tmp_path) == cat(server.url(), tmp_path) == ONE
        assert [seen.status for seen in server.requests] == [206, 304]
