"""SOCKS 5 (RFC 1928, RFC 1929): a proxy that is told where to connect, and from then on passes bytes.

The messages are socksio's; here every answer is read to its exact end, for the next byte is the server's.
"""

from __future__ import annotations

import time
from typing import Any

from ..core.addresses import Endpoint
from ..errors import UsageError
from .connection import Connection, ConnectionEndedError
from .proxy import Proxy, ProxyError

# What a SOCKS 5 proxy answers instead of success (RFC 1928, 6).
_FAILURES = {
    1: "general failure",
    2: "connection not allowed by ruleset",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
}

_ADDRESS_BYTES = {
    1: 4,
    4: 16,
}  # of an IPv4 and an IPv6 address; a name (3) begins with its length (RFC 1928, 5)


def negotiate(connection: Connection, proxy: Proxy, endpoint: Endpoint, timeout: float) -> None:
    """Have *proxy* connect on to *endpoint*, whose name it resolves, within *timeout* seconds.

    Raises `ProxyError` where it does not, and what a connection raises.
    """
    try:
        from socksio import SOCKSError, socks5
    except ImportError as error:
        raise UsageError(
            f"{proxy.scheme}://{proxy.host}:{proxy.port}",
            "a SOCKS proxy needs the package socksio",
            hint="pip install 'smartremote-cli[socks]'",
        ) from error
    talk = _Talk(connection, socks5.SOCKS5Connection(), timeout)
    there = endpoint.host.encode("ascii"), endpoint.port
    try:
        _log_in(talk, proxy.user)
        command = socks5.SOCKS5CommandRequest.from_address(socks5.SOCKS5Command.CONNECT, there)
    except (SOCKSError, OverflowError) as error:  # more than the 255 bytes that a name or password may have
        raise ProxyError(f"SOCKS 5 cannot say it: {error}") from error
    reply = talk.ask(command, 4, version=5)
    if reply[1]:
        raise ProxyError(_FAILURES.get(reply[1], f"SOCKS error {reply[1]}"))
    talk.skip_address(reply[3])


def _log_in(talk: _Talk, user: tuple[str, str] | None) -> None:
    from socksio import socks5

    methods = socks5.SOCKS5AuthMethod
    method = methods.NO_AUTH_REQUIRED if user is None else methods.USERNAME_PASSWORD
    answer = talk.ask(socks5.SOCKS5AuthMethodsRequest([method]), 2, version=5)
    if answer[1:] != method.value:
        raise ProxyError("it wants another way to log in")
    talk.state.receive_data(answer)
    if user is not None:
        name, password = (word.encode() for word in user)
        answer = talk.ask(socks5.SOCKS5UsernamePasswordRequest(name, password), 2, version=1)
        if answer[1]:
            raise ProxyError("wrong user or password")
        talk.state.receive_data(answer)


class _Talk:
    """Messages to a proxy and its answers, all of which have *timeout* seconds. *state* is socksio's connection."""

    def __init__(self, connection: Connection, state: Any, timeout: float) -> None:
        self.state = state
        self._connection = connection
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout

    def ask(self, message: Any, count: int, *, version: int) -> bytes:
        """Send *message*; return the *count* bytes with which its answer begins, the first of them *version*."""
        self.state.send(message)
        self._connection.send(self.state.data_to_send(), self._timeout)
        answer = self._read(count)
        if answer[0] != version:
            raise ProxyError("it does not speak SOCKS 5")
        return answer

    def skip_address(self, kind: int) -> None:
        """Read the address and port from which the proxy connects (RFC 1928, 6): nothing here needs them."""
        length = _ADDRESS_BYTES.get(kind)
        self._read((self._read(1)[0] if length is None else length) + 2)

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no answer of the proxy within {self._timeout:g} s")
            more = self._connection.receive(
                count - len(data), left, f"nothing received for {self._timeout:g} s"
            )
            if not more:
                raise ConnectionEndedError("the proxy ended the connection")
            data += more
        return data
