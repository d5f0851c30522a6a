"""How to start, given what an earlier run left behind. Values in, a decision out; no I/O."""

from __future__ import annotations

import enum
from typing import NamedTuple

from ..errors import ForeignFileError, RemoteChangedError
from ..protocol.identity import Identity, Match, changed
from .part import Record


class Start(enum.Enum):
    """How a download begins."""

    FRESH = enum.auto()  # nothing is here
    COMPARE = enum.auto()  # a file without a record: complete already, if it proves to be the same
    RESUME = enum.auto()  # the record's blocks are of this very resource
    SAMPLE = enum.auto()  # the record's blocks may be: compare some of them first


class OnDisk(NamedTuple):
    """A data file: its size in bytes, and whether it carries the mark of an unfinished download."""

    size: int
    marked: bool


def decide(
    name: str, on_disk: OnDisk | None, record: Record | None, remote: Identity, *, other_url: bool = False
) -> Start:
    """Return how to start the download of *remote* into *name*.

    With *other_url* (`complete --url`) differing validators prove nothing. Raises `ForeignFileError` when a file
    of that name is not this download's, `RemoteChangedError` when the recorded resource is not this one.
    """
    match on_disk, record:
        case None, None:
            return Start.FRESH
        case OnDisk(marked=True), None:
            raise ForeignFileError(name, "an unfinished download whose part record is missing")
        case OnDisk(size=size), None if size == remote.size:
            return Start.COMPARE
        case OnDisk(size=size), None:
            was = "an unknown number of" if remote.size is None else remote.size
            raise ForeignFileError(name, f"a file of {size} bytes exists, where the resource has {was} bytes")
        case _, Record(bits=bits) if not bits:
            return Start.RESUME
        case _, Record(identity=None):
            return Start.SAMPLE
        case _, Record(identity=Identity() as known):
            return _resume(name, known, remote, other_url)
    raise AssertionError("unreachable")


def _resume(name: str, known: Identity, remote: Identity, other_url: bool) -> Start:
    if known.size is not None and remote.size is not None and known.size != remote.size:
        raise RemoteChangedError(name, f"the resource now has {remote.size} bytes, where it had {known.size}")
    match known.compare(remote):
        case _ if other_url:
            return Start.SAMPLE
        case Match.DIFFERENT:
            raise RemoteChangedError(name, changed(known, remote))
        case Match.SAME if _proves(known, remote):
            return Start.RESUME
        case _:
            return Start.SAMPLE


def _proves(known: Identity, now: Identity) -> bool:
    """Whether equal validators are proof enough: the strong tag, or all that were recorded, none gone or weaker.

    Those of a resource that had only just changed prove nothing.
    """
    if known.racy:
        return False
    if known.strong_etag is not None:
        return known.strong_etag == now.strong_etag
    gone = known.etag not in (None, now.etag) or known.last_modified not in (None, now.last_modified)
    return known.has_validator and not gone
