"""Stamp: what a file that we have finished says of itself, in an extended attribute.

It names the resource (a hash of its URL, size and validators), the file as it was then (its time of modification), and
a digest over the sums of its blocks. It holds for as long as size, time of modification and time of change are what
they were; where the last alone differs (`mv`, `chmod`, `cp -a`, or an edit that put the time of modification back), the
file is read and held against the digest. A stamp saves a comparison: one conditional request tells whether the server
still has these bytes. File systems without extended attributes have no stamps, and lose nothing but that.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from dataclasses import dataclass

from ..core.blocks import BlockMap
from ..core.ranges import ByteRange
from ..protocol.identity import Identity, well_formed_date, well_formed_tag
from .part import Record
from .sums import digest_of_file

STAMP = "user.smartremote.done"

_VERSION = 1
# Bytes. ext4 keeps all attributes of a file in one block of 4 KiB; longer validators go without a stamp.
_MAX_STAMP_BYTES = 3072

# To set an attribute changes the time of change, so the stamp can name that only as nearly as clocks agree: that of the
# last tick, which Linux notes (1 to 10 ms ago), and the exact one, which it notes from 6.13 on. The call takes 20 µs
# (measured); an edit that begins this soon after it is not seen.
_CLOCKS_AGREE_NS = 1_000_000
ATTEMPTS = 5
_LAST_TICK = 5  # CLOCK_REALTIME_COARSE of linux/time.h, for which Python has no name


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a stamp says: the hash of the URL, whose resource had *identity*, and the digest of the blocks' sums."""

    url: str
    identity: Identity
    sums: str | None

    @property
    def record(self) -> Record:
        """The record that the file would have: every block is held."""
        blocks = BlockMap(self.identity.size or 0)
        if blocks.size:
            blocks.hold(ByteRange(0, blocks.size))
        return Record(blocks.bits, self.identity)

    def is_of(self, url: str) -> bool:
        """Return whether the file was fetched from *url*; validators prove nothing across URLs."""
        return self.url == hash_of(url)


def hash_of(url: str) -> str:
    """Return the hash under which a stamp knows *url*: the URL itself may hold a signature."""
    return hashlib.sha256(url.encode("utf-8", "surrogateescape")).hexdigest()


def stamp(descriptor: int, url: str, identity: Identity, sums: str | None, attempts: int = ATTEMPTS) -> None:
    """Stamp the open file as finished, where the file system has extended attributes.

    A stamp that names the time of change as nearly as clocks agree may take several *attempts*.
    """
    found = os.fstat(descriptor)
    facts = {
        "version": _VERSION,
        "url": hash_of(url),
        "size": identity.size,
        "etag": identity.etag,
        "last_modified": identity.last_modified,
        "settled": identity.settled,
        "racy": identity.racy,
        "mtime_ns": found.st_mtime_ns,
        "sums": sums,
    }
    for _ in range(attempts):  # a machine under load may be interrupted between the clock and the call
        facts["changed_ns"] = [time.time_ns(), _tick_ns()]
        text = json.dumps(facts, separators=(",", ":")).encode()
        if found.st_size != identity.size or len(text) > _MAX_STAMP_BYTES:
            return
        try:
            os.setxattr(descriptor, STAMP, text)
        except (OSError, AttributeError):
            return
        if _is_unchanged(facts, os.fstat(descriptor)):
            return


def unstamp(descriptor: int) -> None:
    """Take the stamp away: the file is being changed."""
    with contextlib.suppress(OSError, AttributeError):
        os.removexattr(descriptor, STAMP)


def stamp_of(path: str | int) -> Stamp | None:
    """Return the stamp of a file that is as it was stamped; None for any other."""
    try:
        text = os.getxattr(path, STAMP)
        found = os.stat(path)
    except (OSError, AttributeError):
        return None
    facts = _facts(text)
    if facts is None or facts.get("size") != found.st_size or facts.get("mtime_ns") != found.st_mtime_ns:
        return None
    etag, modified, url, sums = (_text(facts.get(key)) for key in ("etag", "last_modified", "url", "sums"))
    if not _is_unchanged(facts, found) and (sums is None or digest_of_file(path) != sums):
        return None
    identity = Identity(
        found.st_size,
        well_formed_tag(etag),
        well_formed_date(modified),
        settled=facts.get("settled") is True,
        racy=facts.get("racy") is True,
    )
    return None if url is None else Stamp(url, identity, sums)


def _is_unchanged(facts: dict[str, object], found: os.stat_result) -> bool:
    """Return whether nothing has changed the file, its name or its attributes since it was stamped."""
    changed = facts.get("changed_ns")
    return isinstance(changed, list) and any(
        isinstance(clock, int) and abs(found.st_ctime_ns - clock) <= _CLOCKS_AGREE_NS for clock in changed
    )


def _tick_ns() -> int:
    """Return the time of the last tick; the exact one where there is no such clock."""
    try:
        return time.clock_gettime_ns(_LAST_TICK)
    except (OSError, AttributeError):
        return time.time_ns()


def _facts(text: bytes) -> dict[str, object] | None:
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return facts if isinstance(facts, dict) and facts.get("version") == _VERSION else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
