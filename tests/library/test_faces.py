"""One driver, many faces: what holds for `get` holds for `cat`, for the library and for fsspec.

Each face reads all of one resource. A story is told to each of them, and must end the same.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from smartremote_cli import DownloadManager, RemoteFile, errors
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.library.checksum import Checksum
from smartremote_cli.library.download import Download
from smartremote_cli.library.options import DownloadOptions
from smartremote_cli.library.reading import Reader
from smartremote_cli.store.cache import Cache
from smartremote_cli.store.leftovers import load_record
from smartremote_cli.transfer.state import Policy
from smartremote_cli.transport.limiter import Limiter
from smartremote_cli.transport.options import Options
from smartremote_cli.transport.remote import Remote
from smartremote_cli.transport.transport import Transport
from tests.support import faults
from tests.support.managers import manager
from tests.support.server import Patched, Patterned, Resource, Server, pattern
from tests.support.threads import nothing_left_behind, wait_until

MIB = 1 << 20
SIZE = 3 * MIB + 4_321
DATA, OTHER = pattern(SIZE), pattern(SIZE, seed=1)
PIECE = 100_000


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


WRONG = f"sha256:{'0' * 64}"


@dataclass(frozen=True)
class Wishes:
    """What a run is asked for, in words that every face can be told."""

    checksum: str | None = None
    limit_rate: int | None = None
    offline: bool = False
    on_change: str = "fail"


Face = Callable[[str, Path, Wishes], bytes]


def get(url: str, folder: Path, wishes: Wishes) -> bytes:
    options = DownloadOptions(
        Policy(digest_decides=wishes.checksum is not None),
        None if wishes.checksum is None else Checksum.parse(wishes.checksum),
        wishes.on_change == "restart",
        offline=wishes.offline,
        limiter=None if wishes.limit_rate is None else Limiter(wishes.limit_rate),
    )
    with Transport(Options(netrc=False)) as transport:
        download = Download(Remote(url, transport), str(folder / "file.bin"), options)
        try:
            return Path(download.run()).read_bytes()
        finally:
            download.stop()


def _cat(url: str, cache: Cache | None, wishes: Wishes) -> bytes:
    with (
        Transport(Options(netrc=False)) as transport,
        Reader(
            Remote(url, transport),
            cache,
            limiter=None if wishes.limit_rate is None else Limiter(wishes.limit_rate),
            offline=wishes.offline,
            checksum=None if wishes.checksum is None else Checksum.parse(wishes.checksum),
            restart_on_change=wishes.on_change == "restart",
        ) as reader,
    ):
        return b"".join(reader.stream(0, reader.open(0, None)))


def cat(url: str, folder: Path, wishes: Wishes) -> bytes:
    return _cat(url, Cache(str(folder / "cache")), wishes)


def cat_without_cache(url: str, folder: Path, wishes: Wishes) -> bytes:
    return _cat(url, None, wishes)


@contextmanager
def opened(url: str, folder: Path, wishes: Wishes, *, to: bool) -> Iterator[RemoteFile]:
    with manager(folder, limit_rate=wishes.limit_rate, offline=wishes.offline) as m:
        if to:
            path = folder / "file.bin"
            file = m.open_to(url, path, checksum=wishes.checksum, on_change=wishes.on_change)
        else:
            file = m.open(url, checksum=wishes.checksum)
        with file:
            yield file


def complete(url: str, folder: Path, wishes: Wishes) -> bytes:
    with opened(url, folder, wishes, to=True) as f:
        f.complete()
        assert not os.path.exists(f"{f.name}.part")
        return Path(f.name).read_bytes()


def complete_in_cache(url: str, folder: Path, wishes: Wishes) -> bytes:
    with opened(url, folder, wishes, to=False) as f:
        f.complete()
        return Path(f.name).read_bytes()


def read(url: str, folder: Path, wishes: Wishes) -> bytes:
    with opened(url, folder, wishes, to=True) as f:
        return b"".join(iter(lambda: f.read(PIECE), b""))


def read_in_cache(url: str, folder: Path, wishes: Wishes) -> bytes:
    with opened(url, folder, wishes, to=False) as f:
        return f.read()


def read_lines(url: str, folder: Path, wishes: Wishes) -> bytes:
    with opened(url, folder, wishes, to=False) as f:
        return b"".join(iter(f.readline, b""))


def read_buffered(url: str, folder: Path, wishes: Wishes) -> bytes:
    with opened(url, folder, wishes, to=True) as f, io.BufferedReader(f) as buffered:
        return buffered.read()


def read_at(url: str, folder: Path, wishes: Wishes) -> bytes:
    with opened(url, folder, wishes, to=False) as f:
        return f.read_at(0)


def _file_system(folder: Path, wishes: Wishes) -> Any:
    pytest.importorskip("fsspec")
    from smartremote_cli.library.filesystem import SmartRemoteFileSystem

    return SmartRemoteFileSystem(
        tmp_dir=str(folder / "cache"),
        limit_rate=wishes.limit_rate,
        offline=wishes.offline,
        skip_instance_cache=True,
    )


def fsspec_open(url: str, folder: Path, wishes: Wishes) -> bytes:
    with _file_system(folder, wishes).open(url, "rb", checksum=wishes.checksum) as f:
        data: bytes = f.read()
    return data


def fsspec_cat(url: str, folder: Path, wishes: Wishes) -> bytes:
    data: bytes = _file_system(folder, wishes).cat_file(url)
    return data


COMPLETE: list[Face] = [get, complete, complete_in_cache]
IN_FILE: list[Face] = [get, complete, read, read_buffered]
STREAMS: list[Face] = [cat, read, read_in_cache, read_lines, read_buffered, read_at, fsspec_open]
FACES: list[Face] = [*COMPLETE, *STREAMS]
ALL: list[Face] = [*FACES, cat_without_cache, fsspec_cat]


@pytest.fixture(autouse=True)
def shared_managers_are_closed() -> Iterator[None]:
    yield
    try:
        from smartremote_cli.library import filesystem
    except ImportError:
        return
    filesystem.close_managers()


def name_of(value: object) -> str | None:
    return getattr(value, "__name__", None)


# --- digests that the server sends ---


@pytest.mark.parametrize("field", ["Repr-Digest", "Digest"])
@pytest.mark.parametrize("face", ALL, ids=name_of)
def test_a_right_digest_is_accepted(face: Face, field: Any, tmp_path: Path) -> None:
    with Server(Resource(DATA)) as server:
        server.faults.append(faults.digest(field))
        assert face(server.url(), tmp_path, Wishes()) == DATA


@pytest.mark.parametrize("face", ALL, ids=name_of)
def test_a_wrong_digest_is_refused_each_time_and_nothing_of_it_is_trusted(face: Face, tmp_path: Path) -> None:
    with Server(Resource(DATA)) as server:
        server.faults.append(faults.digest(right=False))
        for _ in range(2):
            server.reset_log()
            with pytest.raises(errors.ChecksumError, match="sha256"):
                face(server.url(), tmp_path, Wishes())
            assert server.body_bytes >= SIZE, "it was not fetched anew"
        server.faults.clear()
        assert face(server.url(), tmp_path, Wishes()) == DATA


@pytest.mark.parametrize("face", ALL, ids=name_of)
def test_the_digest_of_an_empty_resource_counts(face: Face, tmp_path: Path) -> None:
    (tmp_path / "right").mkdir()
    (tmp_path / "wrong").mkdir()
    with Server(Resource(b"")) as server:
        server.faults.append(faults.digest())
        assert face(server.url(), tmp_path / "right", Wishes()) == b""
        server.faults[:] = [faults.digest(right=False)]
        with pytest.raises(errors.ChecksumError):
            face(server.url(), tmp_path / "wrong", Wishes())


@pytest.mark.parametrize("face", FACES, ids=name_of)
def test_a_digest_that_only_a_later_answer_brings_counts(face: Face, tmp_path: Path) -> None:
    size = 12 * MIB
    with Server(Resource(Patterned(size))) as server:
        server.faults.append(faults.digest(right=False, when=faults.nth(2)))
        with pytest.raises(errors.ChecksumError):
            face(server.url(), tmp_path, Wishes())


@pytest.mark.parametrize("face", STREAMS, ids=name_of)
def test_a_part_is_not_compared_with_the_digest_of_all(face: Face, tmp_path: Path) -> None:
    with Server(Resource(DATA)) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        server.faults.append(faults.digest(right=False))
        assert f.read(MIB) == DATA[:MIB]
        assert f.read_at(2 * MIB) == DATA[2 * MIB :]
        f.seek(-10, os.SEEK_END)
        assert f.read() == DATA[-10:]


def test_reading_on_after_a_wrong_digest_is_refused_again_until_it_is_right(tmp_path: Path) -> None:
    with Server(Resource(DATA)) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        server.faults.append(faults.digest(right=False))
        assert f.read(2 * MIB) == DATA[: 2 * MIB]
        for _ in range(2):
            with pytest.raises(errors.ChecksumError):
                f.read()
            assert f.tell() == 2 * MIB
        f.seek(0)
        with pytest.raises(errors.ChecksumError):
            f.read()


# --- checksums ---


@pytest.mark.parametrize("face", FACES, ids=name_of)
def test_a_checksum_decides_whatever_the_server_announces(face: Face, tmp_path: Path) -> None:
    with Server(Resource(DATA)) as server:
        server.faults.append(faults.digest(right=False))
        assert face(server.url(), tmp_path, Wishes(checksum=sha256(DATA))) == DATA


@pytest.mark.parametrize("face", FACES, ids=name_of)
def test_a_wrong_checksum_is_refused(face: Face, tmp_path: Path) -> None:
    with Server(Resource(DATA)) as server:
        server.faults.append(faults.digest())
        with pytest.raises(errors.ChecksumError, match="0000"):
            face(server.url(), tmp_path, Wishes(checksum=WRONG))


RIGHT, SPOILT = Resource(Patterned(SIZE)), Resource(Patched(Patterned(SIZE), {MIB: b"spoilt"}))


def serve(resource: Resource) -> Callable[[Server], None]:
    return lambda server: server.resources.update({"/file.bin": replace(resource)})


@pytest.mark.parametrize("face", COMPLETE, ids=name_of)
def test_what_was_damaged_on_the_way_is_fetched_once_more(face: Face, tmp_path: Path) -> None:
    with Server(replace(SPOILT)) as server:
        server.faults.append(faults.call(serve(RIGHT), when=faults.after(1)))
        assert face(server.url(), tmp_path, Wishes(checksum=sha256(DATA))) == DATA
        assert server.ranges.count(None) == 1  # in one piece


@pytest.mark.parametrize("face", STREAMS, ids=name_of)
def test_what_was_damaged_on_the_way_to_a_reader_is_right_the_next_time(face: Face, tmp_path: Path) -> None:
    with Server(replace(SPOILT)) as server:
        with pytest.raises(errors.ChecksumError):
            face(server.url(), tmp_path, Wishes(checksum=sha256(DATA)))
        serve(RIGHT)(server)
        assert face(server.url(), tmp_path, Wishes(checksum=sha256(DATA))) == DATA


def test_what_was_read_is_not_replaced_by_what_is_fetched_once_more(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    with Server(replace(SPOILT)) as server, manager(tmp_path) as m:
        with m.open_to(server.url(), path, checksum=sha256(DATA)) as f:
            f.read(10)
            with pytest.raises(errors.ChecksumError):
                f.complete()
        assert None not in server.ranges
        serve(RIGHT)(server)
        with m.open_to(server.url(), path, checksum=sha256(DATA)) as f:
            f.complete()
        assert path.read_bytes() == DATA


@pytest.mark.parametrize("face", IN_FILE, ids=name_of)
@pytest.mark.parametrize("by", ["checksum", "server"])
def test_a_file_of_the_users_with_another_digest_is_not_touched(face: Face, by: str, tmp_path: Path) -> None:
    """It has the size, and most of the places that are compared."""
    path, mine = tmp_path / "file.bin", DATA[:MIB] + b"mine" + DATA[MIB + 4 :]
    path.write_bytes(mine)
    before = path.stat()
    with Server(Resource(DATA)) as server:
        if by == "server":
            server.faults.append(faults.digest())
        with pytest.raises(errors.ForeignFileError, match=r"sha256|its content differs"):
            face(server.url(), tmp_path, Wishes(checksum=sha256(DATA) if by == "checksum" else None))
    assert path.read_bytes() == mine
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert sorted(os.listdir(tmp_path)) == ["file.bin"]


def test_two_who_open_the_same_expect_what_both_expect(tmp_path: Path) -> None:
    with (
        Server(Resource(DATA)) as server,
        manager(tmp_path) as m,
        m.open(server.url()) as f,
        m.open(server.url(), checksum=WRONG),
        pytest.raises(errors.ChecksumError),
    ):
        f.complete()


@pytest.mark.parametrize("text", ["sha256", "sha256:12", "nonsense:00"])
def test_what_is_no_checksum_is_said_at_once(text: str, tmp_path: Path) -> None:
    with manager(tmp_path) as m, pytest.raises(errors.UsageError, match="checksum"):
        m.open("http://127.0.0.1:1/x", checksum=text)


# --- what is finished without being asked for ---


@pytest.mark.parametrize("idle", [False, True])
def test_a_file_that_reads_completed_is_not_called_complete_when_its_digest_is_wrong(
    idle: bool, tmp_path: Path
) -> None:
    path = tmp_path / "file.bin"
    with Server(Resource(DATA)) as server, nothing_left_behind():
        server.faults.append(faults.digest(right=False))
        with manager(tmp_path, idle_download=idle) as m, m.open_to(server.url(), path) as f:
            f.read_at(10, 10)
            if idle:
                wait_until(lambda: server.body_bytes >= SIZE, "idle filling")
                wait_until(lambda: not load_held(path), "the record of what is wrong")
                asked = len(server.requests)
                time.sleep(1.0)  # more than the pauses between two steps of filling
                assert len(server.requests) == asked, "what is wrong is fetched over and over"
            else:
                assert f.read_at(1) == DATA[1:]
        assert os.path.exists(f"{path}.part")
        assert not load_held(path)


def load_held(path: Path) -> int:
    record = load_record(str(path))
    assert record is not None
    return len(record.bits)


def test_a_file_that_was_whole_before_is_not_read_for_a_digest_when_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(DATA[:MIB] + b"mine" + DATA[MIB + 4 :])
    with Server(Resource(DATA)) as server, manager(tmp_path) as m:
        server.faults.append(faults.digest())
        with m.open_to(server.url(), path) as f:
            f.read_at(10, 10)
    assert os.listdir(tmp_path) == ["file.bin"]


# --- a limit ---


@pytest.mark.parametrize("face", ALL, ids=name_of)
def test_a_limit_holds_for_all_connections_together(face: Face, tmp_path: Path) -> None:
    rate = 5 * MIB
    with Server(Resource(DATA)) as server:
        since = time.monotonic()
        assert face(server.url(), tmp_path, Wishes(limit_rate=rate)) == DATA
        assert time.monotonic() - since >= SIZE / rate - 0.3  # a quarter of a second may be saved up


def test_a_limit_is_more_than_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rate"):
        DownloadManager(tmp_dir=tmp_path, limit_rate=0)


@pytest.mark.parametrize("limit", [None, 10 * MIB], ids=["unlimited", "limited"])
@pytest.mark.parametrize("cached", [False, True], ids=["in memory", "cached"])
def test_a_server_that_drips_is_given_up_with_a_limit_and_without(
    limit: int | None, cached: bool, tmp_path: Path
) -> None:
    policy = Policy(2, 1, pause=lambda failures, chance: 0.01)
    with Server(Resource(DATA)) as server, Transport(Options(netrc=False, timeout=0.2)) as transport:
        server.faults.append(faults.drip(10, 0.05))
        reader = Reader(
            Remote(server.url(), transport),
            Cache(str(tmp_path)) if cached else None,
            policy=policy,
            limiter=None if limit is None else Limiter(limit),
        )
        with reader, pytest.raises(errors.IncompleteError):
            b"".join(reader.stream(0, reader.open(0, None)))


# --- a change ---


@pytest.mark.parametrize("face", IN_FILE, ids=name_of)
def test_a_change_is_refused_or_started_over_as_it_was_asked_for(face: Face, tmp_path: Path) -> None:
    with Server(Resource(Patterned(SIZE))) as server:
        with manager(tmp_path) as m, m.open_to(server.url(), tmp_path / "file.bin") as f:
            f.read_at(MIB, 10)
        server.resources["/file.bin"] = Resource(Patterned(SIZE, seed=1), '"two"')
        with pytest.raises(errors.RemoteChangedError):
            face(server.url(), tmp_path, Wishes())
        assert face(server.url(), tmp_path, Wishes(on_change="restart")) == OTHER


@pytest.mark.parametrize(
    "face", [cat, complete_in_cache, read_in_cache, read_lines, read_at, fsspec_open, fsspec_cat], ids=name_of
)
def test_what_is_cached_of_an_older_version_is_not_used(face: Face, tmp_path: Path) -> None:
    with Server(Resource(Patterned(SIZE))) as server:
        assert face(server.url(), tmp_path, Wishes()) == DATA
        server.resources["/file.bin"] = Resource(Patterned(SIZE, seed=1), '"two"')
        assert face(server.url(), tmp_path, Wishes()) == OTHER


@pytest.mark.parametrize("face", [get, complete, complete_in_cache, cat], ids=name_of)
def test_a_change_under_way_starts_over_while_nothing_was_handed_out(face: Face, tmp_path: Path) -> None:
    size = 12 * MIB

    def change(server: Server) -> None:
        server.resources["/file.bin"] = Resource(Patterned(size + 1, seed=1), '"two"')

    with Server(Resource(Patterned(size))) as server:
        server.faults.append(faults.call(change, when=faults.nth(2)))
        wishes = Wishes(on_change="restart")
        if face is get or face is complete:
            assert face(server.url(), tmp_path, wishes) == pattern(size + 1, seed=1)
        else:  # a size was handed out, or nothing asked for it
            with pytest.raises(errors.RemoteChangedError):
                face(server.url(), tmp_path, wishes)


def test_what_was_read_is_never_followed_by_another_version(tmp_path: Path) -> None:
    with (
        Server(Resource(Patterned(SIZE))) as server,
        manager(tmp_path) as m,
        m.open_to(server.url(), tmp_path / "file.bin", on_change="restart") as f,
    ):
        assert f.read_at(0, 10) == DATA[:10]
        server.resources["/file.bin"] = Resource(Patterned(SIZE, seed=1), '"two"')
        with pytest.raises(errors.RemoteChangedError):
            f.read_at(2 * MIB, 10)


def test_a_change_that_shows_while_no_reader_waits_is_said_to_the_next(tmp_path: Path) -> None:
    """It shows in nothing but bytes: the headers stay the same."""
    other = Resource(Patterned(SIZE, seed=1))
    with Server(Resource(Patterned(SIZE))) as server, manager(tmp_path) as m, m.open(server.url()) as f:
        server.faults.append(faults.call(serve(other), when=faults.nth(2)))
        printed = f.read(10) + f.read(40_000)  # reading on reads ahead, and that shows it
        wait_until(lambda: len(server.requests) >= 2, "reading ahead")
        server.wait_until_idle()
        time.sleep(0.1)
        with pytest.raises(errors.RemoteChangedError):
            f.read()
        assert DATA.startswith(printed)


def test_a_change_that_shows_while_a_stream_is_not_read_on_is_said_to_its_reader() -> None:
    size = 12 * MIB  # more than the first request
    other = Resource(Patterned(size, seed=1))
    with Server(Resource(Patterned(size))) as server, in_memory(server) as reader:
        server.faults.append(faults.call(serve(other), when=faults.nth(2)))
        pieces = reader.stream(0, reader.open(0, None))
        printed = next(pieces)
        transfer = reader.transfer
        assert transfer is not None
        wait_until(lambda: transfer.is_over, "the comparison of seams")
        with pytest.raises(errors.RemoteChangedError):
            printed += b"".join(pieces)
        assert pattern(size).startswith(printed)


def test_on_change_has_two_words(tmp_path: Path) -> None:
    with manager(tmp_path) as m, pytest.raises(ValueError, match="restart"):
        m.open_to("http://127.0.0.1:1/x", tmp_path / "x", on_change="again")


# --- offline ---


@pytest.mark.parametrize("face", ALL, ids=name_of)
def test_offline_what_is_not_held_is_an_error_and_no_server_is_asked(face: Face, tmp_path: Path) -> None:
    with Server(Resource(DATA)) as server:
        with pytest.raises(errors.NotCachedError):
            face(server.url(), tmp_path, Wishes(offline=True))
        assert server.requests == []


@pytest.mark.parametrize("face", [*FACES, fsspec_cat], ids=name_of)
def test_offline_what_is_held_is_read_and_compared(face: Face, tmp_path: Path) -> None:
    with Server(Resource(DATA)) as server:
        assert face(server.url(), tmp_path, Wishes()) == DATA
        server.reset_log()
        assert face(server.url(), tmp_path, Wishes(offline=True)) == DATA
        if face is not fsspec_cat:
            with pytest.raises((errors.ChecksumError, errors.ForeignFileError)):
                face(server.url(), tmp_path, Wishes(WRONG, offline=True))
        assert server.requests == []


@contextmanager
def both(server: Server, folder: Path, *, offline: bool) -> Iterator[tuple[RemoteFile, RemoteFile]]:
    """Open the resource in a file of its own, and in the cache."""
    with (
        manager(folder, offline=offline) as m,
        m.open_to(server.url(), folder / "file.bin") as f,
        m.open(server.url()) as g,
    ):
        yield f, g


@pytest.mark.parametrize("face", [get, complete, read, cat, complete_in_cache, read_in_cache], ids=name_of)
def test_offline_a_part_is_read_and_the_rest_is_an_error(face: Face, tmp_path: Path) -> None:
    with Server(Resource(DATA)) as server:
        with both(server, tmp_path, offline=False) as files:
            for file in files:
                file.read_at(MIB, 10)
        server.reset_log()
        with pytest.raises(errors.NotCachedError):
            face(server.url(), tmp_path, Wishes(offline=True))
        with both(server, tmp_path, offline=True) as files:
            for file in files:
                assert (file.size, file.blocks.held) == (SIZE, 1)
                assert file.read_at(MIB, 10) == DATA[MIB : MIB + 10]
                with pytest.raises(errors.NotCachedError, match=f"{2 * MIB}"):
                    file.read_at(2 * MIB, 10)
        assert server.requests == []


def test_offline_a_file_of_another_url_is_not_taken_for_this_one(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    with Server(Resource(DATA)) as server:
        with manager(tmp_path) as m, m.open_to(server.url(), path) as f:
            f.read_at(MIB, 10)
        with (
            manager(tmp_path, offline=True) as m,
            m.open_to(server.url("/other"), path) as f,
            pytest.raises(errors.NotCachedError),
        ):
            f.read_at(MIB, 10)


# --- memory ---


@contextmanager
def in_memory(server: Server) -> Iterator[Reader]:
    with (
        Transport(Options(netrc=False)) as transport,
        Reader(Remote(server.url(), transport), None) as reader,
    ):
        yield reader


def test_a_reader_in_memory_that_pauses_is_not_run_ahead_of_by_a_server_without_ranges() -> None:
    size = 200 * MIB
    with Server(Resource(Patterned(size), ranges=False)) as server, in_memory(server) as reader:
        pieces = reader.stream(0, reader.open(0, None))
        digest, before = hashlib.sha256(next(pieces)), -1
        while server.body_bytes != before:
            before = server.body_bytes
            time.sleep(0.3)
        assert before < 60 * MIB
        for piece in pieces:
            digest.update(piece)
        assert len(server.requests) == 1
    assert digest.digest() == hashlib.sha256(pattern(size)).digest()


def test_the_end_of_what_never_says_its_size_is_read_in_one_piece_also_in_memory() -> None:
    size = 40 * MIB + 5
    with Server(Resource(Patterned(size))) as server, in_memory(server) as reader:
        server.faults += [faults.ignore_range(), faults.chunked()]
        assert reader.open(-10, None) is None
        assert reader.size_at_last() == size
        assert b"".join(reader.stream(size - 10, size)) == pattern(size)[-10:]
        assert len(server.requests) <= 2


def test_a_long_read_in_memory_is_not_let_go_of_before_it_is_read() -> None:
    size = 50 * MIB
    with Server(Resource(Patterned(size))) as server, in_memory(server) as reader:
        assert reader.read(ByteRange(0, size)) == pattern(size)
        assert server.body_bytes < 1.5 * size
