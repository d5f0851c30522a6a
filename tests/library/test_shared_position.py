"""One handle in many threads: each read gets the bytes that it reserved, whatever others read, seek or meet."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from smartremote_cli import RemoteFile, errors
from smartremote_cli.core.blocks import BLOCK
from tests.support import faults
from tests.support.managers import manager
from tests.support.server import Server, pattern
from tests.support.threads import in_threads, wait_until

SIZE = 500_001
DATA = pattern(SIZE)


@pytest.mark.parametrize("round_", range(8))
def test_who_reads_past_the_end_ends_the_file_for_nobody_else(tmp_path: Path, round_: int) -> None:
    offsets = [SIZE + 1000, *(random.Random(round_).randrange(SIZE) for _ in range(5))]
    gate = threading.Event()
    with Server(DATA) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        server.faults += [faults.hold(gate, where="before")]

        def past_the_end() -> bytes:
            return f.read_at(offsets[0], 100)

        def within(offset: int) -> bytes:
            wait_until(lambda: server.requests)  # the first request asks for what lies past the end
            return f.read_at(offset, 100)

        def let_go() -> None:
            wait_until(lambda: server.requests)
            gate.set()

        *found, _ = in_threads(past_the_end, *(partial(within, offset) for offset in offsets[1:]), let_go)
        assert found == [DATA[offset:][:100] for offset in offsets]


def test_the_size_is_found_while_another_reads_past_the_end(tmp_path: Path) -> None:
    gate = threading.Event()
    with Server(DATA) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        server.faults += [faults.hold(gate, where="before")]

        def size() -> int:
            wait_until(lambda: server.requests)
            gate.set()
            return f.size

        assert in_threads(lambda: f.read_at(2 * SIZE, 10), size) == [b"", SIZE]


def test_each_thread_reads_where_it_sought_while_others_wait_for_the_network(tmp_path: Path) -> None:
    gate = threading.Event()
    with Server(DATA) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        server.faults += [faults.hold(gate, where="before")]

        def first() -> bytes:
            f.seek(0)
            return f.read(100)

        def second() -> bytes:
            wait_until(lambda: server.requests)
            assert f.tell() == 100  # the first read has moved on, and waits
            f.seek(4 * BLOCK)
            gate.set()
            return f.read(100)

        assert in_threads(first, second) == [DATA[:100], DATA[4 * BLOCK :][:100]]
        assert f.tell() == 4 * BLOCK + 100


@pytest.mark.parametrize(
    ("read", "moves"),
    [
        (lambda f: f.read(10), 10),
        (lambda f: f.readinto(bytearray(10)), 10),
        (lambda f: f.readline(10), 10),
        (lambda f: f.readall(), SIZE),
        (lambda f: f.peek(), 0),
        (lambda f: next(iter(f)), DATA.index(b"\n") + 1),
    ],
    ids=["read", "readinto", "readline", "readall", "peek", "iteration"],
)
def test_a_seek_during_a_read_stands(
    tmp_path: Path, read: Callable[[RemoteFile], object], moves: int
) -> None:
    with Server(DATA) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        assert f.tell() == 0
        read(f)
        assert f.tell() == moves
    gate = threading.Event()
    with Server(DATA) as server, manager(tmp_path / "second") as m, m.open(server.url()) as f:
        server.faults += [faults.hold(gate, where="before")]

        def seek() -> None:
            wait_until(lambda: server.requests)
            f.seek(77)
            gate.set()

        in_threads(lambda: read(f), seek)
        assert f.tell() == 77


def test_a_read_that_fails_leaves_the_position_unless_another_moved_it(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        f.seek(5)
        server.faults.append(faults.status(404))
        for read in (lambda: f.read(10), lambda: f.readinto(bytearray(10)), f.readline, f.read):
            with pytest.raises(errors.RemoteNotFoundError):
                read()
        server.faults.clear()
        assert f.read(10) == DATA[5:15]


def test_the_end_is_where_reads_stop(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        f.seek(SIZE - 10)
        assert in_threads(lambda: f.read(100), lambda: f.read(100)).count(DATA[-10:]) == 1
        assert f.tell() == SIZE
        f.seek(SIZE + 50)
        assert f.read(1) == b"" and f.tell() == SIZE + 50


def test_lines_are_given_to_threads_once_each(tmp_path: Path) -> None:
    lines = [b"%d %s\n" % (number, b"x" * (number % 300)) for number in range(3000)]
    with Server(b"".join(lines)) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        found = in_threads(*[lambda: list(f)] * 6)
        assert sorted(line for part in found for line in part) == sorted(lines)  # type: ignore[attr-defined]


def test_threads_seek_and_read_one_handle_as_duckdb_does(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path) as m, m.open(server.url()) as f:

        def work(seed: int) -> int:
            rng, wrong = random.Random(seed), 0
            for _ in range(100):
                offset, length = rng.randrange(SIZE), rng.randrange(1, 5000)
                f.seek(offset, os.SEEK_SET)
                wrong += f.read(length) != DATA[offset : offset + length]
            return wrong

        assert in_threads(*(partial(work, seed) for seed in range(6))) == [0] * 6
