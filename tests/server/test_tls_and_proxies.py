"""TLS, and proxies."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.server.asking import DATA
from tests.support import faults
from tests.support.nginx import nginx_or_skip
from tests.support.proxy import Proxy
from tests.support.server import Certificates, Patterned, Server, pattern, unused_port


@pytest.mark.parametrize(
    ("name", "fails"),
    [
        ("good", ""),
        ("expired", "expired"),
        ("other-name", "IP address mismatch"),
        ("self-signed", "self.signed"),
    ],
)
def test_certificates_are_good_and_bad(certificates: Certificates, name: str, fails: str) -> None:
    with Server(Patterned(1 << 20), tls=certificates.context(name)) as server:
        assert server.url().startswith("https://127.0.0.1:")
        if fails:
            with pytest.raises(ssl.SSLCertVerificationError, match=fails):
                _fetch(server, certificates)
        else:
            assert _fetch(server, certificates) == pattern(1 << 20)


def _fetch(server: Server, certificates: Certificates) -> bytes:
    context = ssl.create_default_context(cafile=certificates.ca)
    client = http.client.HTTPSConnection(server.host, server.port, timeout=5, context=context)
    with contextlib.closing(client):
        client.request("GET", "/file.bin")
        return client.getresponse().read()


def test_faults_reach_through_tls(certificates: Certificates) -> None:
    with Server(DATA, tls=certificates.context()) as server:
        server.faults += [faults.fin(100, when=faults.nth(1)), faults.reset(100, when=faults.nth(2))]
        for _ in range(2):  # a reset is an end like others to Python's ssl, depending on its version
            with pytest.raises((http.client.IncompleteRead, ssl.SSLError, ConnectionResetError)):
                _fetch(server, certificates)


def test_nginx_serves_tls_and_reports_what_keeps_it_from_starting(certificates: Certificates) -> None:
    with nginx_or_skip(tls=certificates.files()) as nginx:
        (nginx.folder / "file.bin").write_bytes(DATA)
        context = ssl.create_default_context(cafile=certificates.ca)
        client = http.client.HTTPSConnection("127.0.0.1", nginx.port, timeout=5, context=context)
        client.request("GET", "/file.bin")
        assert client.getresponse().read() == DATA
        client.close()
    with pytest.raises(RuntimeError, match="nonsense"), nginx_or_skip(server=["nonsense;"]):
        pass


def _curl(*arguments: str | Path) -> tuple[int, str]:
    command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}/%{http_connect}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    return done.returncode, done.stdout


def test_a_proxy_passes_on_and_tunnels(server: Server, certificates: Certificates) -> None:
    secure = Server(DATA, tls=certificates.context())
    with secure, Proxy(user="me:pw", hosts={"far.example": ("127.0.0.1", server.port)}) as proxy:
        through = ("-x", proxy.url("me:pw"), "--cacert", certificates.ca)
        assert _curl(*through, server.url(), "-o", "/dev/null", server.url()) == (0, "200/000200/000")
        assert _curl(*through, secure.url()) == (0, "200/200")
        assert _curl(*through, "http://far.example/file.bin?x=1") == (0, "200/000")
        assert _curl(*through, f"http://127.0.0.1:{unused_port()}/") == (0, "502/000")
        assert _curl("-x", proxy.url(), server.url()) == (0, "407/000")
        assert _curl("-x", proxy.url("me:no"), secure.url()) == (56, "000/407")
        assert [seen.method for seen in proxy.requests].count("CONNECT") == 2
        assert proxy.requests[0].target == server.url()
        assert [seen.status for seen in proxy.requests] == [0, 0, 200, 0, 502, 407, 407]
        assert [seen.target for seen in server.requests] == ["/file.bin", "/file.bin", "/file.bin?x=1"]
        assert all(seen.header("Proxy-Authorization") is None for seen in server.requests)


def test_a_proxy_fails_on_demand(server: Server, certificates: Certificates) -> None:
    with Server(DATA, tls=certificates.context()) as secure, Proxy(failure=502) as proxy:
        assert _curl("-x", proxy.url(), server.url()) == (0, "502/000")
        assert _curl("-kx", proxy.url(), secure.url()) == (56, "000/502")
        proxy.failure = "close"
        assert _curl("-x", proxy.url(), server.url()) == (52, "000/000")
        proxy.failure = "reset"
        assert _curl("-x", proxy.url(), server.url()) == (56, "000/000")
        proxy.failure = None
        proxy.refuse_connections()
        assert _curl("-x", proxy.url(), server.url()) == (7, "000/000")
        assert secure.requests == server.requests == []
