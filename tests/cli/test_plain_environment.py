"""Places without the usual things: a locale, streams, a home, a current folder, memory; and what a terminal sees."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from smartremote_cli import cli
from smartremote_cli.errors import bug
from tests.support import faults
from tests.support.server import Server
from tests.support.tool import Tool

DATA = bytes(range(256)) * 1000
NO_HELP = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
HARMLESS = {"\n"}


def run(tool: Tool, script: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the shell *script*, in which $SR is the command, with nothing in the environment but *environment*."""
    command = f'SR="{sys.executable} -m smartremote_cli"; {script}'
    whole = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(cli.__file__).parents[2]), **environment}
    return subprocess.run(
        ["sh", "-c", command], cwd=tool.folder, env=whole, capture_output=True, timeout=60, check=False
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_cost_nothing(tool: Tool, closed: str) -> None:
    with Server(DATA) as server:
        assert run(tool, f"$SR get {server.url()} {closed}").returncode == 0
    assert tool.read() == DATA


def test_a_locale_without_characters_costs_nothing(tool: Tool) -> None:
    with Server(DATA) as server:
        server.faults.append(faults.status(404, when=faults.path("/\u00e4")))
        assert run(tool, f"$SR get {server.url()} -o \u00e9.bin", **NO_HELP).returncode == 0
        assert run(tool, "$SR status", **NO_HELP).returncode == 0
        done = run(tool, f"$SR get '{server.url('/')}\u00e4'", **NO_HELP)
    assert done.returncode in (2, 4) and b"Traceback" not in done.stderr


def test_who_has_no_home_and_no_name_can_work(tool: Tool) -> None:
    """As in a container that runs under a random user id."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    for folder in [tool.folder, *tool.folder.parents][:4]:
        folder.chmod(folder.stat().st_mode | 0o055)
    tool.folder.chmod(0o777)
    code = (
        "import os, sys; from smartremote_cli.cli import run\n"
        "url = sys.argv[1]\n"
        "run(['get', url, '-o', 'first.bin'])\n"  # what it loads may be out of the other user's reach
        "run(['cat', url, '--length', '9'])\n"
        "os.environ.pop('HOME'); os.setgid(4321); os.setuid(4321)\n"
        "sys.exit(run(['get', url, '-v']) or run(['cat', url, '--length', '9', '--no-cache']))"
    )
    with Server(DATA) as server:
        done = run(tool, f'{shlex.quote(sys.executable)} -c "{code}" {server.url()}', HOME=str(tool.home))
    assert done.returncode == 0, done.stderr
    assert tool.read() == DATA


def test_a_current_folder_that_is_gone_is_trouble_of_this_machine(tool: Tool) -> None:
    with Server(DATA) as server:
        gone = "mkdir gone && cd gone && rmdir ../gone && "
        done = run(tool, f"{gone}$SR get {server.url()}")
        assert done.returncode == 6 and b"Traceback" not in done.stderr
        assert run(tool, f"{gone}$SR get {server.url()} -o {tool.folder}/file.bin").returncode == 0
    assert tool.read() == DATA


def test_no_memory_is_trouble_of_this_machine() -> None:
    assert bug(MemoryError()).exit_code == 6
    assert bug(UnicodeEncodeError("ascii", "\u00e9", 0, 1, "no")).exit_code == 6
    assert bug(KeyError("x")).exit_code == 1


@pytest.mark.parametrize("extra", [[], ["-v"], ["-q"], ["--progress", "plain", "-v"]])
@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nETag: \"\x9b2J\x9d0;title\x9c\xc2\x9b\"\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 \x1b[2J\x9b31m\r\nContent-Encoding: \x9b2J\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 206 OK\r\nContent-Range: bytes \x9b31m/7\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 302 x\r\nLocation: ftp://\x9b2J\x1b/\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 302 x\r\nLocation: http://\x9b2J/\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 401 x\r\nWWW-Authenticate: X\x9b2J y\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 401 x\r\nWWW-Authenticate: Digest realm=x, nonce=y, algorithm=\x9b2J\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: \x9b2J\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: \x9b2J\r\n\r\n",
        b"HTTP/1.1 2\x9b0 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nLast-Modified: \x9b2J\r\nContent-Length: 5\r\n"
        b"Content-Disposition: attachment; filename=\"\x9b2J\x1b.bin\"\r\n\r\n",
    ],
)  # fmt: skip
def test_no_control_character_of_a_server_reaches_the_terminal(
    tool: Tool, head: bytes, extra: list[str]
) -> None:
    with Server(DATA) as server:
        server.faults.append(faults.raw(head + b"hello"))
        for command in ("get", "cat"):
            ran = tool(command, server.url(), "--retries", "1", *extra)
            found = {char for char in ran.err if ord(char) < 32 or "\x7f" <= char <= "\x9f"}
            assert found <= HARMLESS, ran.err
            assert ran.code != 1


@pytest.mark.parametrize("option", ["--user-agent", "-H"])
@pytest.mark.parametrize("text", ["a\r\nX: y", "a\nb", "a\rb", "a\r", "a\u00e9"])
def test_an_option_that_no_header_can_carry_is_blamed_on_the_option(
    tool: Tool, option: str, text: str
) -> None:
    with Server(DATA) as server:
        ran = tool("get", server.url(), option, f"X: {text}" if option == "-H" else text)
        assert ran.code == 2
        assert option.replace("-H", "--header") in ran.complaint and server.url() not in ran.err
        assert server.requests == []
