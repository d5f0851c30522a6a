"""The names in the cache folder: which of them are ours, and what else has to be true before one is touched.

The folder may hold the user's own files. An entry's name proves by itself that smartremote made it: 32 hex digits of
a hash, and 8 that are computed from those. What has such a name is used only when it is a regular file of this user
that has no other name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat

from ..errors import DamagedError, LocalError
from ..protocol.identity import Identity
from .files import local
from .leftovers import read_record, record_path
from .part import MAX_RECORD, Record, decode
from .sums import sums_path

# Who else could change a file or folder: its group and everybody.
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH

_STEM_DIGITS, _PROOF_DIGITS = 32, 8
_NAME = re.compile(r"([0-9a-f]{40})(\.part|\.whole|\.part\.sums|\.part\.tmp)?")


class NotOursError(LocalError):
    """Something in the cache folder, or the folder itself, is not what smartremote makes: it is left alone."""


def entry_name(key: str) -> str:
    """Return the name of the entry of *key*."""
    digits = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:_STEM_DIGITS]
    return digits + _proof(digits)


def stem_of(name: str) -> str | None:
    """Return the name of the entry that the file *name* may be a part of; None for a file of another kind."""
    found = _NAME.fullmatch(name)
    return None if found is None else found[1]


def is_entry_name(stem: str) -> bool:
    """Return whether *stem* is a name that `entry_name` has made."""
    return stem[_STEM_DIGITS:] == _proof(stem[:_STEM_DIGITS])


def whole_path(path: str) -> str:
    """Return where the record of a complete entry is."""
    return f"{path}.whole"


def paths_of(path: str) -> tuple[str, ...]:
    """Return the paths of all that an entry consists of, its records last."""
    record = record_path(path)
    return path, sums_path(path), f"{record}.tmp", record, whole_path(path)


def clear_data(path: str) -> None:
    """Remove the data file of an entry, its sums, and the record that calls it complete; not its part record."""
    for name in (path, sums_path(path), whole_path(path)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def is_given_up(path: str) -> bool:
    """Return whether the entry *path* has no data, and its record says that it is of nothing."""
    try:
        record = load(record_path(path), MAX_RECORD)
    except (DamagedError, LocalError):
        return False
    is_empty = record is not None and record.identity == Identity(None)
    return is_empty and not os.path.lexists(path) and not os.path.lexists(whole_path(path))


def is_old_entry(path: str) -> bool:
    """Return whether *path* is an entry of an earlier version, which named it by its URL alone: its record tells."""
    for name in (record_path(path), whole_path(path)):
        try:
            record = load(name, MAX_RECORD)
        except (DamagedError, LocalError):
            continue
        if record is not None and record.url is not None:
            digest = hashlib.sha256(record.url.encode("utf-8", "surrogatepass")).hexdigest()
            if digest[:40] == os.path.basename(path):
                return True
    return False


def load(name: str, most: int) -> Record | None:
    """Return what the record *name* of at most *most* bytes says, None when there is none or it is not to be trusted.

    Raises as `read_record` and `decode` do.
    """
    if not is_trusted(name):
        return None
    data = read_record(name, most)
    return None if data is None else decode(data, name)


def is_trusted(path: str) -> bool:
    """Return whether *path* is a regular file of this user without another name, which others cannot write."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return _is_own(found)


def check_own(path: str) -> None:
    """Raise `NotOursError` when something that is not to be trusted stands where a part of the entry *path* goes."""
    for name in paths_of(path):
        if os.path.lexists(name) and not is_trusted(name):
            raise NotOursError(name, "is not a file that smartremote made: left alone")


def check_folder(folder: str, *, make: bool) -> bool:
    """Return whether *folder* exists; with *make*, make it with mode 0700.

    Raises `NotOursError` for one that another user owns or may write, `LocalError` for one that cannot be made.
    """
    if make:
        with local(folder):
            os.makedirs(folder, mode=0o700, exist_ok=True)
    try:
        found = os.stat(folder)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise LocalError(folder, error.strerror or str(error)) from error
    if not stat.S_ISDIR(found.st_mode):
        raise NotOursError(folder, "is not a folder")
    if found.st_uid != os.geteuid():
        raise NotOursError(folder, "belongs to another user")
    if found.st_mode & _OTHERS_WRITE:
        raise NotOursError(folder, "other users may write there")
    return True


def _is_own(found: os.stat_result) -> bool:
    return (
        stat.S_ISREG(found.st_mode)
        and found.st_uid == os.geteuid()
        and found.st_nlink == 1
        and not found.st_mode & _OTHERS_WRITE
    )


def _proof(digits: str) -> str:
    return hashlib.sha256(b"smartremote cache entry " + digits.encode("ascii")).hexdigest()[:_PROOF_DIGITS]
