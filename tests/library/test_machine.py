"""A RemoteFile beside an io.BytesIO of the same bytes: whatever is done to both, they answer the same.

The server has ranges or none, validators or none, and breaks off now and then; the file is in the cache folder, at
a path, or in memory, and is closed and opened again at any moment.
"""

from __future__ import annotations

import functools
import io
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from smartremote_cli import RemoteFile
from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.library import manager as managers
from smartremote_cli.transfer.state import Policy
from tests.support import faults
from tests.support.managers import manager
from tests.support.server import Fault, Resource, Server, pattern

SIZES = [0, 1, BLOCK, 9 * BLOCK + 777]
OFFSETS = st.one_of(
    st.integers(0, 10 * BLOCK),
    st.builds(lambda block, beside: max(0, block * BLOCK + beside), st.integers(0, 10), st.integers(-2, 2)),
)
LENGTHS = st.one_of(st.integers(0, 5000), st.integers(0, 4 * BLOCK), st.just(BLOCK))
VALIDATORS: dict[str, dict[str, Any]] = {
    "both": {},
    "no tag": {"etag": None},
    "weak tag": {"etag": 'W/"one"'},
    "none": {"etag": None, "last_modified": None},
}
FAULTS: dict[str, Callable[[], list[Fault]]] = {
    "none": list,
    "resets": lambda: [faults.reset(after=70_000, when=faults.every(3))],
    "short parts": lambda: [faults.shorter(by=BLOCK + 100, when=faults.every(2))],
    "long parts": lambda: [faults.longer(by=3 * BLOCK, when=faults.every(2))],
    "503 now and then": lambda: [faults.status(503, when=faults.every(4))],
    "chunked": lambda: [faults.chunked()],
}


class RemoteFileMachine(RuleBasedStateMachine):
    @initialize(
        size=st.sampled_from(SIZES),
        ranges=st.sampled_from([True, True, True, False]),
        validators=st.sampled_from(sorted(VALIDATORS)),
        fault=st.sampled_from(sorted(FAULTS)),
        kind=st.sampled_from(["open", "open_to", "reader_at"]),
        jump=st.sampled_from([0, BLOCK, 512 * 1024]),
        idle=st.booleans(),
    )
    def begin(
        self, size: int, ranges: bool, validators: str, fault: str, kind: str, jump: int, idle: bool
    ) -> None:
        if fault == "chunked" and kind == "open_to" and not (ranges and size):
            kind = "open"  # without a length, a complete file cannot be told from somebody else's
        self.data = pattern(size)
        self.folder = Path(tempfile.mkdtemp())
        self.kind = kind
        self.server = Server(Resource(self.data, ranges=ranges, **VALIDATORS[validators]))
        self.server.faults += FAULTS[fault]()
        self.manager = manager(self.folder, max_data_jump=jump, idle_download=idle)
        self.model = io.BytesIO(self.data)
        self.file = self.open()

    def open(self) -> RemoteFile:
        if self.kind == "open_to":
            return self.manager.open_to(self.server.url(), self.folder / "file.bin")
        return (
            self.manager.open(self.server.url())
            if self.kind == "open"
            else self.manager.reader_at(self.server.url())
        )

    @rule(length=st.one_of(LENGTHS, st.just(-1), st.none()))
    def read(self, length: int | None) -> None:
        assert self.file.read(length) == self.model.read(length)

    @rule(length=LENGTHS)
    def readinto(self, length: int) -> None:
        mine, its = bytearray(length), bytearray(length)
        assert self.file.readinto(mine) == self.model.readinto(its)
        assert mine == its

    @rule(limit=st.integers(0, 3000))
    def readline_up_to(self, limit: int) -> None:
        assert self.file.readline(limit) == self.model.readline(limit)

    @rule()
    def readline(self) -> None:
        assert self.file.readline() == self.model.readline()

    @rule(offset=OFFSETS)
    def seek(self, offset: int) -> None:
        assert self.file.seek(offset) == self.model.seek(offset)

    @rule(distance=st.integers(-2 * BLOCK, 2 * BLOCK))
    def seek_from_here(self, distance: int) -> None:
        assert self.file.seek(distance, os.SEEK_CUR) == self.model.seek(distance, os.SEEK_CUR)

    @rule(distance=st.integers(-11 * BLOCK, 1000))
    def seek_from_the_end(self, distance: int) -> None:
        assert self.file.seek(distance, os.SEEK_END) == self.model.seek(distance, os.SEEK_END)

    @rule(offset=OFFSETS, length=LENGTHS)
    def read_at(self, offset: int, length: int) -> None:
        assert self.file.read_at(offset, length) == self.data[offset : offset + length]

    @rule(offset=OFFSETS, length=LENGTHS)
    def invalidate(self, offset: int, length: int) -> None:
        self.file.invalidate(offset, length)

    @rule()
    def save_part(self) -> None:
        self.file.save_part()

    @rule()
    def complete(self) -> None:
        self.file.complete()
        if self.kind == "open_to":
            assert (self.folder / "file.bin").read_bytes() == self.data
            assert not (self.folder / "file.bin.part").exists()

    @rule()
    def look(self) -> None:
        assert self.file.size == self.file.stat().st_size == self.file.blocks.size == len(self.data)

    @rule()
    def close_and_open_again(self) -> None:
        self.file.close()
        if self.kind == "open_to" and (self.folder / "file.bin").exists():
            if not (self.folder / "file.bin.part").exists():
                assert (self.folder / "file.bin").read_bytes() == self.data
        self.file = self.open()
        self.model.seek(0)

    @invariant()
    def position(self) -> None:
        if hasattr(self, "file"):
            assert self.file.tell() == self.model.tell()

    def teardown(self) -> None:
        if hasattr(self, "file"):
            self.file.close()
            self.manager.close()
            self.server.close()
            shutil.rmtree(self.folder)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait between attempts."""
    monkeypatch.setattr(managers, "Policy", functools.partial(Policy, pause=lambda failures, chance: 0.001))


@pytest.mark.usefixtures("impatient")
class TestRemoteFile(RemoteFileMachine.TestCase):  # type: ignore[misc, valid-type]
    settings = settings(
        max_examples=40,
        stateful_step_count=30,
        deadline=None,
        phases=[
            Phase.explicit,
            Phase.reuse,
            Phase.generate,
        ],  # a failure is short enough, and shrinking is slow
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
