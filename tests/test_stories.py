"""Random stories: downloads, reads, breaks, cuts and changes in any order, with one invariant.

Exit 0 means equal to the version that is served, and no byte of another version is ever printed.
"""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.errors import DamagedError
from smartremote_cli.store.part import decode
from tests.support import faults
from tests.support.server import Resource, Server, pattern
from tests.support.tool import Ran, Tool

SIZES = (0, 1, BLOCK - 1, BLOCK, 3 * BLOCK + 17, 40 * BLOCK + 1)
FEW = ("--retries", "1", "--timeout", "5")

after = st.integers(0, 12 * BLOCK)


class Stories(RuleBasedStateMachine):
    """One URL, one file and one cache, through whatever happens to them."""

    def __init__(self) -> None:
        super().__init__()
        self._patch = pytest.MonkeyPatch()
        self._folder = tempfile.TemporaryDirectory()
        self.tool = Tool(Path(self._folder.name), self._patch)
        self.versions: list[bytes] = []
        self.records: list[bytes] = []
        self.strong = True

    @initialize(size=st.sampled_from(SIZES), strong=st.booleans())
    def serve(self, size: int, strong: bool) -> None:
        self.strong = strong
        self.server = Server(b"").__enter__()
        self.change(size)

    def teardown(self) -> None:
        self.server.__exit__(None, None, None)
        self._patch.undo()
        self._folder.cleanup()

    @property
    def now(self) -> bytes:
        return self.versions[-1]

    @property
    def file(self) -> Path:
        return self.tool.folder / "file.bin"

    @property
    def part(self) -> Path:
        return self.tool.folder / "file.bin.part"

    def run(self, *arguments: str) -> Ran:
        ran = self.tool(*arguments, *FEW)
        assert ran.code in (0, 3, 4, 5, 6, 8), (ran.code, ran.err)
        assert "Traceback" not in ran.err and "defect" not in ran.err, ran.err
        self.server.faults.clear()
        if self.part.exists():
            self.records.append(self.part.read_bytes())
        return ran

    # What happens to the resource and to the way there

    @rule(size=st.sampled_from(SIZES))
    def change(self, size: int) -> None:
        self.versions.append(pattern(size, seed=len(self.versions) + 1))
        tag = f'"v{len(self.versions)}"' if self.strong else None
        self.server.resources["/file.bin"] = Resource(self.now, etag=tag, last_modified=None)

    @rule(where=after, times=st.integers(1, 3))
    def break_off(self, where: int, times: int) -> None:
        self.server.faults.append(faults.fin(after=where, when=faults.first(times)))

    @rule(seed=st.integers(0, 99))
    def ignore_ranges_sometimes(self, seed: int) -> None:
        self.server.faults.append(faults.ignore_range(when=faults.chance(0.5, seed)))

    @rule(status=st.sampled_from([403, 404, 500, 503]))
    def refuse_once(self, status: int) -> None:
        self.server.faults.append(faults.status(status, when=faults.nth(2)))

    # What happens to the disk

    @rule(keep=after)
    def cut_the_file(self, keep: int) -> None:
        if self.part.exists() and self.file.exists() and self.file.stat().st_size > keep:
            with self.file.open("r+b") as file:
                file.truncate(keep)

    @rule(where=st.floats(0, 1), keep_times=st.booleans())
    def edit_the_file(self, where: float, keep_times: bool) -> None:
        if self.part.exists() and self.file.exists() and self.file.stat().st_size:
            before = self.file.stat()
            with self.file.open("r+b") as file:
                file.seek(int(where * (before.st_size - 1)))
                file.write(b"?")
            if keep_times:
                os.utime(self.file, ns=(before.st_atime_ns, before.st_mtime_ns))

    @rule(which=st.randoms(use_true_random=False))
    def bring_an_old_record_back(self, which: random.Random) -> None:
        """As a crash would: the data is newer than the record."""
        if self.part.exists() and self.records:
            newest = self.part.read_bytes()
            older = [record for record in self.records if _subject(record) == _subject(newest)]
            if older:
                self.part.write_bytes(which.choice(older))

    @rule(share=st.floats(0, 1))
    def damage_the_record(self, share: float) -> None:
        if self.part.exists():
            data = bytearray(self.part.read_bytes())
            data[int(share * (len(data) - 1))] ^= 0x10
            self.part.write_bytes(data)

    @rule()
    def remove_both(self) -> None:
        self.file.unlink(missing_ok=True)
        self.part.unlink(missing_ok=True)
        self.records.clear()

    # What a user does

    @rule(more=st.sampled_from([(), ("--on-change", "restart"), ("--overwrite",), ("-x", "1")]))
    def get(self, more: tuple[str, ...]) -> None:
        ran = self.run("get", self.server.url(), "-o", "file.bin", *more)
        if ran.code == 0:
            assert self.file.read_bytes() == self.now
            assert not self.part.exists()
        if "--overwrite" in more and not self.server.faults and ran.code == 0:
            self.records.clear()

    @rule()
    def complete(self) -> None:
        if self.part.exists():
            ran = self.run("complete", "file.bin")
            assert ran.code != 0 or self.file.read_bytes() == self.now

    @rule(offset=st.integers(0, 41 * BLOCK), length=st.integers(0, 5 * BLOCK), cached=st.booleans())
    def cat(self, offset: int, length: int, cached: bool) -> None:
        more = () if cached else ("--no-cache",)
        ran = self.run("cat", self.server.url(), "--offset", str(offset), "--length", str(length), *more)
        wanted = self.now[offset : offset + length]
        if ran.code == 0:
            assert ran.out == wanted
        else:
            assert wanted.startswith(ran.out)

    @invariant()
    def a_file_without_a_record_is_whole(self) -> None:
        if self.versions and self.file.exists() and not self.part.exists():
            assert self.file.read_bytes() in self.versions


def _subject(record: bytes) -> object:
    """Return what tells whose record it is, as far as it can be read."""
    try:
        known = decode(record, "a record")
    except DamagedError:
        return record
    return known.identity, known.url


Stories.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
test_stories = Stories.TestCase
