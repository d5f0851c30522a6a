"""Commands that are killed, or whose syncs hang: the record is right, and the next run goes on."""

from __future__ import annotations

import random
import subprocess

from pyroaring import BitMap

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.plan.planner import SEAM
from smartremote_cli.protocol.identity import Identity
from smartremote_cli.store.leftovers import load_record
from tests.cli.afterwards import DATA, MIB, SIZE, asked_again, held_and_right, with_changed
from tests.support import faults
from tests.support.server import Patterned, Server
from tests.support.threads import wait_until
from tests.support.tool import Tool, ended


def test_whenever_it_is_killed_the_record_is_right_and_the_next_run_goes_on(tool: Tool) -> None:
    """Kills at any time, at steps of a checkpoint above all: the calls slow down, so that kills hit them."""
    slow = """
def slowly(name, seconds):
    real = getattr(os, name)
    def call(*arguments, **named):
        time.sleep(seconds)
        result = real(*arguments, **named)
        time.sleep(seconds)
        return result
    setattr(os, name, call)
for name in ("fsync", "fdatasync", "replace", "link", "unlink"):
    slowly(name, 0.03)
"""
    dice, path, kept = random.Random(5), tool.folder / "file.bin", 0
    with Server(Patterned(SIZE), send_buffer=64 * 1024) as server:
        server.faults += [faults.pace(MIB)]
        for _ in range(6):
            process = with_changed(tool, slow, "get", server.url(), "-x", "4", "-q")
            try:
                process.wait(dice.uniform(0.4, 1.8))
            except subprocess.TimeoutExpired:
                process.kill()
            ended(process)
            if path.with_name("file.bin.part").exists() and path.exists():
                held = len(held_and_right(path, DATA))
                assert held >= kept
                kept = held
        server.faults.clear()
        ran = tool.spawn("get", server.url())
    assert ran.code == 0, ran.err
    assert tool.read() == DATA and tool.files == ["file.bin"]


def test_a_sync_that_hangs_is_given_up_and_the_record_before_it_stands(tool: Tool) -> None:
    """The first checkpoint is made; from then on no sync of data comes back."""
    change = """
real, calls = os.fdatasync, []
def sync(descriptor):
    calls.append(descriptor)
    if len(calls) > 1:
        open("hangs", "w").close()
        time.sleep(600)
    real(descriptor)
os.fdatasync = sync
"""
    with Server(Patterned(SIZE)) as server:
        server.faults += [faults.pace(MIB / 8)]
        process = with_changed(tool, change, "get", server.url(), "-q")
        wait_until((tool.folder / "hangs").exists)
        process.terminate()
        ran = ended(process)  # or the test fails: the sync hangs for minutes
        assert ran.code == 143, ran.err
        held = held_and_right(tool.folder / "file.bin", DATA)
        assert held
        server.faults.clear()
        server.reset_log()
        assert tool.spawn("complete", "file.bin").code == 0
    assert asked_again(server, held) <= 4 * SEAM
    assert tool.read() == DATA


def test_an_interrupted_last_sync_leaves_the_record(tool: Tool) -> None:
    """All is here, and the disk takes its time: Ctrl-C is heard, and nothing is called complete."""
    change = """
real = os.fsync
def sync(descriptor):
    if os.readlink(f"/proc/self/fd/{descriptor}").endswith("file.bin"):
        open("hangs", "w").close()
        time.sleep(600)
    real(descriptor)
os.fsync = sync
"""
    with Server(Patterned(SIZE)) as server:
        process = with_changed(tool, change, "get", server.url(), "-q")
        wait_until((tool.folder / "hangs").exists)
        process.send_signal(2)
        assert ended(process).code == 130
        assert held_and_right(tool.folder / "file.bin", DATA) == set(range(-(-SIZE // BLOCK)))
        server.reset_log()
        assert tool.spawn("get", server.url()).code == 0
    assert tool.read() == DATA and server.body_bytes <= 2 * MIB


def test_the_record_after_a_run_is_one_that_any_run_can_read(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        server.faults += [faults.reset(after=MIB)]
        assert tool.spawn("get", server.url(), "--retries", "0").code == 3
    record = load_record("file.bin")
    assert record is not None and record.bits <= BitMap(range(-(-SIZE // BLOCK)))
    assert record.url == server.url() and record.identity == Identity(
        SIZE, '"one"', "Wed, 01 Jan 2025 00:00:00 GMT"
    )
