"""Events of a transfer, as frozen values; a listener is any callable that takes one.

Sizes are bytes, speeds bytes per second, times seconds. Listeners are called from the transfer's threads, never
while a lock is held, and must return quickly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

MAP_CELLS = 64  # in a Snapshot; a display resamples them to the width of its window


class Started(NamedTuple):
    """The server has answered: the size (None while unknown), and the bytes that were held before."""

    name: str
    size: int | None
    bytes_present: int


class Retrying(NamedTuple):
    """An attempt failed, and the next one begins in *pause* seconds; *failures* counts those in a row."""

    why: str
    pause: float
    failures: int


class Notice(NamedTuple):
    """Something a person should know, such as a weak validator; *detail* means that only -v shows it.

    A *warning* is shown where no progress is, too.
    """

    text: str
    detail: bool = False
    warning: bool = False


class Checked(NamedTuple):
    """The file is the resource, as far as *how* tells: digest, samples or none. *text* is for people."""

    how: str
    text: str


class Snapshot(NamedTuple):
    """The state of a transfer at one instant. It is not an event: displays ask for it when they draw."""

    bytes_present: int
    size: int | None
    connections: int
    cells: tuple[float, ...] = ()


Event = Started | Retrying | Notice | Checked
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Do nothing: the default listener."""
