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

from ..core.text import printable
from ..errors import UsageError

if TYPE_CHECKING:
    from ..library.options import DownloadOptions
    from ..library.reading import Reader
    from ..store.cache import Cache
    from ..transfer.state import Policy
    from ..transfer.transfer import Transfer
    from ..transport.limiter import Limiter
    from ..transport.preconnect import Preconnection
    from ..transport.remote import Remote
    from ..transport.transport import Transport
    from .progress.display import Progress


@contextlib.contextmanager
def transport_of(options: dict[str, Any], url: str | None = None) -> Iterator[Transport]:
    """Provide the transport that the network options describe, and close it at the end.

    Begin a connection to *url* first: slow imports then run while it is being made.
    """
    with _connecting(url, options) as preconnection:
        from ..transport.options import USER_AGENT, Options, check_header
        from ..transport.transport import Transport

        network_options = Options(
            headers=[check_header(text) for given in options["header"] for text in _lines(given)],
            user=_user(options["user"]),
            netrc=options["netrc"],
            proxy=_proxy(options["proxy"]),
            cacert=options["cacert"],
            insecure=options["insecure"],
            user_agent=options["user_agent"] or USER_AGENT,
            timeout=options["timeout"],
            cert=options["cert"],
            key=options["key"],
            netrc_file=_readable(options["netrc_file"]),
            cookies=options["cookies"],
            interface=options["interface"],
        )
        with Transport(network_options, preconnection=preconnection) as transport:
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
    from ..transport.environment import proxy_from_environment
    from ..transport.preconnect import Preconnection

    if options["proxy"] or options.get("offline"):
        return None
    try:
        endpoint = endpoint_of(check_url(url))
        scheme, host, port = endpoint
        if options["proxy"] is None and proxy_from_environment(endpoint):
            return None
        trust = None
        if scheme == "https":
            from ..transport.tls import Trust

            trust = Trust(options["cacert"], options["insecure"], options["cert"], options["key"])
    except UsageError:  # the command reports it once it has checked its other options
        return None
    return Preconnection(host, port, trust, options["timeout"], options["interface"])


def policy_of(options: dict[str, Any], connections: int | None = None) -> Policy:
    from ..transfer.state import Policy

    count = connections or options["connections"]
    return Policy(connections=count, retries=options["retries"], digest_decides=bool(options.get("checksum")))


def download_options_of(options: dict[str, Any], *, overwrite: bool = False) -> DownloadOptions:
    """Return what the options of `get`, `complete` and `adopt` say about one download."""
    from ..library.checksum import Checksum
    from ..library.options import DownloadOptions

    return DownloadOptions(
        policy=policy_of(options),
        checksum=Checksum.parse(options["checksum"]) if options["checksum"] else None,
        restart_on_change=options["on_change"] == "restart",
        overwrite=overwrite,
        sync=not options["no_sync"],
    )


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
    from ..events import MAP_CELLS, Snapshot
    from .progress.display import make_progress

    def watch() -> Snapshot:
        current = transfer()
        if current is None:
            return Snapshot(0, None, 0)
        present, size, connections = current.progress()
        return Snapshot(present, size, connections, current.cells(MAP_CELLS))

    _log(options["verbose"])
    mode = options["progress"]
    if shy and mode == "auto":
        mode = "warnings"
    with make_progress(
        mode, quiet=options["quiet"], verbose=options["verbose"], watch=watch, name=name
    ) as progress:
        yield progress


@contextlib.contextmanager
def reader_of(options: dict[str, Any], remote: Remote, connections: int) -> Iterator[tuple[Reader, Progress]]:
    """Read *remote* over up to *connections*, and show progress where --progress asks for it."""
    from ..library.reading import Reader

    reader: Reader | None = None
    with progress_of(options, remote.name, lambda: reader.transfer if reader else None, shy=True) as progress:
        with Reader(
            remote,
            cache_of(options),
            policy=policy_of(options, connections),
            listener=progress,
            limiter=limiter_of(options),
            offline=options["offline"],
        ) as reader:
            yield reader, progress
        progress.done()


def _log(verbose: bool) -> None:
    if not verbose:
        return
    import logging

    class Harmless(logging.Formatter):
        """Makes what a server said harmless for the terminal: a line a message, and a traceback as it is."""

        def format(self, record: logging.LogRecord) -> str:
            return "\n".join(map(printable, super().format(record).split("\n")))

    handler = logging.StreamHandler()
    handler.setFormatter(Harmless("smartremote: %(message)s"))
    logger = logging.getLogger("smartremote")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)


def _lines(header: str) -> list[str]:
    """Return the headers that an option gives: itself, or with @FILE the lines of a file, with @- those of stdin."""
    if not header.startswith("@"):
        return [header]
    try:
        if header == "@-":
            lines = sys.stdin.read().splitlines()
        else:
            with open(header[1:], encoding="utf-8") as file:
                lines = file.read().splitlines()
    except (OSError, ValueError) as error:
        raise UsageError("--header", f"{header[1:]} cannot be read as headers") from error
    return [line for line in lines if line.strip()]


def _readable(path: str | None) -> str | None:
    """Return the *path* of a netrc file, which the user asked for: then it must be there."""
    if path is not None and not os.access(path, os.R_OK):
        raise UsageError("--netrc-file", f"{path} cannot be read")
    return path


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
