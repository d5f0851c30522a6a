"""Partial files and their records, right and forged, for the tests of the commands."""

from __future__ import annotations

import struct
import zlib

from pyroaring import BitMap

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.store.part import Record, encode
from tests.support.leftovers import leave_partial, version_one
from tests.support.server import Server, pattern
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


def without_trailer(data: bytes) -> bytes:
    return data[: data.index(b"SMRT")]


def sealed(body: bytes, facts: bytes) -> bytes:
    """Return a record with a right checksum around whatever it says."""
    body += b"SMRT" + struct.pack("<BI", 1, len(facts)) + facts
    return body + struct.pack("<I", zlib.crc32(body))


def head(bits: BitMap, size: bytes = b"\x80\x80\x08") -> bytes:
    bits.run_optimize()
    return size + bits.serialize()
