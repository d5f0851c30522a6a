"""The power goes at every instant of a download, and whatever the disk kept by then is looked at.

No state may hold a recorded block that is wrong, or a file that is taken for complete and is not; what a
checkpoint has saved stays saved, and what was called complete stays complete. Holes are not asked about here:
not every file system can tell them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyroaring import BitMap

from smartremote_cli.core.blocks import BLOCK, MAX_SIZE, BlockMap
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.errors import DamagedError
from smartremote_cli.protocol.identity import Identity
from smartremote_cli.store import files
from smartremote_cli.store.cache import Cache
from smartremote_cli.store.leftovers import load_record
from smartremote_cli.store.local_copy import LocalCopy
from smartremote_cli.store.part import Record, decode, encode
from smartremote_cli.store.stamp import STAMP
from tests.support import faults, power
from tests.support.server import Resource, Server, pattern
from tests.support.tool import Tool

SIZE = 3 * BLOCK + 1000
ONE, TWO = Identity(SIZE, '"one"'), Identity(SIZE, '"two"')
CONTENT = {'"one"': pattern(SIZE, 1), '"two"': pattern(SIZE, 2)}
URL = "http://example.org/file.bin"


@dataclass(frozen=True)
class Saved:
    """A checkpoint came back: these blocks of this version survive everything, unless the file is complete."""

    etag: str | None
    blocks: frozenset[int]


@dataclass(frozen=True)
class Complete:
    """What exit 0 says: the file is whole, and has no record."""

    etag: str


class Story:
    """A download without a network: what the engine does to its copy, in the engine's order."""

    def __init__(self, path: Path, disk: power.Disk) -> None:
        self.path = str(path)
        self.disk = disk
        self.copy: LocalCopy

    def begin(self, identity: Identity = ONE, *, overwrite: bool = False) -> None:
        self.copy = LocalCopy.create(self.path, URL, identity, overwrite=overwrite)

    def go_on(self, identity: Identity = ONE) -> None:
        """Resume, after the last run was killed."""
        if hasattr(self, "copy"):
            self.copy.close()
        record = load_record(self.path)
        assert record is not None
        self.copy = LocalCopy.reopen(self.path, URL, record)
        self.copy.settle(identity)

    def bring(self, *blocks: int, hold: bool = True) -> None:
        """Write *blocks* of the version that the copy is of, in two pieces each."""
        assert self.copy.identity.etag is not None
        content = memoryview(CONTENT[self.copy.identity.etag])
        for block in blocks:
            start, stop = block * BLOCK, min((block + 1) * BLOCK, SIZE)
            self.copy.write(start, content[start : start + 700])
            self.copy.write(start + 700, content[start + 700 : stop])
            if hold:
                self.copy.blocks.hold(ByteRange(start, stop))

    def save(self) -> None:
        draft = self.copy.draft_record()
        self.copy.checkpoint(draft)
        self.disk.note(Saved(draft.identity.etag, frozenset(draft.bits)))

    def finish(self) -> None:
        self.copy.finish()
        assert self.copy.identity.etag is not None
        self.disk.note(Complete(self.copy.identity.etag))

    def forget(self) -> None:
        """From here on, nothing is promised."""
        self.disk.note(None)


def fresh(story: Story) -> None:
    story.begin()
    story.bring(0, 3)
    story.save()
    story.bring(1)
    story.bring(2, hold=False)
    story.save()
    story.bring(2)
    story.save()
    story.finish()


def never_saved(story: Story) -> None:
    story.begin()
    story.bring(0, 1, 2, 3)
    story.finish()


def killed_and_resumed(story: Story) -> None:
    story.begin()
    story.bring(0)
    story.save()
    story.bring(1)
    story.go_on()
    story.bring(1, 2)
    story.save()
    story.go_on()
    story.bring(3)
    story.finish()


def of_unknown_size(story: Story) -> None:
    story.begin(Identity(None, '"one"'))
    story.bring(0, 1)
    story.save()
    story.bring(2)
    story.copy.settle(ONE)
    story.bring(3)
    story.save()
    story.finish()


def changed_and_restarted(story: Story) -> None:
    """As `--on-change restart` does it: what is held is given up on disk before anything is written."""
    story.begin()
    story.bring(0, 1)
    story.save()
    story.bring(2)
    story.forget()
    story.copy.identity, story.copy.blocks = Identity(None), BlockMap(MAX_SIZE)
    story.copy.checkpoint(story.copy.draft_record())
    story.copy.settle(TWO)
    story.bring(2, 0)
    story.save()
    story.bring(1, 3)
    story.finish()


def mixed_and_started_over(story: Story) -> None:
    """As the engine does it when seams disagree; an older checkpoint comes late."""
    story.begin()
    story.bring(0, 1)
    story.save()
    story.bring(2)
    late = story.copy.draft_record()
    story.forget()
    story.copy.blocks.clear()
    story.copy.settle(TWO)
    story.copy.reset(story.copy.draft_record())
    story.bring(0)
    story.copy.checkpoint(late)
    story.bring(1)
    story.save()
    story.bring(2, 3)
    story.finish()


def slow_sync_over_a_change(story: Story) -> None:
    """A draft of one version is recorded after the copy was settled to be of another."""
    story.begin()
    story.bring(0, 1)
    draft = story.copy.draft_record()
    story.copy.blocks.clear()
    story.copy.settle(TWO)
    story.copy.checkpoint(draft)
    story.copy.reset(story.copy.draft_record())
    story.bring(1, 0)
    story.save()


def a_damaged_block(story: Story) -> None:
    story.begin()
    story.bring(0, 1, 2)
    story.save()
    story.forget()
    story.copy.blocks.forget(ByteRange(BLOCK, 2 * BLOCK))
    story.save()
    story.bring(1, 3)
    story.save()
    story.finish()


def overwritten(story: Story) -> None:
    story.begin(TWO, overwrite=True)
    story.bring(1)
    story.save()
    story.bring(0, 2, 3)
    story.finish()


def cut_short_and_resumed(story: Story) -> None:
    story.go_on()
    story.bring(2)
    story.save()
    story.bring(0, 1, 3)
    story.save()
    story.finish()


def finished_and_invalidated(story: Story) -> None:
    story.begin()
    story.bring(0, 1, 2, 3)
    story.save()
    story.finish()
    story.forget()
    story.copy.reopen_record()
    story.copy.blocks.forget(ByteRange(0, 1))
    story.save()
    story.bring(0)
    story.save()
    story.finish()


def discarded(story: Story) -> None:
    story.begin()
    story.bring(0, 1)
    story.copy.discard()


def old_file(path: Path) -> None:
    path.write_bytes(CONTENT['"one"'])


def old_partial(path: Path) -> None:
    """Another version's download that was left at half."""
    with path.open("wb") as file:
        file.write(CONTENT['"one"'][: 2 * BLOCK])
        file.truncate(SIZE)
    _put_record(path, {0, 1})


def cut_partial(path: Path) -> None:
    """All is recorded, and half of it is gone."""
    path.write_bytes(CONTENT['"one"'][: 2 * BLOCK - 5])
    _put_record(path, {0, 1, 2, 3})


def lost_partial(path: Path) -> None:
    _put_record(path, {0, 1, 2, 3})


def nothing(path: Path) -> None:
    pass


def _put_record(path: Path, blocks: set[int]) -> None:
    files.replace(f"{path}.part", part(blocks), sync=False)


def part(blocks: set[int]) -> bytes:
    return encode(Record(BitMap(sorted(blocks)), ONE, URL))


STORIES: list[tuple[Callable[[Path], None], Callable[[Story], None]]] = [
    (nothing, fresh),
    (nothing, never_saved),
    (nothing, killed_and_resumed),
    (nothing, of_unknown_size),
    (nothing, changed_and_restarted),
    (nothing, mixed_and_started_over),
    (nothing, slow_sync_over_a_change),
    (nothing, a_damaged_block),
    (nothing, finished_and_invalidated),
    (nothing, discarded),
    (nothing, overwritten),
    (old_file, overwritten),
    (old_partial, overwritten),
    (cut_partial, cut_short_and_resumed),
    (lost_partial, cut_short_and_resumed),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "disk"
    made.mkdir()
    return made


def without_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the file system have no extended attributes, as NFS and FAT have none."""

    def refuse(descriptor: int, name: str, value: bytes) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr("os.setxattr", refuse)


@pytest.fixture(params=["marks", "no marks"])
def marks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param == "no marks":
        without_marks(monkeypatch)
    return bool(request.param == "marks")


@pytest.mark.parametrize(("before", "story"), STORIES, ids=lambda part: part.__name__)
@pytest.mark.usefixtures("marks")
def test_a_power_cut_leaves_nothing_wrong(
    before: Callable[[Path], None],
    story: Callable[[Story], None],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = folder / "file.bin"
    before(path)
    was = path.read_bytes() if path.exists() else None
    with power.recorded(folder, monkeypatch) as disk:
        told = Story(path, disk)
        story(told)
        told.copy.close()
    check_all(disk, was)


def check_all(disk: power.Disk, was: bytes | None = None) -> None:
    for state in disk.states():
        check(state, was)


def check(state: power.State, was: bytes | None) -> None:
    """Raise unless *state* can be gone on with; *was* is a file of the user's that may still be there."""
    data, record = state.files.get("file.bin"), state.files.get("file.bin.part")
    if record is None:
        assert data is None or is_whole(data, was) or files.MARK in data.marks, state
        assert data is None or is_whole(data, was) or STAMP not in data.marks, state
        held, etag = set(range(4)) if data is not None else set(), None
    else:
        held, etag = trusted(state, data, decode(bytes(record.data), "file.bin.part"))
    match state.note:
        case Saved(blocks=blocks, etag=saved):
            complete = record is None and data is not None and is_whole(data, None)
            assert complete or (blocks <= held and (etag == saved or not blocks)), state
        case Complete(etag=finished):
            assert record is None and data is not None and bytes(data.data) == CONTENT[finished], state


def is_whole(data: power.File, was: bytes | None) -> bool:
    """Return whether a file that has no record may be taken for complete; one of another size never is."""
    return len(data.data) != SIZE or bytes(data.data) in [*CONTENT.values(), was]


def trusted(state: power.State, data: power.File | None, record: Record) -> tuple[set[int], str | None]:
    """Return the blocks that a resumed run would not fetch again, each of which was found right."""
    if data is None or not record.bits:
        return set(), None
    assert record.identity is not None and record.identity.etag is not None, state
    content, held = CONTENT[record.identity.etag], set()
    for block in record.bits:
        start, stop = block * BLOCK, min((block + 1) * BLOCK, SIZE)
        if len(data.data) >= stop:
            right = data.data[start:stop] == content[start:stop]  # apart: pytest would print the difference
            assert right, f"block {block} is wrong {state}"
            held.add(block)
    return held, record.identity.etag


def test_what_a_power_cut_leaves_can_be_resumed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the real file system again: what it takes for holes, and what `reopen` makes of the rest."""
    with power.recorded(folder, monkeypatch) as disk:
        told = Story(folder / "file.bin", disk)
        killed_and_resumed(told)
        told.copy.close()
    for number, state in enumerate(list(disk.states())[::9]):
        place = tmp_path / str(number)
        place.mkdir()
        state.put(place)
        path = place / "file.bin"
        if not (place / "file.bin.part").exists():
            continue
        again = Story(path, disk)
        again.go_on()
        again.bring(*(run.start // BLOCK for run in single_blocks(again.copy.blocks)))
        again.finish()
        again.copy.close()
        assert path.read_bytes() == CONTENT['"one"']
        assert [left.name for left in place.iterdir()] == ["file.bin"]


def single_blocks(blocks: BlockMap) -> Iterator[ByteRange]:
    for run in list(blocks.missing()):
        for start in range(run.start, run.stop, BLOCK):
            yield ByteRange(start, start + 1)


# The cache: several processes share one copy, and a changed resource begins a new one.


def shared_by_two(cache: Cache, disk: power.Disk) -> None:
    first = cache.create(URL, ONE)
    put(first, 0)
    second = cache.create(URL, ONE)
    put(second, 1)
    second.checkpoint(second.draft_record())
    first.checkpoint(first.draft_record())
    disk.note(Saved('"one"', frozenset({0, 1})))
    put(first, 2)
    first.checkpoint(first.draft_record())
    first.close()
    second.close()


def changed_under_a_reader(cache: Cache, disk: power.Disk) -> None:
    old = cache.create(URL, ONE)
    put(old, 0, 1, 2)
    old.checkpoint(old.draft_record())
    new = cache.create(URL, TWO)
    put(old, 3)
    put(new, 1)
    old.checkpoint(old.draft_record())
    new.checkpoint(new.draft_record())
    put(new, 0)
    new.checkpoint(new.draft_record())
    old.close()
    new.close()


def started_over(cache: Cache, disk: power.Disk) -> None:
    copy = cache.create(URL, ONE)
    other = cache.create(URL, ONE)
    put(copy, 0, 1)
    copy.checkpoint(copy.draft_record())
    copy.blocks.clear()
    copy.settle(TWO)
    copy.reset(copy.draft_record())
    put(copy, 1)
    copy.checkpoint(copy.draft_record())
    assert other.read(ByteRange(0, BLOCK)) == CONTENT['"one"'][:BLOCK]  # who reads the old version still can
    put(other, 2)
    other.checkpoint(other.draft_record())
    copy.close()
    other.close()


def put(copy: LocalCopy, *blocks: int) -> None:
    assert copy.identity.etag is not None
    for block in blocks:
        start, stop = block * BLOCK, min((block + 1) * BLOCK, SIZE)
        copy.write(start, memoryview(CONTENT[copy.identity.etag])[start:stop])
        copy.blocks.hold(ByteRange(start, stop))


@pytest.mark.parametrize("story", [shared_by_two, changed_under_a_reader, started_over])
def test_a_power_cut_leaves_nothing_wrong_in_the_cache(
    story: Callable[[Cache, power.Disk], None], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(str(folder))
    name = Path(cache.path_of(URL)).name
    with power.recorded(folder, monkeypatch) as disk:
        story(cache, disk)
    for state in disk.states():
        data, record = state.files.get(name), state.files.get(f"{name}.part")
        try:
            found = decode(bytes(record.data), "record") if record is not None else None
        except DamagedError:  # it is not synced, and one that is torn is as good as none
            continue
        if found is not None and found.identity is not None:
            trusted(state, data, found)


# The real thing: the commands themselves, with their threads, over a server.


@pytest.mark.parametrize("before", ["nothing", "half", "another file", "half of another version"])
def test_a_power_cut_under_a_real_download_leaves_nothing_wrong(
    tool: Tool, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra: list[str] = []
    with Server(Resource(CONTENT['"one"'], etag='"one"')) as server:
        if before.startswith("half"):
            server.faults += [faults.fin(after=2 * BLOCK + 5)]
            assert tool("get", server.url(), "--retries", "0", "-q", "-x", "1").code == 3
            server.faults.clear()
        if before == "half of another version":
            server.resources["/file.bin"] = Resource(CONTENT['"two"'], etag='"two"')
            extra = ["--on-change", "restart"]
        was = None
        if before == "another file":
            was = tool.write("file.bin", pattern(SIZE, 3)).read_bytes()
            extra = ["--overwrite"]
        with power.recorded(tool.folder, monkeypatch) as disk:
            ran = tool("get", server.url(), "-q", *extra)
            disk.note(Complete(server.resource.etag or ""))
    assert ran.code == 0, ran.err
    check_all(disk, was)


def test_a_cut_finds_a_record_that_is_saved_before_its_data(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulation itself: without the sync of the data it must find what is wrong."""
    with power.recorded(folder, monkeypatch) as disk:
        told = Story(folder / "file.bin", disk)
        told.begin()
        monkeypatch.setattr("os.fdatasync", lambda descriptor: None)
        told.bring(0, 1)
        told.copy.checkpoint(told.copy.draft_record())
        told.copy.close()
    with pytest.raises(AssertionError, match=r"block [01] is wrong"):
        check_all(disk)


def test_a_cut_finds_a_record_that_goes_before_the_data_is_synced(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_marks(monkeypatch)
    with power.recorded(folder, monkeypatch) as disk:
        told = Story(folder / "file.bin", disk)
        told.begin()
        told.bring(0, 1, 2, 3)
        monkeypatch.setattr("os.fsync", lambda descriptor: None)
        told.copy.finish()
        told.copy.close()
    with pytest.raises(AssertionError):
        check_all(disk)
