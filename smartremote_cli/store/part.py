"""The part record: bytes <-> (blocks present, identity, URL). The format is the contract's, byte for byte:

    varint(block size)          zig-zag varint, as Go's encoding/binary writes it (65536 = 80 80 08)
    bitmap                      Roaring portable serialization of the blocks present in full
    trailer, optional           "SMRT", version byte, uint32 LE length, UTF-8 JSON, uint32 LE CRC-32 of all before it

The first two parts are the record of Go's SmartRemote, which ignores what follows. The checksum guards against
damage, because the bitmap's decoder does not: with one damaged byte it returned a wrong bitmap without complaint in
22 to 24 % of cases (measured with pyroaring 1.2).
"""

from __future__ import annotations

import itertools
import json
import struct
import zlib
from dataclasses import dataclass, field

from pyroaring import BitMap

from ..core.blocks import BLOCK, MAX_SIZE, blocks_in
from ..errors import DamagedError
from ..protocol.evidence import Evidence
from ..protocol.identity import Identity, well_formed_date, well_formed_tag

VERSION = 1
MAGIC = b"SMRT"

# Bytes. Computed: the largest bitmap (every other block of 2^32) serializes to a little over 512 MiB.
MAX_RECORD = 640 * 1024 * 1024

_HEAD = struct.Struct("<4sBI")
_CRC = struct.Struct("<I")
PREFIX = b"\x80\x80\x08"  # zig-zag varint of 65536

_NOT_A_RECORD = "not a part record of smartremote, or damaged"


@dataclass(frozen=True, slots=True)
class Record:
    """What a part record says. *identity* and *url* are None when it was written without a trailer.

    *stamp* is the data file's time of change (st_ctime_ns) at that moment: a file that still has it is unchanged.
    """

    bits: BitMap
    identity: Identity | None = None
    url: str | None = None
    stamp: int | None = field(default=None, compare=False)


def encode(record: Record) -> bytes:
    """Return the record's bytes, trailer included when the identity is known."""
    bits = record.bits.copy()
    bits.run_optimize()
    body = PREFIX + bits.serialize()
    if record.identity is None:
        return body
    facts = {
        "url": record.url,
        "size": record.identity.size,
        "etag": record.identity.etag,
        "last_modified": record.identity.last_modified,
        "settled": record.identity.settled,
        "racy": record.identity.racy,
        "evidence": dict(record.identity.evidence),
        "data_ctime_ns": record.stamp,
    }
    text = json.dumps(facts, ensure_ascii=False).encode("utf-8", "backslashreplace")
    body += _HEAD.pack(MAGIC, VERSION, len(text)) + text
    return body + _CRC.pack(zlib.crc32(body))


def decode(data: bytes, what: str) -> Record:
    """Return what *data* records; *what* names the record in errors.

    Empty data is the record of a file just created. Raises `DamagedError`, and nothing else, for anything that is
    not a record, and takes no more memory than the bitmap needs.
    """
    if not data:
        return Record(BitMap())
    size, start = _varint(data, what)
    if size != BLOCK:
        raise DamagedError(what, _NOT_A_RECORD)
    length = _bitmap_length(data, start, what)
    try:
        bits = BitMap.deserialize(data[start : start + length])
    except Exception as error:  # pyroaring raises ValueError and IndexError, and promises neither
        raise DamagedError(what, "the bitmap of blocks cannot be read") from error
    rest = start + length
    if rest == len(data):
        return Record(bits)
    return _with_trailer(bits, data, rest, what)


def _with_trailer(bits: BitMap, data: bytes, start: int, what: str) -> Record:
    if len(data) < start + _HEAD.size + _CRC.size:
        raise DamagedError(what, "the record is cut short")
    magic, version, length = _HEAD.unpack_from(data, start)
    stop = start + _HEAD.size + length
    if magic != MAGIC or len(data) != stop + _CRC.size:
        raise DamagedError(what, "the record's end cannot be read")
    if _CRC.unpack_from(data, stop)[0] != zlib.crc32(memoryview(data)[:stop]):
        raise DamagedError(what, "the record's checksum does not match")
    if version != VERSION:
        raise DamagedError(what, f"record version {version} where {VERSION} was expected")
    try:
        facts = json.loads(data[start + _HEAD.size : stop])
    except (ValueError, RecursionError) as error:
        raise DamagedError(what, "the record's facts are no JSON") from error
    if not isinstance(facts, dict):
        raise DamagedError(what, "the record's facts are no JSON object")
    size, settled, stamp = facts.get("size"), facts.get("settled"), facts.get("data_ctime_ns")
    if size is not None and not (type(size) is int and 0 <= size <= MAX_SIZE):
        raise DamagedError(what, "the record's size is no number of bytes")
    if size is not None and bits and bits.max() >= blocks_in(size):  # Go leaves such bits, but no trailer
        raise DamagedError(what, f"the record claims blocks past the end, at {size} bytes")
    url, etag, modified = (_text(facts, key, what) for key in ("url", "etag", "last_modified"))
    # Validators are sent in requests: one that no server can have sent counts as absent, as it does in an answer.
    tag, date = well_formed_tag(etag), well_formed_date(modified)
    evidence = _evidence(facts.get("evidence"))
    racy = facts.get("racy") is True
    identity = Identity(size, tag, date, settled=settled is True, racy=racy, evidence=evidence)
    return Record(bits, identity, url, stamp if type(stamp) is int else None)


def _text(facts: dict[str, object], key: str, what: str) -> str | None:
    value = facts.get(key)
    if value is not None and not isinstance(value, str):
        raise DamagedError(what, f"{key} is {type(value).__name__} where a text was expected")
    return value


def _evidence(found: object) -> Evidence:
    """Return the texts that may prove a difference; what is no text counts as absent, as in an answer."""
    if not isinstance(found, dict):
        return ()
    return tuple((name, text) for name, text in found.items() if isinstance(text, str))


def _varint(data: bytes, what: str) -> tuple[int, int]:
    """Return the zig-zag varint at the start of *data*, and where it ends."""
    value = 0
    for index, byte in enumerate(data[:10]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), index + 1
    raise DamagedError(what, _NOT_A_RECORD)


def _bitmap_length(data: bytes, start: int, what: str) -> int:
    """Return how many bytes the portable serialization at *start* takes.

    pyroaring's decoder neither says where it stopped nor checks before it reads. So walk the containers here, as
    https://github.com/RoaringBitmap/RoaringFormatSpec describes them.
    """
    position = start
    try:
        cookie: int = struct.unpack_from("<I", data, start)[0]
        position = start + 4
        if cookie & 0xFFFF == 12347:
            count = (cookie >> 16) + 1
            flags = data[position : position + (count + 7) // 8]
            position += (count + 7) // 8
            has_offsets = count >= 4
        elif cookie == 12346:
            count = struct.unpack_from("<I", data, position)[0]
            position += 4
            flags = b""
            has_offsets = True
        else:
            raise DamagedError(what, _NOT_A_RECORD)
        if count > 65_536:
            raise DamagedError(what, f"a bitmap of {count} containers")
        header = struct.unpack_from(f"<{2 * count}H", data, position)
        position += 4 * count + (4 * count if has_offsets else 0)
        keys = header[::2]
        if any(left >= right for left, right in itertools.pairwise(keys)):
            raise DamagedError(what, "the bitmap's containers are out of order")
        for index in range(count):
            if flags and flags[index // 8] >> (index % 8) & 1:
                position += 2 + 4 * struct.unpack_from("<H", data, position)[0]
            else:
                cardinality = header[2 * index + 1] + 1
                position += 8192 if cardinality > 4096 else 2 * cardinality
    except (struct.error, IndexError) as error:
        raise DamagedError(what, "the bitmap of blocks is cut short") from error
    if position > len(data):
        raise DamagedError(what, "the bitmap of blocks is cut short")
    return position - start
