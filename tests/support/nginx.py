"""A real nginx on the loopback, for claims that are about servers and not about our idea of one.

with nginx_or_skip() as nginx:
    (nginx.folder / "file.bin").write_bytes(pattern(1 << 20))
    fetch(nginx.url("/file.bin"))
    assert [seen.range for seen in nginx.requests(at_least=1)] == ["bytes=0-1048575"]
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

PATIENCE = 30.0  # seconds for nginx to start, to stop and to write its log, also on a loaded machine


@dataclass(frozen=True)
class Logged:
    """A line of the access log."""

    method: str
    uri: str
    status: int
    range: str | None
    body_bytes_sent: int
    connection: int


_LOG_FORMAT = r"$request_method\t$request_uri\t$status\t$http_range\t$body_bytes_sent\t$connection"

# Everything that nginx writes by default lies in folders of its package: each has to be named.
_CONFIGURATION = """
daemon off;
master_process off;
pid {home}/nginx.pid;
error_log {home}/error.log warn;
worker_rlimit_nofile 4096;
events {{ worker_connections 1024; }}
http {{
    types {{ application/zip zip; text/html html; }}
    default_type application/octet-stream;
    log_format tests escape=none "{log_format}";
    access_log {home}/access.log tests;
    client_body_temp_path {home}/temporary;
    proxy_temp_path {home}/temporary;
    fastcgi_temp_path {home}/temporary;
    uwsgi_temp_path {home}/temporary;
    scgi_temp_path {home}/temporary;
    sendfile on;
    keepalive_requests 100000;
    {http}
    server {{
        listen {listen};
        root {folder};
        {server}
    }}
}}
"""


class Nginx:
    """nginx serving *folder*, run by the user who runs the tests; all that it writes is in a temporary folder.

    *limit_rate* takes what nginx takes (`"1m"`): a second's worth of every request goes at full speed.
    *server* and *http* are more directives for those blocks. *tls* is a certificate file and its key.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        binary: str | None = None,
        tls: tuple[Path, Path] | None = None,
        limit_rate: str | None = None,
        server: Sequence[str] = (),
        http: Sequence[str] = (),
    ) -> None:
        found = binary or find()
        if found is None:
            raise FileNotFoundError("no nginx binary on the PATH, /usr/sbin or /usr/local/sbin")
        self._binary = found
        self._tls = tls
        self._server = list(server)
        self._http = list(http)
        if limit_rate:
            self._server.append(f"limit_rate {limit_rate};")
        if tls:
            self._server.append(f"ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]};")
        self._home = Path(tempfile.mkdtemp(prefix="nginx-"))
        self.folder = folder or self._home / "files"
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.folder.mkdir(exist_ok=True)
        for attempt in range(5):  # the free port may be taken by another before nginx has it
            self._start()
            if self._answers():
                return self
            error = self.errors()
            self._stop()
            if "Address already in use" not in error or attempt == 4:
                break
        self._remove()
        raise RuntimeError(f"nginx did not start: {error.strip() or 'no answer'}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._remove()

    def url(self, path: str = "/file.bin", *, host: str = "127.0.0.1") -> str:
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}{path}"

    def requests(self, at_least: int = 0) -> list[Logged]:
        """Return what was asked so far, waiting for *at_least* that many lines: nginx logs after it has sent."""
        give_up = time.monotonic() + PATIENCE
        while True:
            log = self._home / "access.log"
            text = log.read_text("utf-8", "replace") if log.exists() else ""
            whole = text[: text.rfind("\n") + 1].splitlines()
            if len(whole) >= at_least:
                return [_parse(line) for line in whole]
            if time.monotonic() > give_up:
                raise TimeoutError(f"{len(whole)} requests in the log of nginx, not {at_least}")
            time.sleep(0.005)

    def reset_log(self) -> None:
        """Forget the requests so far. nginx appends, so that cutting the file short is safe."""
        log = self._home / "access.log"
        if log.exists():
            os.truncate(log, 0)

    def errors(self) -> str:
        """Return the error log, and what nginx said before it had one."""
        files = (self._home / "error.log", self._home / "stderr")
        return "".join(file.read_text("utf-8", "replace") for file in files if file.exists())

    def _start(self) -> None:
        self.port = _free_port()
        configuration = _CONFIGURATION.format(
            home=self._home,
            folder=self.folder,
            listen=f"127.0.0.1:{self.port}{' ssl' if self._tls else ''}",
            log_format=_LOG_FORMAT,
            http="\n    ".join(self._http),
            server="\n        ".join(self._server),
        )
        (self._home / "nginx.conf").write_text(configuration)
        with (self._home / "stderr").open("wb") as stderr:
            self._process = subprocess.Popen(
                [self._binary, "-p", str(self._home), "-c", "nginx.conf", "-e", "error.log"],
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
            )

    def _answers(self) -> bool:
        """Whether our nginx has the port, and not another server: its pid file is there, and it accepts."""
        assert self._process
        give_up = time.monotonic() + PATIENCE
        while self._process.poll() is None and time.monotonic() < give_up:
            if (self._home / "nginx.pid").exists():
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                    return True
            time.sleep(0.005)
        return False

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _remove(self) -> None:
        shutil.rmtree(self._home, ignore_errors=True)


def _parse(line: str) -> Logged:
    method, uri, status, asked, sent, connection = line.split("\t")
    return Logged(method, uri, int(status), asked or None, int(sent), int(connection))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find() -> str | None:
    """Return the nginx binary, which Debian keeps in /usr/sbin."""
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    return shutil.which("nginx", path=places)


def nginx_or_skip(
    folder: Path | None = None,
    *,
    tls: tuple[Path, Path] | None = None,
    limit_rate: str | None = None,
    server: Sequence[str] = (),
    http: Sequence[str] = (),
) -> Nginx:
    """Return an `Nginx`, or skip the test and say why in capitals."""
    binary = find()
    if binary is None:
        pytest.skip(
            "NOT TESTED against a real server: no nginx found (apt install nginx, brew install nginx)"
        )
    return Nginx(folder, binary=binary, tls=tls, limit_rate=limit_rate, server=server, http=http)
