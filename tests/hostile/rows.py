"""What the server holds, and what a row of the tables is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest

from smartremote_cli.core.blocks import BLOCK
from tests.support import faults
from tests.support.server import Fault, Patterned, Resource, Server, pattern

Test = TypeVar("Test", bound=Callable[..., Any])

MIB = 1 << 20
SIZE = 8 * MIB + 12_345  # more than the first request asks for, and no whole number of blocks
CONTENT = Patterned(SIZE)
ONE = pattern(SIZE)
TWO = pattern(SIZE, seed=2)
LONGER = pattern(SIZE + 70_000, seed=2)

# What a resumed download holds of version one: gaps of many sizes, and the end.
HELD = (*range(0, 10), *range(20, 40), *range(90, 100), SIZE // BLOCK)

SECRETS = ("hunter2", "5igna7ure", "bTpodW50ZXIy", "t0psecret")
QUERY = "?X-Signature=5igna7ure"

# What may be in a file after exit 0, and in the blocks of a record.
Versions = tuple[bytes, ...]


# Seconds: long enough that only a server that stalls runs into it, also on a loaded machine (on an idle one no answer
# takes a tenth of it). Rows about stalls have a shorter one, so that they end soon; see `patient`.
TIMEOUT = 10.0


@dataclass(frozen=True)
class Row:
    """*make* makes the faults, anew for each server. Exit codes are sets of what is right."""

    name: str
    make: Callable[[], list[Fault]]
    fresh: set[int]
    resumed: set[int]
    versions: Versions = (ONE,)
    requests: int = 40
    timeout: float = TIMEOUT
    retries: int = 3
    resource: Resource = field(default_factory=lambda: Resource(CONTENT))


def row(
    name: str,
    make: Callable[[], list[Fault]],
    fresh: int | set[int] = 0,
    resumed: int | set[int] | None = None,
    **more: object,
) -> Row:
    as_set = fresh if isinstance(fresh, set) else {fresh}
    other = as_set if resumed is None else resumed if isinstance(resumed, set) else {resumed}
    return Row(name, make, as_set, other, **more)  # type: ignore[arg-type]


def patient(each: Row, timeout: float) -> Row:
    """Return the row with this short *timeout*.

    On a loaded machine it also ends answers that are only slow. Where the row expects success, more retries make up
    for that.
    """
    if {0} in (each.fresh, each.resumed):
        return replace(each, timeout=timeout, retries=30, requests=each.requests + 100)
    return replace(each, timeout=timeout)


def bind(make: Callable[..., list[Fault]], *values: object) -> Callable[[], list[Fault]]:
    """Return *make* with these values, for rows that are made in a loop."""
    return lambda: make(*values)


def swap(to: Resource) -> Callable[[Server], None]:
    """Return what replaces the resource in the middle of things."""

    def act(server: Server) -> None:
        server.resources["/file.bin"] = to

    return act


def fresh_and_resumed(rows: Iterable[Row]) -> Callable[[Test], Test]:
    """Run a test with each of *rows*, once without anything and once with what an interrupted run has left."""
    each = pytest.mark.parametrize("each", rows, ids=lambda each: each.name)
    resumed = pytest.mark.parametrize("resumed", [False, True], ids=["fresh", "resumed"])
    return lambda test: resumed(each(test))


BARE = Resource(CONTENT, etag=None, last_modified=None)
BARE_TWO = Resource(Patterned(SIZE, seed=2), etag=None, last_modified=None)
NEXT = Resource(Patterned(SIZE, seed=2), etag='"two"', last_modified="Thu, 02 Jan 2025 00:00:00 GMT")
FORGED = Resource(Patterned(SIZE, seed=2))  # other bytes under the validators of version one
SWELLED = Resource(Patterned(SIZE + 70_000, seed=2), etag='"two"')

first, nth, after, every = faults.first, faults.nth, faults.after, faults.every
