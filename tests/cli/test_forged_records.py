"""Records of other programs, damaged and forged ones: a right file, or a clear exit."""

from __future__ import annotations

import os
import random

import pytest
from pyroaring import BitMap

from smartremote_cli.core.blocks import BLOCK
from tests.cli.records import (
    DATA,
    HELD,
    SIZE,
    head,
    holding,
    missing,
    partial,
    record,
    sealed,
    without_trailer,
)
from tests.support.server import Patterned, Server
from tests.support.tool import Tool


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
