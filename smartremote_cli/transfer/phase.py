"""Phase: where a transfer stands, as one value. What has a meaning in one phase only is a field of it.

A transfer is in one of three *modes*: it probes, it fetches ranges, or it reads a single stream. `Draining`,
`Stopped` and `Failed` wrap the mode that they interrupt, for the workers that are still busy in it.
"""

from __future__ import annotations

from typing import NamedTuple

from ..errors import SmartRemoteError
from ..protocol.identity import Identity


class Probing(NamedTuple):
    """No answer has been believed yet. With *whole*, the next request asks for everything, without Range."""

    whole: bool = False


class Ranges(NamedTuple):
    """Workers fetch ranges, each over a connection of its own."""


class SingleStream(NamedTuple):
    """One worker reads everything in one piece, from byte 0.

    *identity* is what the answer under way said of the resource, and *framed* whether the end of its body can be told
    from a broken connection. *resumes* says whether a broken stream may go on in the middle. *furthest* is how far any
    stream of this transfer came: bytes below it are no progress.
    """

    identity: Identity | None = None
    framed: bool = True
    resumes: bool = True
    furthest: int = 0


Mode = Probing | Ranges | SingleStream


class Draining(NamedTuple):
    """The workers of *was* leave; the last one enters *then*. With *forgets*, it first drops every held block."""

    was: Mode
    then: Mode
    forgets: bool = False


class Stopped(NamedTuple):
    """Someone has ended the transfer. What arrived by then is kept."""

    was: Mode | Draining


class Failed(NamedTuple):
    """*error* has ended the transfer, for everybody who waits for it."""

    error: SmartRemoteError
    was: Mode | Draining


Phase = Mode | Draining | Stopped | Failed

# From each phase to those that may follow it. A phase may also follow itself, with other fields.
TRANSITIONS: dict[type[Phase], frozenset[type[Phase]]] = {
    Probing: frozenset({Ranges, SingleStream, Stopped, Failed}),
    Ranges: frozenset({Draining, SingleStream, Stopped, Failed}),
    SingleStream: frozenset({Draining, Stopped, Failed}),
    Draining: frozenset({Ranges, SingleStream, Stopped, Failed}),
    Stopped: frozenset(),
    Failed: frozenset(),
}


def may_follow(now: Phase, then: Phase) -> bool:
    """Return whether the table has a transition from *now* to *then*."""
    return type(then) is type(now) or type(then) in TRANSITIONS[type(now)]


def mode_of(phase: Phase) -> Mode:
    """Return the mode that a transfer is in, or was in when it was interrupted."""
    return mode_of(phase.was) if isinstance(phase, Draining | Stopped | Failed) else phase


def draining_of(phase: Phase) -> Draining | None:
    """Return what the last worker has to do, also when the transfer was stopped while its workers were leaving."""
    match phase:
        case Draining():
            return phase
        case Stopped(was=Draining() as draining) | Failed(was=Draining() as draining):
            return draining
    return None


def with_mode(phase: Phase, mode: Mode) -> Phase:
    """Return *phase* with its mode replaced, inside whatever interrupts it."""
    match phase:
        case Stopped(was=Draining() as inner) | Failed(was=Draining() as inner):
            return phase._replace(was=inner._replace(was=mode))
        case Draining() | Stopped() | Failed():
            return phase._replace(was=mode)
    return mode


def interrupted(phase: Phase, draining: Draining) -> Phase:
    """Return *phase* with its mode being drained: a stopped or failed transfer stays so."""
    return phase._replace(was=draining) if isinstance(phase, Stopped | Failed) else draining


def drained(phase: Phase) -> Phase:
    """Return the phase that follows when the last worker has left."""
    match phase:
        case Draining(then=then):
            return then
        case Stopped(was=Draining(then=then)) | Failed(was=Draining(then=then)):
            return phase._replace(was=then)
    return phase
