"""Answers in place of the resource: statuses, redirects, limits, signatures that expire."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from email.utils import formatdate
from time import time
from typing import Literal

from tests.support.server import Break, Exchange, Fault, Reply, Server, basic

from .conditions import When, always, method, path
from .making import answering


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
    """Answer 401 unless the request logs in as *user*, a name:password."""
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

    return answering(f"{code} for 200", when, edit)


def redirect(to: str | None, code: int = 302, *, when: When = always) -> Fault:
    """Send the client to *to*, a URL or a path of this server; None leaves Location out.

    Without `when=path(...)` it is a circle.
    """
    location = [] if to is None else [("Location", to)]
    return status(code, b"elsewhere\n", location, when=when)


def hops(count: int, to: str, code: int = 302) -> Fault:
    """Redirect from /hop/*count* down to /hop/1 and on to *to*: *count* redirects in a row."""
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
