"""Faults about validators and versions: what changes, and what a server says of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from types import EllipsisType

from tests.support.server import Content, Exchange, Fault, Reply, Resource

from .conditions import When, always

Validator = str | Iterable[str | None] | EllipsisType | None


def validators(
    *,
    etag: Validator = ...,
    last_modified: Validator = ...,
    honoured: bool = True,
    when: When = always,
) -> Fault:
    """Show other validators: one, none, or several in turn, request by request; `...` leaves one as it is.

    With *honoured*, preconditions are judged by them too; otherwise by the resource's own.
    """
    tags, dates = _in_turn(etag), _in_turn(last_modified)

    def ask(exchange: Exchange) -> None:
        if exchange.resource and tags:
            exchange.resource.etag = next(tags)
        if exchange.resource and dates:
            exchange.resource.last_modified = next(dates)

    def answer(exchange: Exchange, reply: Reply) -> None:
        if reply.status in (200, 206, 304):
            for name, values in (("ETag", tags), ("Last-Modified", dates)):
                if values:
                    value = next(values)
                    reply.headers.put(name, *([] if value is None else [value]))

    if honoured:
        return Fault("validators", when, ask=ask)
    return Fault("validators, not honoured", when, answer=answer)


def weaken(*, when: When = always) -> Fault:
    """Show the weak form of the ETag, as servers that compress on the way do."""

    def ask(exchange: Exchange) -> None:
        if exchange.resource and exchange.resource.etag:
            exchange.resource.etag = f"W/{exchange.resource.etag.removeprefix('W/')}"

    return Fault("weak ETag", when, ask=ask)


def fail_precondition(*, when: When = always) -> Fault:
    """Answer 412 to If-Match and If-Unmodified-Since although nothing has changed."""

    def ask(exchange: Exchange) -> None:
        if exchange.asked.get("If-Match") or exchange.asked.get("If-Unmodified-Since"):
            exchange.reply = Reply.of(412, b"precondition failed\n")

    return Fault("412 although equal", when, ask=ask)


def distrust_if_range(*, when: When = always) -> Fault:
    """Answer 200 to If-Range although nothing has changed."""

    def ask(exchange: Exchange) -> None:
        if exchange.asked.get("If-Range"):
            exchange.asked.drop("Range")

    return Fault("200 to an equal If-Range", when, ask=ask)


@dataclass(frozen=True)
class Resized:
    """Another content cut off or filled up with `#` to *size*."""

    content: Content
    size: int

    def read(self, offset: int, length: int) -> memoryview:
        length = max(0, min(length, self.size - offset))
        own = self.content.read(min(offset, self.content.size), length)
        return own if len(own) == length else memoryview(bytes(own) + b"#" * (length - len(own)))


def resized(step: int, *, when: When = always) -> Fault:
    """Let the content be *step* bytes longer (or shorter) at each request than at the one before."""
    steps = itertools.count(1)

    def ask(exchange: Exchange) -> None:
        if exchange.resource:
            data = exchange.resource.data
            exchange.resource.content = Resized(data, max(0, data.size + step * next(steps)))

    return Fault("resized", when, ask=ask)


def mirrors(*resources: Resource, when: When = always) -> Fault:
    """Serve these in turn under one URL: mirrors that differ in their validators, or in their bytes alone."""
    turn = itertools.cycle(resources)

    def ask(exchange: Exchange) -> None:
        exchange.resource = replace(next(turn))

    return Fault("mirrors", when, ask=ask)


def _in_turn(value: Validator) -> Iterator[str | None] | None:
    if isinstance(value, EllipsisType):
        return None
    return itertools.cycle([value] if value is None or isinstance(value, str) else value)
