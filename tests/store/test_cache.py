"""The cache folder: what belongs to whom, what is ours, what is believed, and what it may cost."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pyroaring import BitMap

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.errors import BusyError, SmartRemoteError
from smartremote_cli.events import Event, Notice
from smartremote_cli.protocol.headers import Headers
from smartremote_cli.protocol.identity import Identity
from smartremote_cli.store import locks
from smartremote_cli.store.cache import NO_LIMIT, Cache, confirms
from smartremote_cli.store.cache_destination import CacheDestination, may_be_kept
from smartremote_cli.store.cache_names import NotOursError
from smartremote_cli.store.cached_copy import CachedCopy
from smartremote_cli.store.local_copy import LocalCopy
from smartremote_cli.store.memory_copy import MemoryCopy
from tests.store.on_disk import failing
from tests.support.server import pattern

URL = "http://host/file.bin"
SIZE = 40 * BLOCK + 100
DATA = pattern(SIZE)
ONE = Identity(SIZE, '"one"')
MIB = 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """The head of a first answer."""

    status: int = 206
    headers: Headers = field(default_factory=Headers)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def cache(folder: Path) -> Cache:
    return Cache(str(folder))


def bring(copy: LocalCopy, *blocks: int) -> None:
    for block in blocks:
        part = copy.blocks.align(ByteRange(block * BLOCK, block * BLOCK + 1))
        copy.write(part.start, memoryview(DATA)[part.start : part.stop])
        copy.blocks.hold(part)


def save(copy: LocalCopy) -> None:
    copy.checkpoint(copy.draft_record())


def kept(cache: Cache, *blocks: int, url: str = URL, identity: Identity = ONE) -> None:
    """Leave an entry with these blocks."""
    copy = cache.create(url, identity)
    bring(copy, *blocks)
    save(copy)
    copy.close()
    cache.touch(url)


def found(cache: Cache, url: str = URL) -> BitMap:
    record = cache.find(url)
    return BitMap() if record is None else record.bits


def opened(cache: Cache, url: str = URL) -> CachedCopy:
    record = cache.find(url)
    assert record is not None
    return cache.open(url, record)


def part(block: int) -> ByteRange:
    return ByteRange(block * BLOCK, min((block + 1) * BLOCK, SIZE))


# Whose it is


def test_an_entry_belongs_to_who_asks(cache: Cache) -> None:
    kept(cache.for_variant("alice"), 1)
    assert found(cache.for_variant("alice")) == BitMap([1])
    assert not found(cache.for_variant("bob"))
    assert not found(cache)


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ([], True),
        ([("cache-control", "max-age=3, private")], True),
        ([("cache-control", "max-age=3"), ("cache-control", "No-Store")], False),
        ([("vary", "Accept-Encoding")], True),
        ([("vary", "accept-encoding, Accept-Language")], False),
        ([("vary", "accept-encoding"), ("vary", "*")], False),
        ([("vary", "Cookie")], False),
    ],
)
def test_what_varies_or_is_not_to_be_stored_is_not_kept(
    cache: Cache, folder: Path, headers: list[tuple[str, str]], kept: bool
) -> None:
    fields = Headers(headers)
    assert may_be_kept(fields) == kept
    destination = CacheDestination(cache, URL, URL)
    copy = destination.open(ONE, Answer(headers=fields)).copy
    assert isinstance(copy, MemoryCopy) != kept
    destination.close()
    assert folder.exists() == kept


TAGGED = Identity(SIZE, '"one"', "Mon, 02 Nov 2026 10:00:00 GMT")
SETTLED = Identity(SIZE, None, "Mon, 02 Nov 2026 10:00:00 GMT", settled=True)
FRESH = Identity(SIZE, None, "Mon, 02 Nov 2026 10:00:00 GMT")
WEAK = Identity(SIZE, 'W/"one"')


@pytest.mark.parametrize(
    ("known", "now", "proven"),
    [
        (TAGGED, TAGGED, True),
        (TAGGED, ONE, True),
        (TAGGED, SETTLED, False),  # the date was not strong for what is held
        (SETTLED, SETTLED, True),
        (SETTLED, FRESH, True),
        (FRESH, SETTLED, False),
        (WEAK, WEAK, False),
        (WEAK, ONE, False),
        (ONE, WEAK, False),
        (ONE, Identity(SIZE + 1, '"one"'), False),
        (Identity(SIZE), Identity(SIZE), False),
    ],
)
def test_only_what_was_strong_for_the_held_bytes_confirms_them(
    cache: Cache, known: Identity, now: Identity, proven: bool
) -> None:
    assert confirms(known, now) == proven
    kept(cache, 1, identity=known)
    destination = CacheDestination(cache, URL, URL)
    assert bool(destination.open(now, Answer()).copy.blocks.held) == proven
    destination.close()


def test_blocks_that_were_fetched_under_a_weak_validator_stay_weak(cache: Cache) -> None:
    copy = cache.create(URL, FRESH)
    bring(copy, 1)
    copy.settle(SETTLED)  # the next answer of the same run
    save(copy)
    copy.close()
    record = cache.find(URL)
    assert record is not None and record.identity is not None and not record.identity.is_strong


# What is believed


@pytest.mark.parametrize("in_use", [False, True])
def test_a_rotten_block_is_not_handed_out(cache: Cache, in_use: bool) -> None:
    kept(cache, 1, 2, 3)
    user = opened(cache) if in_use else None
    with open(cache.path_of(URL), "r+b") as file:
        file.seek(2 * BLOCK + 5)
        file.write(b"rot")
    copy = opened(cache)
    assert copy.read(ByteRange(BLOCK, 4 * BLOCK)) == DATA[BLOCK : 2 * BLOCK]
    assert copy.damaged() == BitMap([2])
    assert copy.read(part(3)) == DATA[3 * BLOCK : 4 * BLOCK]
    copy.blocks.drop(copy.damaged())
    save(copy)
    assert found(cache) == BitMap([1, 3])
    bring(copy, 2)
    assert not copy.damaged()
    assert copy.read(ByteRange(BLOCK, 4 * BLOCK)) == DATA[BLOCK : 4 * BLOCK]
    for each in (copy, user):
        if each is not None:
            each.close()


def test_a_block_whose_sum_is_lost_is_not_handed_out(cache: Cache) -> None:
    kept(cache, 1)
    os.unlink(cache.path_of(URL) + ".part.sums")
    copy = opened(cache)
    assert copy.read(part(1)) == b"" and copy.damaged(everything=True) == BitMap([1])
    copy.close()


def test_after_a_failed_sync_blocks_are_held_against_their_sums(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = cache.create(URL, ONE)
    bring(copy, 1, 2)
    failing(monkeypatch, "fdatasync", errno.EIO)
    save(copy)
    os.pwrite(copy.descriptor, b"lost", BLOCK)  # as a page that the system has dropped
    bring(copy, 3)
    assert copy.read(part(1)) == b"" and copy.damaged() == BitMap([1])
    assert copy.read(ByteRange(2 * BLOCK, 4 * BLOCK)) == DATA[2 * BLOCK : 4 * BLOCK]
    copy.close()
    assert not found(cache)


# What is ours


PRECIOUS = [
    "id_rsa",
    "Makefile",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "0" * 40,
    "notes.part",
    ".hidden",
]


def plant(folder: Path) -> dict[str, bytes]:
    """Put the user's own files there, larger than any limit, one of them under what looks like an entry's name."""
    own = {name: name.encode() * 30_000 for name in PRECIOUS}
    own[f"{'0' * 40}.part"] = b"not a record"
    own[f"{'1' * 40}.part.tmp"] = b""
    for name, content in own.items():
        (folder / name).write_bytes(content)
        os.utime(folder / name, (1, 1))
    return own


def test_the_users_own_files_are_never_touched(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    own = plant(folder)
    cache = Cache(str(folder), 3 * MIB)
    for number in range(6):
        kept(cache, *range(20), url=f"{URL}?{number}")
    assert {name: (folder / name).read_bytes() for name in own} == own
    assert not found(cache, f"{URL}?0") and found(cache, f"{URL}?5") == BitMap(range(20))


def test_an_entry_of_an_earlier_version_is_not_used_and_makes_room(folder: Path) -> None:
    import hashlib

    folder.mkdir(mode=0o700)
    path = folder / hashlib.sha256(URL.encode()).hexdigest()[:40]
    old = LocalCopy.create(str(path), URL, ONE, shared=True)
    bring(old, *range(20))
    save(old)
    old.close()
    cache = Cache(str(folder), 2 * MIB)
    assert not found(cache)
    kept(cache, *range(20), url=f"{URL}?new")
    assert not path.exists() and found(cache, f"{URL}?new") == BitMap(range(20))


def test_an_entry_whose_records_are_lost_makes_room_and_is_begun_anew(folder: Path) -> None:
    cache = Cache(str(folder), 3 * MIB)
    for number in range(3):
        kept(cache, *range(20), url=f"{URL}?{number}")
        for path in folder.glob("*.part*"):
            path.unlink()
        os.utime(cache.path_of(f"{URL}?{number}"), (number, number))
        assert on_disk(folder) <= 3 * MIB
    assert not os.path.exists(cache.path_of(f"{URL}?0"))
    kept(cache, 3, url=f"{URL}?2")
    assert found(cache, f"{URL}?2") == BitMap([3])


def test_a_full_cache_is_not_counted_for_every_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(str(folder), 16 * MIB)
    real, counts = os.listdir, [0]

    def listdir(path: str) -> list[str]:
        counts[0] += 1
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    for number in range(400):
        kept(cache, 0, url=f"{URL}?{number}")
    assert 1 < counts[0] < 60
    assert on_disk(folder) <= 16 * MIB


def test_what_a_crash_has_left_goes_when_it_is_old(folder: Path) -> None:
    cache = Cache(str(folder), 3 * MIB)
    kept(cache, 0)
    path = cache.path_of(f"{URL}?crash")
    for suffix in (".part", ".part.tmp", ".part.sums"):
        Path(path + suffix).write_bytes(b"")
        os.utime(path + suffix, (1, 1))
    for number in range(4):
        kept(cache, *range(20), url=f"{URL}?{number}")
    assert not [name for name in os.listdir(folder) if name.startswith(Path(path).name)]


@pytest.mark.parametrize("suffix", ["", ".part", ".whole", ".part.sums", ".part.tmp"])
@pytest.mark.parametrize("kind", ["symbolic", "hard", "writable"])
def test_nothing_is_read_or_written_through_a_link(
    cache: Cache, tmp_path: Path, kind: str, suffix: str
) -> None:
    kept(cache, 1)
    precious, planted = tmp_path / "precious", Path(cache.path_of(URL) + suffix)
    precious.write_bytes(planted.read_bytes() if planted.exists() else b"mine")
    was = precious.read_bytes()
    planted.unlink(missing_ok=True)
    match kind:
        case "symbolic":
            planted.symlink_to(precious)
        case "hard":
            planted.hardlink_to(precious)
        case "writable":
            planted.write_bytes(was)
            planted.chmod(0o666)
    heard: list[Event] = []
    destination = CacheDestination(cache, URL, URL, heard.append)
    copy = destination.open(ONE, Answer()).copy
    assert isinstance(copy, MemoryCopy)
    assert [event.warning for event in heard if isinstance(event, Notice)] == [True]
    destination.close()
    assert precious.read_bytes() == was and os.path.lexists(planted)


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777, 0o720])
def test_a_folder_that_others_may_write_is_not_used(cache: Cache, folder: Path, mode: int) -> None:
    kept(cache, 1)
    folder.chmod(mode)
    before = sorted(os.listdir(folder))
    assert not found(cache)
    with pytest.raises(NotOursError, match="other users may write there"):
        cache.create(URL, ONE)
    assert sorted(os.listdir(folder)) == before


def test_the_folder_and_its_files_are_the_users_alone(cache: Cache, folder: Path) -> None:
    before = os.umask(0)
    try:
        kept(cache, 1)
        copy = opened(cache)
        copy.settle(ONE)
        bring(copy, *range(41))
        cache.finish(copy)
        copy.close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


# What it may cost


def on_disk(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.iterdir())


def test_an_entry_in_use_does_not_grow_beyond_the_limit(folder: Path) -> None:
    cache = Cache(str(folder), MIB)
    copy, other = cache.create(URL, ONE), cache.create(f"{URL}?other", ONE)
    for block in range(41):
        bring(copy, block)
        bring(other, block)
        save(copy)
        assert on_disk(folder) <= MIB
    for each in (copy, other):
        assert each.read(ByteRange(0, SIZE)) == DATA
        assert each.bytes_in_memory and each.max_bytes is not None
    recorded = copy.draft_record().bits
    assert 0 < len(recorded) < 41
    for each in (copy, other):
        each.close()
    cache.touch(URL)
    assert found(cache) == recorded


KILLED = """
import os, sys
from pyroaring import BitMap
from smartremote_cli.store.cache import Cache
from tests.store.test_cache import ONE, MIB, URL, bring, save
copy = Cache(sys.argv[1], MIB).create(sys.argv[2], ONE)
bring(copy, *range(8))
save(copy)
assert copy.draft_record().bits == BitMap(range(8)), copy.draft_record().bits
os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_was_granted_is_given_back(folder: Path) -> None:
    for number in range(6):
        ran = subprocess.run(
            [sys.executable, "-c", KILLED, str(folder), f"{URL}?{number}"], capture_output=True, timeout=60
        )
        assert ran.returncode == -9, ran.stderr
        assert on_disk(folder) <= MIB


def test_memory_lets_go_of_what_is_in_memory_alone(folder: Path) -> None:
    copy = Cache(str(folder), MIB).create(URL, ONE)
    bring(copy, *range(41))
    on_disk = copy.draft_record().bits
    copy.blocks.drop(copy.forget(ByteRange(0, SIZE)))
    assert copy.blocks.bits == on_disk and not copy.bytes_in_memory
    copy.close()


def test_a_full_disk_in_the_middle_of_a_block_costs_no_byte(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(str(folder), NO_LIMIT)
    told: list[SmartRemoteError] = []
    copy = cache.create(URL, ONE)
    copy.told = told.append
    real, room = os.pwrite, [3 * BLOCK + 1000]

    def pwrite(descriptor: int, data: memoryview, offset: int) -> int:
        if descriptor == copy.descriptor:
            if not room[0]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            data = data[: room[0]]
            room[0] -= len(data)
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    for start in range(0, SIZE, 50_000):
        copy.write(start, memoryview(DATA)[start : start + 50_000])
    copy.blocks.hold(ByteRange(0, SIZE))
    assert copy.read(ByteRange(0, SIZE)) == DATA
    assert len(told) == 1 and "No space left" in str(told[0])
    assert copy.draft_record().bits == BitMap([0, 1])
    copy.close()


def test_the_folder_is_not_listed_while_there_is_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(Cache(str(folder)), 1)
    calls = failing(monkeypatch, "listdir", errno.EIO)
    scans = failing(monkeypatch, "scandir", errno.EIO)
    for number in range(3):
        kept(Cache(str(folder)), 1, url=f"{URL}?{number}")
    assert (calls, scans) == ([0], [0])


def test_no_lock_is_held_while_the_folder_is_listed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(str(folder), MIB)
    real, free = os.listdir, list[bool]()

    def listdir(path: str) -> list[str]:
        with locks.folder_lock(str(folder)):
            free.append(True)
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    kept(cache, *range(10))
    kept(cache, *range(10), url=f"{URL}?2")
    assert free


def test_trouble_is_told_once(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    cache, heard = Cache(str(folder)), list[Event]()
    for variant in ("", "alice", "bob"):
        destination = CacheDestination(cache.for_variant(variant), URL, URL, heard.append)
        assert isinstance(destination.open(ONE, Answer()).copy, MemoryCopy)
        destination.close()
    assert len(heard) == 1


def test_an_entry_that_another_process_has_begun_meanwhile_is_left_to_it(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(cache, 1)
    other: list[CachedCopy] = []

    def sync_folder(folder: str) -> None:
        monkeypatch.undo()
        other.append(cache.create(URL, Identity(SIZE, '"three"')))

    monkeypatch.setattr("smartremote_cli.store.cache.sync_folder", sync_folder)
    with pytest.raises(BusyError):
        cache.create(URL, Identity(SIZE, '"two"'))
    bring(other[0], 2)
    save(other[0])
    assert found(cache) == BitMap([2])
    other[0].close()
