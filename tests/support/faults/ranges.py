"""Faults about ranges: ignored, mislabelled, of other bytes than those that were asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

from tests.support.server import Exchange, Fault, Reply

from .conditions import When, always, ranged, suffix
from .making import carry, of_parts


def deaf(*names: str, when: When = always) -> Fault:
    """Ignore these request headers: "If-Match", "If-Range" ..."""
    return Fault(f"deaf to {', '.join(names)}", when, ask=lambda exchange: exchange.asked.drop(*names))


def ignore_range(*, when: When = always) -> Fault:
    """Answer a range with the whole resource."""
    return deaf("Range", when=ranged & when)


# What is wrong with Content-Range: what a server says of the bytes first to last of total.
WRONG_RANGES: Mapping[str, Callable[[int, int, int], tuple[str, ...]]] = {
    "start": lambda first, last, total: (f"bytes {first + 1}-{last}/{total}",),
    "end": lambda first, last, total: (f"bytes {first}-{last + 1}/{total}",),
    "elsewhere": lambda first, last, total: (f"bytes {first + 65536}-{last + 65536}/{total + 65536}",),
    "total": lambda first, last, total: (f"bytes {first}-{last}/{total + 1}",),
    "total inside": lambda first, last, total: (f"bytes {first}-{last}/{last}",),
    "unsatisfied": lambda first, last, total: (f"bytes */{total}",),
    "unit": lambda first, last, total: (f"blocks {first}-{last}/{total}",),
    "no unit": lambda first, last, total: (f"{first}-{last}/{total}",),
    "no total": lambda first, last, total: (f"bytes {first}-{last}",),
    "equals": lambda first, last, total: (f"bytes={first}-{last}/{total}",),
    "backwards": lambda first, last, total: (f"bytes {last + 1}-{first}/{total}",),
    "negative": lambda first, last, total: (f"bytes -{first}-{last}/{total}",),
    "hexadecimal": lambda first, last, total: (f"bytes {first:#x}-{last:#x}/{total:#x}",),
    "underscores": lambda first, last, total: (f"bytes {first}-{last}/{total:_}_0",),
    "fraction": lambda first, last, total: (f"bytes {first}-{last}.5/{total}",),
    "absurd": lambda first, last, total: (f"bytes {first}-{last}/{'9' * 5000}",),
    "words": lambda first, last, total: ("bytes from here to there",),
    "empty": lambda first, last, total: ("",),
    "missing": lambda first, last, total: (),
    "twice": lambda first, last, total: (f"bytes {first}-{last}/{total}",) * 2,
    "twice and differing": lambda first, last, total: (
        f"bytes {first}-{last}/{total}",
        f"bytes {first + 1}-{last + 1}/{total}",
    ),
    "listed": lambda first, last, total: (f"bytes {first}-{last}/{total}, {first}-{last}/{total}",),
}


def wrong_range(kind: str, *, when: When = always) -> Fault:
    """Send the right bytes and say something of `WRONG_RANGES` about them."""
    wrong = WRONG_RANGES[kind]
    return of_parts(
        f"wrong Content-Range: {kind}",
        when,
        lambda reply: reply.headers.put(
            "Content-Range", *wrong(reply.body.start, reply.body.stop - 1, reply.body.content.size)
        ),
    )


def unknown_total(*, when: When = always) -> Fault:
    """Say `*` for the total, which is well-formed."""

    def edit(reply: Reply) -> None:
        reply.headers.put("Content-Range", f"bytes {reply.body.start}-{reply.body.stop - 1}/*")

    return of_parts("unknown total", when, edit)


def shorter(by: int, *, honest: bool = True, when: When = always) -> Fault:
    """Send a part that ends *by* bytes too early; unless *honest* Content-Range promises all of it."""
    return reshaped("shorter part", 0, -by, honest, when)


def at_most(size: int, *, when: When = always) -> Fault:
    """Send at most *size* bytes of what was asked for, and say so in Content-Range."""

    def edit(reply: Reply) -> None:
        total = reply.body.content.size
        reply.body = replace(reply.body, stop=min(reply.body.stop, reply.body.start + size))
        reply.headers.put("Content-Length", str(reply.body.size))
        reply.headers.put("Content-Range", f"bytes {reply.body.start}-{reply.body.stop - 1}/{total}")

    return of_parts("small part", when, edit)


def longer(by: int, *, honest: bool = True, when: When = always) -> Fault:
    return reshaped("longer part", 0, by, honest, when)


def earlier(by: int, *, honest: bool = True, when: When = always) -> Fault:
    """Send a part that starts *by* bytes before what was asked for."""
    return reshaped("earlier part", -by, 0, honest, when)


def later(by: int, *, honest: bool = True, when: When = always) -> Fault:
    return reshaped("later part", by, 0, honest, when)


def displaced(by: int, *, when: When = always) -> Fault:
    """Send bytes from *by* further on (or back) under perfect headers: only a comparison finds out."""

    def edit(reply: Reply) -> None:
        size, length = reply.body.content.size, reply.body.size
        start = max(0, min(reply.body.start + by, size - length))
        reply.body = replace(reply.body, start=start, stop=start + length)

    return of_parts("displaced", when, edit)


def multipart(*, when: When = always) -> Fault:
    """Answer one range as multipart/byteranges."""

    def edit(reply: Reply) -> None:
        about = f"Content-Range: {reply.headers.get('Content-Range')}\r\n"
        data = f"--edge\r\n{about}\r\n".encode() + reply.body.whole() + b"\r\n--edge--\r\n"
        reply.headers.drop("Content-Range")
        reply.headers.put("Content-Type", "multipart/byteranges; boundary=edge")
        carry(reply, data)

    return of_parts("multipart", when, edit)


def unsatisfiable(size: int | Literal["right"] | None = "right", *, when: When = always) -> Fault:
    """Answer every range with 416, naming the *size* or not."""

    def ask(exchange: Exchange) -> None:
        known = exchange.resource.data.size if exchange.resource and size == "right" else size
        named = [] if known is None else [("Content-Range", f"bytes */{known}")]
        exchange.reply = Reply.of(416, b"no such range\n", named)

    return Fault("416", ranged & when, ask=ask)


def part_as_200(*, content_range: bool = True, when: When = always) -> Fault:
    """Send the part that was asked for as 200, as long as the range, with its Content-Range or without."""

    def edit(reply: Reply) -> None:
        reply.status = 200
        if not content_range:
            reply.headers.drop("Content-Range")

    return of_parts("part as 200", when, edit)


def wrong_suffix(kind: Literal["501", "whole", "416", "head"], *, when: When = always) -> Fault:
    """Mistreat `bytes=-N`: refuse it, send everything, or take it for the first N bytes."""

    def ask(exchange: Exchange) -> None:
        assert exchange.resource
        match kind:
            case "501":
                exchange.reply = Reply.of(501, b"no such ranges here\n")
            case "whole":
                exchange.asked.drop("Range")
            case "416":
                total = exchange.resource.data.size
                exchange.reply = Reply.of(416, b"no\n", [("Content-Range", f"bytes */{total}")])
            case "head":
                count = int((exchange.seen.range or "").removeprefix("bytes=-"))
                exchange.asked.put("Range", f"bytes=0-{count - 1}")

    return Fault(f"suffix: {kind}", suffix & when, ask=ask)


def reshaped(name: str, start: int, stop: int, honest: bool, when: When) -> Fault:
    def edit(reply: Reply) -> None:
        old, total = reply.body, reply.body.content.size
        first = max(0, min(old.start + start, total - 1))
        reply.body = replace(old, start=first, stop=max(first + 1, min(old.stop + stop, total)))
        reply.headers.put("Content-Length", str(reply.body.size))
        if honest:
            reply.headers.put("Content-Range", f"bytes {first}-{reply.body.stop - 1}/{total}")

    return of_parts(name, when, edit)
