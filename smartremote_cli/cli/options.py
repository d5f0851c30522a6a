"""The options that commands share, and the types of their values. `wiring` makes something of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..core.sizes import parse_size

# Half of aria2's --timeout: long enough for a busy server, short enough for a person who waits.
_TIMEOUT_SECONDS = 30.0
_MAX_TIMEOUT_SECONDS = 1_000_000  # 11 days: in milliseconds it still fits the C int that poll(2) takes
_RETRIES = 5  # as aria2's --max-tries
# A judgement between browsers (six to a host) and aria2's limit (16): more connections fill a link whose server
# limits each of them, but some servers refuse them (429, 503).
CONNECTIONS = 8
_MAX_CONNECTIONS = 256  # bounds the threads and sockets of one run

Command = TypeVar("Command", bound=Callable[..., Any])


class Size(click.ParamType[int]):
    """A number of bytes: 4096, 64K, 1M, 2G, 0x1000; with *signed*, also a negative number."""

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
    """A positive time in seconds, no longer than poll(2) can wait."""

    name = "seconds"

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True, max=_MAX_TIMEOUT_SECONDS)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds):
            self.fail("not a number of seconds", param, ctx)
        return seconds


class Header(click.ParamType[str]):
    """A header field. An environment variable holds one a line."""

    name = "header"

    def split_envvar_value(self, rv: str) -> list[str]:
        return [line for line in rv.splitlines() if line.strip()]


def network_options(command: Command) -> Command:
    """Add the options of every command that talks to a server."""
    return _who_options(_way_options(command))


def _who_options(command: Command) -> Command:
    """Add the options that say who asks."""
    return _apply(
        command,
        click.option(
            "-H",
            "--header",
            multiple=True,
            type=Header(),
            metavar="'K: V'",
            help="Send this header, to the first host only; @FILE has one a line. Repeatable.",
        ),
        click.option(
            "--user", metavar="NAME[:PASS]", help="Log in; asks for the password if PASS is left out."
        ),
        click.option(
            "--netrc/--no-netrc", default=True, help="Look up credentials in ~/.netrc.", show_default=True
        ),
        click.option(
            "--netrc-file",
            type=click.Path(dir_okay=False),
            metavar="FILE",
            help="Look up credentials in FILE instead of ~/.netrc.",
        ),
        click.option(
            "--cookies",
            type=click.Path(dir_okay=False),
            metavar="FILE",
            help="Send the cookies of FILE (Netscape format), each to its own domain.",
        ),
        click.option("--user-agent", metavar="TEXT", help="Send this User-Agent."),
    )


def _way_options(command: Command) -> Command:
    """Add the options about the way to the server: proxies, TLS, time and pace."""
    return _apply(
        command,
        click.option("--proxy", metavar="URL", help="Use this proxy instead of the environment's."),
        click.option(
            "--cacert",
            type=click.Path(dir_okay=False),
            metavar="FILE",
            help="Trust these certificates instead of the system's.",
        ),
        click.option(
            "--cert",
            type=click.Path(dir_okay=False),
            metavar="FILE",
            help="Show this client certificate to servers that ask for one.",
        ),
        click.option(
            "--key",
            type=click.Path(dir_okay=False),
            metavar="FILE",
            help="The private key of --cert, where it is in a file of its own.",
        ),
        click.option("-k", "--insecure", is_flag=True, help="Accept any certificate."),
        click.option(
            "--interface",
            metavar="NAME",
            help="Connect by this network interface or local address only.",
        ),
        click.option(
            "--timeout",
            type=Seconds(),
            default=_TIMEOUT_SECONDS,
            metavar="SECONDS",
            show_default=True,
            help="Give up on a connection that has been silent this long.",
        ),
        click.option(
            "--retries",
            type=click.IntRange(min=0),
            default=_RETRIES,
            metavar="N",
            show_default=True,
            help="Give up after N failures in a row without progress.",
        ),
        click.option(
            "--limit-rate",
            type=Size(),
            metavar="RATE",
            help="At most RATE bytes per second, for all connections together, as 2M.",
        ),
    )


def display_options(command: Command) -> Command:
    return _apply(
        command,
        click.option("-q", "--quiet", is_flag=True, help="Print errors only, no progress and no warnings."),
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
            type=click.IntRange(1, _MAX_CONNECTIONS),
            default=CONNECTIONS,
            metavar="N",
            show_default=True,
            help="Use at most N connections.",
        ),
        click.option(
            "--checksum", metavar="ALG:HEX", help="Expect this digest of the whole file, as sha256:HEX."
        ),
        click.option(
            "--on-change",
            type=click.Choice(["fail", "restart"]),
            default="fail",
            show_default=True,
            help="What to do when the file on the server has changed.",
        ),
        click.option(
            "--no-sync", is_flag=True, help="Do not sync to disk: faster, but a power cut may cost progress."
        ),
    )


def cache_options(command: Command) -> Command:
    return _apply(
        command,
        click.option(
            "--cache-dir",
            type=click.Path(file_okay=False),
            metavar="DIR",
            help="Keep blocks in DIR, not in your cache folder.",
        ),
        click.option("--no-cache", is_flag=True, help="Neither read nor write the cache."),
        click.option("--offline", is_flag=True, help="Use only cached blocks; never contact the server."),
    )


def _apply(command: Command, *decorators: Callable[[Command], Command]) -> Command:
    for decorator in reversed(decorators):
        command = decorator(command)
    return command
