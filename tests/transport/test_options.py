"""Options are checked when they are given: a mistake is the caller's, and not blamed on a server."""

from __future__ import annotations

from typing import Any

import pytest

from smartremote_cli.errors import UsageError
from smartremote_cli.transport.options import Options
from tests.support.server import Server
from tests.transport.common import DATA, fetch


@pytest.mark.parametrize(
    "headers",
    [{"X-Key": "v"}, [("X-Key", "v")], [["X-Key", " v "]], (("X-Key", "v"),), iter([("X-Key", "v")])],
)
def test_headers_are_a_mapping_or_pairs(server: Server, headers: Any) -> None:
    assert fetch(server.url(), Options(headers=headers)) == DATA[1000:5000]
    assert server.requests[0].headers.all("X-Key") == ["v"]


def test_a_user_is_a_pair_or_both_in_one() -> None:
    assert Options(user="me:p:w").user == ("me", "p:w") == Options(user=("me", "p:w")).user


@pytest.mark.parametrize(
    "given",
    [
        {"headers": "X-Key: v"},
        {"headers": ["X-Key: v"]},
        {"headers": {"TE": 1}},
        {"headers": 5},
        {"headers": {"X-Key\r\n": "v"}},
        {"headers": {"X-Key": "v\r\nX: y"}},
        {"headers": {"Range": "bytes=0-1"}},
        {"headers": {"": "x"}},
        {"user": "me"},
        {"user": ("me",)},
        {"user": ("me", None)},
        {"user": ("me", "a\nb")},
        {"user": 7},
        {"user_agent": "a\r\nb"},
        {"user_agent": "a\0"},
        {"user_agent": None},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"timeout": "30"},
        {"cacert": 3},
        {"key": "k.pem"},
        {"proxy": 3},
    ],
)
def test_what_cannot_be_is_wrong_usage(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Options(**given)
