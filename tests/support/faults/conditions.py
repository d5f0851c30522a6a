"""When a fault strikes: conditions on a request, which compose with `&`, `|` and `~`."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.server import Exchange


@dataclass(frozen=True)
class When:
    """A condition on a request. Of `a & b`, *b* is asked about, and counts, only what *a* lets through."""

    holds: Callable[[Exchange], bool]

    def __call__(self, exchange: Exchange) -> bool:
        return self.holds(exchange)

    def __and__(self, other: When) -> When:
        return When(lambda exchange: self(exchange) and other(exchange))

    def __or__(self, other: When) -> When:
        return When(lambda exchange: self(exchange) or other(exchange))

    def __invert__(self) -> When:
        return When(lambda exchange: not self(exchange))


always = When(lambda exchange: True)
ranged = When(lambda exchange: exchange.seen.range is not None)
suffix = When(lambda exchange: (exchange.seen.range or "").startswith("bytes=-"))
conditional = When(lambda exchange: any(name.lower().startswith("if-") for name, _ in exchange.seen.headers))


def counted(chosen: Callable[[int], bool]) -> When:
    """Strike at the requests, counted from 1, that are *chosen*."""
    numbers = itertools.count(1)
    return When(lambda exchange: chosen(next(numbers)))


def nth(*numbers: int) -> When:
    return counted(lambda number: number in numbers)


def first(count: int) -> When:
    return counted(lambda number: number <= count)


def after(count: int) -> When:
    return counted(lambda number: number > count)


def every(step: int) -> When:
    return counted(lambda number: number % step == 0)


def chance(probability: float, seed: int = 0) -> When:
    dice = random.Random(seed)
    return When(lambda exchange: dice.random() < probability)


def after_successes(count: int) -> When:
    """Strike once *count* answers of the log are 200 or 206."""
    return When(lambda exchange: sum(seen.status in (200, 206) for seen in exchange.server.requests) >= count)


def path(*paths: str) -> When:
    return When(lambda exchange: exchange.seen.path in paths)


def method(name: str) -> When:
    return When(lambda exchange: exchange.seen.method == name)


def connection(chosen: Callable[[int], bool]) -> When:
    """Strike on the connections, counted from 1, that are *chosen*."""
    return When(lambda exchange: chosen(exchange.seen.connection))


def beyond(offset: int) -> When:
    """Strike at ranges that start at *offset* or later."""

    def starts_there(exchange: Exchange) -> bool:
        start = (exchange.seen.range or "").removeprefix("bytes=").partition("-")[0]
        return start.isdigit() and int(start) >= offset

    return When(starts_there)
