"""Which proxy the environment names, and for whom: as curl has it."""

from __future__ import annotations

import pytest

from smartremote_cli.core.addresses import Endpoint
from smartremote_cli.transport.environment import is_excepted, proxy_from_environment


@pytest.mark.parametrize(
    ("exceptions", "host", "expected"),
    [
        ("", "h", False),
        ("*", "h", True),
        (" * ", "h", True),
        ("h", "h", True),
        ("H", "h.", True),
        ("h.", "h", True),
        ("example.com", "a.example.com", True),
        (".example.com", "a.example.com", True),
        (".example.com", "example.com", True),
        ("*.example.com", "a.example.com", True),
        ("example.com", "badexample.com", False),
        ("a.example.com", "example.com", False),
        ("x, h ,y", "h", True),
        ("x h y", "h", True),
        ("h:80", "h", True),
        ("h:81", "h", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.0/8", "127.9.9.9", True),
        ("10.0.0.0/8", "127.0.0.1", False),
        ("10.1.2.3/8", "10.9.9.9", True),
        ("127.0.0.1:80", "127.0.0.1", True),
        ("127.0.0.0/99", "127.0.0.1", False),
        ("0.1", "127.0.0.1", False),
        ("::1", "::1", True),
        ("[::1]", "::1", True),
        ("[::1]:80", "::1", True),
        ("[::1]:81", "::1", False),
        ("0:0:0:0:0:0:0:1", "::1", True),
        ("fe80::/10", "fe80::1%eth0", True),
        ("[fe80::]/10", "fe80::1", True),
        (",,/,", "h", False),
    ],
)
def test_who_is_excepted(exceptions: str, host: str, expected: bool) -> None:
    assert is_excepted(host, 80, exceptions) is expected


@pytest.mark.parametrize(
    ("environment", "scheme", "expected"),
    [
        ({"http_proxy": "a"}, "http", "a"),
        ({"HTTP_PROXY": "a"}, "http", None),  # a request's Proxy field, in a CGI program
        ({"HTTPS_PROXY": "a"}, "https", "a"),
        ({"HTTPS_PROXY": "a", "https_proxy": "b"}, "https", "b"),
        ({"HTTPS_PROXY": "a"}, "http", None),
        ({"https_proxy": "", "ALL_PROXY": "b"}, "https", "b"),
        ({"ALL_PROXY": "b", "all_proxy": "c"}, "http", "c"),
        ({"http_proxy": "a", "NO_PROXY": "h"}, "http", None),
        ({"http_proxy": "a", "no_proxy": "x", "NO_PROXY": "h"}, "http", "a"),
    ],
)
def test_which_variable_counts(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], scheme: str, expected: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_from_environment(Endpoint(scheme, "h", 80)) == expected
