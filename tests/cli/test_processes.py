"""Several processes at one file or one cache: all with the real command."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.protocol.identity import Identity
from smartremote_cli.store.cache import Cache, StaleEntryError
from tests.cli.afterwards import DATA, MIB, OTHER, SIZE, with_changed
from tests.support import faults
from tests.support.server import Break, Fault, Patterned, Resource, Server
from tests.support.threads import wait_until
from tests.support.tool import Tool, ended, names


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
        if ran.code == 0:
            # The seams have found what was lost, before anything was recorded or called complete.
            assert tool.read() == DATA
            return
        assert ran.code == 6, ran.err
        assert "file.bin: the file was " in ran.err
        server.faults.clear()
        ran = tool("get", server.url())
        assert ran.code in (0, 5), ran.err
        assert ran.code == 5 or tool.read() == DATA
