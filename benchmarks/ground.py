"""The ground that a case is measured on: folders in memory and on disk, a real nginx, slow links, a private home."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.nginx import Nginx

from .relay import Link, Relay

MIB = 1024 * 1024
GIB = 1024 * MIB


class Ground:
    """What one case needs, made when it is first asked for and gone with the `with`.

    *memory* is backed by memory where the system has such a folder, *disk* is not: syncs are real there. `out` is
    where downloads go unless they are to go to *disk*; `clear` empties both and starts links and logs anew, so that
    every run finds the same. *scale* divides sizes, for a quick look.
    """

    def __init__(self, stack: contextlib.ExitStack, memory: Path, disk: Path, scale: int = 1) -> None:
        self._stack = stack
        self._relays: list[Relay] = []
        self._servers: dict[bool, Nginx] = {}
        self._certificate: tuple[Path, Path] | None = None
        self.scale = scale
        self.home = memory / "home"
        self.served = memory / "served"
        self.out = memory / "out"
        self.cache = memory / "cache"
        self.disk = disk
        for folder in self.home, self.served, self.out:
            folder.mkdir()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that measured commands see: nobody's settings and proxies, a home and a cache of their own."""
        return {
            "HOME": str(self.home),
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C.UTF-8",
            "SMARTREMOTE_CACHE_DIR": str(self.cache),
        }

    def clear(self) -> None:
        """Remove what was downloaded and cached, and start links and logs anew."""
        for folder in self.out, self.disk:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        shutil.rmtree(self.cache, ignore_errors=True)
        self.refresh()

    def refresh(self) -> None:
        """Start links and logs anew."""
        for relay in self._relays:
            relay.reset()
        for server in self._servers.values():
            server.reset_log()

    def size(self, full: int) -> int:
        """Return *full*, or as much less as a quick look wants."""
        return max(full // self.scale, MIB)

    def file(self, size: int, name: str = "file.bin") -> Path:
        """Return a served file of *size* bytes that do not repeat."""
        path = self.served / name
        if not path.exists():
            source = random.Random(size)
            with path.open("wb") as file:
                for start in range(0, size, MIB):
                    file.write(source.randbytes(min(MIB, size - start)))
        return path

    def sparse(self, size: int) -> Path:
        """Return a served file of *size* zeros that takes no room."""
        path = self.served / f"sparse-{size}.bin"
        with path.open("wb") as file:
            file.truncate(size)
        return path

    def server(self, *, tls: bool = False) -> Nginx:
        if tls not in self._servers:
            self._servers[tls] = self._stack.enter_context(
                Nginx(self.served, tls=self._keys() if tls else None)
            )
        return self._servers[tls]

    def url(self, path: Path, link: Link | None = None, *, tls: bool = False) -> str:
        """Return where *path*, below `served`, is to be had: straight from nginx, or over *link*."""
        server = self.server(tls=tls)
        port = server.port
        if link is not None:
            relay = self._stack.enter_context(Relay(port, link))
            self._relays.append(relay)
            port = relay.port
        return f"{'https' if tls else 'http'}://127.0.0.1:{port}/{path.relative_to(self.served)}"

    @property
    def authority(self) -> Path:
        """The certificate that vouches for the TLS server."""
        return self._keys()[0]

    def sent(self) -> int:
        """Return how many bytes of bodies the server has sent since the last `clear` or `refresh`."""
        return sum(seen.body_bytes_sent for seen in self.server().requests())

    def _keys(self) -> tuple[Path, Path]:
        if self._certificate is None:
            certificate, key = self.home / "certificate.pem", self.home / "key.pem"
            words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
            more = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
            files = ["-out", str(certificate), "-keyout", str(key)]
            subprocess.run([*words.split(), *more, *files], check=True, capture_output=True)
            self._certificate = certificate, key
        return self._certificate


@contextlib.contextmanager
def ground(disk: Path, scale: int = 1) -> Iterator[Ground]:
    """Make a `Ground` whose disk folder is below *disk*, and leave nothing behind."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK)
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="smartremote-bench-", dir=memory if roomy else None)
        )
        solid = stack.enter_context(tempfile.TemporaryDirectory(prefix="smartremote-bench-", dir=disk))
        yield Ground(stack, Path(home), Path(solid) / "out", scale)


def smartremote() -> list[str]:
    """Return the words that start smartremote as a user does: the installed script, where there is one."""
    script = Path(sys.executable).with_name("smartremote")
    return [str(script)] if script.exists() else [sys.executable, "-m", "smartremote_cli"]
