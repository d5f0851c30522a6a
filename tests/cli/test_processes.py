"""Several processes at one file or one cache, disks that fill up, syncs that hang: all with the real command."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyroaring import BitMap

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.plan.planner import SEAM
from smartremote_cli.protocol.identity import Identity
from smartremote_cli.store.cache import Cache, StaleEntryError
from smartremote_cli.store.leftovers import load_record
from tests.support import faults
from tests.support.server import Break, Fault, Patterned, Resource, Server, pattern
from tests.support.threads import wait_until
from tests.support.tool import Ran, Tool, ended, names

MIB = 1 << 20
SIZE = 6 * MIB + 1234
DATA = pattern(SIZE)
OTHER = pattern(SIZE, 2)


def with_changed(tool: Tool, change: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a command in a process in which the Python code *change* was run before."""
    script = (
        f"import fcntl, os, sys, threading, time\n{change}\nfrom smartremote_cli.cli import main\nmain()\n"
    )
    words = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def held_and_right(path: Path, content: bytes) -> set[int]:
    """Return the blocks that the record of *path* claims, each of which was found to be right."""
    record = load_record(str(path))
    assert record is not None
    with path.open("rb") as file:
        for block in record.bits:
            file.seek(block * BLOCK)
            assert file.read(BLOCK) == content[block * BLOCK : (block + 1) * BLOCK], f"block {block} is wrong"
    return set(record.bits)


def asked_again(server: Server, held: set[int]) -> int:
    """Return the most bytes of *held* blocks that one request asked for: seams, and nothing else."""
    most = 0
    for asked in server.ranges:
        first, last = (
            int(edge) for edge in (asked or "bytes=0-9999999999").removeprefix("bytes=").split("-")
        )
        blocks = held & set(range(first // BLOCK, last // BLOCK + 1))
        starts = [(max(first, block * BLOCK), min(last + 1, (block + 1) * BLOCK)) for block in blocks]
        most = max(most, sum(stop - start for start, stop in starts))
    return most


# kill -9


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


# Processes


def test_status_neither_waits_for_a_get_nor_disturbs_it(tool: Tool) -> None:
    gate = threading.Event()
    with Server(Patterned(SIZE)) as server:
        server.faults += [faults.hold(gate, after=MIB // 2)]
        process = tool.start("get", server.url(), "-q")
        wait_until(lambda: "file.bin" in tool.files and os.path.getsize("file.bin") == SIZE)
        for _ in range(3):
            assert tool("status", "file.bin").code == 3
            assert tool.status()["size"] == SIZE
        gate.set()
        assert ended(process).code == 0
    assert tool("status", "file.bin").code == 0
    assert tool.read() == DATA


NO_LOCKS = """
def flock(*arguments):
    raise OSError({errno}, "no locks here")
fcntl.flock = flock
"""


@pytest.mark.parametrize("errno", [37, 95], ids=["ENOLCK", "EOPNOTSUPP"])
def test_where_locks_do_nothing_two_gets_leave_the_right_bytes_or_say_that_they_failed(
    tool: Tool, errno: int
) -> None:
    change = NO_LOCKS.format(errno=errno)
    with Server(Patterned(SIZE)) as server:
        server.faults += [faults.pace(8 * MIB)]
        first = with_changed(tool, change, "get", server.url(), "-q")
        wait_until(lambda: "file.bin" in tool.files and server.body_bytes > MIB)
        second = with_changed(tool, change, "get", server.url(), "-q")
        ran = [ended(first), ended(second)]
        assert all(one.code in (0, 3, 5, 6, 8, 9) for one in ran), ran
        assert not any("Traceback" in one.err for one in ran)
        if any(one.code == 0 for one in ran):
            assert tool.read() == DATA
        last = tool.spawn("get", server.url())
    assert last.code == 0, last.err
    assert tool.read() == DATA


def test_where_locks_do_nothing_many_cats_print_the_right_bytes(tool: Tool) -> None:
    change = NO_LOCKS.format(errno=37)
    starts = [number * 5 * BLOCK + 1000 for number in range(8)]
    with Server(Patterned(SIZE)) as server:
        several = [
            with_changed(tool, change, "cat", server.url(), "--offset", str(at), "--length", str(3 * BLOCK))
            for at in starts
        ]
        for at, process in zip(starts, several, strict=True):
            ran = ended(process, 60)
            assert (ran.code, ran.out) == (0, DATA[at : at + 3 * BLOCK]), ran.err
        for at in starts:  # what is cached of it may be less than the union, and is right
            ran = tool("cat", server.url(), "--offset", str(at), "--length", str(3 * BLOCK))
            assert (ran.code, ran.out) == (0, DATA[at : at + 3 * BLOCK])


def test_many_cats_of_the_same_block_and_a_cold_cache(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        several = [tool.start("cat", server.url(), "--offset", "70000", "--length", "9") for _ in range(8)]
        for process in several:
            ran = ended(process, 60)
            assert (ran.code, ran.out, ran.err) == (0, DATA[70000:70009], "")
        server.reset_log()
        assert (
            tool("cat", server.url(), "--offset", "70000", "--length", "9", "--offline").out
            == DATA[70000:70009]
        )
        assert server.requests == []
    assert len(names(tool.cache)) <= 3  # with the lock


def test_a_cat_while_the_resource_changes_under_another(tool: Tool) -> None:
    """The slow one prints bytes of its own version or fails; the new one, and all after it, print the new ones."""
    with Server(Resource(DATA, etag='"one"')) as server:
        assert tool("cat", server.url(), "--length", str(MIB)).out == DATA[:MIB]
        gate = threading.Event()
        server.faults += [faults.hold(gate, after=BLOCK, when=faults.first(1))]
        slow = tool.start("cat", server.url(), "--length", str(3 * MIB))
        wait_until(lambda: server.active)
        server.resources["/file.bin"] = Resource(OTHER, etag='"two"')
        new = tool("cat", server.url(), "--length", str(2 * MIB))
        assert (new.code, new.out) == (0, OTHER[: 2 * MIB])
        gate.set()
        ran = ended(slow)
        assert (ran.code == 0 and ran.out == DATA[: 3 * MIB]) or (
            ran.code in (4, 5) and DATA.startswith(ran.out)
        ), ran.err
        for extra in ([], ["--offline"]):
            last = tool("cat", server.url(), "--length", str(2 * MIB), *extra)
            assert (last.code, last.out) == (0, OTHER[: 2 * MIB])


def test_a_cached_copy_that_is_replaced_between_two_looks_is_not_used(tool: Tool) -> None:
    """What was looked up before the request must not be laid over what another process put there meanwhile."""

    def replace_it(server: Server) -> None:
        cache = Cache(str(tool.cache))
        new = cache.create(server.url(), Identity(SIZE, '"two"'))
        new.write(0, memoryview(OTHER)[: 8 * BLOCK])
        new.blocks.hold(ByteRange(0, 8 * BLOCK))
        new.checkpoint(new.draft_record())
        new.close()

    with Server(Resource(DATA, etag='"one"')) as server:
        assert tool("cat", server.url(), "--length", str(2 * BLOCK)).out == DATA[: 2 * BLOCK]
        for length in (BLOCK, 4 * BLOCK):  # one that is only confirmed, and one that lacks some
            server.faults[:] = [
                Fault(
                    "replace",
                    faults.first(1),
                    answer=lambda exchange, reply: reply.breaks.append(
                        Break(where="before", then=replace_it)
                    ),
                )
            ]
            ran = tool("cat", server.url(), "--length", str(length))
            assert (ran.code, ran.out) == (0, DATA[:length]), ran.err
            server.faults.clear()
            ran = tool("cat", server.url(), "--length", str(4 * BLOCK))
            assert (ran.code, ran.out) == (0, DATA[: 4 * BLOCK])


def test_an_entry_of_the_cache_is_opened_only_as_what_it_was_found_to_be(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path))
    cache.create("http://a/", Identity(SIZE, '"one"')).close()
    found = cache.find("http://a/")
    assert found is not None
    cache.create("http://a/", Identity(SIZE, '"two"')).close()
    with pytest.raises(StaleEntryError):
        cache.open("http://a/", found)
    os.unlink(cache.path_of("http://a/"))
    with pytest.raises(StaleEntryError):
        cache.open("http://a/", found)


def test_a_cached_file_that_was_cut_is_no_short_answer(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        assert tool("cat", server.url(), "--length", str(4 * BLOCK)).code == 0
        (data,) = [path for path in tool.cache.iterdir() if "." not in path.name]
        os.truncate(data, BLOCK)
        ran = tool("cat", server.url(), "--length", str(4 * BLOCK))
        assert (ran.code, ran.out) == (0, DATA[: 4 * BLOCK])


def delete(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(OTHER)
    other.rename(path)


def cut(path: Path) -> None:
    os.truncate(path, BLOCK)


def cut_and_grow(path: Path) -> None:
    os.truncate(path, BLOCK)
    os.truncate(path, SIZE + BLOCK)


@pytest.mark.parametrize("meddle", [delete, replace, cut, cut_and_grow])
def test_a_file_that_is_meddled_with_under_way_is_never_called_complete(
    tool: Tool, meddle: Callable[[Path], None]
) -> None:
    path = tool.folder / "file.bin"
    with Server(Patterned(SIZE)) as server:
        server.faults += [
            Fault(
                "meddle",
                faults.nth(2),
                answer=lambda exchange, reply: reply.breaks.append(
                    Break(after=MIB // 4, then=lambda server: meddle(path))
                ),
            )
        ]
        ran = tool("get", server.url())
        if (
            ran.code == 0
        ):  # the seams have found what was lost, before anything was recorded or called complete
            assert tool.read() == DATA
            return
        assert ran.code == 6, ran.err
        assert "file.bin: the file was " in ran.err
        server.faults.clear()
        ran = tool("get", server.url())
        assert ran.code in (0, 5), ran.err
        assert ran.code == 5 or tool.read() == DATA


# Disks


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


def test_a_full_cache_is_a_local_error_and_without_it_the_bytes_come(tool: Tool, small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(bytes(15 * MIB + MIB // 2))
    with Server(Patterned(SIZE)) as server:
        ran = tool.spawn("cat", server.url(), "--cache-dir", str(small_disk / "cache"))
        assert ran.code == 6 and DATA.startswith(ran.out)
        ran = tool.spawn("cat", server.url(), "--no-cache")
        assert (ran.code, ran.out) == (0, DATA)


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


def test_the_record_after_a_run_is_one_that_any_run_can_read(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        server.faults += [faults.reset(after=MIB)]
        assert tool.spawn("get", server.url(), "--retries", "0").code == 3
    record = load_record("file.bin")
    assert record is not None and record.bits <= BitMap(range(-(-SIZE // BLOCK)))
    assert record.url == server.url() and record.identity == Identity(
        SIZE, '"one"', "Wed, 01 Jan 2025 00:00:00 GMT"
    )
