"""The part record: its bytes, written out by hand, and everything that can be wrong with them."""

from __future__ import annotations

import json
import struct
import tracemalloc
import zlib
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from smartremote_cli.core.blocks import MAX_BLOCKS, MAX_SIZE, BlockMap
from smartremote_cli.errors import DamagedError
from smartremote_cli.protocol.identity import Identity
from smartremote_cli.store.part import MAX_RECORD, Record, decode, encode

MON = "Mon, 02 Nov 2026 08:00:00 GMT"

PREFIX = bytes.fromhex("80 80 08")  # 65536, zig-zag
NO_BLOCKS = bytes.fromhex("3a 30 00 00  00 00 00 00")
# Cookie without runs, one container: key 0 with 3 blocks, at byte 16: blocks 0, 2 and 5.
SOME_BLOCKS = bytes.fromhex("3a 30 00 00  01 00 00 00  00 00 02 00  10 00 00 00  00 00 02 00 05 00")
# Cookie with runs, one container, which is one: key 0 with 1000 blocks, in one run from 0 with 999 more.
A_RUN = bytes.fromhex("3b 30 00 00  01  00 00 e7 03  01 00  00 00 e7 03")
FIRST_BLOCK = bytes.fromhex("3a 30 00 00  01 00 00 00  00 00 00 00  10 00 00 00  00 00")

IDENTITY = Identity(6 * 65_536, '"v1"', MON)
LARGEST = Identity(MAX_SIZE, '"v1"', MON)
FULL = Record(BitMap([0, 2, 5]), IDENTITY, "https://example.org/file.iso")


def trailer(body: bytes, facts: bytes, *, magic: bytes = b"SMRT", version: int = 1) -> bytes:
    """Return *body* with the trailer that holds *facts*, its checksum right."""
    body += magic + bytes([version]) + struct.pack("<I", len(facts)) + facts
    return body + struct.pack("<I", zlib.crc32(body))


def damage(data: bytes) -> str:
    """Return why *data* is no record."""
    with pytest.raises(DamagedError) as caught:
        decode(data, "file.iso.part")
    assert caught.value.what == "file.iso.part"
    assert caught.value.exit_code == 8
    assert len(str(caught.value)) < 120 and "\n" not in str(caught.value)
    return caught.value.why


# -- the format, byte for byte --


@pytest.mark.parametrize(
    ("blocks", "bitmap"),
    [
        (BitMap(), NO_BLOCKS),
        (BitMap([0, 2, 5]), SOME_BLOCKS),
        (BitMap(range(1000)), A_RUN),
    ],
)
def test_without_an_identity_the_record_is_that_of_gos_smartremote(blocks: BitMap, bitmap: bytes) -> None:
    assert encode(Record(blocks)) == PREFIX + bitmap
    assert decode(PREFIX + bitmap, "x") == Record(blocks)


def test_the_trailer_follows_and_its_checksum_covers_all_before_it() -> None:
    data = encode(FULL)
    start = len(PREFIX + SOME_BLOCKS)
    assert data[:start] == PREFIX + SOME_BLOCKS
    assert data[start : start + 5] == b"SMRT\x01"
    (length,) = struct.unpack_from("<I", data, start + 5)
    facts = json.loads(data[start + 9 : start + 9 + length].decode("utf-8"))
    assert facts["url"] == "https://example.org/file.iso"
    assert (facts["size"], facts["etag"], facts["last_modified"]) == (393_216, '"v1"', MON)
    assert data[start + 9 + length :] == struct.pack("<I", zlib.crc32(data[: start + 9 + length]))


def test_a_trailer_written_by_hand_is_read() -> None:
    facts = json.dumps(
        {"url": "http://h/é", "size": 70_000, "etag": 'W/"x"', "last_modified": None, "more": [1]},
        ensure_ascii=False,
    )
    record = decode(trailer(PREFIX + FIRST_BLOCK, facts.encode()), "x")
    assert record == Record(BitMap([0]), Identity(70_000, 'W/"x"'), "http://h/é")


def test_a_trailer_may_know_nothing() -> None:
    assert decode(trailer(PREFIX + NO_BLOCKS, b"{}"), "x") == Record(BitMap(), Identity(None))


def test_nothing_at_all_is_the_record_of_a_file_just_created() -> None:
    assert decode(b"", "x") == Record(BitMap())


def test_encoding_leaves_the_bitmap_as_it_was() -> None:
    bits = BitMap(range(1000))
    before = bits.serialize()
    encode(Record(bits))
    assert bits.serialize() == before


# Every kind of container, dense and sparse, in several of them: arrays, bitsets and runs.
bitmaps = st.builds(
    lambda loose, runs: BitMap(loose) | BitMap.union(BitMap(), *(BitMap(range(*run)) for run in runs)),
    st.lists(st.integers(0, MAX_BLOCKS - 1), max_size=20),
    st.lists(
        st.builds(
            lambda start, count, step: (start, min(start + count * step, MAX_BLOCKS), step),
            st.integers(0, MAX_BLOCKS - 1) | st.integers(0, 200_000),
            st.integers(1, 9000),
            st.integers(1, 3),
        ),
        max_size=4,
    ),
)
texts = st.none() | st.text(st.characters(), max_size=20)
tags = st.none() | st.text(st.characters(min_codepoint=0x23, max_codepoint=0x7E), max_size=9).map(
    '"{}"'.format
)
identities = st.none() | st.builds(
    Identity,
    st.none() | st.integers(0, MAX_SIZE),
    tags,
    st.none() | st.just(MON),
    st.booleans(),
    st.booleans(),
    st.sampled_from([(), (("ETag", "abc"), ("x-goog-generation", "17"))]),
)


@settings(deadline=None, max_examples=50)
@given(bitmaps, identities, texts)
def test_what_was_written_is_read(bits: BitMap, identity: Identity | None, url: str | None) -> None:
    if identity is not None and identity.size is not None:
        bits = BlockMap.fitting(identity.size, bits).bits
    record = decode(encode(Record(bits, identity, url)), "x")
    assert record.bits == bits
    assert record.identity == identity
    if identity is not None:
        assert record.url == url
        assert record.identity is not None
        assert record.identity.settled == identity.settled
        assert record.identity.racy == identity.racy
        assert record.identity.evidence == identity.evidence


@pytest.mark.parametrize("count", [1, 4095, 4096, 4097, 32_768])
@pytest.mark.parametrize("containers", [1, 3, 4, 5])
def test_containers_of_every_kind_and_number_are_read(count: int, containers: int) -> None:
    """From 4097 blocks on a container is a bitset; from 4 containers on those with runs have offsets too."""
    loose = BitMap(key * 65_536 + 2 * block for key in range(containers) for block in range(count))
    for bits in (loose, loose | BitMap(range(10 * 65_536, 11 * 65_536))):
        assert decode(encode(Record(bits, LARGEST)), "x").bits == bits


@settings(deadline=None, max_examples=50)
@given(bitmaps)
def test_a_bitmap_that_was_not_optimized_for_runs_is_read_too(bits: BitMap) -> None:
    assert decode(PREFIX + bits.serialize(), "x").bits == bits


# -- damage --


@pytest.mark.parametrize(
    "bits",
    [
        BitMap(),
        BitMap([0, 2, 5]),
        BitMap(range(1000)),
        BitMap([7]) | BitMap(range(70_000, 80_000)) | BitMap(range(200_000, 200_200, 2)),
        BitMap([1 << 16, 2 << 16, 3 << 16, 4 << 16, 5 << 16]),
    ],
)
def test_no_damaged_byte_of_a_record_with_a_trailer_goes_unseen(bits: BitMap) -> None:
    data = bytearray(encode(Record(bits, LARGEST, "u")))
    for index in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            data[index] ^= flip
            damage(bytes(data))
            data[index] ^= flip


@settings(deadline=None, max_examples=50)
@given(bitmaps, st.data())
def test_a_record_cut_anywhere_is_damaged_or_claims_no_other_blocks(
    bits: BitMap, data: st.DataObject
) -> None:
    """Cut just behind the bitmap it is one of Go's, whose blocks are compared before they are trusted."""
    whole = encode(Record(bits, LARGEST, "u"))
    bare = len(encode(Record(bits)))
    cut = data.draw(st.integers(1, len(whole) - 1) | st.integers(1, min(40, len(whole) - 1)))
    if cut == bare:
        assert decode(whole[:cut], "x") == Record(bits)
    else:
        damage(whole[:cut])


@pytest.mark.parametrize("more", [b"\0", b"x", b"SMRT", b"\0" * 100])
def test_what_follows_the_end_is_no_part_of_a_record(more: bytes) -> None:
    damage(encode(FULL) + more)
    damage(encode(Record(FULL.bits)) + more)


@settings(deadline=None)
@given(st.binary(max_size=80) | st.binary(max_size=80).map(PREFIX.__add__))
def test_garbage_is_damaged_and_nothing_else(garbage: bytes) -> None:
    with suppress(DamagedError):
        decode(garbage, "x")


@settings(deadline=None, max_examples=50)
@given(bitmaps, st.data())
def test_a_damaged_byte_without_a_trailer_yields_damage_or_a_sound_bitmap(
    bits: BitMap, data: st.DataObject
) -> None:
    raw = bytearray(encode(Record(bits)))
    raw[data.draw(st.integers(0, len(raw) - 1) | st.integers(0, min(len(raw), 40) - 1))] ^= data.draw(
        st.integers(1, 255)
    )
    try:
        record = decode(bytes(raw), "x")
    except DamagedError:
        return
    again = BitMap.deserialize(record.bits.serialize())
    assert again == record.bits
    assert len(again) == again.range_cardinality(0, MAX_BLOCKS)


def containers(*described: tuple[int, int], body: bytes) -> bytes:
    """Return a bitmap without runs: (key, count) of each container, then offsets of no meaning, then *body*."""
    head = struct.pack("<II", 12346, len(described))
    head += b"".join(struct.pack("<HH", key, count - 1) for key, count in described)
    return head + bytes(4 * len(described)) + body


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x00", "not a part record of smartremote"),
        (b"\x80\x80\x10" + NO_BLOCKS, "not a part record of smartremote"),
        (b"\xff\xff\x07" + NO_BLOCKS, "not a part record of smartremote"),
        (b"\x80\x80", "not a part record of smartremote"),
        (b"\xff" * 50, "not a part record of smartremote"),
        (b"\xff" * 9 + b"\x01" + NO_BLOCKS, "not a part record of smartremote"),
        (PREFIX, "cut short"),
        (PREFIX + b"PK\x03\x04" + bytes(40), "not a part record of smartremote"),
        (PREFIX + struct.pack("<II", 12346, 2**32 - 1), "4294967295 containers"),
        (PREFIX + struct.pack("<II", 12346, 65_537) + bytes(99), "65537 containers"),
        (PREFIX + struct.pack("<II", 12346, 65_536), "cut short"),
        (PREFIX + struct.pack("<I", 12347 | 0xFFFF << 16), "cut short"),
        (PREFIX + containers((0, 65_536), body=bytes(8000)), "cut short"),
        (PREFIX + containers((5, 1), (5, 1), body=bytes(4)), "out of order"),
        (PREFIX + containers((5, 1), (4, 1), body=bytes(4)), "out of order"),
        (PREFIX + containers((0, 2), body=struct.pack("<HH", 9, 8)), "cannot be read"),
        (PREFIX + containers((0, 2), body=struct.pack("<HH", 9, 9)), "cannot be read"),
        (PREFIX + containers((0, 5000), body=bytes(8192)), "cannot be read"),
    ],
)
def test_forged_counts_sizes_and_orders_are_refused(data: bytes, why: str) -> None:
    assert why in damage(data)


@pytest.mark.parametrize("runs", [[(65_530, 100)], [(0, 10), (5, 10)], [(100, 1), (5, 1)], []])
def test_forged_runs_are_refused(runs: list[tuple[int, int]]) -> None:
    bitmap = struct.pack("<IBHHH", 12347, 1, 0, 9, len(runs))
    assert "cannot be read" in damage(PREFIX + bitmap + b"".join(struct.pack("<HH", *run) for run in runs))


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff\xfe\xff", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"size": ' + b"9" * 5000 + b"}", "no JSON"),
        (b"[]", "no JSON object"),
        (b"null", "no JSON object"),
        (b'{"size": -1}', "size"),
        (b'{"size": 1.5}', "size"),
        (b'{"size": NaN}', "size"),
        (b'{"size": true}', "size"),
        (b'{"size": "6"}', "size"),
        (b'{"size": %d}' % (MAX_SIZE + 1), "size"),
        (b'{"size": %s}' % (b"[" * 900 + b"]" * 900), "size"),
        (b'{"url": 7}', "url is int"),
        (b'{"etag": ["a"]}', "etag is list"),
        (b'{"last_modified": {}}', "last_modified is dict"),
    ],
)
def test_facts_that_are_none_are_refused_in_a_short_line(facts: bytes, why: str) -> None:
    assert why in damage(trailer(PREFIX + NO_BLOCKS, facts))


@pytest.mark.parametrize("size", [0, 1, 5 * 65_536])
def test_a_record_of_blocks_past_its_own_end_is_refused(size: int) -> None:
    assert "past the end" in damage(trailer(PREFIX + SOME_BLOCKS, b'{"size": %d}' % size))
    assert decode(trailer(PREFIX + SOME_BLOCKS, b'{"size": %d}' % (5 * 65_536 + 1)), "x").bits == FULL.bits


def test_another_version_or_mark_is_refused() -> None:
    assert "version 2" in damage(trailer(PREFIX + NO_BLOCKS, b"{}", version=2))
    assert "end" in damage(trailer(PREFIX + NO_BLOCKS, b"{}", magic=b"SMRX"))


@pytest.mark.parametrize("etag", ["v1", "", '"a\r\nX: y"', '"a b"', '"\u20ac"', "\ud800"])
def test_validators_that_no_server_can_have_sent_count_as_absent(etag: str) -> None:
    """They would go out again as request headers."""
    facts = json.dumps({"size": 9, "etag": etag, "last_modified": f"{MON}\r\nX: y"}).encode()
    assert decode(trailer(PREFIX + NO_BLOCKS, facts), "x").identity == Identity(9)


# -- memory --


def test_all_four_billion_blocks_are_read_without_being_counted_out() -> None:
    """Under a megabyte of record claims 256 TiB; a map of the true size takes what fits."""
    everything = BitMap()
    everything.add_range(0, MAX_BLOCKS)
    data = encode(Record(everything))
    assert len(data) < 1_000_000
    tracemalloc.start()
    try:
        record = decode(data, "x")
        blocks = BlockMap.fitting(100 * 65_536, record.bits)
        assert blocks.is_complete and blocks.held == 100
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "data",
    [
        PREFIX + struct.pack("<II", 12346, 65_536) + bytes(999),
        PREFIX + struct.pack("<I", 12347 | 0xFFFF << 16) + b"\xff" * 999,
        PREFIX + containers((0, 65_536), body=b""),
        trailer(PREFIX + NO_BLOCKS, b"")[:-8] + b"\xff" * 8,
    ],
)
def test_a_giant_claim_in_a_small_record_takes_no_memory(data: bytes) -> None:
    tracemalloc.start()
    try:
        damage(data)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_the_largest_bitmap_fits_the_largest_record() -> None:
    container = len(BitMap(range(0, 65_536, 2)).serialize())
    assert 65_536 * container < MAX_RECORD
