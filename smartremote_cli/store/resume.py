"""How to start, given what an earlier run left behind. Values in, a decision out; no I/O."""

from __future__ import annotations

import enum
from typing import NamedTuple

from ..core.blocks import BLOCK
from ..errors import ForeignFileError, RemoteChangedError
from ..protocol.identity import Identity, Match, changed
from .part import Record


class Start(enum.Enum):
    """How a download begins."""

    FRESH = enum.auto()  # nothing is here
    COMPARE = enum.auto()  # a file without a record: complete already, if nothing speaks against it
    COMPARE_PREFIX = enum.auto()  # a shorter one: the beginning of the resource, if it proves to be the same
    RESUME = enum.auto()  # the record's blocks are of this very resource
    SAMPLE = enum.auto()  # the record's blocks may be: compare some of them first


class OnDisk(NamedTuple):
    """A data file: its size in bytes, and whether it carries the mark of an unfinished download."""

    size: int
    marked: bool


def decide(
    name: str,
    on_disk: OnDisk | None,
    record: Record | None,
    remote: Identity,
    *,
    other_url: bool = False,
    same_url: bool = True,
) -> Start:
    """Return how to start the download of *remote* into *name*.

    Without *same_url* (the record names another) equal validators prove nothing: servers give equal tags to the
    volumes of one archive. With *other_url* (`complete --url`) differing ones prove nothing either. Raises
    `ForeignFileError` when a file of that name is not this download's, `RemoteChangedError` when the recorded resource
    is not this one.
    """
    match on_disk, record:
        case None, None:
            return Start.FRESH
        case OnDisk(size=size), None if size == remote.size:
            return Start.COMPARE
        case OnDisk(size=size), None if remote.size is not None and BLOCK <= size < remote.size:
            return Start.COMPARE_PREFIX
        case OnDisk(size=size), None:
            was = "an unknown number of" if remote.size is None else remote.size
            raise ForeignFileError(name, f"a file of {size} bytes exists, where the resource has {was} bytes")
        case _, Record(bits=bits) if not bits:
            return Start.RESUME
        case _, Record(identity=None):
            return Start.SAMPLE
        case _, Record(identity=Identity() as known):
            return _resume(name, known, remote, other_url, same_url)
    raise AssertionError("unreachable")


def _resume(name: str, known: Identity, remote: Identity, other_url: bool, same_url: bool) -> Start:
    if known.size is not None and remote.size is not None and known.size != remote.size:
        raise RemoteChangedError(name, f"the resource now has {remote.size} bytes, where it had {known.size}")
    match known.compare(remote):
        case _ if other_url:
            return Start.SAMPLE
        case Match.DIFFERENT:
            raise RemoteChangedError(name, changed(known, remote))
        case Match.SAME if same_url and _proves(known, remote):
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
