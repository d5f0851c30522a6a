"""What happens during a transfer, as frozen values; a listener is any callable that takes one.

Sizes are bytes, speeds bytes per second, times seconds. Listeners are called from the engine's threads, never
while a lock is held, and must return quickly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Started(NamedTuple):
    """The first believed answer came: the size (None while unknown) and what was held before."""

    name: str
    size: int | None
    bytes_present: int


class Retrying(NamedTuple):
    """An attempt failed and another will follow after *pause* seconds."""

    why: str
    pause: float
    failures: int


class Notice(NamedTuple):
    """Something a person should know: a coded body, a weak validator. *detail* ones are for -v only."""

    text: str
    detail: bool = False


class Snapshot(NamedTuple):
    """The state of a transfer at one instant; read by displays at their own pace, not sent as an event."""

    bytes_present: int
    size: int | None
    connections: int
    cells: tuple[float, ...] = ()


Event = Started | Retrying | Notice
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Be the listener of those who do not want one."""
