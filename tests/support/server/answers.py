"""How an answer is built: the header fields, the body, what breaks it, and what RFC 9110 says it should be."""

from __future__ import annotations

import http
import itertools
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from typing import TYPE_CHECKING, Literal, Self

from .contents import Content, Held, Resource
from .service import PIECE

if TYPE_CHECKING:
    from .exchanges import Server


class Headers(list[tuple[str, str]]):
    """Header fields in the order in which they travel; names are compared without regard to case."""

    def all(self, name: str) -> list[str]:
        return [value for key, value in self if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """Return the first value of *name*, or None."""
        return next(iter(self.all(name)), None)

    def drop(self, *names: str) -> None:
        gone = {name.lower() for name in names}
        self[:] = [(key, value) for key, value in self if key.lower() not in gone]

    def put(self, name: str, *values: str) -> None:
        """Let *name* have exactly these values; none drops it."""
        self.drop(name)
        self.extend((name, value) for value in values)


@dataclass(frozen=True)
class Body:
    """The bytes [start, stop) of a content."""

    content: Content
    start: int
    stop: int

    @classmethod
    def of(cls, data: bytes) -> Self:
        return cls(Held(data), 0, len(data))

    @property
    def size(self) -> int:
        return self.stop - self.start

    def pieces(self, size: int = PIECE) -> Iterator[memoryview]:
        for at in range(self.start, self.stop, size):
            yield self.content.read(at, min(size, self.stop - at))

    def whole(self) -> bytes:
        return b"".join(self.pieces())


Where = Literal["before", "headers", "body"]


@dataclass(frozen=True)
class Break:
    """Something that happens when *after* bytes of the headers or the body are sent.

    First *then* is called with the server, then *gate* waited for, then *seconds*; "go on" leaves the
    connection alive.
    """

    after: int = 0
    where: Where = "body"
    seconds: float = 0
    end: Literal["go on", "fin", "reset"] = "go on"
    then: Callable[[Server], None] | None = None
    gate: threading.Event | None = None


@dataclass(frozen=True)
class Pace:
    """*size* bytes, then a pause of *interval* seconds, and so on."""

    size: int
    interval: float


@dataclass
class Reply:
    """An answer before it is sent. Faults edit it."""

    status: int
    headers: Headers
    body: Body
    reason: str | None = None
    preface: bytes = b""  # before the status line
    head: bytes | None = None  # instead of status line and headers
    endless: bool = False  # header fields without end
    chunk: int = 0  # bytes in a chunk; 0: not chunked
    trailing: bytes = b""  # after the body
    close: bool = False  # hang up afterwards, whether the headers say so or not
    head_pace: Pace | None = None
    body_pace: Pace | None = None
    breaks: list[Break] = field(default_factory=list)

    @classmethod
    def of(cls, status: int, body: bytes = b"", headers: Iterable[tuple[str, str]] = ()) -> Self:
        """Return a complete answer with its Content-Length, where the status allows one."""
        fields = Headers([("Date", formatdate(usegmt=True)), *headers])
        if status >= 200 and status not in (204, 304):
            fields.put("Content-Length", str(len(body)))
        return cls(status, fields, Body.of(body))

    def head_pieces(self) -> Iterator[bytes]:
        if self.head is not None:
            yield self.preface + self.head
            return
        phrases = {known.value: known.phrase for known in http.HTTPStatus}
        reason = phrases.get(self.status, "Unknown") if self.reason is None else self.reason
        lines = [f"HTTP/1.1 {self.status} {reason}", *(f"{name}: {value}" for name, value in self.headers)]
        head = self.preface + "".join(f"{line}\r\n" for line in lines).encode("latin-1")
        if not self.endless:
            yield head + b"\r\n"
            return
        yield head
        for number in itertools.count():
            yield b"X-Filler-%d: %s\r\n" % (number, b"x" * 60)

    def body_pieces(self) -> Iterator[tuple[memoryview, bool]]:
        """Yield what follows the head; True marks bytes of the body, False its framing."""
        if not self.chunk:
            for piece in self.body.pieces():
                yield piece, True
        else:
            for piece in self.body.pieces(self.chunk):
                yield memoryview(b"%x\r\n" % len(piece)), False
                yield piece, True
                yield memoryview(b"\r\n"), False
            yield memoryview(b"0\r\n\r\n"), False
        if self.trailing:
            yield memoryview(self.trailing), False


def parse_head(head: bytes) -> tuple[str, str, Headers] | None:
    """Return method, target and fields of a request, or None when it is none."""
    first, *rest = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    match = re.fullmatch(r"([A-Z]+) (\S+) HTTP/1\.[01]", first)
    fields = [line.partition(":") for line in rest]
    if match is None or any(not colon for _, colon, _ in fields):
        return None
    return match[1], match[2], Headers((name, value.strip()) for name, _, value in fields)


_ONE_RANGE = re.compile(r"bytes=(?:(\d+)-(\d*)|-(\d+))", re.ASCII)


def requested(value: str | None, size: int) -> tuple[int, int] | Literal["unsatisfiable"] | None:
    """Return what a Range header asks of *size* bytes, half-open; None when it is to be ignored.

    Several ranges, other units and bad syntax are ignored, which RFC 9110 (14.2) allows for all of them.
    """
    match = _ONE_RANGE.fullmatch((value or "").strip())
    if match is None:
        return None
    first, last, suffix = match.groups()
    if size == 0:  # like nginx: a range that starts at 0 gets 200, of others it says 416
        return "unsatisfiable" if suffix is None and int(first) else None
    if suffix is not None:
        return (max(0, size - int(suffix)), size) if int(suffix) else "unsatisfiable"
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        return "unsatisfiable"
    return int(first), min(size, int(last) + 1) if last else size


def respond(resource: Resource, method: str, asked: Headers) -> Reply:
    """Return the right answer (RFC 9110, 13.2.2 and 14.2)."""
    data = resource.data
    size = data.size
    headers = Headers([("Date", formatdate(usegmt=True))])
    fields = {
        "Content-Type": resource.content_type,
        "Last-Modified": resource.last_modified,
        "ETag": resource.etag,
        "Content-Disposition": resource.content_disposition,
        "Accept-Ranges": "bytes" if resource.ranges else None,
    }
    headers.extend((name, value) for name, value in fields.items() if value is not None)
    headers.extend(resource.headers)
    if method not in ("GET", "HEAD"):
        return Reply.of(405, b"no such method here\n", [("Allow", "GET, HEAD")])
    match _judge(resource, asked):
        case 412:
            return Reply.of(412, b"precondition failed\n")
        case 304:
            return Reply(304, headers, Body.of(b""))
    asks = requested(asked.get("Range"), size) if resource.ranges and method == "GET" else None
    condition = asked.get("If-Range")
    if condition is not None and not _is_current(resource, condition):
        asks = None
    if asks == "unsatisfiable":
        return Reply.of(416, b"no such range\n", [("Content-Range", f"bytes */{size}")])
    status, (start, stop) = (200, (0, size)) if asks is None else (206, asks)
    if status == 206:
        headers.put("Content-Range", f"bytes {start}-{stop - 1}/{size}")
    headers.put("Content-Length", str(stop - start))
    return Reply(status, headers, Body(data, start, stop))


def _judge(resource: Resource, asked: Headers) -> int:
    """Return 412 or 304 when a precondition says so, else 200."""
    if_match, if_none_match = asked.all("If-Match"), asked.all("If-None-Match")
    if if_match:
        if not _names_tag(resource.etag, if_match, strongly=True):
            return 412
    elif _is_later(resource.last_modified, asked.get("If-Unmodified-Since")):
        return 412
    if if_none_match:
        return 304 if _names_tag(resource.etag, if_none_match, strongly=False) else 200
    return 304 if _is_later(resource.last_modified, asked.get("If-Modified-Since")) is False else 200


def _names_tag(etag: str | None, fields: list[str], *, strongly: bool) -> bool:
    tags = re.findall(r'(?:W/)?"[^"]*"|\*', ",".join(fields))
    if "*" in tags:
        return True
    if etag is None or (strongly and etag.startswith("W/")):
        return False
    if strongly:
        return etag in tags
    return etag.removeprefix("W/") in {tag.removeprefix("W/") for tag in tags}


def _is_later(last_modified: str | None, than: str | None) -> bool | None:
    """Compare two dates; None when one is missing or unreadable, which is ignored (RFC 9110, 13.1.3)."""
    if last_modified is None or than is None:
        return None
    try:
        return parsedate_to_datetime(last_modified) > parsedate_to_datetime(than)
    except (ValueError, TypeError):
        return None


def _is_current(resource: Resource, if_range: str) -> bool:
    """Whether If-Range names this version: a strong tag, or the very date that was sent."""
    if if_range.startswith('"'):
        return if_range == resource.etag
    return if_range == resource.last_modified
