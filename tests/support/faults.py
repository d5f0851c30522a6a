"""The switches of the test server: one function a fault, and the conditions under which it strikes.

    server.faults += [
        faults.status(503, when=faults.first(2)),
        faults.reset(after=70_000, when=faults.ranged & faults.nth(3)),
        faults.pace(1 << 20),
    ]

Faults apply in the order of the list and compose: one edits what was asked, the next the answer, another how
it is sent. Once one has made the answer itself (`status`, `redirect`, `limit` ...), later ones of its kind
wait for the next request. Faults about ranges leave answers alone that are not 206. Faults and conditions
keep their own count, so make new ones for every server.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import random
import threading
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from email.utils import formatdate
from time import time
from types import EllipsisType
from typing import Literal

from tests.support.server import (
    Body,
    Break,
    Content,
    Exchange,
    Fault,
    Pace,
    Reply,
    Resource,
    Server,
    Where,
    basic,
)

# --- when ---


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


# --- how the answer is sent ---


def reset(after: int = 0, where: Where = "body", *, when: When = always) -> Fault:
    """RST when *after* bytes are sent; "before" sends nothing at all."""
    return _breaking("reset", Break(after, where, end="reset"), when)


def fin(after: int = 0, where: Where = "body", *, when: When = always) -> Fault:
    """End the stream when *after* bytes are sent; over TLS without taking leave."""
    return _breaking("fin", Break(after, where, end="fin"), when)


def stall(seconds: float = 3600, after: int = 0, where: Where = "body", *, when: When = always) -> Fault:
    """Send nothing for *seconds*, then go on. The wait ends with the connection."""
    return _breaking("stall", Break(after, where, seconds), when)


def at(
    call: Callable[[Server], None], after: int = 0, where: Where = "body", *, when: When = always
) -> Fault:
    """Call when *after* bytes are sent, to change something in the middle of an answer."""
    return _breaking("at", Break(after, where, then=call), when)


def hold(gate: threading.Event, after: int = 0, where: Where = "body", *, when: When = always) -> Fault:
    """Send no more than *after* bytes until *gate* is set, for tests that put requests in an order."""
    return _breaking("hold", Break(after, where, gate=gate), when)


def drip(size: int, interval: float, *, when: When = always) -> Fault:
    """Send *size* bytes of the body, wait *interval* seconds, and so on."""
    return _answering("drip", when, lambda reply: setattr(reply, "body_pace", Pace(size, interval)))


def pace(rate: float, *, when: When = always) -> Fault:
    """Send the body at *rate* bytes a second; unlike nginx's limit_rate from the first byte on."""
    size = max(1, round(rate / 50))
    return drip(size, size / rate, when=when)


def slow_headers(interval: float = 0.05, size: int = 1, *, when: When = always) -> Fault:
    return _answering("slow headers", when, lambda reply: setattr(reply, "head_pace", Pace(size, interval)))


def endless_headers(interval: float = 0, *, when: When = always) -> Fault:
    """Send header fields until the client has had enough."""

    def edit(reply: Reply) -> None:
        reply.endless = True
        if interval:
            reply.head_pace = Pace(80, interval)

    return _answering("endless headers", when, edit)


def silent_close(*, when: When = always) -> Fault:
    """Hang up after the answer without having said so."""
    return _answering("silent close", when, lambda reply: setattr(reply, "close", True))


# --- ranges ---


def deaf(*names: str, when: When = always) -> Fault:
    """Do not know these request headers: "If-Match", "If-Range" ..."""
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
    return _of_parts(
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

    return _of_parts("unknown total", when, edit)


def shorter(by: int, *, honest: bool = True, when: When = always) -> Fault:
    """Send a part that ends *by* bytes too early; unless *honest* Content-Range promises all of it."""
    return _reshaped("shorter part", 0, -by, honest, when)


def at_most(size: int, *, when: When = always) -> Fault:
    """Send parts of no more than *size* bytes, and say so."""

    def edit(reply: Reply) -> None:
        total = reply.body.content.size
        reply.body = replace(reply.body, stop=min(reply.body.stop, reply.body.start + size))
        reply.headers.put("Content-Length", str(reply.body.size))
        reply.headers.put("Content-Range", f"bytes {reply.body.start}-{reply.body.stop - 1}/{total}")

    return _of_parts("small part", when, edit)


def longer(by: int, *, honest: bool = True, when: When = always) -> Fault:
    return _reshaped("longer part", 0, by, honest, when)


def earlier(by: int, *, honest: bool = True, when: When = always) -> Fault:
    """Send a part that starts *by* bytes before what was asked for."""
    return _reshaped("earlier part", -by, 0, honest, when)


def later(by: int, *, honest: bool = True, when: When = always) -> Fault:
    return _reshaped("later part", by, 0, honest, when)


def displaced(by: int, *, when: When = always) -> Fault:
    """Send bytes from *by* further on (or back) under perfect headers: only a comparison finds out."""

    def edit(reply: Reply) -> None:
        size, length = reply.body.content.size, reply.body.size
        start = max(0, min(reply.body.start + by, size - length))
        reply.body = replace(reply.body, start=start, stop=start + length)

    return _of_parts("displaced", when, edit)


def multipart(*, when: When = always) -> Fault:
    """Answer one range as multipart/byteranges."""

    def edit(reply: Reply) -> None:
        about = f"Content-Range: {reply.headers.get('Content-Range')}\r\n"
        data = f"--edge\r\n{about}\r\n".encode() + reply.body.whole() + b"\r\n--edge--\r\n"
        reply.headers.drop("Content-Range")
        reply.headers.put("Content-Type", "multipart/byteranges; boundary=edge")
        _carry(reply, data)

    return _of_parts("multipart", when, edit)


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

    return _of_parts("part as 200", when, edit)


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


# --- validators and versions ---

Validator = str | Iterable[str | None] | EllipsisType | None


def validators(
    *,
    etag: Validator = ...,
    last_modified: Validator = ...,
    honoured: bool = True,
    when: When = always,
) -> Fault:
    """Show other validators: one, none, or several in turn, request by request; `...` leaves one as it is.

    *honoured* are they also in preconditions; otherwise those are judged by the resource's own.
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


# --- coding and framing ---


def gzip_coded(*, of_part: bool = False, when: When = always) -> Fault:
    """Send gzip although identity was asked for: of the whole with 200, or of the part under its 206."""

    def ask(exchange: Exchange) -> None:
        if not of_part:
            exchange.asked.drop("Range")

    def answer(exchange: Exchange, reply: Reply) -> None:
        if reply.status in (200, 206):
            reply.headers.put("Content-Encoding", "gzip")
            _carry(reply, gzip.compress(reply.body.whole(), 1, mtime=0))

    return Fault("gzip", when, ask=ask, answer=answer)


def chunked(size: int = 10_000, *, when: When = always) -> Fault:
    """Send the body in chunks; with `fin` it is a truncated one."""

    def edit(reply: Reply) -> None:
        reply.headers.drop("Content-Length")
        reply.headers.put("Transfer-Encoding", "chunked")
        reply.chunk = size

    return _answering("chunked", when, edit)


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

    return _answering(f"odd chunks: {kind}", when, edit)


def until_close(*, when: When = always) -> Fault:
    """Announce no length: the body ends with the connection."""

    def edit(reply: Reply) -> None:
        reply.headers.drop("Content-Length")
        reply.headers.put("Connection", "close")

    return _answering("until close", when, edit)


def header(name: str, *values: str, when: When = always) -> Fault:
    """Let a header of the answer have these values; none drops it."""
    return _answering(f"{name}: {', '.join(values)}", when, lambda reply: reply.headers.put(name, *values))


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

    return _answering("TE beside CL", when, edit)


def http09(*, when: When = always) -> Fault:
    """Send the body and nothing else."""
    return raw(b"", when=when)


def raw(head: bytes, *, when: When = always) -> Fault:
    """Send *head*, whatever it is, in place of status line and headers, and hang up after the body."""

    def edit(reply: Reply) -> None:
        reply.head, reply.close = head, True

    return _answering("raw head", when, edit)


def informational(status: int = 103, times: int = 1, *, when: When = always) -> Fault:
    """Send 1xx answers before the real one."""
    line = f"HTTP/1.1 {status} Wait\r\nX-Hint: none\r\n\r\n".encode()
    return _answering(f"{status} before", when, lambda reply: setattr(reply, "preface", line * times))


def after_body(extra: bytes = b"HTTP/1.1 200 OK\r\n\r\n", *, when: When = always) -> Fault:
    """Send more than was announced; the default looks like the next answer."""
    return _answering("bytes after the body", when, lambda reply: setattr(reply, "trailing", extra))


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
        whole = Body(reply.body.content, 0, reply.body.content.size)
        known = hashlib.new(algorithm.replace("-", ""))
        for piece in (reply.body if name == "Content-Digest" else whole).pieces():
            known.update(piece)
        if not right:
            known.update(b"wrong")
        value = b64encode(known.digest()).decode()
        reply.headers.put(name, f"{algorithm}={value}" if name == "Digest" else f"{algorithm}=:{value}:")

    return _answering(f"{name}, {'right' if right else 'wrong'}", when, edit)


# --- answers in place of the resource ---


def status(
    code: int,
    body: bytes = b"not now\n",
    headers: Iterable[tuple[str, str]] = (),
    *,
    when: When = always,
) -> Fault:
    """Answer *code*; with `when=first(2)` it is a server that flaps. 204 and 304 have no body."""
    fields = list(headers)

    def ask(exchange: Exchange) -> None:
        exchange.reply = Reply.of(code, b"" if code in (204, 304) else body, fields)

    return Fault(str(code), when, ask=ask)


def retry_after(value: str | int, code: int = 503, *, when: When = always) -> Fault:
    """Answer *code* with a Retry-After: seconds, a date (`http_date`) or nonsense."""
    return status(code, headers=[("Retry-After", str(value))], when=when)


def http_date(seconds_from_now: float = 0) -> str:
    return formatdate(time() + seconds_from_now, usegmt=True)


def login_page(*, when: When = always) -> Fault:
    """Answer everything with 200 and a page, as the network of a hotel does."""
    return status(
        200, b"<html><form>Please log in</form></html>\n", [("Content-Type", "text/html")], when=when
    )


def refuse_head(code: int = 405, *, when: When = always) -> Fault:
    return status(code, when=method("HEAD") & when)


def authenticate(user: str, *, when: When = always) -> Fault:
    """Answer 401 to whoever is not *user*, a name:password."""
    challenge = [("WWW-Authenticate", 'Basic realm="tests"')]
    stranger = When(lambda exchange: exchange.seen.header("Authorization") != basic(user))
    return status(401, b"who are you?\n", challenge, when=stranger & when)


def relabel(code: int, *, whole: bool = False, when: When = always) -> Fault:
    """Send what would be a 200 as *code*; with *whole*, a Content-Range says that it is everything."""

    def edit(reply: Reply) -> None:
        if reply.status == 200:
            reply.status = code
            if whole:
                reply.headers.put("Content-Range", f"bytes 0-{reply.body.size - 1}/{reply.body.size}")

    return _answering(f"{code} for 200", when, edit)


def redirect(to: str | None, code: int = 302, *, when: When = always) -> Fault:
    """Send the client to *to*, a URL or a path of this server; None leaves Location out.

    Without `when=path(...)` it is a circle.
    """
    location = [] if to is None else [("Location", to)]
    return status(code, b"elsewhere\n", location, when=when)


def hops(count: int, to: str, code: int = 302) -> Fault:
    """Redirect /hop/*count* over /hop/1 to *to*: so many redirects in a row."""
    chain = {f"/hop/{left}": f"/hop/{left - 1}" if left > 1 else to for left in range(1, count + 1)}

    def ask(exchange: Exchange) -> None:
        exchange.reply = Reply.of(code, headers=[("Location", chain[exchange.seen.path])])

    return Fault("hops", path(*chain), ask=ask)


def signed(entry: str = "/download", to: str = "/file.bin", *, uses: int = 3, refusal: int = 403) -> Fault:
    """Redirect *entry* to *to* with a fresh signature, which opens *to* for *uses* requests."""
    left: dict[str, int] = {}

    def ask(exchange: Exchange) -> None:
        place, _, signature = exchange.seen.target.partition("?signature=")
        if place == entry:
            fresh = str(len(left) + 1)
            left[fresh] = uses
            exchange.reply = Reply.of(302, headers=[("Location", f"{to}?signature={fresh}")])
        elif left.get(signature, 0) > 0:
            left[signature] -= 1
        else:
            exchange.reply = Reply.of(refusal, b"expired\n")

    return Fault("signed", path(entry, to), ask=ask)


def limit(count: int, refusal: int | Literal["reset"] = 503, *, when: When = always) -> Fault:
    """Refuse requests while *count* others are being answered; refused ones do not count."""
    crowded = When(lambda exchange: exchange.server.active > count)

    def ask(exchange: Exchange) -> None:
        exchange.turn.end()
        if refusal == "reset":
            exchange.reply = Reply.of(503)
            exchange.reply.breaks.append(Break(where="before", end="reset"))
        else:
            exchange.reply = Reply.of(refusal, b"too many\n")

    return Fault("limit", crowded & when, ask=ask)


def call(action: Callable[[Server], None], *, when: When = always) -> Fault:
    """Call *action* before the request is answered: to replace a resource in the middle of a download."""

    def ask(exchange: Exchange) -> None:
        action(exchange.server)
        resource = exchange.server.resources.get(exchange.seen.path)
        exchange.resource = replace(resource) if resource else None

    return Fault("call", when, ask=ask)


# --- how faults are made ---


def _answering(name: str, when: When, edit: Callable[[Reply], None]) -> Fault:
    return Fault(name, when, answer=lambda exchange, reply: edit(reply))


def _breaking(name: str, known: Break, when: When) -> Fault:
    return _answering(name, when, lambda reply: reply.breaks.append(known))


def _of_parts(name: str, when: When, edit: Callable[[Reply], None]) -> Fault:
    def answer(exchange: Exchange, reply: Reply) -> None:
        if reply.status == 206:
            edit(reply)

    return Fault(name, ranged & when, answer=answer)


def _reshaped(name: str, start: int, stop: int, honest: bool, when: When) -> Fault:
    def edit(reply: Reply) -> None:
        old, total = reply.body, reply.body.content.size
        first = max(0, min(old.start + start, total - 1))
        reply.body = replace(old, start=first, stop=max(first + 1, min(old.stop + stop, total)))
        reply.headers.put("Content-Length", str(reply.body.size))
        if honest:
            reply.headers.put("Content-Range", f"bytes {first}-{reply.body.stop - 1}/{total}")

    return _of_parts(name, when, edit)


def _carry(reply: Reply, data: bytes) -> None:
    reply.body = Body.of(data)
    reply.headers.put("Content-Length", str(len(data)))


def _in_turn(value: Validator) -> Iterator[str | None] | None:
    if isinstance(value, EllipsisType):
        return None
    return itertools.cycle([value] if value is None or isinstance(value, str) else value)
