"""What cannot be reached is named: the host, or the proxy; and what passes is told apart from what stays."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from smartremote_cli.errors import AttemptFailed, RefusedError, RemotePermissionError
from smartremote_cli.transport.happy_eyeballs import connect
from smartremote_cli.transport.options import Options
from tests.support import faults
from tests.support.proxy import Proxy
from tests.support.server import Certificates, Server, unused_port
from tests.support.tool import Tool
from tests.transport.common import DATA, fetch

real_lookup = socket.getaddrinfo


def resolver(monkeypatch: pytest.MonkeyPatch, look_up: Callable[[], Any]) -> None:
    """Have *look_up* answer for names; addresses need no resolver."""

    def ask(host: Any, port: int, **more: int) -> Any:
        if more.get("flags", 0) & socket.AI_NUMERICHOST:
            return real_lookup(host, port, **more)
        return look_up()

    monkeypatch.setattr(socket, "getaddrinfo", ask)


def failing(code: int) -> Callable[[], Any]:
    def look_up() -> Any:
        raise socket.gaierror(code, "no")

    return look_up


@pytest.mark.parametrize("code", [socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM, socket.EAI_MEMORY])
def test_a_resolver_that_fails_may_be_asked_again(
    monkeypatch: pytest.MonkeyPatch, tool: Tool, code: int
) -> None:
    resolver(monkeypatch, failing(code))
    ran = tool("get", "http://there.example/file.bin")
    assert ran.code == 3 and "the host name could not be looked up" in ran.err


@pytest.mark.parametrize("code", [socket.EAI_NONAME, socket.EAI_NODATA])
def test_an_unknown_host_stays_unknown(monkeypatch: pytest.MonkeyPatch, tool: Tool, code: int) -> None:
    resolver(monkeypatch, failing(code))
    ran = tool("get", "http://there.example/file.bin")
    assert ran.code == 4 and "unknown host there.example" in ran.err


def test_a_resolver_that_hangs_is_left_after_the_timeout(monkeypatch: pytest.MonkeyPatch, tool: Tool) -> None:
    over = threading.Event()
    resolver(monkeypatch, lambda: over.wait(60) and [])
    try:
        ran = tool("get", "http://there.example/file.bin", "--timeout", "0.2")
    finally:
        over.set()
    assert ran.code == 3 and "the host name could not be looked up within 0.2 s" in ran.err


def test_a_stop_ends_the_wait_for_a_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    resolver(monkeypatch, lambda: over.wait(60) and [])
    try:
        with pytest.raises(ConnectionAbortedError):
            connect("there.example", 80, 60, lambda: True)
    finally:
        over.set()


def test_a_refused_connection_is_tried_twice(tool: Tool) -> None:
    ran = tool("get", f"http://127.0.0.1:{unused_port()}/file.bin", "--progress", "json")
    assert ran.code == 3 and ran.err.count('"retry"') == 1


# --- proxies ---


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there_is_named(tool: Tool, scheme: str) -> None:
    dead = f"http://127.0.0.1:{unused_port()}"
    ran = tool("get", f"{scheme}://there.example/file.bin", "--proxy", dead)
    assert ran.code == 3
    assert f"no way through the proxy {dead}: connection refused" in ran.err


@pytest.mark.parametrize("kind", ["http", "https", "socks5h"])
def test_a_proxy_whose_host_is_unknown_is_named_and_not_the_urls(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    resolver(monkeypatch, failing(socket.EAI_NONAME))
    with pytest.raises(RefusedError, match=rf"unknown host of the proxy {kind}://me\.example:3128"):
        fetch("http://there.example/", Options(proxy=f"{kind}://u:hunter2@me.example:3128"))


def test_a_proxys_certificate_is_the_proxys(certificates: Certificates, server: Server) -> None:
    with (
        Proxy(tls=certificates.context("self-signed")) as proxy,
        pytest.raises(RefusedError, match=r"the proxy https://[^ ]*: certificate not trusted"),
    ):
        fetch(server.url(), Options(proxy=proxy.url(), cacert=certificates.ca))


@pytest.mark.parametrize("secure", [False, True], ids=["forwarded", "tunnel"])
@pytest.mark.parametrize(("user", "hint"), [(None, True), ("me:wrong", False)])
def test_a_proxy_that_wants_a_login_says_whose(
    certificates: Certificates, secure: bool, user: str | None, hint: bool
) -> None:
    with (
        Server(DATA, tls=certificates.context() if secure else None) as server,
        Proxy(user="me:hunter2") as proxy,
    ):
        url = proxy.url(user) if user else proxy.url()
        with pytest.raises(RemotePermissionError, match=r"the proxy refuses: 407") as failed:
            fetch(server.url(), Options(proxy=url, cacert=certificates.ca))
        assert f"by {proxy.url().rstrip('/')}" in str(failed.value)
        assert bool(failed.value.hint) is hint
        assert fetch(server.url(), Options(proxy=proxy.url("me:hunter2"), cacert=certificates.ca))


def test_a_proxys_scheme_that_is_not_spoken_is_named(server: Server) -> None:
    server.faults.append(faults.status(407, headers=[("Proxy-Authenticate", "NTLM")]))
    with pytest.raises(RemotePermissionError, match="asks for NTLM, which smartremote does not speak"):
        fetch("http://there.example/", Options(proxy=server.url("")))


def test_failures_of_a_proxy_pass(server: Server) -> None:
    with Proxy(failure="close") as proxy:
        with pytest.raises(AttemptFailed):
            fetch(server.url(), Options(proxy=proxy.url()))
        with pytest.raises(
            AttemptFailed, match=f"no way through the proxy {proxy.url().rstrip('/')}: the conn"
        ):
            fetch("https://there.example/", Options(proxy=proxy.url()))
