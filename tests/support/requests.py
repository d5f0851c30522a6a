"""What the requests in the log of a server asked for."""

from __future__ import annotations

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.plan.planner import SEAM
from tests.support.server import Server


def asked_for(server: Server) -> list[tuple[int, int]]:
    """Return the first and last byte of every range that was asked for."""
    pairs = [str(asked).removeprefix("bytes=").split("-") for asked in server.ranges]
    return [(int(first), int(last)) for first, last in pairs]


def blocks_sent(server: Server) -> dict[int, int]:
    """Return how often each block was asked for as a whole: seams reach into others by less than one."""
    times: dict[int, int] = {}
    for first, last in asked_for(server):
        for block in range((first + SEAM) // BLOCK, (last - SEAM) // BLOCK + 1):
            times[block] = times.get(block, 0) + 1
    return times
