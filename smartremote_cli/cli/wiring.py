"""From the values of the shared options to the objects that do the work: transport, policy, cache, display.

The engine is imported inside the functions: a command that fails on its options, or only shows help, never loads it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from ..errors import UsageError

if TYPE_CHECKING:
    from ..store.cache import Cache
    from ..transfer.state import Policy
    from ..transfer.transfer import Transfer
    from ..transport.limiter import Limiter
    from ..transport.preconnect import Preconnection
    from ..transport.transport import Transport
    from .progress.display import Progress

# Environment variables that name a proxy (urllib.request.getproxies).
_PROXIES = {"http_proxy", "https_proxy", "all_proxy"}
_MAP_CELLS = 64  # resolution of the block map that a display is given; it is resampled to the window's width


@contextlib.contextmanager
def transport_of(options: dict[str, Any], url: str | None = None) -> Iterator[Transport]:
    """Provide the transport that the network options describe, and close it at the end.

    Begin a connection to *url* first: slow imports then run while it is being made.
    """
    with _connecting(url, options) as preconnection:
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
def _connecting(url: str | None, options: dict[str, Any]) -> Iterator[Preconnection | None]:
    """Begin a connection to *url* where one will be needed, and drop it at the end if it was not used."""
    preconnection = None if url is None else _connect(url, options)
    try:
        yield preconnection
    finally:
        if preconnection is not None:
            preconnection.drop()


def _connect(url: str, options: dict[str, Any]) -> Preconnection | None:
    """Begin to connect to *url*; return None when the run is offline or uses a proxy."""
    from ..core.addresses import endpoint_of
    from ..core.urls import check_url
    from ..transport.preconnect import Preconnection

    named = {name.lower() for name, value in os.environ.items() if value}
    # macOS has a system setting for proxies as well.
    proxied = options["proxy"] or (options["proxy"] is None and named & _PROXIES) or sys.platform == "darwin"
    if proxied or options.get("offline"):
        return None
    try:
        scheme, host, port = endpoint_of(check_url(url))
    except UsageError:  # the command reports it once it has checked its other options
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
    from ..store.cache import default_cache

    if options.get("no_cache"):
        if options.get("offline"):
            raise UsageError("--offline", "uses the cache alone, which --no-cache forbids")
        return None
    return default_cache(options.get("cache_dir"))


@contextlib.contextmanager
def progress_of(
    options: dict[str, Any], name: str, transfer: Callable[[], Transfer | None], *, shy: bool = False
) -> Iterator[Progress]:
    """Show progress as the display options say; *shy* commands show it only when --progress asks for it."""
    from ..events import Snapshot
    from .progress.display import make_progress

    def watch() -> Snapshot:
        current = transfer()
        if current is None:
            return Snapshot(0, None, 0)
        present, size, connections = current.progress()
        return Snapshot(present, size, connections, current.cells(_MAP_CELLS))

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
    """Return *text* if it names the host and port of a proxy: a connection that cannot work would be tried again."""
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
            raise UsageError("--user", "give NAME:PASS: there is no terminal to ask for the password")
        password = click.prompt(f"Password for {name}", hide_input=True, err=True)
    return name, password
