"""What the command says of a fault: one line, and no secret."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.hostile.rows import CONTENT, ONE, QUERY, SECRETS, after
from tests.support import faults
from tests.support.server import Fault, Server
from tests.support.tool import Tool


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: [faults.fin(300_000)], 0),
        (lambda: [faults.http09()], 4),
        (lambda: [faults.redirect("http://eve:hunter2@[::1/x?sig=5igna7ure")], 4),
        (lambda: [faults.status(403, b"\x1b[31mno")], 4),
        (lambda: [faults.retry_after("99999", when=after(2))], 3),
        (lambda: [faults.resized(1000)], 5),
        (lambda: [faults.digest("Content-Digest", right=False)], 7),
        (lambda: [faults.raw(b"HTTP/1.1 200 \x1b[31mOK\r\nContent-Length: x\r\n\r\n")], 4),
    ],
)
def test_the_command_says_one_line_and_no_secret(
    tool: Tool, make: Callable[[], list[Fault]], code: int
) -> None:
    with Server(CONTENT) as server:
        server.faults += make()
        url = server.url(f"/file.bin{QUERY}").replace("://", "://m:hunter2@")
        ran = tool.spawn("get", url, "-v", "--progress", "none", "-H", "X-Key: t0psecret")
    assert ran.code == code, ran.err
    assert not [secret for secret in SECRETS if secret in ran.err]
    assert "\x1b" not in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == b""
    if code == 0:
        assert tool.read() == ONE
        assert tool.files == ["file.bin"]
