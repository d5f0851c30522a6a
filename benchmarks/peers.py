"""How other downloaders are told to do the same work: one resource into one file, quietly, over so many connections.

Their own configuration files are left out, and so is what they do beyond the download. aria2 may split down to
1 MiB and allocates nothing beforehand; rclone and lftp take their parallel modes.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 8


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be downloaded: *url* into the file *into*, trusting *authority* where it is TLS."""

    url: str
    into: Path
    connections: int = CONNECTIONS
    authority: Path | None = None
    resume: bool = False


@dataclass(frozen=True, slots=True)
class Peer:
    """A program that downloads. *parallel* ones use several connections for one file."""

    program: str
    parallel: bool
    command: Callable[[Order], list[str]]

    def label(self, order: Order) -> str:
        return f"{self.program}, {order.connections} connections" if self.parallel else self.program

    @property
    def is_here(self) -> bool:
        return shutil.which(self.program) is not None

    @property
    def version(self) -> str:
        """The program's name with its version, for the report."""
        said = subprocess.run([self.program, "--version"], capture_output=True, text=True).stdout
        number = re.search(r"\d+(\.\d+)+", said)
        return f"{self.program} {number[0] if number else ''}".strip()


def _aria2c(order: Order) -> list[str]:
    return [
        *"aria2c --no-conf --quiet --file-allocation=none --min-split-size=1M --disable-ipv6".split(),
        *(f"--max-connection-per-server={order.connections}", f"--split={order.connections}"),
        *(["--continue"] if order.resume else []),
        *([f"--ca-certificate={order.authority}"] if order.authority else []),
        *("--dir", str(order.into.parent), "--out", order.into.name, order.url),
    ]


def _curl(order: Order) -> list[str]:
    return [
        *"curl --disable --silent --show-error --fail".split(),
        *(["--continue-at", "-"] if order.resume else []),
        *(["--cacert", str(order.authority)] if order.authority else []),
        *("--output", str(order.into), order.url),
    ]


def _axel(order: Order) -> list[str]:
    # It has no option for an authority: it is spared the check.
    insecure = ["--insecure"] if order.authority else []
    return [
        "axel",
        f"--num-connections={order.connections}",
        "--quiet",
        *insecure,
        f"--output={order.into}",
        order.url,
    ]


def _wget(order: Order) -> list[str]:
    return [
        *"wget --no-config --quiet --no-hsts".split(),
        *(["--continue"] if order.resume else []),
        *([f"--ca-certificate={order.authority}"] if order.authority else []),
        *("--output-document", str(order.into), order.url),
    ]


def _lftp(order: Order) -> list[str]:
    trust = f"set ssl:ca-file {order.authority}; set ssl:check-hostname no; " if order.authority else ""
    resume = "-c " if order.resume else ""
    return [
        *("lftp", "--norc", "-c"),
        f"{trust}set cmd:fail-exit yes; pget {resume}-n {order.connections} {order.url} -o {order.into}",
    ]


def _rclone(order: Order) -> list[str]:
    base, _, name = order.url.rpartition("/")
    return [
        *("rclone", "copyto", "--config", "", "--http-url", base, "--retries=1", "--multi-thread-cutoff=1M"),
        *(f"--multi-thread-streams={order.connections}",),
        *(["--ca-cert", str(order.authority)] if order.authority else []),
        *(f":http:{name}", str(order.into)),
    ]


PEERS = (
    Peer("aria2c", True, _aria2c),
    Peer("curl", False, _curl),
    Peer("axel", True, _axel),
    Peer("wget", False, _wget),
    Peer("lftp", True, _lftp),
    Peer("rclone", True, _rclone),
)


def installed(*programs: str) -> Sequence[Peer]:
    """Return the peers that are here: all of them, or those of *programs*."""
    return [peer for peer in PEERS if peer.is_here and (not programs or peer.program in programs)]
