"""TLS: which certificates are trusted, and TLS over a socket or within the TLS that leads to a proxy.

Trusted is the system's store, as curl has it, or what one file says. Only what speaks TLS imports this module: to load
`ssl` takes as long as all the rest of a plain request.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar, cast

from ..errors import UsageError

T = TypeVar("T")

_RECORD_BYTES = 16 * 1024  # a TLS record's content at most (RFC 8446, 5.1), and what one read brings
_NESTED_READ_BYTES = 4 * _RECORD_BYTES  # read at once from the TLS to a proxy: a few records, one call
# A bundle up to this size, some twenty certificates, is read at once. One of 140, as systems have them, takes a fourth
# of a start.
_SHORT_BUNDLE_BYTES = 32 * 1024
# Where distributions keep their bundle (Debian, Fedora, macOS and the BSDs, SUSE), for a Python built elsewhere.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
)


class Trust:
    """Which certificates are trusted. `context` is what connections use, and stays the same object."""

    def __init__(
        self,
        cacert: str | None,
        insecure: bool,
        cert: str | None = None,
        key: str | None = None,
        *,
        protocol: str = "http/1.1",
    ) -> None:
        """Trust the system's store, with SSL_CERT_FILE and SSL_CERT_DIR; *cacert* alone; or, *insecure*, anyone.

        Servers that ask for it are shown the certificate in the file *cert*, whose key is in the file *key* or in the
        same one. *protocol* is offered by ALPN. Where OpenSSL was built for another system's paths, the usual bundles
        and then certifi's are tried.
        """
        self._lock = threading.Lock()  # guards _rest
        self._rest: str | None = None
        self.context = self._context(cacert, insecure)
        # Python 3.13 and newer set this by default. curl and browsers do not: companies' own authorities often lack
        # the key identifiers that it wants.
        self.context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        self.context.set_alpn_protocols([protocol])
        if cert is not None:
            self._show(cert, key)

    @property
    def is_whole(self) -> bool:
        """Whether `context` knows all certificates that are trusted."""
        return self._rest is None

    def complete(self) -> None:
        """Load the rest into `context`, after a certificate that it could not verify."""
        with self._lock:
            if self._rest is not None:
                with contextlib.suppress(OSError):  # a bundle that cannot be read adds nothing
                    self.context.load_verify_locations(cafile=self._rest)
                self._rest = None

    def _show(self, cert: str, key: str | None) -> None:
        """Have servers that ask for a client certificate get this one."""

        def no_password() -> bytes:
            raise UsageError("--key", f"{key or cert} is encrypted; give a key without a password")

        for option, path in (("--cert", cert), ("--key", key)):
            if path is not None and not os.access(path, os.R_OK):
                raise UsageError(option, f"{path} cannot be read")
        try:
            self.context.load_cert_chain(cert, key, no_password)
            self.context.post_handshake_auth = True  # Apache asks when it has seen the path
        except (OSError, ssl.SSLError, ValueError) as error:
            both = f"{cert} and {key} are" if key else f"{cert} is"
            raise UsageError("--cert", f"{both} no certificate with its private key, in PEM") from error

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
            # OpenSSL looks up an issuer there by its name when it needs one.
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
    return os.path.getsize(bundle) > _SHORT_BUNDLE_BYTES


def _is_hashed(folder: str) -> bool:
    """Return whether *folder* has certificates under the names that `openssl rehash` gives and OpenSSL looks up."""
    try:
        with os.scandir(folder) as entries:
            return any(len(entry.name) == 10 and entry.name.endswith(".0") for entry in entries)
    except OSError:
        return False


class TlsSocket(ABC):
    """A non-blocking socket that speaks TLS; wait for its `fileno`, for what `event_for` says."""

    outermost: ssl.SSLSocket  # which owns the descriptor

    @abstractmethod
    def do_handshake(self) -> None: ...

    @abstractmethod
    def recv(self, limit: int) -> bytes:
        """Return up to *limit* bytes; empty at the end, with or without a goodbye: the framing tells them apart."""

    @abstractmethod
    def recv_into(self, view: memoryview) -> int:
        """Fill *view* with all that has come; return how many bytes, 0 at the end."""

    @abstractmethod
    def send(self, data: memoryview) -> int: ...

    @abstractmethod
    def pending(self) -> int:
        """Return how many bytes were decrypted and not read yet."""

    @abstractmethod
    def selected_alpn_protocol(self) -> str | None: ...

    def fileno(self) -> int:
        return self.outermost.fileno()

    @staticmethod
    def event_for(error: OSError) -> int:
        """Return what to wait for with poll(2) before what failed with *error* is tried again; 0 for a failure."""
        if isinstance(error, ssl.SSLWantReadError):
            return select.POLLIN
        return select.POLLOUT if isinstance(error, ssl.SSLWantWriteError) else 0


def wrap(under: socket.socket | TlsSocket, context: ssl.SSLContext, host: str) -> TlsSocket:
    """Return TLS with *host* over *under*, before its handshake.

    TLS names it without a trailing dot (RFC 6066, 3) and without a zone.
    """
    name = host.partition("%")[0].removesuffix(".")
    return (
        NestedTls(under, context, name) if isinstance(under, TlsSocket) else DirectTls(under, context, name)
    )


class DirectTls(TlsSocket):
    """TLS over a TCP socket, which it takes over."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, host: str) -> None:
        self.outermost = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)

    def do_handshake(self) -> None:
        self.outermost.do_handshake()

    def recv(self, limit: int) -> bytes:
        return self.outermost.recv(limit)

    def recv_into(self, view: memoryview) -> int:
        # SSLSocket.read calls this, through as much Python as all the rest of what a record costs here.
        read = cast(
            "Callable[[int, memoryview], int]", getattr(self.outermost, "_sslobj", self.outermost).read
        )
        count, size = 0, len(view)
        try:
            while count < size and (got := read(_RECORD_BYTES, view[count:])):
                count += got
        except ssl.SSLEOFError:
            pass
        except OSError:  # it will come again, when these bytes are safe
            if not count:
                raise
        return count

    def send(self, data: memoryview) -> int:
        return self.outermost.send(data)

    def pending(self) -> int:
        return self.outermost.pending()

    def selected_alpn_protocol(self) -> str | None:
        return self.outermost.selected_alpn_protocol()


class NestedTls(TlsSocket):
    """TLS within the TLS of *outer*."""

    def __init__(self, outer: TlsSocket, context: ssl.SSLContext, host: str) -> None:
        self.outermost = outer.outermost
        self._outer = outer
        self._arrived = ssl.MemoryBIO()
        self._leaving = ssl.MemoryBIO()
        self._unsent = b""
        self._tls = context.wrap_bio(self._arrived, self._leaving, server_hostname=host)

    def do_handshake(self) -> None:
        self._fed(self._tls.do_handshake)

    def recv(self, limit: int) -> bytes:
        try:
            return self._fed(lambda: self._tls.read(limit))
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
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

    def pending(self) -> int:
        return self._tls.pending() + self._arrived.pending + self._outer.pending()

    def selected_alpn_protocol(self) -> str | None:
        return self._tls.selected_alpn_protocol()

    def _fed(self, step: Callable[[], T]) -> T:
        """Do *step*, with as much from the outer connection as it needs; SSLWantReadError when that has no more."""
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                with contextlib.suppress(ssl.SSLWantWriteError):
                    self._flush()
                data = self._outer.recv(_NESTED_READ_BYTES)
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
            self._unsent = self._unsent[self._outer.send(memoryview(self._unsent)) :]
