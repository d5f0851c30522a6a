"""The command line as tests use it: in this process where that is enough, else in one of its own.

    ran = tool("cat", server.url(), "--length", "10")
    assert ran.code == 0 and ran.out == pattern(10) and not ran.err

Each `Tool` has a home, a cache and a current folder of its own, and an environment without the user's wishes.
"""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from smartremote_cli import cli
from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.store.sums import sums_path

# Variables of the user's environment that would change what the command does.
_WISHES = ("SMARTREMOTE_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_", "NETRC", "XDG_")

PATIENCE = 30.0  # seconds for a process that is expected to end by itself


@dataclass(frozen=True)
class Ran:
    """What a command left: its exit code and what it printed."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def objects(self) -> list[dict[str, Any]]:
        """What it printed as JSON, one object a line."""
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def complaint(self) -> str:
        """The one line that says what went wrong; a second one may be a hint, and there is nothing else."""
        lines = self.err.splitlines()
        assert 1 <= len(lines) <= 2, self.err
        assert lines[0].startswith("smartremote: ") and lines[0].count(": ") >= 2, self.err
        assert len(lines) == 1 or lines[1].startswith("  "), self.err
        assert "Traceback" not in self.err
        return lines[0].removeprefix("smartremote: ")


class Tool:
    """Runs smartremote in *folder*, the current one of its commands, with a home and a cache beside it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "here"
        self.home = folder / "home"
        self.cache = folder / "cache"
        self.folder.mkdir()
        self.home.mkdir()
        self._monkeypatch = monkeypatch
        for name in list(os.environ):
            if name.upper().startswith(_WISHES):
                monkeypatch.delenv(name)
        monkeypatch.setenv("HOME", str(self.home))
        monkeypatch.setenv("SMARTREMOTE_CACHE_DIR", str(self.cache))
        monkeypatch.chdir(self.folder)

    def env(self, **values: str) -> None:
        """Set environment variables for the commands to come."""
        for name, value in values.items():
            self._monkeypatch.setenv(name, value)

    def __call__(self, *arguments: str | Path) -> Ran:
        """Run a command in this process, without a terminal."""
        out, err = io.BytesIO(), io.BytesIO()
        with _streams(out, err):
            code = cli.run([str(argument) for argument in arguments])
            sys.stdout.flush()
            sys.stderr.flush()
        return Ran(code, out.getvalue(), err.getvalue().decode())

    def start(
        self,
        *arguments: str | Path,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.PIPE,
        stderr: int | IO[bytes] = subprocess.PIPE,
        **more: Any,
    ) -> subprocess.Popen[bytes]:
        """Start a command as a process of its own."""
        words = [sys.executable, "-m", "smartremote_cli", *map(str, arguments)]
        return subprocess.Popen(words, stdin=stdin, stdout=stdout, stderr=stderr, **more)

    def spawn(self, *arguments: str | Path, **more: Any) -> Ran:
        """Run a command as a process of its own, to its end."""
        with self.start(*arguments, **more) as process:
            return ended(process)

    def peak_memory(self, *arguments: str) -> int:
        """Run a command, whatever its exit code, and return the most bytes that were resident."""
        script = (
            "import re, sys; from smartremote_cli.cli import run; run(sys.argv[1:])\n"
            "print(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1], file=sys.stderr)"
        )  # not getrusage, which remembers the process that this one was forked from
        words = [sys.executable, "-c", script, *arguments]
        done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=PATIENCE)
        return int(done.stderr.split()[-1]) * 1024

    def status(self, file: str = "file.bin") -> dict[str, Any]:
        """Return what `status --json` says of *file*, once it adds up."""
        (facts,) = self("status", "--json", file).objects
        if facts["missing"] is not None:
            missing = sum(last - first + 1 for first, last in facts["missing"])
            assert facts["bytes_missing"] == missing
            assert facts["bytes_present"] + missing == facts["size"]
            assert facts["blocks_total"] == -(-facts["size"] // BLOCK)
            assert all(first % BLOCK == 0 for first, _ in facts["missing"])
        return facts

    def read(self, file: str = "file.bin") -> bytes:
        return (self.folder / file).read_bytes()

    def write(self, file: str, data: bytes) -> Path:
        path = self.folder / file
        path.write_bytes(data)
        return path

    @property
    def files(self) -> list[str]:
        """The names in the current folder, as `names` gives them."""
        return names(self.folder)


def names(folder: Path) -> list[str]:
    """The names in *folder*, sorted. The sums beside a part record belong to it, and are not listed with it."""
    found = sorted(path.name for path in folder.iterdir())
    records = {sums_path(name.removesuffix(".part")) for name in found if name.endswith(".part")}
    return [name for name in found if name not in records]


def ended(process: subprocess.Popen[bytes], patience: float = PATIENCE) -> Ran:
    """Wait for *process* and return what it left; one that does not end is killed, which fails the test."""
    try:
        out, err = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return Ran(process.returncode, out or b"", (err or b"").decode())


@contextmanager
def _streams(out: io.BytesIO, err: io.BytesIO) -> Iterator[None]:
    before = sys.stdout, sys.stderr
    sys.stdout = io.TextIOWrapper(out, "utf-8", write_through=True)
    sys.stderr = io.TextIOWrapper(err, "utf-8", "backslashreplace", write_through=True)
    try:
        yield
    finally:
        mine, (sys.stdout, sys.stderr) = (sys.stdout, sys.stderr), before
        for stream in mine:
            stream.detach()
        logging.getLogger(
            "smartremote"
        ).handlers.clear()  # -v added one that writes to the stream of this run
        logging.getLogger("smartremote").setLevel(logging.NOTSET)
