"""Offsets and lengths are anything with `__index__`: a numpy number does not wrap around, and a float is refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from smartremote_cli import ByteRange, DownloadManager, RemoteFile
from smartremote_cli.core.blocks import BLOCK
from tests.support.managers import manager
from tests.support.server import Server, pattern

SIZE = 4 * BLOCK + 99
DATA = pattern(SIZE)


class Number:
    """An integer that is no int."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __index__(self) -> int:
        return self._value


def _numpy(name: str) -> Callable[[int], Any]:
    def number(value: int) -> Any:
        numpy = pytest.importorskip("numpy", reason="numpy is not installed: its numbers are not tried")
        return getattr(numpy, name)(value)

    return number


KINDS: dict[str, Callable[[int], Any]] = {
    "__index__": Number,
    **{f"numpy.{name}": _numpy(name) for name in ("uint64", "int64", "uint32", "int32")},
}


@pytest.fixture(params=KINDS)
def number(request: pytest.FixtureRequest) -> Callable[[int], Any]:
    return KINDS[request.param]


@pytest.fixture
def f(tmp_path: Path) -> Iterator[RemoteFile]:
    with Server(DATA) as server, manager(tmp_path) as m, m.open(server.url()) as file:
        yield file


def test_every_door_takes_it(f: RemoteFile, number: Callable[[int], Any]) -> None:
    assert f.read_at(number(BLOCK + 1), number(10)) == DATA[BLOCK + 1 :][:10]
    assert f.read_at(number(SIZE - 5)) == DATA[-5:]
    assert f.seek(number(3 * BLOCK)) == 3 * BLOCK and f.read(number(7)) == DATA[3 * BLOCK :][:7]
    assert f.seek(number(3), os.SEEK_CUR) == 3 * BLOCK + 10 and type(f.tell()) is int
    assert f.readline(number(1)) == DATA[3 * BLOCK + 10 :][:1]
    assert f.peek(number(1))[:1] == DATA[3 * BLOCK + 11 :][:1]
    f.set_size(number(SIZE))
    f.invalidate(number(BLOCK), number(1))
    assert not f.blocks.holds(ByteRange(number(BLOCK), number(BLOCK + 1)))
    assert f.size == SIZE and type(f.size) is int


def test_a_manager_takes_it(tmp_path: Path, number: Callable[[int], Any]) -> None:
    counts = {"max_concurrent": number(2), "max_readers_per_file": number(1), "max_data_jump": number(0)}
    counts["limit_rate"] = number(1 << 30)
    with Server(DATA) as server, manager(tmp_path, **counts) as m, m.open(server.url()) as f:
        assert f.read() == DATA


@pytest.mark.parametrize("wrong", [1.0, "1", b"1"])
def test_what_is_no_integer_is_a_type_error(f: RemoteFile, wrong: Any) -> None:
    for call in (
        lambda: f.read(wrong),
        lambda: f.readline(wrong),
        lambda: f.seek(wrong),
        lambda: f.read_at(wrong, 1),
        lambda: f.read_at(0, wrong),
        lambda: f.set_size(wrong),
        lambda: f.invalidate(wrong, 1),
        lambda: f.invalidate(0, wrong),
        lambda: DownloadManager(max_concurrent=wrong),
        lambda: DownloadManager(max_data_jump=wrong),
    ):
        with pytest.raises(TypeError):
            call()


def test_file_systems_take_it(tmp_path: Path, number: Callable[[int], Any]) -> None:
    pytest.importorskip("fsspec", reason="fsspec is not installed: its file system is not tried")
    from smartremote_cli.library.filesystem import SmartRemoteFileSystem, close_managers

    with Server(DATA) as server:
        fs = SmartRemoteFileSystem(tmp_dir=str(tmp_path), max_concurrent=number(3))
        url = server.url()
        try:
            assert fs.cat_file(url, number(10), number(BLOCK)) == DATA[10:BLOCK]
            assert fs.cat_ranges([url], [number(10)], [number(20)]) == [DATA[10:20]]
            assert fs.cat_ranges([url, url], (number(0), 5), (number(1), 6)) == [DATA[:1], DATA[5:6]]
        finally:
            close_managers()
