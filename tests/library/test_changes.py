"""A resource that changes under an open file: nothing of the other version follows what was read of the first."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartremote_cli import RemoteFile, errors
from tests.support import faults
from tests.support.managers import manager
from tests.support.server import Patterned, Resource, Server, pattern

MIB = 1024 * 1024
BLOCK = 64 * 1024
SIZE = 12 * MIB  # more than the first request brings
DATA = pattern(SIZE)


def serve_other(server: Server, etag: str) -> None:
    server.resources["/file.bin"] = Resource(Patterned(SIZE, seed=1), etag)


@pytest.mark.parametrize("on_change", ["fail", "restart"])
def test_once_found_it_is_said_by_every_read_of_held_and_of_missing_bytes(
    tmp_path: Path, on_change: str
) -> None:
    """The headers stay the same: only the bytes beside held ones show it, and those farther on do not."""
    with Server(Resource(Patterned(SIZE))) as server, manager(tmp_path, idle_download=False) as m:
        path = tmp_path / "file.bin"
        with m.open_to(server.url(), path) as f:
            assert f.read_at(0, 10) == DATA[:10]
        server.resources["/file.bin"] = Resource(Patterned(SIZE, seed=1))
        with m.open_to(server.url(), path, on_change=on_change) as f:
            assert f.read_at(0, 10) == DATA[:10]
            for offset in (BLOCK, 0, 2 * BLOCK, 8 * MIB, 0, 8 * MIB):
                with pytest.raises(errors.RemoteChangedError):
                    f.read_at(offset, 10)
            with pytest.raises(errors.RemoteChangedError):
                f.complete()


def test_what_was_read_and_forgotten_is_not_followed_by_another_version(tmp_path: Path) -> None:
    """Nothing is held any more, and another transfer begins: what a reader was given counts all the same."""

    def read_all(f: RemoteFile) -> None:
        f.complete()
        assert f.read_at(0, 10) == DATA[:10]
        f.invalidate(0, SIZE)

    with (
        Server(Resource(Patterned(SIZE))) as server,
        manager(tmp_path, idle_download=False) as m,
        m.open_to(server.url(), tmp_path / "file.bin") as f,
    ):
        read_all(f)
        asked = len(server.requests)
        server.faults.append(faults.call(lambda s: serve_other(s, '"two"'), when=faults.nth(2)))
        with pytest.raises(errors.RemoteChangedError):
            f.complete()
        assert len(server.requests) >= asked + 2
