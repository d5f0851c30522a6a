"""Options that name files and interfaces: headers, cookies, netrc; and where connections leave this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartremote_cli.errors import UsageError
from smartremote_cli.transport.cookies import read_cookie_file
from tests.support import faults
from tests.support.server import Server, basic
from tests.support.tool import Tool
from tests.transport.common import DATA

FOREVER = 4102444800  # the year 2100


def cookie(domain: str, name: str, *, below: str = "FALSE", path: str = "/", expires: int = FOREVER) -> str:
    return "\t".join([domain, below, path, "FALSE", str(expires), name, "v"])


def test_cookies_of_a_file_go_each_to_its_domain(tool: Tool) -> None:
    lines = [
        "# Netscape HTTP Cookie File",
        "",
        cookie("127.0.0.1", "here"),
        "#HttpOnly_" + cookie("127.0.0.1", "hidden", expires=0),
        cookie("127.0.0.1", "old", expires=1),
        cookie("127.0.0.1", "place", path="/elsewhere"),
        cookie("localhost", "there"),
        cookie(".example.com", "far", below="TRUE"),
    ]
    file = tool.write("cookies.txt", "\n".join(lines).encode())
    with Server(DATA) as server:
        server.faults.append(faults.header("Set-Cookie", "new=1; path=/", when=faults.path("/first")))
        server.faults.append(faults.redirect(server.url(host="localhost"), when=faults.path("/second")))
        server.faults.append(faults.redirect("/second", when=faults.path("/first")))
        assert tool("get", server.url("/first"), "-o", "x", "--cookies", file).code == 0
        sent = [set((seen.header("Cookie") or "").split("; ")) for seen in server.requests[:3]]
    assert sent == [{"here=v", "hidden=v"}, {"here=v", "hidden=v", "new=1"}, {"there=v"}]
    assert file.read_text() == "\n".join(lines)


@pytest.mark.parametrize("text", ["nonsense", "a\tb\tc\td\te\tf\tg", '{"cookies": []}'])
def test_what_is_no_file_of_cookies_is_wrong_usage(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(UsageError, match="Netscape"):
        read_cookie_file(str(tmp_path / "file"))
    with pytest.raises(UsageError, match="cannot be read"):
        read_cookie_file(str(tmp_path / "absent"))


def test_headers_and_credentials_come_from_files(tool: Tool) -> None:
    headers = tool.write("headers", b"X-Key: secret\n\nX-Other: 2\n")
    netrc = tool.write("netrc", b"machine 127.0.0.1 login a password b")
    with Server(DATA) as server:
        ran = tool("get", server.url(), "-H", f"@{headers}", "-H", "X-Third: 3", "--netrc-file", netrc)
        assert ran.code == 0
        seen = server.requests[0]
        found = [seen.header(name) for name in ("X-Key", "X-Other", "X-Third", "Authorization")]
        assert found == ["secret", "2", "3", basic("a:b")]
        for option in (["-H", "@absent"], ["--netrc-file", "absent"], ["--cookies", "absent"]):
            ran = tool("get", server.url(), "-o", "new", *option)
            assert ran.code == 2 and option[0].replace("-H", "--header") in ran.complaint


@pytest.mark.parametrize("interface", ["lo", "127.0.0.1", "127.0.0.2"])
def test_connections_leave_by_the_interface_that_was_named(tool: Tool, interface: str) -> None:
    with Server(DATA) as server:
        assert tool("cat", server.url(), "--length", "5", "--interface", interface).out == DATA[:5]


@pytest.mark.parametrize("interface", ["nowhere0", "192.0.2.1", "::1", "a b\u00e4"])
def test_there_is_no_other_interface_in_its_place(tool: Tool, interface: str) -> None:
    with Server(DATA) as server:
        ran = tool("get", server.url(), "--interface", interface)
        assert ran.code == 2 and "--interface" in ran.complaint
        assert server.requests == []
