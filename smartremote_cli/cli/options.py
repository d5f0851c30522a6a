"""The options that commands share, and what they come to: a transport, a policy, a cache, a display."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import click

from ..core.sizes import parse_size
from ..errors import LocalError, UsageError

if TYPE_CHECKING:
    from ..store.cache import Cache
    from ..transfer.state import Policy
    from ..transfer.transfer import Transfer
    from ..transport.limiter import Limiter
    from ..transport.preconnect import Preconnection
    from ..transport.transport import Transport
    from .progress.display import Progress

# What names a proxy (urllib.request.getproxies).
_PROXIES = {"http_proxy", "https_proxy", "all_proxy"}

Command = TypeVar("Command", bound=Callable[..., Any])


class Size(click.ParamType[int]):
    """A number of bytes: 4096, 64K, 1M, 2G, 0x1000; with *signed*, also a negative one."""

    name = "size"

    def __init__(self, *, signed: bool = False) -> None:
        self._signed = signed

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_size(str(value), signed=self._signed)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Seconds(click.FloatRange):
    """A time in seconds, positive and within what poll(2) can wait for."""

    name = "seconds"

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True, max=1_000_000)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds):
            self.fail("not a number of seconds", param, ctx)
        return seconds


class Header(click.ParamType[str]):
    """A header field. In the environment, one a line."""

    name = "header"

    def split_envvar_value(self, rv: str) -> list[str]:
        return [line for line in rv.splitlines() if line.strip()]


def network_options(command: Command) -> Command:
    """Add what every command that talks to a server takes."""
    return _apply(
        command,
        click.option(
            "-H",
            "--header",
            multiple=True,
            type=Header(),
            metavar="'K: V'",
            help="Send this header, to the first origin only. Repeatable.",
        ),
        click.option("--user", metavar="NAME[:PASS]", help="Authenticate; without PASS it is asked for."),
        click.option(
            "--netrc/--no-netrc", default=True, help="Look credentials up in ~/.netrc.", show_default=True
        ),
        click.option("--proxy", metavar="URL", help="Use this proxy instead of the environment's."),
        click.option(
            "--cacert",
            type=click.Path(dir_okay=False),
            metavar="FILE",
            help="Trust these certificates instead of the system's.",
        ),
        click.option("-k", "--insecure", is_flag=True, help="Accept any certificate."),
        click.option("--user-agent", metavar="TEXT", help="Send this User-Agent."),
        click.option(
            "--timeout",
            type=Seconds(),
            default=30.0,
            metavar="SECONDS",
            show_default=True,
            help="Longest wait for a connection, and for the next byte.",
        ),
        click.option(
            "--retries",
            type=click.IntRange(min=0),
            default=5,
            metavar="N",
            show_default=True,
            help="Failures in a row, without progress, that are survived.",
        ),
        click.option(
            "--limit-rate",
            type=Size(),
            metavar="RATE",
            help="Bytes per second, for all connections together.",
        ),
    )


def display_options(command: Command) -> Command:
    return _apply(
        command,
        click.option("-q", "--quiet", is_flag=True, help="No progress and no warnings, only errors."),
        click.option("-v", "--verbose", is_flag=True, help="Say more about what happens."),
        click.option(
            "--progress",
            type=click.Choice(["auto", "bar", "plain", "json", "none"]),
            default="auto",
            show_default=True,
            help="How to show progress, on stderr.",
        ),
    )


def fill_options(command: Command) -> Command:
    return _apply(
        command,
        click.option(
            "-x",
            "--connections",
            type=click.IntRange(1, 256),
            default=8,
            metavar="N",
            show_default=True,
            help="Most connections at once.",
        ),
        click.option("--checksum", metavar="ALG:HEX", help="Expect this digest, as sha256:HEX."),
        click.option(
            "--on-change",
            type=click.Choice(["fail", "restart"]),
            default="fail",
            show_default=True,
            help="What to do when the resource has changed.",
        ),
        click.option(
            "--no-sync", is_flag=True, help="Do not sync: faster, but a power cut may cost progress."
        ),
    )


def cache_options(command: Command) -> Command:
    return _apply(
        command,
        click.option(
            "--cache-dir",
            type=click.Path(file_okay=False),
            metavar="DIR",
            help="Keep blocks here instead of in the user's cache folder.",
        ),
        click.option("--no-cache", is_flag=True, help="Neither use nor keep cached blocks."),
        click.option("--offline", is_flag=True, help="Use cached blocks only, unasked."),
    )


@contextlib.contextmanager
def transport_of(options: dict[str, Any], url: str | None = None) -> Iterator[Transport]:
    """Have the transport that the network options describe, closed in the end.

    A connection to *url* is begun before anything else: what is slow to import is best imported after that.
    """
    with _begun(url, options) as preconnection:
        from ..transport.remote import check_header
        from ..transport.transport import USER_AGENT, Options, Transport

        wishes = Options(
            headers=tuple(check_header(text) for text in options["header"]),
            user=_user(options["user"]),
            netrc=options["netrc"],
            proxy=_proxy(options["proxy"]),
            cacert=options["cacert"],
            insecure=options["insecure"],
            user_agent=options["user_agent"] or USER_AGENT,
            timeout=options["timeout"],
        )
        with Transport(wishes, preconnection=preconnection) as transport:
            yield transport


@contextlib.contextmanager
def _begun(url: str | None, options: dict[str, Any]) -> Iterator[Preconnection | None]:
    """Have a connection to *url* begun, and dropped if nobody takes it; None where none should be."""
    preconnection = None if url is None else _begin(url, options)
    try:
        yield preconnection
    finally:
        if preconnection is not None:
            preconnection.drop()


def _begin(url: str, options: dict[str, Any]) -> Preconnection | None:
    """Begin to connect to *url*, unless nothing will be asked, or a proxy will."""
    from ..core.addresses import endpoint_of
    from ..core.urls import check_url
    from ..transport.preconnect import Preconnection

    named = {name.lower() for name, value in os.environ.items() if value}
    # macOS has a setting for proxies as well.
    proxied = options["proxy"] or (options["proxy"] is None and named & _PROXIES) or sys.platform == "darwin"
    if proxied or options.get("offline"):
        return None
    try:
        scheme, host, port = endpoint_of(check_url(url))
    except UsageError:  # it will be said when all the others were asked
        return None
    trust = None
    if scheme == "https":
        from ..transport.tls import Trust

        trust = Trust(options["cacert"], options["insecure"])
    return Preconnection(host, port, trust, options["timeout"])


def policy_of(options: dict[str, Any], connections: int | None = None) -> Policy:
    from ..transfer.state import Policy

    count = connections or options["connections"]
    return Policy(connections=count, retries=options["retries"], digest_decides=bool(options.get("checksum")))


def limiter_of(options: dict[str, Any]) -> Limiter | None:
    from ..transport.limiter import Limiter

    rate = options["limit_rate"]
    if rate is None:
        return None
    if rate <= 0:
        raise UsageError("--limit-rate", "expected more than 0 bytes per second")
    return Limiter(rate)


def cache_of(options: dict[str, Any]) -> Cache | None:
    """Return the cache that the cache options name; None with --no-cache."""
    from ..store.cache import Cache, default_folder, parse_limit

    if options.get("no_cache"):
        if options.get("offline"):
            raise UsageError("--offline", "uses the cache alone, which --no-cache forbids")
        return None
    try:
        folder = options.get("cache_dir") or default_folder()
    except LocalError:
        if "no_cache" in options:
            raise
        return None  # it is not what this command is about
    return Cache(folder, parse_limit(os.environ.get("SMARTREMOTE_CACHE_SIZE")))


@contextlib.contextmanager
def progress_of(
    options: dict[str, Any], name: str, transfer: Callable[[], Transfer | None], *, shy: bool = False
) -> Iterator[Progress]:
    """Show progress as the display options say; *shy* commands show none unless they are told how."""
    from ..events import Snapshot
    from .progress.display import make_progress

    def watch() -> Snapshot:
        current = transfer()
        if current is None:
            return Snapshot(0, None, 0)
        present, size, connections = current.progress()
        return Snapshot(present, size, connections, current.cells(64))

    _log(options["verbose"])
    mode = "none" if shy and options["progress"] == "auto" else options["progress"]
    with make_progress(
        mode, quiet=options["quiet"], verbose=options["verbose"], watch=watch, name=name
    ) as progress:
        yield progress


def _log(verbose: bool) -> None:
    if not verbose:
        return
    import logging

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("smartremote: %(message)s"))
    logger = logging.getLogger("smartremote")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)


def _proxy(text: str | None) -> str | None:
    """Return *text* when host and port of a proxy can be read from it: a failed attempt would be repeated."""
    if not text:
        return text
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError("--proxy", "expected http://HOST:PORT")
    return text


def _user(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    name, colon, password = text.partition(":")
    if not colon:
        if not sys.stdin.isatty():
            raise UsageError("--user", "give NAME:PASS where there is no terminal to ask for the password")
        password = click.prompt(f"Password for {name}", hide_input=True, err=True)
    return name, password


def _apply(command: Command, *decorators: Callable[[Command], Command]) -> Command:
    for decorator in reversed(decorators):
        command = decorator(command)
    return command
