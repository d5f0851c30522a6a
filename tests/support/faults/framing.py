"""Faults about the message itself: its coding, its framing, its header fields, its digests."""

from __future__ import annotations

import gzip
import hashlib
from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

from tests.support.server import Body, Break, Content, Exchange, Fault, Pace, Reply

from .conditions import When, always
from .making import answering, carry


@lru_cache(maxsize=4)
def gzipped(content: Content, start: int, stop: int) -> bytes:
    """Return these bytes in the gzip format, stored and not compressed, which costs next to nothing.

    A test must not fail because compressing 8 MB for each of 8 connections takes longer than its timeout.
    """
    return gzip.compress(Body(content, start, stop).whole(), 0, mtime=0)


def gzip_coded(*, of_part: bool = False, when: When = always) -> Fault:
    """Send gzip although identity was asked for: of the whole with 200, or of the part under its 206."""

    def ask(exchange: Exchange) -> None:
        if not of_part:
            exchange.asked.drop("Range")

    def answer(exchange: Exchange, reply: Reply) -> None:
        if reply.status in (200, 206):
            reply.headers.put("Content-Encoding", "gzip")
            carry(reply, gzipped(reply.body.content, reply.body.start, reply.body.stop))

    return Fault("gzip", when, ask=ask, answer=answer)


def chunked(size: int = 10_000, *, when: When = always) -> Fault:
    """Send the body in chunks; with `fin` it is a truncated one."""

    def edit(reply: Reply) -> None:
        reply.headers.drop("Content-Length")
        reply.headers.put("Transfer-Encoding", "chunked")
        reply.chunk = size

    return answering("chunked", when, edit)


def odd_chunks(kind: Literal["extension", "trailers", "LF"], *, when: When = always) -> Fault:
    """Send chunks of which one's extension, or the trailers, do not end, or whose lines end with LF alone."""

    def edit(reply: Reply) -> None:
        data, end = reply.body.whole(), b"\n" if kind == "LF" else b"\r\n"
        parts = [data[start : start + 60_000] for start in range(0, len(data), 60_000)]
        coded = b"".join(b"%x%s%s%s" % (len(part), end, part, end) for part in parts)
        reply.headers.put("Transfer-Encoding", "chunked")
        match kind:
            case "extension":
                reply.body, reply.body_pace = Body.of(b"5;" + b"x" * 3000), Pace(1, 0.05)
            case "trailers":
                reply.body = Body.of(coded + b"0" + end + b"Odd: ")
                reply.breaks.append(Break(reply.body.size - 1, seconds=3600))
            case "LF":
                reply.body = Body.of(coded + b"0" + end + end)
        reply.headers.drop("Content-Length")

    return answering(f"odd chunks: {kind}", when, edit)


def until_close(*, when: When = always) -> Fault:
    """Announce no length: the body ends with the connection."""

    def edit(reply: Reply) -> None:
        reply.headers.drop("Content-Length")
        reply.headers.put("Connection", "close")

    return answering("until close", when, edit)


def header(name: str, *values: str, when: When = always) -> Fault:
    """Let a header of the answer have these values; none drops it."""
    return answering(f"{name}: {', '.join(values)}", when, lambda reply: reply.headers.put(name, *values))


# What Content-Length can be but should not: values by their names, for `header("Content-Length", *values)`.
WRONG_LENGTHS: Mapping[str, tuple[str, ...]] = {
    "negative": ("-1",),
    "signed": ("+5",),
    "absurd": ("9" * 40,),
    "very long": ("9" * 5000,),
    "word": ("many",),
    "hexadecimal": ("0x10",),
    "underscore": ("1_000",),
    "fraction": ("10.5",),
    "empty": ("",),
    "differing": ("10", "20"),
    "differing in one line": ("10, 20",),
}


def wrong_length(kind: str, *, when: When = always) -> Fault:
    return header("Content-Length", *WRONG_LENGTHS[kind], when=when)


def te_beside_length(*, when: When = always) -> Fault:
    """Send chunks under Transfer-Encoding and Content-Length, as in request smuggling."""

    def edit(reply: Reply) -> None:
        reply.headers.put("Transfer-Encoding", "chunked")
        reply.chunk = 10_000

    return answering("TE beside CL", when, edit)


def http09(*, when: When = always) -> Fault:
    """Send the body and nothing else."""
    return raw(b"", when=when)


def raw(head: bytes, *, when: When = always) -> Fault:
    """Send *head*, whatever it is, in place of status line and headers, and hang up after the body."""

    def edit(reply: Reply) -> None:
        reply.head, reply.close = head, True

    return answering("raw head", when, edit)


def informational(status: int = 103, times: int = 1, *, when: When = always) -> Fault:
    """Send 1xx answers before the real one."""
    line = f"HTTP/1.1 {status} Wait\r\nX-Hint: none\r\n\r\n".encode()
    return answering(f"{status} before", when, lambda reply: setattr(reply, "preface", line * times))


def after_body(extra: bytes = b"HTTP/1.1 200 OK\r\n\r\n", *, when: When = always) -> Fault:
    """Send more than was announced; the default looks like the next answer."""
    return answering("bytes after the body", when, lambda reply: setattr(reply, "trailing", extra))


@lru_cache(maxsize=64)
def _digest_of(content: Content, start: int, stop: int, algorithm: str, more: bytes) -> bytes:
    known = hashlib.new(algorithm.replace("-", ""))
    for piece in Body(content, start, stop).pieces():
        known.update(piece)
    known.update(more)
    return known.digest()


def digest(
    name: Literal["Repr-Digest", "Content-Digest", "Digest"] = "Repr-Digest",
    *,
    right: bool = True,
    algorithm: Literal["sha-256", "sha-512"] = "sha-256",
    when: When = always,
) -> Fault:
    """Send a digest (RFC 9530, RFC 3230): of the whole resource, or with Content-Digest of the body."""

    def edit(reply: Reply) -> None:
        if reply.status not in (200, 206):
            return
        content = reply.body.content
        edges = (reply.body.start, reply.body.stop) if name == "Content-Digest" else (0, content.size)
        value = b64encode(_digest_of(content, *edges, algorithm, b"" if right else b"wrong")).decode()
        reply.headers.put(name, f"{algorithm}={value}" if name == "Digest" else f"{algorithm}=:{value}:")

    return answering(f"{name}, {'right' if right else 'wrong'}", when, edit)
