"""A file without our record, against contract 10: what speaks against it, what is compared, and what is said."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.store.files import MARK, is_marked
from smartremote_cli.store.stamp import STAMP, stamp_of
from tests.support import faults
from tests.support.leftovers import interrupt, leave_partial, version_one
from tests.support.server import Patched, Patterned, Resource, Server, pattern
from tests.support.tool import Tool

MIB = 1 << 20
SIZE = 8 * MIB + 12_345
DATA = pattern(SIZE)


def marked(path: Path, name: str = MARK) -> None:
    try:
        os.setxattr(path, name, b"1")
    except OSError:
        pytest.skip("NO EXTENDED ATTRIBUTES here")


def untouched(path: Path, before: os.stat_result, data: bytes) -> bool:
    return path.read_bytes() == data and path.stat().st_mtime_ns == before.st_mtime_ns


# --- what speaks against it on this machine ---


@pytest.mark.parametrize(
    ("ending", "owner"),
    [(".aria2", "aria2"), (".st", "axel"), (".lftp-pget-status", "lftp"), (".!qB", "qBittorrent")],
)
def test_a_control_file_beside_it_says_that_it_is_unfinished(tool: Tool, ending: str, owner: str) -> None:
    path = tool.write("f.bin", DATA)
    tool.write(f"f.bin{ending}", b"something")
    before = path.stat()
    with Server(DATA) as server:
        ran = tool("get", server.url(), "-o", "f.bin")
        assert ran.code == 5
        assert ran.complaint == f"f.bin: {owner} has not finished it (f.bin{ending})"
        assert ran.err.splitlines()[1] == f"  go on with: smartremote adopt f.bin --url {server.url()}"
        assert server.requests == []
    assert tool("status", "--json", "f.bin").objects[0]["state"] == "foreign"
    assert tool("status", "f.bin").code == 3
    assert tool("complete", "f.bin").code == 5
    assert untouched(path, before, DATA)


def holed(path: Path, start: int, stop: int) -> None:
    """Write `DATA` with a hole in it."""
    with path.open("wb") as file:
        file.write(DATA[:start])
        file.seek(stop)
        file.write(DATA[stop:])
        file.truncate(SIZE)
    if path.stat().st_blocks * 512 >= SIZE:
        pytest.skip("NO HOLES on this file system")


def test_a_hole_says_that_it_is_unfinished_even_where_the_resource_begins_it_with_zeros(tool: Tool) -> None:
    path = tool.folder / "f.bin"
    holed(path, MIB, 3 * MIB)
    with Server(Patched(Patterned(SIZE), {MIB: bytes(BLOCK)})) as server:
        ran = tool("get", server.url(), "-o", "f.bin")
    assert ran.code == 5 and "holes" in ran.complaint and "adopt f.bin" in ran.err
    assert tool("status", "f.bin").code == 3
    assert tool("complete", "f.bin").code == 5


def test_sums_without_a_record_say_that_it_is_unfinished(tool: Tool) -> None:
    """On exFAT there are neither holes nor marks."""
    tool.write("f.bin", DATA)
    tool.write("f.bin.part.sums", b"abcd")
    assert tool("status", "f.bin").code == 3
    assert tool("complete", "f.bin").code == 5
    with Server(DATA) as server:
        assert tool("get", server.url(), "-o", "f.bin").code == 0


# --- what is compared ---


@pytest.mark.parametrize("start", [BLOCK, BLOCK + 777, 3 * MIB])
@pytest.mark.parametrize("length", [2 * BLOCK, MIB])
@pytest.mark.parametrize("zeros", [0, BLOCK])
def test_zeros_where_the_resource_has_none_are_found(tool: Tool, start: int, length: int, zeros: int) -> None:
    """Reserved space that something has read once; the run may begin where the resource has zeros too."""
    path = tool.write("f.bin", DATA[:start] + bytes(length) + DATA[start + length :])
    before = path.stat()
    with Server(Patched(Patterned(SIZE), {start: bytes(zeros)} if zeros else {0: DATA[:1]})) as server:
        assert tool("get", server.url(), "-o", "f.bin").code == 5
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_zeros_that_the_resource_has_as_well_are_no_harm(tool: Tool) -> None:
    data = DATA[:MIB] + bytes(MIB) + DATA[2 * MIB :]
    tool.write("f.bin", data)
    with Server(data) as server:
        ran = tool("get", server.url(), "-o", "f.bin")
        assert ran.code == 0, ran.err
        assert server.body_bytes < 3 * BLOCK


def test_how_many_places_were_compared_is_said(tool: Tool) -> None:
    tool.write("f.bin", DATA)
    with Server(DATA) as server:
        ran = tool("get", server.url(), "-o", "f.bin")
        assert ran.code == 0
        assert ran.err.splitlines()[-1] == "smartremote: f.bin: complete, 8.01 MiB (18 places compared)"
        assert tool("complete", "f.bin", "--url", server.url()).err.endswith(" (18 places compared)\n")
    assert tool.files == ["f.bin"]


def test_with_a_digest_that_is_said(tool: Tool) -> None:
    import hashlib

    tool.write("f.bin", DATA)
    with Server(DATA) as server:
        digest = hashlib.sha256(DATA).hexdigest()
        ran = tool("get", server.url(), "-o", "f.bin", "--checksum", f"sha256:{digest}")
    assert ran.err.splitlines()[-1].endswith("complete, 8.01 MiB (sha256 as expected)")


def test_a_beginning_is_named_and_left_alone(tool: Tool) -> None:
    path = tool.write("f.bin", DATA[: 5 * MIB + 99])
    before = path.stat()
    with Server(DATA) as server:
        ran = tool("get", server.url(), "-o", "f.bin")
        assert ran.code == 5
        assert ran.complaint == "f.bin: the first 5.00 of 8.01 MiB are here"
        assert ran.err.splitlines()[1] == f"  go on with: smartremote adopt f.bin --url {server.url()}"
    assert untouched(path, before, DATA[: 5 * MIB + 99])
    assert tool.files == ["f.bin"]


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("size", [3 * MIB, SIZE])
def test_a_server_without_ranges_is_compared_as_its_stream_comes(tool: Tool, size: int, same: bool) -> None:
    path = tool.write("f.bin", pattern(SIZE, seed=0 if same else 6)[:size])
    before = path.stat()
    with Server(DATA) as server:
        server.faults.append(faults.ignore_range())
        ran = tool("get", server.url(), "-o", "f.bin")
    assert ran.code == (0 if same and size == SIZE else 5), ran.err
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert tool.files == ["f.bin"]


def test_the_beginning_of_something_else_is_just_another_file(tool: Tool) -> None:
    tool.write("f.bin", pattern(5 * MIB, seed=3))
    with Server(DATA) as server:
        ran = tool("get", server.url(), "-o", "f.bin")
    assert ran.code == 5 and "adopt" not in ran.err and "another name with -o" in ran.err


@pytest.mark.parametrize("what", ["cut", "other"])
def test_complete_with_a_url_compares_a_file_without_record(tool: Tool, what: str) -> None:
    tool.write("cut.bin", DATA[: 3 * MIB] if what == "cut" else pattern(SIZE, seed=5))
    with Server(DATA) as server:
        assert tool("complete", "cut.bin", "--url", server.url()).code == 5


def test_what_gos_smartremote_has_finished_is_complete(tool: Tool) -> None:
    """It removes the record, and knows nothing of our mark."""
    with Server(DATA) as server:
        interrupt(tool, server)
        tool.read()
        with (tool.folder / "file.bin").open("r+b") as file:
            file.write(DATA)
        os.unlink("file.bin.part")
        marked(tool.folder / "file.bin")
        assert tool("status", "file.bin").code == 3
        assert tool("complete", "file.bin").code == 5
        server.reset_log()
        assert tool("get", server.url()).code == 0
        assert server.body_bytes < 4 * BLOCK
    assert not is_marked("file.bin")
    assert tool("status", "file.bin").code == 0
    assert os.listdir(".") == ["file.bin"]


# --- another program's .part ---


@pytest.mark.parametrize("extra", [(), ("--overwrite",)])
def test_another_programs_part_is_never_overwritten(tool: Tool, extra: tuple[str, ...]) -> None:
    tool.write("f.bin.part", DATA[:MIB])
    with Server(DATA) as server:
        ran = tool("get", server.url(), "-o", "f.bin", *extra)
    assert ran.code == 8 and "adopt f.bin.part" in ran.err and "overwrite" not in ran.err
    assert tool.read("f.bin.part") == DATA[:MIB]
    assert tool.files == ["f.bin.part"]
    assert tool("complete", "f.bin.part").code == 5
    ran = tool("status", "--json", "f.bin.part")
    assert (ran.code, ran.objects[0]["state"]) == (3, "foreign")


# --- a mistaken URL ---


@pytest.mark.parametrize("etag", ["one", None])
def test_a_mistaken_url_changes_nothing_of_a_record(tool: Tool, etag: str | None) -> None:
    """Volumes of one archive have one size, and on some servers one tag and one date."""
    tag = None if etag is None else f'"{etag}"'
    with (
        Server(Resource(DATA, etag=tag), **{}) as server,
        Server(Resource(pattern(SIZE, seed=8), etag=tag)) as other,
    ):
        interrupt(tool, server)
        url, before = tool.status()["url"], tool.read("file.bin.part")
        assert tool("get", other.url(), "-o", "file.bin").code == 5
        assert tool.status()["url"] == url
        assert len(tool.read("file.bin.part")) == len(before)
        ran = tool("complete", "file.bin")
        assert ran.code == 0, ran.err
    assert tool.read() == DATA


def test_another_url_of_the_same_resource_goes_on_and_is_the_records_then(tool: Tool) -> None:
    with Server(DATA) as server:
        interrupt(tool, server)
        server.resources["/other.bin"] = Resource(DATA)
        assert tool("get", server.url("/other.bin"), "-o", "file.bin").code == 0
    assert tool.read() == DATA


# --- the stamp ---


def test_a_file_that_we_finished_costs_one_request_without_a_body(tool: Tool) -> None:
    with Server(DATA) as server:
        assert tool("get", server.url()).code == 0
        if stamp_of("file.bin") is None:
            pytest.skip("NO EXTENDED ATTRIBUTES here")
        server.reset_log()
        ran = tool("get", server.url())
        assert ran.code == 0
        assert [request.status for request in server.requests] == [304]
        assert server.body_bytes == 0
        assert ran.err.splitlines()[-1] == "smartremote: file.bin: complete, 8.01 MiB"


@pytest.mark.parametrize("how", ["touched", "longer", "another URL"])
def test_a_stamp_is_void_once_the_file_was_touched(tool: Tool, how: str) -> None:
    with Server(DATA) as server:
        assert tool("get", server.url()).code == 0
        url = server.url()
        server.resources["/another.bin"] = Resource(DATA)
        with open("file.bin", "r+b") as file:
            if how == "longer":
                file.seek(0, os.SEEK_END)
                file.write(b"x")
            elif how == "touched":
                file.write(b"x")
                os.utime("file.bin")
            else:
                url = server.url("/another.bin")
        server.reset_log()
        assert tool("get", url, "-o", "file.bin").code == (0 if how == "another URL" else 5)
        assert 304 not in [request.status for request in server.requests]


@pytest.mark.parametrize("at", [0, MIB + 1, SIZE - 1])
def test_an_edit_that_puts_the_time_of_modification_back_is_seen(tool: Tool, at: int) -> None:
    with Server(DATA) as server:
        assert tool("get", server.url()).code == 0
        before = os.stat("file.bin")
        time.sleep(0.05)  # a time of change is a tick of the clock, 10 ms at the most
        with open("file.bin", "r+b") as file:
            file.seek(at)
            file.write(bytes([DATA[at] ^ 1]))
        os.utime("file.bin", ns=(before.st_atime_ns, before.st_mtime_ns))
        assert stamp_of("file.bin") is None
        server.reset_log()
        tool("get", server.url())
        assert 304 not in [request.status for request in server.requests]


@pytest.mark.parametrize("how", ["moved", "copied", "chmod"])
def test_a_stamp_outlives_what_leaves_the_bytes_alone(tool: Tool, how: str) -> None:
    with Server(DATA) as server:
        assert tool("get", server.url()).code == 0
        if stamp_of("file.bin") is None:
            pytest.skip("NO EXTENDED ATTRIBUTES here")
        if how == "moved":
            os.rename("file.bin", "f.bin")
        elif how == "copied":
            shutil.copy2("file.bin", "f.bin")
        else:
            os.rename("file.bin", "f.bin")
            os.chmod("f.bin", 0o444)
        server.reset_log()
        assert tool("get", server.url(), "-o", "f.bin").code == 0
        assert [request.status for request in server.requests] == [304]


def test_a_stamped_file_of_an_older_version_is_said_to_be_one(tool: Tool) -> None:
    with Server(Resource(DATA, etag='"one"')) as server:
        assert tool("get", server.url()).code == 0
        server.resources["/file.bin"] = Resource(DATA[:-1] + b"\0", etag='"two"')
        ran = tool("get", server.url())
    if stamp_of("file.bin") is not None:
        assert ran.code == 5 and '"two"' in ran.complaint


def test_a_stamp_survives_neither_forgetting_nor_a_copy_that_is_cut(tool: Tool) -> None:
    with Server(DATA) as server:
        assert tool("get", server.url()).code == 0
        if stamp_of("file.bin") is None:
            pytest.skip("NO EXTENDED ATTRIBUTES here")
        shutil.copy2("file.bin", "copy.bin")
        os.truncate("copy.bin", MIB)
        assert stamp_of("copy.bin") is None
        os.setxattr("copy.bin", STAMP, b"[" * 2000)
        assert stamp_of("copy.bin") is None


def test_a_partial_file_has_no_stamp(tool: Tool) -> None:
    with Server(DATA) as server:
        assert tool("get", server.url()).code == 0
        leave_partial("p.bin", server.url(), DATA, range(3), version_one(SIZE))
        assert stamp_of("p.bin") is None
        assert tool("complete", "p.bin").code == 0
        assert tool("status", "p.bin").code == 0
