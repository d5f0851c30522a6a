"""Commands in a process that was changed before, and what is looked at after it has ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.store.leftovers import load_record
from tests.support.server import Server, pattern
from tests.support.tool import Tool

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
