"""What servers and archives send never acts on the terminal, whichever way it is printed."""

from __future__ import annotations

import pytest

from tests.support import faults
from tests.support.server import Server, pattern
from tests.support.tool import Tool

EVIL = "\x9b31mred\x9d0;owned\x9c\x7f"


@pytest.mark.parametrize(
    "fault",
    [
        faults.header("Content-Range", f"bytes {EVIL}"),
        faults.header("Content-Length", EVIL),
        faults.header("ETag", f'"{EVIL}"'),
        faults.header("Content-Encoding", EVIL),
        faults.header("Transfer-Encoding", EVIL),
        faults.header("Content-Disposition", f'attachment; filename="{EVIL}"'),
        faults.status(503, headers=[("Retry-After", EVIL)], when=faults.first(2)),
        faults.status(500, when=faults.first(1)),
        faults.retry_after(EVIL, when=faults.first(1)),
        faults.redirect(f"/{EVIL}"),
    ],
    ids=lambda fault: str(getattr(fault, "name", fault))[:40],
)
@pytest.mark.parametrize("command", ["get", "cat"])
def test_no_header_acts_on_the_terminal(tool: Tool, fault: object, command: str) -> None:
    with Server(pattern(300_000)) as server:
        server.faults += [fault]  # type: ignore[list-item]
        ran = tool(command, server.url(), "-v", "--retries", "2", "--timeout", "2")
    assert "Traceback" not in ran.err
    for line in ran.err.splitlines():
        assert not [char for char in line if ord(char) < 32 or 127 <= ord(char) < 160], line
