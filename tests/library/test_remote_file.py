"""A URL as a file of Python's: what is read, what it costs, what happens when it goes wrong."""

from __future__ import annotations

import array
import gc
import io
import os
import pickle
import random
import tarfile
import threading
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import smartremote_cli as smartremote
from smartremote_cli import DownloadManager, RemoteFile, errors
from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.library.session import Session
from smartremote_cli.store.copies import Copy
from smartremote_cli.transfer.transfer import Transfer
from tests.support import faults
from tests.support.managers import manager
from tests.support.requests import asked_for, blocks_sent
from tests.support.server import Fault, Held, Patched, Patterned, Resource, Server, pattern
from tests.support.threads import in_threads, nothing_left_behind, wait_until

MIB = 1 << 20
SIZE = 5 * MIB + 12_345
DATA = pattern(SIZE)


# --- as Python's own files ---


def test_what_somebody_cut_off_is_fetched_again_and_never_read_as_zeros(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    with Server(DATA) as server, manager(tmp_path) as m:
        with m.open_to(server.url(), str(path)) as f:
            assert f.read_at(MIB, SIZE) == DATA[MIB:]
            f.save_part()
            os.truncate(path, 3 * MIB)
            with pytest.raises(errors.LocalError):
                f.read_at(4 * MIB, 100)
            with pytest.raises(errors.LocalError):
                f.read_at(0, 100)
            assert f.read_at(0, 100) == DATA[:100]
            assert f.read_at(4 * MIB, 100) == DATA[4 * MIB :][:100]
            f.complete()
        assert path.read_bytes() == DATA


def test_doubts_may_come_while_a_reader_waits_for_the_first_answer(tmp_path: Path) -> None:
    gate = threading.Event()
    with (
        Server(DATA) as server,
        manager(tmp_path) as m,
        m.open_to(server.url(), str(tmp_path / "file.bin")) as f,
    ):
        f.complete()
        f.invalidate(0, 1)
        server.reset_log()
        server.faults += [faults.hold(gate, where="before")]

        def doubt() -> None:
            wait_until(lambda: server.requests)
            f.invalidate(3 * MIB, 1)
            f.save_part()
            gate.set()

        assert in_threads(lambda: f.read_at(0, 100), doubt) == [DATA[:100], None]
        assert f.read_at(0, SIZE) == DATA


def test_it_is_opened_read_and_closed_as_a_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTREMOTE_CACHE_DIR", str(tmp_path / "cache"))
    with Server(DATA) as server, nothing_left_behind():
        with smartremote.open(server.url()) as f:
            assert isinstance(f, io.RawIOBase) and isinstance(f, RemoteFile)
            assert f.readable() and f.seekable() and not f.writable() and not f.isatty()
            assert f.mode == "rb" and f.url == server.url()
            assert f.read(10) == DATA[:10]
            assert f.name.startswith(str(tmp_path / "cache")) and os.path.exists(f.name)
        assert f.closed and "closed" in repr(f)


def test_read_returns_what_was_asked_for_unless_the_end_comes_first(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        assert f.read(0) == b"" and f.read(3 * BLOCK) == DATA[: 3 * BLOCK]
        f.seek(-10, os.SEEK_END)
        assert f.read(100) == DATA[-10:]
        assert f.read(100) == f.read() == f.readall() == b""
        f.seek(-20, os.SEEK_END)
        assert f.read(None) == DATA[-20:]
        f.seek(SIZE + 100)
        assert f.read(1) == f.read() == b"" and f.tell() == SIZE + 100


def test_readinto_fills_any_buffer(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        numbers = array.array("I", bytes(4000))
        assert f.readinto(numbers) == 4000 and numbers.tobytes() == DATA[:4000]
        assert f.readinto(bytearray()) == 0
        with pytest.raises(TypeError):
            f.readinto(b"nothing can be written here")
        assert f.tell() == 4000
        f.seek(-3, os.SEEK_END)
        few = bytearray(10)
        assert f.readinto(few) == 3 and few[:3] == DATA[-3:]


def test_seek_and_tell_do_as_those_of_bytesio(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        assert f.seek(5) == f.tell() == 5
        assert f.seek(5, os.SEEK_CUR) == 10
        assert f.seek(-100, os.SEEK_CUR) == 0
        assert f.seek(-SIZE - 5, os.SEEK_END) == 0
        assert f.seek(5, os.SEEK_END) == SIZE + 5
        with pytest.raises(ValueError, match="negative"):
            f.seek(-1)
        with pytest.raises(ValueError, match="whence"):
            f.seek(0, 3)
        with pytest.raises(TypeError):
            f.seek(1.5)  # type: ignore[arg-type]


def test_read_at_does_not_move_the_position(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        f.seek(7)
        assert f.read_at(MIB, 10) == DATA[MIB : MIB + 10]
        assert f.read_at(SIZE - 5) == DATA[-5:]
        assert f.read_at(SIZE, 1) == f.read_at(SIZE + 1) == f.read_at(SIZE + MIB, 10) == b""
        assert f.tell() == 7
        with pytest.raises(ValueError, match="negative"):
            f.read_at(-1, 1)


def test_lines_are_read_by_the_block_and_not_by_the_byte(tmp_path: Path) -> None:
    lines = [f"line {number} {'x' * (number % 90)}\n".encode() for number in range(3_000)]
    with Server(b"".join(lines)) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        assert f.readline() == lines[0]
        assert list(f) == lines[1:]
        assert f.peek() == b""
        assert len(server.requests) <= 4


def test_a_buffered_reader_and_a_text_wrapper_go_on_top(tmp_path: Path) -> None:
    text = "".join(f"Zeile {number}: äöü\n" for number in range(10_000))
    with (
        Server(text.encode()) as server,
        manager(tmp_path) as m,
        io.TextIOWrapper(io.BufferedReader(m.open(server.url())), "utf-8") as f,
    ):
        assert f.read() == text


def test_nothing_can_be_written(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        for attempt in (partial(f.write, b"x"), partial(f.truncate, 0), f.fileno):
            with pytest.raises(io.UnsupportedOperation):
                attempt()
        assert not server.requests


def test_a_closed_file_refuses_everything(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path) as m:
        f = m.open(server.url())
        f.close()
        f.close()
        attempts: list[Callable[[], object]] = [
            f.read,
            f.tell,
            f.stat,
            f.complete,
            f.save_part,
            f.readable,
            f.peek,
            f.readline,
        ]
        attempts += [partial(f.seek, 0), partial(f.read_at, 0, 1), partial(f.invalidate, 0, 1)]
        attempts += [partial(f.readinto, bytearray(1)), partial(f.set_size, 1)]
        attempts += [lambda: f.size, lambda: f.blocks, f.__enter__]
        for attempt in attempts:
            with pytest.raises(ValueError, match="closed"):
                attempt()
        assert not server.requests


def test_one_that_nobody_closes_warns_and_is_closed(tmp_path: Path) -> None:
    with Server(DATA) as server, nothing_left_behind(), manager(tmp_path) as m:
        f = m.open_to(server.url(), tmp_path / "file.bin")
        f.read(1)
        with pytest.warns(ResourceWarning, match="unclosed file <RemoteFile http"):  # noqa: PT031
            del f
            gc.collect()
        with m.open_to(server.url(), tmp_path / "file.bin"):  # its lock is gone
            pass


def test_it_cannot_be_pickled_and_says_what_to_do(tmp_path: Path) -> None:
    with (
        Server(DATA) as server,
        manager(tmp_path) as m,
        m.open(server.url()) as f,
        pytest.raises(TypeError, match="open its URL again"),
    ):
        pickle.dumps(f)


# --- what it costs ---


def test_nothing_is_asked_before_something_is_read(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path) as m:
        with m.open(server.url()) as f, m.open_to(server.url(), tmp_path / "file.bin"):
            f.seek(100)
            f.tell()
        assert not server.requests


def test_a_read_costs_its_block_and_the_size_nothing_more(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        assert f.read_at(MIB + 5, 100) == DATA[MIB + 5 : MIB + 105]
        assert f.size == SIZE
        assert f.read_at(MIB, BLOCK) == DATA[MIB : MIB + BLOCK]
        assert server.ranges == [f"bytes={MIB}-{MIB + BLOCK - 1}"]


def test_a_stated_size_saves_the_request_for_it(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        f.set_size(SIZE)
        assert f.size == SIZE and f.seek(-10, os.SEEK_END) == SIZE - 10
        assert not server.requests
        assert f.read() == DATA[-10:]
        assert len(server.requests) == 1


def test_a_size_stated_wrongly_is_a_change(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path) as m:
        with m.open(server.url()) as f:
            f.set_size(SIZE + 1)
            with pytest.raises(errors.RemoteChangedError):
                f.read(1)
        with m.open(server.url()) as f:
            assert f.size == SIZE
            f.set_size(SIZE)
            with pytest.raises(errors.RemoteChangedError):
                f.set_size(1)
            with pytest.raises(ValueError, match="size"):
                f.set_size(-1)


def test_30_mb_in_order_in_small_pieces_are_few_requests(tmp_path: Path) -> None:
    data = pattern(30_000_000)
    with Server(data) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        assert b"".join(iter(lambda: f.read(4096), b"")) == data
        assert len(server.requests) <= 8
        assert set(blocks_sent(server).values()) == {1}
        assert server.connections <= 3


def test_jumps_ahead_within_the_limit_are_few_requests(tmp_path: Path) -> None:
    data = pattern(30_000_000)
    with Server(data) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        for _ in range(20):
            here = f.seek(400_000, os.SEEK_CUR)
            assert f.read(100) == data[here : here + 100]
        assert len(server.requests) <= 6
        assert max(blocks_sent(server).values()) == 1


def test_without_jumps_each_read_is_its_own(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path, max_data_jump=0) as m, m.open(server.url()) as f:
        for offset in range(0, 4 * MIB, 400_000):
            assert f.read_at(offset, 10) == DATA[offset : offset + 10]
        assert all(last - first <= 2 * BLOCK for first, last in asked_for(server))


def test_the_end_then_the_front_then_the_end_of_a_zip_costs_no_block_twice(tmp_path: Path) -> None:
    archive = io.BytesIO()
    rng = random.Random(1)
    members = {f"folder/{number}.bin": rng.randbytes(rng.randrange(200_000)) for number in range(60)}
    with zipfile.ZipFile(archive, "w") as z:
        for name, content in members.items():
            z.writestr(name, content)
    with Server(archive.getvalue()) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        with zipfile.ZipFile(f) as z:
            names = z.namelist()
            assert {name: z.read(name) for name in (names[0], names[1], names[-1])} == {
                name: members[name] for name in (names[0], names[1], names[-1])
            }
        f.seek(-100, os.SEEK_END)
        f.read()
        assert max(blocks_sent(server).values()) == 1
        assert server.body_bytes < len(archive.getvalue()) / 2


def test_the_members_of_archives_are_equal(tmp_path: Path) -> None:
    rng = random.Random(2)
    members = {f"{number}.bin": rng.randbytes(rng.randrange(300_000)) for number in range(20)}
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as z, tarfile.open(None, "w", tarred) as t:
        for name, content in members.items():
            z.writestr(name, content)
            info = tarfile.TarInfo(name)
            info.size = len(content)
            t.addfile(info, io.BytesIO(content))
    with Server() as server, manager(tmp_path) as m:
        server.resources = {"/a.zip": Resource(zipped.getvalue()), "/a.tar": Resource(tarred.getvalue())}
        with m.open(server.url("/a.zip")) as f, zipfile.ZipFile(f) as z:
            assert {name: z.read(name) for name in z.namelist()} == members
            assert z.testzip() is None
        with m.open(server.url("/a.tar")) as f, tarfile.open(fileobj=f) as t:
            found = {name: t.extractfile(name) for name in reversed(t.getnames())}
            assert {name: part.read() for name, part in found.items() if part} == members


def test_a_server_without_ranges_is_read_once_and_every_block_is_kept(tmp_path: Path) -> None:
    with Server(Resource(DATA, ranges=False)) as server, manager(tmp_path) as m:
        with m.open_to(server.url(), tmp_path / "file.bin") as f:
            assert f.read_at(3 * MIB, 1000) == DATA[3 * MIB : 3 * MIB + 1000]
            assert f.read_at(10, 10) == DATA[10:20]
            wait_until(lambda: f.blocks.is_complete)  # the one stream goes on to the end
            assert f.read() == DATA
        assert len(server.requests) == 1
    assert (tmp_path / "file.bin").read_bytes() == DATA
    assert not (tmp_path / "file.bin.part").exists()


def test_a_read_is_satisfied_before_a_stream_without_ranges_ends(tmp_path: Path) -> None:
    gate = threading.Event()
    with Server(Resource(DATA, ranges=False)) as server, manager(tmp_path) as m:
        server.faults.append(faults.hold(gate, after=4 * MIB))
        with m.open_to(server.url(), tmp_path / "file.bin") as f:
            assert f.read_at(3 * MIB, 1000) == DATA[3 * MIB : 3 * MIB + 1000]
            gate.set()
            assert f.read_at(SIZE - 10, 10) == DATA[-10:]
        assert len(server.requests) == 1


def test_a_resource_that_never_says_its_size_is_read_to_its_end(tmp_path: Path) -> None:
    with Server(Resource(DATA, ranges=False)) as server, manager(tmp_path) as m:
        server.faults.append(faults.chunked())
        with m.open_to(server.url(), tmp_path / "file.bin") as f:
            assert f.read_at(MIB, 10) == DATA[MIB : MIB + 10]
            assert f.size == SIZE
            assert f.read() == DATA
    assert (tmp_path / "file.bin").read_bytes() == DATA


@pytest.mark.parametrize("size", [0, 1, BLOCK, BLOCK + 1])
def test_small_resources(tmp_path: Path, size: int) -> None:
    with Server(DATA[:size]) as server, manager(tmp_path) as m:
        with m.open_to(server.url(), tmp_path / "file.bin") as f:
            assert f.read_at(size + 10, 5) == b""
            assert f.read(2 * BLOCK) == DATA[:size]
            assert f.size == size
        with m.reader_at(server.url()) as f:
            assert f.read() == DATA[:size]
    assert (tmp_path / "file.bin").read_bytes() == DATA[:size]
    assert not (tmp_path / "file.bin.part").exists()


# --- several threads ---


def test_8_threads_read_at_random(tmp_path: Path) -> None:
    def work(f: RemoteFile, seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(40):
            offset, length = rng.randrange(SIZE), rng.randrange(200_000)
            assert f.read_at(offset, length) == DATA[offset : offset + length]

    with Server(DATA) as server, manager(tmp_path) as m:
        for f in (m.open(server.url()), m.open_to(server.url(), tmp_path / "x"), m.reader_at(server.url())):
            with f:
                assert in_threads(*[partial(work, f, seed) for seed in range(8)]) == [None] * 8
        assert server.peak <= 3


def test_threads_that_share_the_position_read_every_byte_once(tmp_path: Path) -> None:
    def work(f: RemoteFile) -> list[bytes]:
        return list(iter(lambda: f.read(10_000), b""))

    with Server(DATA) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        pieces = [piece for part in in_threads(*[partial(work, f)] * 4) for piece in part]  # type: ignore[attr-defined]
    assert sorted(pieces) == sorted(DATA[at : at + 10_000] for at in range(0, SIZE, 10_000))


@pytest.mark.parametrize("shared", [False, True])
def test_close_ends_reads_in_other_threads(tmp_path: Path, shared: bool) -> None:
    with Server(DATA) as server, nothing_left_behind(), manager(tmp_path) as m:
        server.faults.append(faults.stall(after=1000))
        f = m.open_to(server.url(), tmp_path / "file.bin")
        other = m.open_to(server.url(), tmp_path / "file.bin") if shared else f

        def close_soon() -> None:
            wait_until(lambda: server.active)
            f.close()

        reads: list[Callable[[], object]] = [
            f.read,
            partial(f.read_at, 4 * MIB, 10),
            partial(f.complete),
            partial(f.readinto, bytearray(MIB)),
        ]
        reads = [reads[1]] if shared else reads
        *results, _ = in_threads(*reads, close_soon)
        assert [type(result) for result in results] == [errors.ClosedError] * len(reads), results
        other.close()


def test_closing_the_manager_ends_reads_too(tmp_path: Path) -> None:
    with Server(DATA) as server, nothing_left_behind():
        server.faults.append(faults.stall(where="headers"))
        m = manager(tmp_path)
        f, g = m.open(server.url()), m.reader_at(server.url())

        def close_soon() -> None:
            wait_until(lambda: server.active == 2)
            m.close()

        results = in_threads(f.read, partial(g.read_at, 0, 10), close_soon)
        assert [type(result) for result in results[:2]] == [errors.ClosedError] * 2
        f.close()
        g.close()


def test_a_read_does_not_wait_for_what_another_one_waits_for(tmp_path: Path) -> None:
    gate = threading.Event()
    with Server(DATA) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        assert f.read_at(0, 10) == DATA[:10]
        server.faults.append(faults.hold(gate, when=faults.beyond(4 * MIB)))
        slow = threading.Thread(target=f.read_at, args=(4 * MIB + 2 * BLOCK, 10))
        slow.start()
        wait_until(lambda: server.active)
        assert f.read_at(2 * MIB, 10) == DATA[2 * MIB : 2 * MIB + 10]
        gate.set()
        slow.join()


# --- complete, save, invalidate ---


def test_complete_fetches_the_rest_and_the_record_is_gone(tmp_path: Path) -> None:
    snapshots: list[smartremote.Snapshot] = []
    with Server(DATA) as server, manager(tmp_path) as m, m.open_to(server.url(), tmp_path / "file.bin") as f:
        f.read_at(MIB, 10)
        assert (tmp_path / "file.bin.part").exists()
        f.complete(snapshots.append)
        assert not (tmp_path / "file.bin.part").exists()
        assert (tmp_path / "file.bin").read_bytes() == DATA
        assert f.blocks.is_complete
        server.reset_log()
        f.complete()
        assert f.read() == DATA and not server.requests
    assert snapshots[-1].bytes_present == snapshots[-1].size == SIZE


def test_complete_says_what_stops_it_and_keeps_what_came(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path) as m, m.open_to(server.url(), tmp_path / "file.bin") as f:
        f.read_at(MIB, 10)
        server.faults.append(faults.status(404))
        with pytest.raises(FileNotFoundError):
            f.complete()
        assert f.blocks.held == 1
        server.faults.clear()
        f.complete()
        assert max(blocks_sent(server)) < SIZE / BLOCK
    assert (tmp_path / "file.bin").read_bytes() == DATA


def test_save_part_records_what_is_here_now(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path) as m, m.open_to(server.url(), tmp_path / "file.bin") as f:
        f.save_part()  # of nothing
        f.read_at(MIB, 10)
        before = (tmp_path / "file.bin.part").read_bytes()
        f.save_part()
        assert (tmp_path / "file.bin.part").read_bytes() != before
        f.complete()
        f.save_part()
        assert not (tmp_path / "file.bin.part").exists()


def test_invalidated_blocks_are_fetched_again_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    with Server(DATA) as server, manager(tmp_path) as m, m.open_to(server.url(), path) as f:
        f.complete()
        with path.open("r+b") as damage:
            damage.seek(10 * BLOCK + 5_000)
            damage.write(bytes(1000))
        server.reset_log()
        f.invalidate(10 * BLOCK + 5_000, 1000)
        f.invalidate(20 * BLOCK - 1, 2)
        f.invalidate(SIZE - 1, 100)
        f.invalidate(SIZE, 100)
        assert os.path.exists(f"{path}.part")
        assert [run.start // BLOCK for run in f.blocks.missing()] == [10, 19, SIZE // BLOCK]
        f.complete()
        assert set(blocks_sent(server)) == {10, 19, 20, SIZE // BLOCK}
        assert server.body_bytes <= 4 * (BLOCK + 2048)
        assert not os.path.exists(f"{path}.part")
    assert path.read_bytes() == DATA


@pytest.mark.parametrize("kind", ["open", "open_to", "reader_at"])
def test_invalidated_blocks_are_fetched_again_when_read(tmp_path: Path, kind: str) -> None:
    with Server(DATA) as server, manager(tmp_path) as m:
        opened = (
            m.open_to(server.url(), tmp_path / "x") if kind == "open_to" else getattr(m, kind)(server.url())
        )
        with opened as f:
            assert f.read() == DATA
            server.reset_log()
            f.invalidate(MIB, 1)
            assert f.read_at(MIB, 10) == DATA[MIB : MIB + 10]
            assert set(blocks_sent(server)) == {MIB // BLOCK}


@pytest.mark.parametrize("ask", ["read", "complete"])
def test_who_is_overtaken_by_completion_and_invalidation_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: str
) -> None:
    path = tmp_path / "file.bin"
    with Server(DATA) as server, manager(tmp_path) as m, m.open_to(server.url(), path) as f:
        f.read(1)
        current = Session.current

        def overtaken(session: Session, wanted: ByteRange) -> Transfer | None:
            transfer = current(session, wanted)
            monkeypatch.undo()
            f.complete()  # as by other threads, between two lines of this one
            f.invalidate(2 * MIB, 1)
            return transfer

        monkeypatch.setattr(Session, "current", overtaken)
        if ask == "read":
            assert f.read_at(2 * MIB, 10) == DATA[2 * MIB :][:10]
        f.complete()
        assert path.read_bytes() == DATA and not os.path.exists(f"{path}.part")


def test_a_file_that_was_complete_before_can_be_invalidated(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(DATA[:MIB] + bytes(10) + DATA[MIB + 10 :])
    with Server(DATA) as server, manager(tmp_path) as m, m.open_to(server.url(), path) as f:
        f.invalidate(MIB, 10)
        assert f.read() == DATA
    assert path.read_bytes() == DATA and not os.path.exists(f"{path}.part")


# --- when the resource or the server changes ---


def changed(server: Server) -> None:
    server.resources["/file.bin"] = Resource(pattern(SIZE, seed=1), etag='"two"')


def test_a_resource_that_changes_between_reads_is_said_and_never_mixed(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path) as m:
        for opened in (
            m.open(server.url()),
            m.open_to(server.url(), tmp_path / "x"),
            m.reader_at(server.url()),
        ):
            server.resources["/file.bin"] = Resource(DATA)
            with opened as f:
                assert f.read(10) == DATA[:10]
                changed(server)
                for _ in range(2):
                    with pytest.raises(errors.RemoteChangedError):
                        f.read_at(2 * MIB, 10)


def test_a_resource_that_changes_during_a_read_is_said_and_never_mixed(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        assert f.read(10) == DATA[:10]
        server.faults += [
            faults.at(changed, after=300_000, when=faults.first(1)),
            faults.reset(after=500_000, when=faults.first(1)),
        ]
        with pytest.raises(errors.RemoteChangedError):
            f.read()


def test_the_cache_never_gives_old_bytes_for_a_new_version(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path) as m:
        with m.open(server.url()) as f:
            f.read()
        changed(server)
        with m.open(server.url()) as f:
            assert f.read() == pattern(SIZE, seed=1)


def test_the_cache_is_used_as_long_as_the_resource_is_the_same(tmp_path: Path) -> None:
    with Server(DATA) as server:
        with manager(tmp_path) as m, m.open(server.url()) as f:
            f.read(MIB)
        server.reset_log()
        with manager(tmp_path) as m, m.open(server.url()) as f:
            assert f.read(MIB // 2) == DATA[: MIB // 2]
        assert server.body_bytes <= 1


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        (faults.status(404), FileNotFoundError, 4),
        (faults.status(410), FileNotFoundError, 4),
        (faults.status(403), PermissionError, 4),
        (faults.status(401), PermissionError, 4),
        (faults.status(400), OSError, 4),
        (faults.retry_after(100_000), ConnectionError, 3),
    ],
    ids=["404", "410", "403", "401", "400", "503"],
)
def test_errors_are_those_that_python_users_expect(
    tmp_path: Path, fault: Fault, kind: type[OSError], code: int
) -> None:
    with Server(DATA) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        server.faults.append(fault)
        with pytest.raises(kind) as caught:
            f.read(1)
        assert isinstance(caught.value, errors.SmartRemoteError)
        assert caught.value.exit_code == code
        again = pickle.loads(pickle.dumps(caught.value))
        assert type(again) is type(caught.value) and str(again) == str(caught.value)
        server.faults.clear()
        assert f.read(1) == DATA[:1]


def test_a_server_that_is_not_there_is_a_connection_error(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        server.refuse_connections()
        with pytest.raises(ConnectionError):
            f.read(1)


def test_what_is_no_url_is_said_at_once(tmp_path: Path) -> None:
    with manager(tmp_path) as m:
        for url in ("file:///etc/passwd", "", "http://", "example.com/x"):
            with pytest.raises(ValueError, match=":"):
                m.open(url)


def test_a_connection_that_breaks_does_not_break_the_read(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        server.faults.append(faults.reset(after=150_000, when=faults.every(2)))
        assert f.read() == DATA


# --- in memory ---


def test_a_reader_at_leaves_no_file(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path) as m, m.reader_at(server.url()) as f:
        assert f.read_at(MIB, 10) == DATA[MIB : MIB + 10]
        assert f.name == server.url()
        assert f.stat().st_size == SIZE
        assert f.read() == DATA
    assert not list(tmp_path.iterdir())


def test_a_reader_at_keeps_a_bounded_part(tmp_path: Path) -> None:
    size = 100 * MIB
    content = Patterned(size)
    with Server(content) as server, manager(tmp_path) as m, m.reader_at(server.url()) as f:
        most = 0
        for start in range(0, size, MIB):
            assert f.read(MIB) == content.read(start, MIB)
            most = max(most, f.blocks.held)
        assert most * BLOCK <= 50 * MIB
        assert max(blocks_sent(server).values()) == 1
        assert f.read_at(0, 10) == content.read(0, 10)


def test_a_reader_at_of_a_server_without_ranges(tmp_path: Path) -> None:
    with (
        Server(Resource(DATA, ranges=False)) as server,
        manager(tmp_path) as m,
        m.reader_at(server.url()) as f,
    ):
        assert f.read_at(3 * MIB, 10) == DATA[3 * MIB : 3 * MIB + 10]
        assert f.read_at(5, 10) == DATA[5:15]
        assert f.read() == DATA
        assert len(server.requests) == 1


def test_a_reader_at_of_a_server_without_ranges_keeps_a_bounded_part(tmp_path: Path) -> None:
    size = 100 * MIB
    content = Patterned(size)
    with (
        Server(Resource(content, ranges=False)) as server,
        manager(tmp_path) as m,
        m.reader_at(server.url()) as f,
    ):
        most = 0
        for start in range(0, size, MIB):
            assert f.read(MIB) == content.read(start, MIB)
            most = max(most, f.blocks.held)
        assert most * BLOCK <= 50 * MIB
        assert len(server.requests) == 1
        assert f.read_at(80 * MIB, 10) == content.read(80 * MIB, 10)


def test_stat_and_blocks_tell_of_the_data_file(tmp_path: Path) -> None:
    with Server(DATA) as server, manager(tmp_path) as m, m.open_to(server.url(), tmp_path / "file.bin") as f:
        f.read_at(MIB, 1)
        assert f.blocks.held == 1
        found = f.stat()
        assert isinstance(found, os.stat_result) and found.st_size == SIZE
        assert found.st_ino == (tmp_path / "file.bin").stat().st_ino
        assert f.name == str(tmp_path / "file.bin")


def test_a_manager_of_ones_own_closes_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTREMOTE_CACHE_DIR", str(tmp_path / "cache"))
    with Server(DATA) as server, nothing_left_behind():
        f = smartremote.open(server.url())
        f.read(1)
        with pytest.warns(ResourceWarning):  # noqa: PT031
            del f
            gc.collect()


def test_managers_refuse_what_cannot_be() -> None:
    for wrong in (
        partial(DownloadManager, max_concurrent=0),
        partial(DownloadManager, max_readers_per_file=0),
        partial(DownloadManager, max_data_jump=-1),
    ):
        with pytest.raises(ValueError, match="at least"):
            wrong()


def test_two_versions_that_no_header_tells_apart_are_not_mixed(tmp_path: Path) -> None:
    """The seam of the second request is compared with the first's bytes."""
    with Server(Resource(DATA, etag=None)) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        assert f.read(10) == DATA[:10]
        server.resource.content = Patched(Held(DATA), {BLOCK - 10: b"0123456789", 3 * BLOCK: b"other"})
        with pytest.raises(errors.RemoteChangedError):
            f.read(4 * BLOCK)


@pytest.mark.parametrize("before", ["absent", "complete"])
def test_many_who_invalidate_complete_and_read_at_once_go_on(tmp_path: Path, before: str) -> None:
    path = tmp_path / "file.bin"
    if before == "complete":
        path.write_bytes(DATA)
    with Server(DATA) as server, manager(tmp_path) as m, m.open_to(server.url(), path) as f:

        def work(seed: int) -> None:
            chance = random.Random(seed)
            for _ in range(12):
                offset = chance.randrange(SIZE)
                match chance.randrange(4):
                    case 0:
                        f.invalidate(offset, 1)
                    case 1:
                        f.complete()
                    case 2:
                        assert f.blocks.size == SIZE
                    case _:
                        assert f.read_at(offset, 1000) == DATA[offset : offset + 1000]

        assert in_threads(*(partial(work, seed) for seed in range(6))) == [None] * 6
        f.complete()
        assert path.read_bytes() == DATA and not os.path.exists(f"{path}.part")


def test_who_finds_everything_complete_a_moment_later_asks_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transfer that begins on a complete file would take it for another's."""
    path = tmp_path / "file.bin"
    with Server(DATA) as server, manager(tmp_path) as m, m.open_to(server.url(), path) as f:
        f.read(1)
        whole_copy = Session.whole_copy

        def overtaken(session: Session) -> Copy | None:
            found = whole_copy(session)
            monkeypatch.undo()
            f.complete()  # as by another thread, between two lines of this one
            server.reset_log()
            return found

        monkeypatch.setattr(Session, "whole_copy", overtaken)
        assert f.read_at(2 * MIB, 10) == DATA[2 * MIB :][:10]
        assert server.requests == []
