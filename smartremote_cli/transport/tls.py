"""TLS: which certificates are trusted, and TLS within the TLS that leads to a proxy.

Trusted is the system's store, as curl has it, or what one file says.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

from ..errors import UsageError

T = TypeVar("T")

_RECORD = 16 * 1024  # what a TLS record holds at most (RFC 8446, 5.1), and what one read brings
_RECORDS = 4 * _RECORD  # what is read at once from a proxy
_SHORT = 32 * 1024  # bytes of a bundle that is read at once, some twenty certificates
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
)


class Trust:
    """Which certificates are trusted. `context` is what connections use, and stays the same object."""

    def __init__(self, cacert: str | None, insecure: bool) -> None:
        """Trust the system's store, with SSL_CERT_FILE and SSL_CERT_DIR, or *cacert* alone, or anybody.

        Where OpenSSL was built for another system's paths, the usual bundles and then certifi's are tried.
        """
        self._lock = threading.Lock()  # guards _rest
        self._rest: str | None = None
        self.context = self._context(cacert, insecure)
        self.context.set_alpn_protocols(["http/1.1"])

    @property
    def is_whole(self) -> bool:
        """Whether all that is to be trusted is known to `context`."""
        return self._rest is None

    def complete(self) -> None:
        """Have `context` know all that is to be trusted, after a certificate that it could not verify."""
        with self._lock:
            if self._rest is not None:
                with contextlib.suppress(OSError):  # a bundle that cannot be read adds nothing
                    self.context.load_verify_locations(cafile=self._rest)
                self._rest = None

    def _context(self, cacert: str | None, insecure: bool) -> ssl.SSLContext:
        if insecure:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        if cacert is not None:
            try:
                return ssl.create_default_context(cafile=cacert)
            except (OSError, ssl.SSLError) as error:
                raise UsageError("--cacert", f"{cacert} cannot be read as certificates") from error
        paths = ssl.get_default_verify_paths()
        if paths.cafile and paths.capath and _is_long(paths.cafile) and _is_hashed(paths.capath):
            # There OpenSSL finds an issuer by its name, when it needs one.
            self._rest = paths.cafile
            return ssl.create_default_context(capath=paths.capath)
        if paths.cafile or paths.capath:
            return ssl.create_default_context()
        bundle = next((path for path in _BUNDLES if os.path.exists(path)), None)
        if bundle is None:
            import certifi

            bundle = certifi.where()
        return ssl.create_default_context(cafile=bundle)


def _is_long(bundle: str) -> bool:
    """Return whether *bundle* takes long to read: 140 certificates, as systems have them, take a fourth of a start."""
    return os.path.getsize(bundle) > _SHORT


def _is_hashed(folder: str) -> bool:
    """Return whether *folder* has certificates under names that OpenSSL looks for, as `openssl rehash` does."""
    try:
        with os.scandir(folder) as entries:
            return any(len(entry.name) == 10 and entry.name.endswith(".0") for entry in entries)
    except OSError:
        return False


def reader(sock: ssl.SSLSocket) -> Callable[[memoryview], int]:
    """Return what fills a view with all that has come to *sock*: how many bytes, 0 at the end, however it came about.

    Raises SSLWantReadError when nothing is here.
    """
    # SSLSocket.read calls this, by way of as much Python as all the rest of what a record costs here.
    read = cast("Callable[[int, memoryview], int]", getattr(sock, "_sslobj", sock).read)

    def fill(view: memoryview) -> int:
        count, size = 0, len(view)
        try:
            while count < size and (got := read(_RECORD, view[count:])):
                count += got
        except ssl.SSLEOFError:  # who counts bytes finds out, as with a socket
            pass
        except OSError:  # it will come again, when these bytes are safe
            if not count:
                raise
        return count

    return fill


class NestedTls:
    """TLS over a non-blocking `SSLSocket`, *outer*, with the methods of one; wait on `fileno` as for a socket."""

    def __init__(self, outer: ssl.SSLSocket, context: ssl.SSLContext, hostname: str | None) -> None:
        self.outer = outer
        self._arrived = ssl.MemoryBIO()
        self._leaving = ssl.MemoryBIO()
        self._unsent = b""
        self._tls = context.wrap_bio(self._arrived, self._leaving, server_hostname=hostname)

    def do_handshake(self) -> None:
        self._fed(self._tls.do_handshake)

    def recv(self, most: int) -> bytes:
        try:
            return self._fed(lambda: self._tls.read(most))
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):  # who counts bytes finds out, as with a socket
            return b""

    def recv_into(self, view: memoryview) -> int:
        data = self.recv(len(view))
        view[: len(data)] = data
        return len(data)

    def send(self, data: memoryview) -> int:
        self._flush()
        count = self._tls.write(data)
        with contextlib.suppress(ssl.SSLWantWriteError):  # what is left goes before whatever comes next
            self._flush()
        return count

    def selected_alpn_protocol(self) -> str | None:
        return self._tls.selected_alpn_protocol()

    def fileno(self) -> int:
        return self.outer.fileno()

    def getsockname(self) -> Any:
        return self.outer.getsockname()

    def getpeername(self) -> Any:
        return self.outer.getpeername()

    def close(self) -> None:
        self.outer.close()

    def _fed(self, step: Callable[[], T]) -> T:
        """Do *step*, with as much from the outer connection as it needs; SSLWantReadError when that has no more."""
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                with contextlib.suppress(ssl.SSLWantWriteError):
                    self._flush()
                data = self.outer.recv(_RECORDS)
                if data:
                    self._arrived.write(data)
                else:
                    self._arrived.write_eof()
            else:
                with contextlib.suppress(ssl.SSLWantWriteError):
                    self._flush()
                return done

    def _flush(self) -> None:
        self._unsent += self._leaving.read()
        while self._unsent:
            self._unsent = self._unsent[self.outer.send(self._unsent) :]
