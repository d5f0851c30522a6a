"""What lies in the cache folder, and the removal of entries that no process uses, the least recently used first.

No lock is held while the folder is listed. Nothing is removed but what smartremote has made, and proof of that is the
name, or the record of an earlier version.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable
from typing import NamedTuple

from .cache_names import is_entry_name, is_old_entry, is_trusted, paths_of, stem_of
from .files import is_at
from .leftovers import record_path
from .locks import folder_lock

# What each entry is charged beside its data, at least: a record, its replacement and a page of sums.
ENTRY_BYTES = 16 * 1024

# A part of an entry without its data file is what a crash has left, once it is this old. By judgement: no process
# takes an hour from one file of an entry to the next.
_LEFTOVER_SECONDS = 3600.0

_STAT_BLOCK = 512  # bytes: the unit of st_blocks (stat(3type)), whatever the file system's own blocks are


class Entry(NamedTuple):
    """An entry: when it was used last, its bytes of disk, and the path of its data file."""

    used: float
    size: int
    path: str


class Census(NamedTuple):
    """The entries of a folder, and the bytes of all of them. *leftovers* are parts of entries that a crash has left."""

    entries: list[Entry]
    leftovers: list[str]


def take_census(folder: str, names: Iterable[str]) -> Census:
    """Look at those of *names* in *folder* that may be entries."""
    found: dict[str, set[str]] = {}
    for name in names:
        stem = stem_of(name)
        if stem is not None:
            found.setdefault(stem, set()).add(name)
    entries, leftovers = list[Entry](), list[str]()
    for stem, parts in found.items():
        path = os.path.join(folder, stem)
        if stem in parts and (len(parts) > 1 or is_entry_name(stem)):
            entry = _measure(path, parts)
            if entry is not None:
                entries.append(entry)
        if is_entry_name(stem):
            loose = parts if stem not in parts else parts & {f"{stem}.part.tmp"}
            leftovers += [os.path.join(folder, name) for name in loose]
    return Census(entries, leftovers)


def evict(folder: str, census: Census, limit: int, spare: int, moment: float) -> int:
    """Remove what is not in use until the entries take *limit* bytes; return how many they take then.

    Where anything has to go, *spare* bytes more go, so that the next count is not needed soon. *moment* is now, by
    the clock of the file system.
    """
    for path in census.leftovers:
        _remove_leftover(folder, path, moment)
    total = sum(entry.size for entry in census.entries)
    if total > limit:
        limit -= spare
    for entry in sorted(census.entries):
        if total <= limit:
            break
        if _remove_unused(folder, entry.path):
            total -= entry.size
    return total


def _measure(path: str, parts: set[str]) -> Entry | None:
    try:
        data = os.lstat(path)
    except OSError:
        return None
    used, beside = data.st_mtime, 0
    for name in parts:
        if name == os.path.basename(path):
            continue
        with contextlib.suppress(OSError):
            part = os.lstat(os.path.join(os.path.dirname(path), name))
            beside += part.st_blocks * _STAT_BLOCK
            if name.endswith((".part", ".whole")):
                used = part.st_mtime
                beside += part.st_blocks * _STAT_BLOCK  # it is replaced by another as large
    return Entry(used, data.st_blocks * _STAT_BLOCK + max(ENTRY_BYTES, beside), path)


def _remove_unused(folder: str, path: str) -> bool:
    """Remove an entry that no process uses; its records go last."""
    if not is_trusted(path) or not (is_entry_name(os.path.basename(path)) or is_old_entry(path)):
        return False
    if any(os.path.lexists(part) and not is_trusted(part) for part in paths_of(path)):
        return False
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with folder_lock(folder):
            if not is_at(descriptor, path):
                return False
            for part in paths_of(path):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(part)
        return True
    except OSError:  # in use, or the folder's lock is
        return False
    finally:
        os.close(descriptor)  # the system frees the blocks here, after the lock


def _remove_leftover(folder: str, path: str, moment: float) -> None:
    with contextlib.suppress(OSError):
        if is_trusted(path) and abs(moment - os.lstat(path).st_mtime) > _LEFTOVER_SECONDS:
            data = os.path.join(folder, stem_of(os.path.basename(path)) or "")
            with folder_lock(folder):
                if path == f"{record_path(data)}.tmp" or not os.path.lexists(data):
                    os.unlink(path)
