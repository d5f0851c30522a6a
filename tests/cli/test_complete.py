"""smartremote complete: what is missing, and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from pyroaring import BitMap

from smartremote_cli.core.blocks import BLOCK
from tests.cli.records import (
    DATA,
    HELD,
    SIZE,
    holding,
    missing,
    partial,
    record,
)
from tests.support import faults
from tests.support.leftovers import known_of, leave_partial
from tests.support.server import Fault, Patterned, Resource, Server, Where
from tests.support.tool import Tool

# --- what is missing ---


def test_only_what_is_missing_is_fetched_and_the_record_goes(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        partial(tool, server)
        ran = tool("complete", "file.bin")
        assert ran.code == 0, ran.err
        assert missing(HELD) <= server.body_bytes <= missing(HELD) + 2048 * len(server.requests)
        assert all(seen.header("If-Match") == '"one"' for seen in server.requests[1:])
    assert tool.read() == DATA
    assert tool.files == ["file.bin"]


def test_the_record_may_be_named_instead_of_the_file(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        partial(tool, server)
        assert tool("complete", "file.bin.part").code == 0
    assert tool.files == ["file.bin"]


def test_a_complete_file_is_nothing_to_do(tool: Tool) -> None:
    tool.write("file.bin", DATA)
    ran = tool("complete", "file.bin")
    assert (ran.code, ran.out) == (0, b"")
    assert tool.files == ["file.bin"]


def test_a_file_that_is_not_there_is_a_local_error(tool: Tool) -> None:
    assert tool("complete", "file.bin").code == 6
    assert tool("complete", "file.bin").complaint.startswith("file.bin: ")


def test_several_files_are_completed_one_after_another(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        for name in ("a", "b"):
            tool.write(name, holding(HELD))
            tool.write(f"{name}.part", record(server.url()))
        ran = tool("complete", "a", "absent", "b", "-q")
    assert ran.code == 6
    assert ran.complaint.startswith("absent: ")
    assert tool.read("a") == tool.read("b") == DATA


def test_all_blocks_held_still_asks_once_and_then_the_record_goes(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        partial(tool, server, tuple(range(41)))
        assert tool("complete", "file.bin").code == 0
        assert server.body_bytes <= BLOCK
    assert tool.read() == DATA
    assert tool.files == ["file.bin"]


def test_a_record_without_url_needs_one(tool: Tool) -> None:
    tool.write("file.bin", holding(HELD))
    tool.write("file.bin.part", record(None))
    ran = tool("complete", "file.bin")
    assert ran.code == 2
    assert "--url" in ran.err
    with Server(Patterned(SIZE)) as server:
        assert tool("complete", "file.bin", "--url", server.url()).code == 0
    assert tool.read() == DATA


# --- another url ---


def test_another_url_is_believed_when_samples_agree_whatever_its_validators(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        server.resources["/mirror"] = Resource(Patterned(SIZE), '"other"', "Thu, 02 Jan 2025 00:00:00 GMT")
        partial(tool, server)
        ran = tool("complete", "file.bin", "--url", server.url("/mirror"))
        assert ran.code == 0, ran.err
        assert "size and 8 sample blocks" in ran.err
        assert {seen.path for seen in server.requests} == {"/mirror"}
        assert server.body_bytes <= missing(HELD) + 10 * BLOCK
    assert tool.read() == DATA


@pytest.mark.parametrize("size", [SIZE, SIZE + 1, SIZE - 1])
@pytest.mark.parametrize("etag", ['"one"', '"other"', None])
def test_another_url_of_another_resource_is_exit_5(tool: Tool, size: int, etag: str | None) -> None:
    with Server(Patterned(SIZE)) as server:
        server.resources["/mirror"] = Resource(Patterned(size, seed=1), etag)
        partial(tool, server)
        before = tool.read("file.bin.part")
        ran = tool("complete", "file.bin", "--url", server.url("/mirror"), "-q")
    assert ran.code == 5
    assert ran.complaint
    assert tool.read() == holding(HELD)
    assert tool.read("file.bin.part") == before


def test_another_url_is_the_records_from_then_on(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        partial(tool, server)
        server.resources["/mirror"] = server.resource
        stop = faults.after(10)
        server.faults += [faults.status(404, when=stop)]
        assert tool("complete", "file.bin", "--url", server.url("/mirror"), "-x", "1").code in (0, 4)
        if "file.bin.part" in tool.files:
            assert tool.status()["url"] == server.url("/mirror")


def test_an_expired_signature_is_a_refusal_and_a_new_one_goes_on(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        partial(tool, server)
        server.faults += [faults.status(403, when=faults.When(lambda it: "new" not in it.seen.target))]
        ran = tool("complete", "file.bin")
        assert ran.code == 4
        assert tool.files == ["file.bin", "file.bin.part"]
        assert tool("complete", "file.bin", "--url", server.url("/file.bin?signature=new")).code == 0
    assert tool.read() == DATA


@pytest.mark.parametrize("where", ["headers", "body"])
def test_the_first_answer_may_break_where_only_the_first_block_is_held(tool: Tool, where: Where) -> None:
    data = DATA[: 2 * BLOCK + 5]
    with Server(data) as server:
        url = server.url()
        leave_partial(tool.folder / "file.bin", url, data, BitMap([0]), known_of(server.resource))
        server.faults += [faults.reset(where=where, when=faults.first(1))]
        assert tool("complete", "file.bin").code == 0
    assert tool.read() == data


# --- checksums ---


def test_a_checksum_covers_what_was_held_before(tool: Tool) -> None:
    digest = hashlib.sha256(DATA).hexdigest()
    with Server(Patterned(SIZE)) as server:
        partial(tool, server)
        tool.write(
            "file.bin", holding(HELD).replace(DATA[3 * BLOCK + 5000 : 3 * BLOCK + 5010], b"0123456789")
        )
        ran = tool("complete", "file.bin", "--checksum", f"sha256:{digest}")
    assert ran.code == 0, ran.err
    assert "sha256" in ran.err
    assert tool.read() == DATA


# --- trouble on the way ---


@pytest.mark.parametrize(
    "fault",
    [
        lambda: faults.reset(after=100_000, when=faults.first(3)),
        lambda: faults.status(503, when=faults.first(2)),
        lambda: faults.fail_precondition(),
        lambda: faults.distrust_if_range(),
        lambda: faults.weaken(),
        lambda: faults.ignore_range(),
        lambda: faults.shorter(1000, when=faults.first(4)),
        lambda: faults.validators(etag=None, last_modified=None),
    ],
    ids="resets 503 412 200-to-if-range weak-etag ignores-range shorter validators-gone".split(),
)
def test_trouble_on_the_way_does_not_stop_it(tool: Tool, fault: Callable[[], Fault]) -> None:
    with Server(Patterned(SIZE)) as server:
        partial(tool, server)
        server.faults += [fault()]
        ran = tool("complete", "file.bin")
    assert ran.code == 0, ran.err
    assert tool.read() == DATA
    assert tool.files == ["file.bin"]


def test_a_server_without_ranges_now_that_has_changed_is_exit_5(tool: Tool) -> None:
    with Server(Resource(Patterned(SIZE, seed=1), ranges=False, etag=None, last_modified=None)) as server:
        partial(tool, server)
        assert tool("complete", "file.bin").code == 5
    assert tool.read() == holding(HELD)
