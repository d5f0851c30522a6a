"""Disks that are too small or fill up, and too few descriptors: all with the real command."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from smartremote_cli.plan.planner import SEAM
from smartremote_cli.store.leftovers import load_record
from tests.cli.afterwards import DATA, MIB, SIZE, asked_again, held_and_right
from tests.support import faults
from tests.support.server import Patterned, Server, pattern
from tests.support.threads import wait_until
from tests.support.tool import Ran, Tool, ended


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MiB that is nearly empty."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, text=True) if shutil.which("mount") else None
    if mounted is None or mounted.returncode:
        why = "no mount here" if mounted is None else mounted.stderr.strip()
        pytest.skip(f"FULL DISKS ARE NOT TESTED: a tmpfs of 16 MiB cannot be mounted ({why})")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_is_too_small_is_refused_before_a_byte_is_stored(tool: Tool, small_disk: Path) -> None:
    with Server(Patterned(24 * MIB)) as server:
        ran = tool.spawn("get", server.url(), "-o", str(small_disk / "file.bin"))
    assert ran.code == 6
    assert "bytes free" in ran.complaint
    assert list(small_disk.iterdir()) == []


def test_a_partial_file_that_the_disk_has_no_room_for_is_refused_and_kept(
    tool: Tool, small_disk: Path
) -> None:
    path = small_disk / "file.bin"
    with Server(Patterned(12 * MIB)) as server:
        server.faults += [faults.reset(after=MIB)]
        assert tool.spawn("get", server.url(), "-o", str(path), "--retries", "0").code == 3
        server.faults.clear()
        held = held_and_right(path, pattern(12 * MIB))
        filler = small_disk / "filler"
        filler.write_bytes(bytes(14 * MIB - path.stat().st_blocks * 512))
        ran = tool.spawn("complete", str(path))
        assert ran.code == 6 and "bytes free" in ran.complaint
        assert held_and_right(path, pattern(12 * MIB)) >= held
        filler.unlink()
        assert tool.spawn("complete", str(path)).code == 0
    assert path.read_bytes() == pattern(12 * MIB)


def test_a_disk_that_fills_up_under_way_costs_nothing_that_was_recorded(tool: Tool, small_disk: Path) -> None:
    size, path, filler = 10 * MIB, small_disk / "file.bin", small_disk / "filler"
    content = pattern(size)

    def fill() -> None:
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(MIB)):
                    pass
            except OSError:
                return

    gate = threading.Event()
    with Server(Patterned(size)) as server:
        server.faults += [faults.hold(gate, after=MIB)]
        process = tool.start("get", server.url(), "-o", str(path), "-x", "2", "-q")
        wait_until(lambda: path.exists() and (record := load_record(str(path))) is not None and record.bits)
        fill()
        gate.set()
        ran = ended(process)
        assert ran.code == 6, ran.err
        assert "No space left on device" in ran.err and "make room" in ran.err
        held = held_and_right(path, content)
        assert held
        full = tool.spawn("complete", str(path))
        assert full.code == 6, full.err
        assert held_and_right(path, content) == held
        filler.unlink()
        server.faults.clear()
        server.reset_log()
        ran = tool.spawn("complete", str(path))
        assert ran.code == 0, ran.err
        assert asked_again(server, held) <= 4 * SEAM
    assert path.read_bytes() == content
    assert [left.name for left in small_disk.iterdir()] == ["file.bin"]


def test_a_full_cache_costs_a_warning(tool: Tool, small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(bytes(15 * MIB + MIB // 2))
    with Server(Patterned(SIZE)) as server:
        ran = tool.spawn("cat", server.url(), "--cache-dir", str(small_disk / "cache"))
    assert (ran.code, ran.out) == (0, DATA)
    assert ran.err.count("\n") == 1 and "No space left on device" in ran.err


def test_few_descriptors_end_right_or_with_a_clear_error(tool: Tool) -> None:
    import resource

    def few(count: int) -> Ran:
        return tool.spawn(
            "get",
            server.url(),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (count, count)),
        )

    with Server(Patterned(SIZE)) as server:
        for count in (12, 16, 20, 32):
            ran = few(count)
            assert "Traceback" not in ran.err
            assert ran.code in (0, 3, 6), ran.err
            if ran.code:
                continue
            assert tool.read() == DATA
            os.unlink("file.bin")
        assert tool.spawn("get", server.url()).code == 0
    assert tool.read() == DATA
