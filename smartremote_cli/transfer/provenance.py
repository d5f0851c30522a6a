"""Provenance: whose bytes a transfer holds, and whether they may still change."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from pyroaring import BitMap

from .phase import Draining, Failed, Phase, Probing, SingleStream, Stopped, mode_of


@dataclass(slots=True)
class Provenance:
    """Whose the held bytes are. The guard of `State` guards it.

    *at_start* are the blocks that were held before this run, *resumed* says that an earlier download left them (not
    the cache). Held bytes are *exposed* once a reader has seen any. They are *disputed* once two answers disagreed
    about them: what came in this run is dropped then. *record_is_stale* says that every block was forgotten, and that
    the record on disk does not say so yet.
    """

    at_start: BitMap = field(default_factory=BitMap)
    resumed: bool = False
    exposed: bool = False
    disputed: bool = False
    record_is_stale: bool = False

    @property
    def is_cached_only(self) -> bool:
        """Whether the blocks from before this run are the cache's, and no reader has seen any."""
        return bool(self.at_start) and not (self.exposed or self.resumed)


class Remedy(enum.Enum):
    """What to do when two answers are of different versions, or one differs from what is held."""

    NONE = enum.auto()  # another worker has seen it first: all of them are leaving
    READ_FROM_START = enum.auto()  # a stream that goes on in the middle may do so in another version
    FETCH_ANEW = enum.auto()  # only the cache is wrong
    START_OVER = enum.auto()  # forget everything, and read it as a single stream: that is of one version
    GIVE_UP = enum.auto()


def remedy(phase: Phase, provenance: Provenance, *, is_strict: bool, in_bytes: bool, restarts: int) -> Remedy:
    """Return what to do about mixed versions, given what this transfer has tried.

    *is_strict* says that held bytes must not change, *in_bytes* that the difference shows in the bytes themselves.
    """
    mode = mode_of(phase)
    match phase:
        case Draining() | Stopped(was=Draining()) | Failed(was=Draining()):
            return Remedy.NONE
        case _ if isinstance(mode, Probing):
            return Remedy.GIVE_UP
        case _ if isinstance(mode, SingleStream) and mode.resumes and not is_strict:
            return Remedy.READ_FROM_START
        case _ if not isinstance(mode, SingleStream) and in_bytes and provenance.is_cached_only:
            return Remedy.FETCH_ANEW
        case _ if is_strict or restarts:
            return Remedy.GIVE_UP
    return Remedy.START_OVER
