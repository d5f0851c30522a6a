"""Standard output as containers, full disks and others' pipes give it: all bytes arrive, or the exit code tells."""

from __future__ import annotations

import errno
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from smartremote_cli.cli.output import write_all
from smartremote_cli.core.blocks import BLOCK
from tests.support.archives import bare_archive, member_names
from tests.support.server import Held, Resource, Server, pattern
from tests.support.tool import PATIENCE, Tool, ended

SIZE = 40 * BLOCK + 123  # far more than a pipe holds


@pytest.fixture(params=["", "1"], ids=["buffered", "unbuffered"])
def tool_either_way(tool: Tool, request: pytest.FixtureRequest) -> Tool:
    if request.param:
        tool.env(PYTHONUNBUFFERED=request.param)
    return tool


@pytest.fixture
def served() -> Iterator[Server]:
    """A resource to print, and a long archive to list."""
    with Server(Held(pattern(SIZE))) as server:
        server.resources["/a.zip"] = Resource(Held(bare_archive(20_000)))
        yield server


def words_of(command: str, server: Server) -> list[str]:
    name, *options = command.split()
    return [name, server.url() if name == "cat" else server.url("/a.zip"), *options]


def wanted_of(command: str) -> bytes | None:
    if command == "cat":
        return pattern(SIZE)
    if command == "zip-ls -1":
        return "".join(f"{name}\n" for name in member_names(20_000)).encode()
    return None


PRINTING = ["cat", "zip-ls", "zip-ls -1", "zip-ls --json"]


@pytest.mark.parametrize("command", PRINTING)
def test_a_non_blocking_pipe_gets_every_byte(tool_either_way: Tool, served: Server, command: str) -> None:
    """As Node.js and asyncio give it to their children, with a reader that takes its time."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    process = tool_either_way.start(*words_of(command, served), stdout=writing)
    os.close(writing)
    time.sleep(0.3)  # the pipe fills up meanwhile; the outcome does not hang on whether it has
    with open(reading, "rb") as pipe:
        printed = pipe.read()
    ran = ended(process)
    assert (ran.code, ran.err) == (0, "")
    whole = tool_either_way.spawn(*words_of(command, served))
    assert printed == whole.out
    assert wanted_of(command) in (None, printed)


@pytest.mark.parametrize("command", PRINTING)
def test_a_disk_that_fills_up_in_the_middle_is_exit_6(
    tool_either_way: Tool, served: Server, command: str, tmp_path: Path
) -> None:
    room = 100_000

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    with open(tmp_path / "out", "wb") as out:
        ran = tool_either_way.spawn(*words_of(command, served), "--no-cache", stdout=out, preexec_fn=small)
    assert ran.code == 6
    assert "standard output: File too large" in ran.complaint
    assert (tmp_path / "out").stat().st_size == room
    whole = wanted_of(command)
    assert whole is None or (tmp_path / "out").read_bytes() == whole[:room]


@pytest.mark.parametrize(
    "command",
    ["status file", "status --json file", "completion bash", "completion zsh", "--help", "--version"],
)
def test_a_full_device_is_exit_6_for_what_needs_no_server(tool_either_way: Tool, command: str) -> None:
    tool_either_way.write("file", b"x")
    with open("/dev/full", "wb") as full:
        ran = tool_either_way.spawn(*command.split(), stdout=full)
    assert ran.code == 6
    assert "No space left" in ran.complaint


@pytest.mark.parametrize("command", ["completion bash", "get --help"])
def test_a_page_into_a_full_non_blocking_pipe_is_whole_once_there_is_room(
    tool_either_way: Tool, command: str
) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    stuffing = 0
    try:
        while True:
            stuffing += os.write(writing, b"x" * 512)
    except BlockingIOError:
        pass
    process = tool_either_way.start(*command.split(), stdout=writing)
    os.close(writing)
    time.sleep(0.3)
    with open(reading, "rb") as pipe:
        printed = pipe.read()[stuffing:]
    assert (ended(process).code, printed) == (0, tool_either_way.spawn(*command.split()).out)


@pytest.mark.parametrize("command", ["cat", "zip-ls -1"])
@pytest.mark.parametrize("kind", ["pipe", "non-blocking pipe", "socket"])
def test_a_reader_that_leaves_ends_the_command_in_silence(
    tool_either_way: Tool, served: Server, command: str, kind: str
) -> None:
    if kind == "socket":
        ours, theirs = socket.socketpair()
        reading, writing = ours.detach(), theirs.detach()
    else:
        reading, writing = os.pipe()
        os.set_blocking(writing, kind == "pipe")
    process = tool_either_way.start(*words_of(command, served), stdout=writing)
    os.close(writing)
    assert os.read(reading, 1)
    os.close(reading)
    ran = ended(process)
    assert ran.code in (0, 141)
    assert ran.err == ""


def test_an_interrupt_ends_the_wait_for_room(tool: Tool, served: Server) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    process = tool.start(*words_of("cat", served), stdout=writing)
    os.close(writing)
    assert os.read(reading, 1)
    process.terminate()
    ran = ended(process)
    os.close(reading)
    assert ran.code == 143


def test_everything_is_written_however_little_is_taken_at_a_time() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    data = pattern(3 * BLOCK + 17)
    received = bytearray()

    def drain() -> None:
        while piece := os.read(reading, 777):
            received.extend(piece)

    reader = threading.Thread(target=drain)
    reader.start()
    write_all(writing, data)
    os.close(writing)
    reader.join(PATIENCE)
    os.close(reading)
    assert bytes(received) == data


def test_the_system_s_error_is_the_callers() -> None:
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(OSError, match="No space") as caught:
        write_all(full.fileno(), b"x")
    assert caught.value.errno == errno.ENOSPC


def test_what_was_printed_before_stays_before(tool: Tool) -> None:
    """A program that uses the library's commands may have printed to a buffered stream of its own."""
    script = (
        "import sys; from smartremote_cli.cli import run; print('first'); "
        "sys.exit(run(['completion', 'bash']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        timeout=PATIENCE,
    )
    assert done.returncode == 0
    assert done.stdout == b"first\n" + tool.spawn("completion", "bash").out
