"""How the answer is sent: broken off, held up, slowly, without end."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tests.support.server import Break, Fault, Pace, Reply, Server, Where

from .conditions import When, always
from .making import answering, breaking


def reset(after: int = 0, where: Where = "body", *, when: When = always) -> Fault:
    """Reset the connection when *after* bytes are sent; "before" sends nothing at all."""
    return breaking("reset", Break(after, where, end="reset"), when)


def fin(after: int = 0, where: Where = "body", *, when: When = always) -> Fault:
    """End the stream when *after* bytes are sent; over TLS without close_notify."""
    return breaking("fin", Break(after, where, end="fin"), when)


def stall(seconds: float = 3600, after: int = 0, where: Where = "body", *, when: When = always) -> Fault:
    """Send nothing for *seconds*, then go on. The wait ends with the connection."""
    return breaking("stall", Break(after, where, seconds), when)


def at(
    call: Callable[[Server], None], after: int = 0, where: Where = "body", *, when: When = always
) -> Fault:
    """Call when *after* bytes are sent, to change something in the middle of an answer."""
    return breaking("at", Break(after, where, then=call), when)


def hold(gate: threading.Event, after: int = 0, where: Where = "body", *, when: When = always) -> Fault:
    """Send up to *after* bytes, then wait for *gate*: for tests that put requests in an order."""
    return breaking("hold", Break(after, where, gate=gate), when)


def drip(size: int, interval: float, *, when: When = always) -> Fault:
    """Send *size* bytes of the body, wait *interval* seconds, and so on."""
    return answering("drip", when, lambda reply: setattr(reply, "body_pace", Pace(size, interval)))


def pace(rate: float, *, when: When = always) -> Fault:
    """Send the body at *rate* bytes a second; unlike nginx's limit_rate from the first byte on."""
    size = max(1, round(rate / 50))
    return drip(size, size / rate, when=when)


def slow_headers(interval: float = 0.05, size: int = 1, *, when: When = always) -> Fault:
    return answering("slow headers", when, lambda reply: setattr(reply, "head_pace", Pace(size, interval)))


def endless_headers(interval: float = 0, *, when: When = always) -> Fault:
    """Send header fields until the client hangs up."""

    def edit(reply: Reply) -> None:
        reply.endless = True
        if interval:
            reply.head_pace = Pace(80, interval)

    return answering("endless headers", when, edit)


def silent_close(*, when: When = always) -> Fault:
    """Hang up after the answer without a Connection: close in it."""
    return answering("silent close", when, lambda reply: setattr(reply, "close", True))
