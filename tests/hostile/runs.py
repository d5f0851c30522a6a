"""How a row is run, and what holds whatever happens."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pyroaring import BitMap

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.errors import SmartRemoteError
from smartremote_cli.events import Event
from smartremote_cli.library.download import Download
from smartremote_cli.library.options import DownloadOptions
from smartremote_cli.store.leftovers import load_record
from smartremote_cli.transfer.state import Policy
from smartremote_cli.transport.options import Options
from smartremote_cli.transport.remote import Remote
from smartremote_cli.transport.transport import Transport
from tests.hostile.rows import HELD, ONE, QUERY, SECRETS, TIMEOUT, Row, Versions
from tests.support.leftovers import known_of, leave_partial
from tests.support.server import Resource, Server
from tests.support.threads import PATIENCE


@dataclass(frozen=True)
class Run:
    """What a download left: its exit code, all that it said, and the file that it was about."""

    code: int
    said: str
    file: Path


class Hearing(logging.Handler):
    """Collects what our loggers say, at every level."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def hearing() -> Iterator[list[str]]:
    ear = Hearing()
    loggers = [logging.getLogger(name) for name in ("smartremote", "httpx")]
    for logger in loggers:
        logger.addHandler(ear)
        logger.setLevel(logging.DEBUG)
    try:
        yield ear.lines
    finally:
        for logger in loggers:
            logger.removeHandler(ear)
            logger.setLevel(logging.NOTSET)


def leave_version_one(file: Path, url: str, resource: Resource) -> None:
    """Leave what an interrupted download of *resource*, version one, leaves."""
    leave_partial(file, url, ONE, HELD, known_of(resource))


def download(
    url: str,
    file: Path,
    *,
    timeout: float = TIMEOUT,
    retries: int = 3,
    pause: Callable[[int, float], float] = lambda failures, chance: 0.01,
    connections: int = 8,
    options: Options | None = None,
    wishes: DownloadOptions | None = None,
) -> Run:
    """Download as the command line does, in this process and without long pauses."""
    options = (options or Options(netrc=False))._replace(timeout=timeout)
    wishes = wishes or DownloadOptions()
    policy = Policy(
        connections,
        retries,
        digest_decides=wishes.checksum is not None,
        pause=pause,
    )
    wishes = wishes._replace(policy=policy, sync=False)
    events: list[Event] = []
    code, error = 0, ""
    with hearing() as logged, Transport(options) as transport:
        started: Download | None = None
        try:
            started = Download(Remote(url, transport), str(file), wishes, listener=events.append)
            started.run()
        except SmartRemoteError as failure:
            code, error = failure.exit_code, f"{failure}\n{failure.hint}"
        finally:
            if started is not None:
                started.stop()
    return Run(code, "\n".join([error, *map(str, events), *logged]), file)


def judge_run(run: Run, versions: Versions) -> None:
    """Check what holds whatever happened."""
    assert run.code != 1, run.said
    assert not [secret for secret in SECRETS if secret in run.said], run.said
    record = Path(f"{run.file}.part")
    if run.code == 0:
        assert run.file.read_bytes() in versions
        assert not record.exists()
    elif record.exists():
        known = load_record(str(run.file))
        assert known is not None
        data = run.file.read_bytes()
        size = known.identity.size if known.identity is not None else None
        of_size = [version for version in versions if size in (None, len(version))] or list(versions)
        wrong = [
            block
            for block in known.bits
            if data[block * BLOCK : (block + 1) * BLOCK]
            not in [version[block * BLOCK : (block + 1) * BLOCK] for version in of_size]
        ]
        assert not wrong, f"blocks {wrong} are recorded and of no version"
        assert mixes(data, known.bits, of_size) <= 1, "blocks of two versions are recorded together"
    assert not left_behind(), "threads are left behind"


def mixes(data: bytes, bits: BitMap, versions: list[bytes]) -> int:
    """Return 1 where the recorded blocks are all of one version, else 2."""
    if not bits or any(
        all(data[b * BLOCK : (b + 1) * BLOCK] == version[b * BLOCK : (b + 1) * BLOCK] for b in bits)
        for version in versions
    ):
        return 1
    return 2


def left_behind() -> list[str]:
    """Return our threads that do not end by themselves."""
    give_up = time.monotonic() + PATIENCE
    while True:
        ours = [thread.name for thread in threading.enumerate() if thread.name.startswith("smartremote")]
        if not ours or time.monotonic() > give_up:
            return ours
        time.sleep(0.01)


def run_row(each: Row, resumed: bool, tmp_path: Path) -> None:
    """Download under the faults of the row, and check that what comes of it is right or refused."""
    file = tmp_path / "file.bin"
    with Server(replace(each.resource)) as server:
        server.faults += each.make()
        url = server.url(f"/file.bin{QUERY}")
        if resumed:
            leave_version_one(file, url, each.resource)
        run = download(url.replace("://", "://m:hunter2@"), file, timeout=each.timeout, retries=each.retries)
        asked = len(server.requests)
    judge_run(run, each.versions)
    assert run.code in (each.resumed if resumed else each.fresh), run.said
    assert asked <= each.requests
