"""A disk that forgets: it records what is done to one folder and rebuilds what a power cut could leave of it.

In the manner of SQLite's crash tests. The calls of `os` pass through to a real folder and are noted down. A cut at
any instant keeps, drops or tears each write that no sync has covered; names are durable once the folder was synced,
attributes once the file was (fdatasync does not do), and nothing promises that what is not durable yet becomes so
in the order in which it was done.

    with power.recorded(folder, monkeypatch) as disk:
        ...
        disk.note("saved")
    for state in disk.states():
        ...
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SECTOR = 512
# Up to this many undecided operations are tried in all combinations (64), more in a sample: a trade of time for states.
MAX_SUBSETS = 6
SAMPLES = 48  # of the combinations, where there are too many to try all


@dataclass(frozen=True)
class Op:
    """One operation. *kind* is write, size, attribute, link, rename, unlink, sync, fdatasync, folder or note."""

    kind: str
    file: int = 0
    name: str = ""
    other: str = ""
    offset: int = 0
    data: bytes = b""


@dataclass
class File:
    """A file as the disk has it."""

    data: bytearray = field(default_factory=bytearray)
    marks: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class State:
    """What is there when the power is back: *files* by name, and the last note made before it went."""

    files: dict[str, File]
    note: Any
    instant: int
    log: tuple[Op, ...]

    def put(self, folder: Path) -> None:
        """Make the files in the empty *folder*."""
        for name, file in self.files.items():
            (folder / name).write_bytes(file.data)
            for mark in file.marks:
                with contextlib.suppress(OSError):
                    os.setxattr(folder / name, mark, b"1")

    def __str__(self) -> str:
        sizes = {name: (len(file.data), *file.marks) for name, file in self.files.items()}
        steps = [f"{op.kind} {op.name or op.file} {op.other}{len(op.data) or ''}" for op in self.log]
        return f"after step {self.instant} of\n  " + "\n  ".join(steps) + f"\n{sizes}"


class Disk:
    """The record of one folder. What was in it at the start is durable."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log: list[Op] = []
        self._files: dict[str, int] = {}
        self._first: dict[int, File] = {}
        self._open: dict[int, int] = {}
        self._numbers = itertools.count(1)
        for path in sorted(folder.iterdir()):
            number = self._files[path.name] = next(self._numbers)
            marks = set(os.listxattr(path)) if hasattr(os, "listxattr") else set()
            self._first[number] = File(bytearray(path.read_bytes()), marks)
        self._names = dict(self._files)

    def note(self, value: Any) -> None:
        """Note down what may be relied on from here on."""
        self.log.append(Op("note", data=value))

    def states(self, seed: int = 0) -> Iterator[State]:
        """Yield what a cut after each step could leave, some of it where there is too much; no two alike in a row."""
        for instant in range(len(self.log) + 1):
            done = self.log[:instant]
            dice = random.Random(f"{seed} {instant}")
            undecided = [at for at, op in enumerate(done) if self._may_be_lost(at, op, done)]
            notes = [op.data for op in done if op.kind == "note"]
            for kept in _subsets(undecided, dice):
                files = self._rebuild(done, set(undecided) - kept, dice)
                yield State(files, notes[-1] if notes else None, instant, tuple(done))

    def _may_be_lost(self, at: int, op: Op, done: list[Op]) -> bool:
        later = done[at + 1 :]
        match op.kind:
            case "write" | "size":
                return not any(o.kind in ("sync", "fdatasync") and o.file == op.file for o in later)
            case "attribute":
                return not any(o.kind == "sync" and o.file == op.file for o in later)
            case "link" | "rename" | "unlink":
                return not any(o.kind == "folder" for o in later)
        return False

    def _rebuild(self, done: list[Op], lost: set[int], dice: random.Random) -> dict[str, File]:
        files = {number: File(bytearray(file.data), set(file.marks)) for number, file in self._first.items()}
        names = dict(self._names)
        for at, op in enumerate(done):
            torn = at in lost and op.kind == "write" and dice.random() < 0.5
            if at in lost and not torn:
                continue
            file = files.setdefault(op.file, File())
            match op.kind:
                case "write":
                    _grow(file.data, op.offset + len(op.data))
                    for start in range(0, len(op.data), SECTOR if torn else len(op.data)):
                        stop = start + SECTOR if torn else len(op.data)
                        if not torn or dice.random() < 0.5:
                            piece = op.data[start:stop]
                            file.data[op.offset + start : op.offset + start + len(piece)] = piece
                case "size":
                    del file.data[op.offset :]
                    _grow(file.data, op.offset)
                case "attribute":
                    (file.marks.add if op.data else file.marks.discard)(op.name)
                case "link":
                    names[op.name] = op.file
                case "rename":
                    if op.file in names.values():
                        names = {name: number for name, number in names.items() if number != op.file}
                    names[op.other] = op.file
                case "unlink":
                    if names.get(op.name) == op.file:
                        del names[op.name]
        return {name: files.get(number, File()) for name, number in names.items()}

    # What is intercepted

    def name_of(self, path: Any) -> str | None:
        """Return the name of *path* in the folder, None for one elsewhere."""
        if isinstance(path, int):
            return None
        folder, name = os.path.split(os.path.abspath(os.fspath(path)))
        return str(name) if folder == str(self.folder) else None

    def opened(self, path: Any, descriptor: int, existed: bool) -> None:
        name = self.name_of(path)
        if name is None:
            if os.path.abspath(os.fspath(path)) == str(self.folder):
                self._open[descriptor] = 0
            return
        if not existed:
            self._files[name] = next(self._numbers)
            self.log.append(Op("link", self._files[name], name))
        self._open[descriptor] = self._files[name]

    def closed(self, descriptor: int) -> None:
        self._open.pop(descriptor, None)

    def wrote(self, descriptor: int, offset: int, data: bytes) -> None:
        if self._open.get(descriptor):
            self.log.append(Op("write", self._open[descriptor], offset=offset, data=data))

    def sized(self, descriptor: int, size: int) -> None:
        if self._open.get(descriptor):
            self.log.append(Op("size", self._open[descriptor], offset=size))

    def synced(self, descriptor: int, kind: str) -> None:
        file = self._open.get(descriptor)
        if file is not None:
            self.log.append(Op(kind, file) if file else Op("folder"))

    def marked(self, descriptor: int, name: str, value: bytes) -> None:
        if self._open.get(descriptor):
            self.log.append(Op("attribute", self._open[descriptor], name, data=value))

    def renamed(self, source: Any, target: Any) -> None:
        before, after = self.name_of(source), self.name_of(target)
        if before is not None and after is not None:
            self._files[after] = self._files.pop(before)
            self.log.append(Op("rename", self._files[after], before, after))

    def linked(self, source: Any, target: Any) -> None:
        before, after = self.name_of(source), self.name_of(target)
        if before is not None and after is not None:
            self._files[after] = self._files[before]
            self.log.append(Op("link", self._files[after], after))

    def unlinked(self, path: Any) -> None:
        name = self.name_of(path)
        if name is not None:
            self.log.append(Op("unlink", self._files.pop(name), name))


@contextlib.contextmanager
def recorded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """Record what is done to *folder*, through `os`, until the end of the block."""
    disk = Disk(folder)
    with monkeypatch.context() as patch:

        def wrap(name: str, note: Callable[..., None]) -> None:
            real = getattr(os, name)

            def call(*arguments: Any, **named: Any) -> Any:
                result = real(*arguments, **named)
                note(result, *arguments)
                return result

            patch.setattr(os, name, call)

        real_open = os.open

        def opening(path: Any, flags: int, *more: Any, **named: Any) -> int:
            existed = os.path.lexists(path)
            descriptor = real_open(path, flags, *more, **named)
            disk.opened(path, descriptor, existed)
            return descriptor

        real_write = os.write

        def writing(descriptor: int, data: Any) -> int:
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            offset = os.lseek(descriptor, 0, os.SEEK_CUR) if regular else 0
            count = real_write(descriptor, data)
            disk.wrote(descriptor, offset, bytes(memoryview(data)[:count]))
            return count

        patch.setattr(os, "open", opening)
        patch.setattr(os, "write", writing)
        wrap("close", lambda _, descriptor: disk.closed(descriptor))
        wrap("pwrite", lambda count, fd, data, offset: disk.wrote(fd, offset, bytes(data[:count])))
        wrap("ftruncate", lambda _, descriptor, size: disk.sized(descriptor, size))
        wrap("fsync", lambda _, descriptor: disk.synced(descriptor, "sync"))
        wrap("fdatasync", lambda _, descriptor: disk.synced(descriptor, "fdatasync"))
        wrap("replace", lambda _, source, target: disk.renamed(source, target))
        wrap("link", lambda _, source, target: disk.linked(source, target))
        wrap("unlink", lambda _, path: disk.unlinked(path))
        wrap("setxattr", lambda _, descriptor, name, value: disk.marked(descriptor, name, value))
        wrap("removexattr", lambda _, descriptor, name: disk.marked(descriptor, name, b""))
        yield disk


def _grow(data: bytearray, size: int) -> None:
    if len(data) < size:
        data.extend(bytes(size - len(data)))


def _subsets(undecided: list[int], dice: random.Random) -> Iterator[set[int]]:
    """Yield the sets of operations that reach the disk: all, or a sample with all that leave out or have one alone."""
    if len(undecided) <= MAX_SUBSETS:
        for flags in itertools.product((False, True), repeat=len(undecided)):
            yield {at for at, flag in zip(undecided, flags, strict=True) if flag}
        return
    everything = set(undecided)
    yield everything
    yield set()
    for at in undecided:
        yield {at}
        yield everything - {at}
    for _ in range(SAMPLES):
        yield {at for at in undecided if dice.random() < 0.5}
