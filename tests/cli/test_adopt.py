"""smartremote adopt, against contract 10: what other programs have left is gone on with, or left as it was."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.store.files import MARK
from smartremote_cli.store.leftovers import load_record
from tests.store.test_controls import aria2, axel, lftp
from tests.support import faults
from tests.support.server import Resource, Server, pattern
from tests.support.tool import PATIENCE, Tool

MIB = 1 << 20
SIZE = 8 * MIB + 12_345
DATA = pattern(SIZE)
HALF = 4 * MIB


def old(*names: str) -> None:
    """Let the files be of yesterday: a fresh one may be being written."""
    for name in names:
        os.utime(name, (time.time() - 86_400,) * 2)


def leave_aria2(tool: Tool) -> None:
    tool.write("f.bin", DATA[: 2 * MIB] + bytes(MIB) + DATA[3 * MIB : 5 * MIB] + bytes(SIZE - 5 * MIB))
    tool.write("f.bin.aria2", aria2(SIZE, {0, 1, 3, 4}))


def leave_axel(tool: Tool) -> None:
    tool.write("f.bin", DATA[:HALF] + bytes(SIZE - HALF))
    tool.write("f.bin.st", axel(HALF, (HALF, 5 * MIB), (5 * MIB, SIZE)))


def leave_lftp(tool: Tool) -> None:
    tool.write("f.bin", DATA[:HALF] + bytes(MIB) + DATA[5 * MIB : 6 * MIB])
    tool.write("f.bin.lftp-pget-status", lftp(SIZE, (HALF, 5 * MIB), (6 * MIB, SIZE)))


def leave_prefix(tool: Tool) -> None:
    tool.write("f.bin", DATA[: HALF + 777])


def leave_prefix_with_zeros_after_it(tool: Tool) -> None:
    tool.write("f.bin", DATA[: HALF + 777] + bytes(MIB))


def leave_holes(tool: Tool) -> None:
    with tool.write("f.bin", b"").open("r+b") as file:
        file.write(DATA[: MIB + 5000])
        file.seek(3 * MIB)
        file.write(DATA[3 * MIB : 5 * MIB + 99])
        file.truncate(SIZE)


def leave_zeros(tool: Tool) -> None:
    """Without holes, as a copy of such a file is."""
    tool.write("f.bin", DATA[: MIB + 5000] + bytes(2 * MIB - 5000) + DATA[3 * MIB :])


def leave_marked(tool: Tool) -> None:
    leave_holes(tool)
    try:
        os.setxattr("f.bin", MARK, b"1")
    except OSError:
        pytest.skip("NO EXTENDED ATTRIBUTES here")


LEFT = [
    leave_aria2,
    leave_axel,
    leave_lftp,
    leave_prefix,
    leave_prefix_with_zeros_after_it,
    leave_holes,
    leave_zeros,
    leave_marked,
]


@pytest.mark.parametrize("leave", LEFT)
def test_what_is_here_is_kept_and_the_rest_is_fetched(tool: Tool, leave: Callable[[Tool], None]) -> None:
    leave(tool)
    old(*os.listdir("."))
    here = tool.read("f.bin").ljust(SIZE, b"\0")
    missing = sum(64 for at in range(0, SIZE, 64) if here[at] != DATA[at])
    with Server(DATA) as server:
        ran = tool("adopt", "f.bin", "--url", server.url())
        assert ran.code == 0, ran.err
        assert server.body_bytes <= missing + 3 * MIB
    assert tool.read("f.bin") == DATA
    assert tool.files == ["f.bin"]
    assert tool("status", "f.bin").code == 0


@pytest.mark.parametrize("leave", LEFT)
@pytest.mark.parametrize("other", ["content", "size", "absent"])
def test_of_another_resource_not_a_byte_is_changed(
    tool: Tool, leave: Callable[[Tool], None], other: str
) -> None:
    leave(tool)
    old(*os.listdir("."))
    before = {name: (tool.read(name), os.stat(name).st_mtime_ns) for name in os.listdir(".")}
    content = pattern(SIZE, seed=9) if other == "content" else DATA[: 3 * MIB]
    with Server(content) as server:
        url = server.url("/none") if other == "absent" else server.url()
        ran = tool("adopt", "f.bin", "--url", url)
    assert ran.code == (4 if other == "absent" else 5), ran.err
    assert ran.complaint
    assert {name: (tool.read(name), os.stat(name).st_mtime_ns) for name in os.listdir(".")} == before


def test_without_fetching_there_is_a_record_to_complete(tool: Tool) -> None:
    leave_aria2(tool)
    old(*os.listdir("."))
    with Server(DATA) as server:
        ran = tool("adopt", "f.bin", "--url", server.url(), "--no-fetch")
        assert ran.code == 0, ran.err
        assert "f.bin: 4.00 of 8.01 MiB are here" in ran.err
        assert tool.files == ["f.bin", "f.bin.part"]
        facts = tool.status("f.bin")
        assert (facts["state"], facts["bytes_present"]) == ("partial", 4 * MIB)
        server.reset_log()
        assert tool("complete", "f.bin").code == 0
        assert server.body_bytes < SIZE - 4 * MIB + 2 * BLOCK
    assert tool.read("f.bin") == DATA


@pytest.mark.parametrize(("file", "new"), [("f.bin.part", None), ("f.bin.part", "f.bin"), ("f.bin", "g.bin")])
def test_it_may_get_another_name(tool: Tool, file: str, new: str | None) -> None:
    tool.write(file, DATA[:HALF])
    old(file)
    with Server(DATA) as server:
        ran = tool("adopt", file, "--url", server.url(), *(["-o", new] if new else []))
        assert ran.code == 0, ran.err
        assert server.body_bytes < SIZE - HALF + MIB
    assert tool.files == [new or "f.bin"]
    assert tool.read(new or "f.bin") == DATA


def test_a_file_of_the_new_name_is_not_replaced(tool: Tool) -> None:
    tool.write("f.bin", DATA[:HALF])
    tool.write("g.bin", b"mine")
    old("f.bin")
    with Server(DATA) as server:
        assert tool("adopt", "f.bin", "--url", server.url(), "-o", "g.bin").code == 5
    assert (tool.read("f.bin"), tool.read("g.bin")) == (DATA[:HALF], b"mine")


@pytest.mark.parametrize(
    ("ending", "data"),
    [(".aria2", b"nonsense"), (".st", b"\1"), (".lftp-pget-status", b"size=1\n"), (".!qB", b"")],
)
def test_a_control_file_that_does_not_add_up_is_exit_8(tool: Tool, ending: str, data: bytes) -> None:
    tool.write("f.bin", DATA[:HALF])
    tool.write(f"f.bin{ending}", data)
    old(*os.listdir("."))
    with Server(DATA) as server:
        ran = tool("adopt", "f.bin", "--url", server.url())
        assert ran.code == 8 and ran.complaint.startswith(f"f.bin{ending}: ")
        assert server.requests == []
    assert tool.files == sorted(["f.bin", f"f.bin{ending}"])


@pytest.mark.parametrize("piece", [1, 2, 5])
def test_reserved_space_that_a_damaged_control_file_claims_is_compared(tool: Tool, piece: int) -> None:
    """A piece that was in flight: half of it is here, and a bit says all of it."""
    half = piece * MIB + MIB // 2
    left = DATA[:half] + bytes(MIB // 2) + DATA[(piece + 1) * MIB :]
    tool.write("f.bin", left)
    tool.write("f.bin.aria2", aria2(SIZE, set(range(8))))
    old(*os.listdir("."))
    with Server(DATA) as server:
        assert tool("adopt", "f.bin", "--url", server.url()).code == 5
    assert tool.read("f.bin") == left


def test_a_file_that_is_being_written_is_busy(tool: Tool) -> None:
    path = tool.write("f.bin", DATA[:HALF])
    with Server(DATA) as server:
        ran = tool("adopt", "f.bin", "--url", server.url())
        assert ran.code == 9 and "ago" in ran.complaint
        old("f.bin")
        import fcntl

        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            assert tool("adopt", "f.bin", "--url", server.url()).code == 9
        assert server.requests == []


def test_a_download_of_ours_is_to_be_completed(tool: Tool) -> None:
    leave_prefix(tool)
    old("f.bin")
    with Server(DATA) as server:
        assert tool("adopt", "f.bin", "--url", server.url(), "--no-fetch").code == 0
        old("f.bin")
        server.resources["/another.bin"] = Resource(DATA)
        ran = tool("adopt", "f.bin", "--url", server.url("/another.bin"))
    assert ran.code == 5 and "complete f.bin" in ran.err
    assert load_record("f.bin") is not None


@pytest.mark.parametrize(("file", "new"), [("f.bin", None), ("f.bin.part", None), ("f.bin", "g.bin")])
def test_the_same_line_again_goes_on(tool: Tool, file: str, new: str | None) -> None:
    tool.write(file, DATA[:HALF])
    old(file)
    target = new or "f.bin"
    with Server(DATA) as server:
        line = ["adopt", file, "--url", server.url(), *(["-o", new] if new else [])]
        assert tool(*line, "--no-fetch").code == 0
        server.reset_log()
        ran = tool(*line)
        assert ran.code == 0, ran.err
        assert server.body_bytes < SIZE - HALF + MIB
    assert tool.files == [target]
    assert tool.read(target) == DATA


def test_a_server_without_ranges_is_no_help(tool: Tool) -> None:
    leave_prefix(tool)
    old("f.bin")
    with Server(DATA) as server:
        server.faults.append(faults.ignore_range())
        ran = tool("adopt", "f.bin", "--url", server.url())
    assert ran.code == 4 and "ranges" in ran.complaint
    assert tool.read("f.bin") == DATA[: HALF + 777]


@pytest.mark.parametrize("size", [0, 1, 70_000])
def test_of_a_short_beginning_what_there_is_is_compared(tool: Tool, size: int) -> None:
    tool.write("f.bin", DATA[:size])
    tool.write("g.bin", pattern(size, seed=4))
    old("f.bin", "g.bin")
    with Server(DATA) as server:
        assert tool("adopt", "g.bin", "--url", server.url()).code == (5 if size else 0)
        assert tool("adopt", "f.bin", "--url", server.url()).code == 0
    assert tool.read("f.bin") == DATA


def leave_aria2_killed_early(tool: Tool) -> None:
    """Data is here, and the control file of the beginning claims none of it."""
    tool.write(
        "f.bin", DATA[:BLOCK] + bytes(MIB) + DATA[MIB + BLOCK : 2 * MIB + 77] + bytes(SIZE - 2 * MIB - 77)
    )
    tool.write("f.bin.aria2", aria2(SIZE, set()))


def leave_less_than_a_block_after_zeros(tool: Tool) -> None:
    """As a CD image begins."""
    tool.write("f.bin", bytes(32_768) + b"CD001" + DATA[: 4096 * 3])


@pytest.mark.parametrize("leave", [leave_aria2_killed_early, leave_less_than_a_block_after_zeros])
def test_where_nothing_is_claimed_the_data_is_compared(tool: Tool, leave: Callable[[Tool], None]) -> None:
    leave(tool)
    old(*os.listdir("."))
    before = {name: (tool.read(name), os.stat(name).st_mtime_ns) for name in os.listdir(".")}
    begin = before["f.bin"][0][:BLOCK]
    if len(begin) < BLOCK:
        of_same_beginning, right = bytes(32_768) + pattern(SIZE - 32_768, seed=5), begin + DATA[len(begin) :]
    else:
        of_same_beginning, right = begin + pattern(SIZE - BLOCK, seed=5), DATA
    with Server(of_same_beginning) as server:
        ran = tool("adopt", "f.bin", "--url", server.url())
    assert ran.code == 5, ran.err
    assert {name: (tool.read(name), os.stat(name).st_mtime_ns) for name in os.listdir(".")} == before
    with Server(right) as server:
        assert tool("adopt", "f.bin", "--url", server.url()).code == 0
    assert tool.read("f.bin") == right


# --- the programs themselves ---

PROGRAMS = {
    "aria2c": ["aria2c", "-q", "-x4", "-s4", "-k1M", "-o", "f.bin"],
    "axel": ["axel", "-q", "-n", "4", "-o", "f.bin"],
    "curl": ["curl", "-s", "-o", "f.bin"],
    "wget": ["wget", "-q", "-O", "f.bin"],
    "lftp": ["lftp", "-c"],
}


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL], ids=lambda end: end.name)
@pytest.mark.parametrize("program", PROGRAMS)
def test_what_a_program_really_leaves(tool: Tool, program: str, end: signal.Signals) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program.upper()} IS MISSING: its leftovers are not tried")
    with Server(Resource(DATA)) as server:
        pace = faults.pace(1_500_000)
        server.faults.append(pace)
        words = PROGRAMS[program]
        tail = [f"pget -n 4 -c {server.url()} -o f.bin"] if program == "lftp" else [server.url()]
        with subprocess.Popen([*words, *tail]) as running:
            _await(lambda: server.body_bytes > 2 * MIB)
            running.send_signal(end)
            try:
                running.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                running.kill()
        server.faults.remove(pace)
        server.wait_until_idle()
        assert Path("f.bin").exists()
        before = {name: tool.read(name) for name in os.listdir(".")}
        assert tool("get", server.url(), "-o", "f.bin").code == 5
        assert {name: tool.read(name) for name in os.listdir(".")} == before
        old(*os.listdir("."))
        ran = tool("adopt", "f.bin", "--url", server.url())
        assert ran.code == 0, ran.err
    assert tool.read("f.bin") == DATA
    assert tool.files == ["f.bin"]


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
