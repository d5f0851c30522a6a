"""smartremote complete: what is missing and nothing else, from records good, foreign and forged."""

from __future__ import annotations

import hashlib
import os
import random
import struct
import zlib
from collections.abc import Callable

import pytest
from pyroaring import BitMap

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.store.part import Record, encode
from tests.support import faults
from tests.support.leftovers import leave_partial, version_one
from tests.support.server import Fault, Patterned, Resource, Server, pattern
from tests.support.tool import Tool

SIZE = 40 * BLOCK + 777
DATA = pattern(SIZE)
HELD = (*range(5), *range(9, 20), 33, 40)  # the last block, which is short, among them


def holding(blocks: tuple[int, ...]) -> bytes:
    """Return a data file that has these blocks, and nonsense where others belong."""
    data = bytearray(b"\xee" * SIZE)
    for block in blocks:
        data[block * BLOCK : (block + 1) * BLOCK] = DATA[block * BLOCK : (block + 1) * BLOCK]
    return bytes(data[:SIZE])


def missing(blocks: tuple[int, ...]) -> int:
    return SIZE - sum(len(DATA[block * BLOCK : (block + 1) * BLOCK]) for block in blocks)


def record(url: str | None, bits: BitMap | None = None) -> bytes:
    return encode(Record(BitMap(HELD) if bits is None else bits, version_one(SIZE), url))


def partial(tool: Tool, server: Server, blocks: tuple[int, ...] = HELD) -> None:
    """Leave these blocks and nonsense elsewhere; without sums, so that only the record says which are which."""
    path = tool.folder / "file.bin"
    leave_partial(path, server.url(), DATA, blocks, elsewhere=b"\xee", sums=False)


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


# --- foreign records ---


def without_trailer(data: bytes) -> bytes:
    return data[: data.index(b"SMRT")]


def test_a_record_without_trailer_resumes_once_its_blocks_are_compared(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        partial(tool, server)
        tool.write("file.bin.part", without_trailer(tool.read("file.bin.part")))
        assert tool("complete", "file.bin").code == 2  # nothing says where it came from
        ran = tool("get", server.url(), "-x", "1")
        assert ran.code == 0, ran.err
        assert server.body_bytes < missing(HELD) + 10 * BLOCK
    assert tool.read() == DATA
    assert tool.files == ["file.bin"]


def test_a_record_without_trailer_of_something_else_is_exit_5(tool: Tool) -> None:
    with Server(Patterned(SIZE, seed=1)) as server:
        partial(tool, server)
        tool.write("file.bin.part", without_trailer(tool.read("file.bin.part")))
        assert tool("get", server.url()).code == 5
    assert tool.read() == holding(HELD)


@pytest.mark.parametrize("bits", ["empty", "no bytes at all"])
def test_a_record_of_a_file_just_created_starts_over(tool: Tool, bits: str) -> None:
    with Server(Patterned(SIZE)) as server:
        tool.write("file.bin", b"")
        empty = without_trailer(record(None, BitMap()))
        tool.write("file.bin.part", b"" if bits == "no bytes at all" else empty)
        ran = tool("complete", "file.bin", "--url", server.url())
    assert ran.code == 0, ran.err
    assert tool.read() == DATA
    assert tool.files == ["file.bin"]


def test_a_recorded_block_that_lies_in_a_hole_is_not_believed(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        partial(tool, server)
        os.truncate("file.bin", 10 * BLOCK)
        os.truncate("file.bin", SIZE)
        assert tool("complete", "file.bin").code == 0
    assert tool.read() == DATA


def test_a_bit_past_the_end_as_go_leaves_it_is_no_block(tool: Tool) -> None:
    with Server(Patterned(SIZE)) as server:
        partial(tool, server)
        tool.write("file.bin.part", without_trailer(record(None, BitMap([*HELD, 41, 70]))))
        assert tool("get", server.url()).code == 0
    assert tool.read() == DATA


# --- forged records ---


def sealed(body: bytes, facts: bytes) -> bytes:
    """Return a record with a right checksum around whatever it says."""
    body += b"SMRT" + struct.pack("<BI", 1, len(facts)) + facts
    return body + struct.pack("<I", zlib.crc32(body))


def head(bits: BitMap, size: bytes = b"\x80\x80\x08") -> bytes:
    bits.run_optimize()
    return size + bits.serialize()


def forged(url: str) -> dict[str, bytes]:
    right = record(url)
    dice = random.Random(3)
    facts = b'{"url": "%s", "size": %d, "etag": "\\"one\\"", "last_modified": null}' % (url.encode(), SIZE)
    everything = BitMap()
    everything.add_range(0, 1 << 32)
    cases = {f"cut to {cut}": right[:cut] for cut in (1, 2, 3, 4, 7, 11, 20)}
    cases |= {"cut in half": right[: len(right) // 2], "cut by a byte": right[:-1]}
    for number in range(6):
        spoilt = bytearray(right)
        spoilt[dice.randrange(len(right))] ^= 1 << dice.randrange(8)
        cases[f"bit flipped {number}"] = bytes(spoilt)
        spoilt = bytearray(without_trailer(right))
        spoilt[dice.randrange(3, len(spoilt))] ^= 1 << dice.randrange(8)
        cases[f"bit flipped {number}, no trailer"] = bytes(spoilt)
    for name, size in {
        "0": b"\0",
        "1": b"\2",
        "negative": b"\1",
        "2^63": b"\xff" * 9 + b"\1",
        "endless": b"\xff" * 40,
    }.items():
        cases[f"block size {name}"] = head(BitMap(HELD), size)
        cases[f"block size {name}, sealed"] = sealed(head(BitMap(HELD), size), facts)
    cases["all blocks"] = head(everything)
    cases["all blocks, sealed"] = sealed(head(everything), facts)
    cases["every block of the file"] = head(BitMap(range(41)))
    cases["every block of the file, sealed"] = sealed(head(BitMap(range(41))), facts)
    cases["bits past the end"] = head(BitMap([*HELD, 41, 1 << 20, (1 << 32) - 1]))
    cases["bits past the end, sealed"] = sealed(head(BitMap([*HELD, 41, 1 << 20, (1 << 32) - 1])), facts)
    for name, text in {
        "no json": b"{",
        "a list": b"[]",
        "deep": b"[" * 100_000,
        "negative size": facts.replace(b"%d" % SIZE, b"-1"),
        "huge size": facts.replace(b"%d" % SIZE, b"1" + b"0" * 30),
        "size of 256 TiB": facts.replace(b"%d" % SIZE, b"%d" % (1 << 48)),
        "size as text": facts.replace(b"%d" % SIZE, b'"12"'),
        "size 0": facts.replace(b"%d" % SIZE, b"0"),
        "no size": b'{"url": "%s"}' % url.encode(),
        "url of a file": b'{"url": "file:///etc/passwd", "size": %d}' % SIZE,
        "url as number": b'{"url": 5, "size": %d}' % SIZE,
        "etag with a line break": facts.replace(b'\\"one\\"', b"\\r\\nX: y"),
        "nothing": b"{}",
        "not utf-8": b"\xff\xfe",
    }.items():
        cases[name] = sealed(head(BitMap(HELD)), text)
    cases["trailing bytes"] = right + b"more"
    cases["another version"] = right.replace(b"SMRT\1", b"SMRT\2")
    cases["noise"] = dice.randbytes(5000)
    cases["zeros"] = bytes(5000)
    return cases


FORGED = list(forged("http://127.0.0.1:1/x"))


@pytest.mark.parametrize("kind", FORGED)
@pytest.mark.parametrize("again", ["get", "complete"])
def test_a_forged_record_ends_in_a_right_file_or_a_clear_exit(tool: Tool, kind: str, again: str) -> None:
    with Server(Patterned(SIZE)) as server:
        tool.write("file.bin", holding(HELD))
        tool.write("file.bin.part", forged(server.url())[kind])
        told = tool("status", "--json", "file.bin")
        assert told.code in (0, 3, 8), told.err
        ran = tool("get", server.url(), "-q") if again == "get" else tool("complete", "file.bin", "-q")
    assert ran.code in (0, 2, 4, 5, 6, 8)
    if ran.code:
        assert ran.complaint
        assert tool.files == ["file.bin", "file.bin.part"]
    elif not claims_too_much(kind):
        assert tool.read() == DATA
        assert tool.files == ["file.bin"]


def claims_too_much(kind: str) -> bool:
    """Whether a record vouches, under its checksum, for blocks that the file does not hold.

    No reader can know; samples of them are compared only where the record itself proves nothing.
    """
    return kind == "every block of the file, sealed"


def test_the_worst_record_takes_little_memory(tool: Tool) -> None:
    everything = BitMap()
    everything.add_range(0, 1 << 32)
    with Server(Patterned(SIZE)) as server:
        tool.write("file.bin", holding(HELD))
        tool.write("file.bin.part", head(everything))
        assert tool.peak_memory("get", server.url(), "-q") < 120 << 20


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
