"""Control files of other downloaders: what they claim, and that nothing that does not add up is believed."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.errors import DamagedError
from smartremote_cli.store.controls import Claims, parse_aria2, parse_axel, parse_lftp

PIECE = 1 << 20
PART = 16 * 1024


def aria2(
    total: int, pieces: set[int], flying: dict[int, set[int]] | None = None, *, piece: int = PIECE
) -> bytes:
    """Return a control file in which *pieces* are held, and of those that are *flying* some parts."""
    count = -(-total // piece)
    bits = _bits(pieces, count)
    data = struct.pack(">HII", 1, 0, 0) + struct.pack(">IQQI", piece, total, 0, len(bits)) + bits
    data += struct.pack(">I", len(flying or {}))
    for index, parts in (flying or {}).items():
        length = min(piece, total - index * piece)
        inner = _bits(parts, -(-length // PART))
        data += struct.pack(">III", index, length, len(inner)) + inner
    return data


def _bits(chosen: set[int], count: int) -> bytes:
    data = bytearray((count + 7) // 8)
    for index in chosen:
        data[index // 8] |= 0x80 >> index % 8
    return bytes(data)


def axel(done: int, *connections: tuple[int, int]) -> bytes:
    return struct.pack("=Hq", len(connections), done) + b"".join(
        struct.pack("=qq", *each) for each in connections
    )


def lftp(size: int, *chunks: tuple[int, int]) -> bytes:
    lines = [f"size={size}"]
    for index, (position, limit) in enumerate(chunks):
        lines += [f"{index}.pos={position}", f"{index}.limit={limit}"]
    return "\n".join(lines).encode() + b"\n"


def test_set_bits_are_held_and_the_last_piece_is_short() -> None:
    total = 3 * PIECE + 5
    found = parse_aria2(aria2(total, {0, 1, 3}, {2: {0, 2}}), "f.aria2")
    two = 2 * PIECE
    assert found == Claims(
        total,
        (ByteRange(0, two + PART), ByteRange(two + 2 * PART, two + 3 * PART), ByteRange(3 * PIECE, total)),
    )


def test_all_but_what_is_left_to_do_is_held() -> None:
    held = (ByteRange(0, 10), ByteRange(50, 70))
    assert parse_axel(axel(30, (10, 50), (70, 100), (100, 100)), "f.st") == Claims(100, held)
    assert parse_lftp(lftp(100, (10, 50), (70, 100)), "f") == Claims(100, held)


def test_a_connection_that_took_over_anothers_work_does_not_end_at_the_size() -> None:
    assert parse_axel(axel(60, (10, 50), (50, 50)), "f.st") == Claims(
        100, (ByteRange(0, 10), ByteRange(50, 100))
    )


@given(st.integers(1, 40), st.sets(st.integers(0, 39)))
def test_each_bit_speaks_of_its_own_piece(count: int, pieces: set[int]) -> None:
    total = count * PIECE - 7
    pieces &= set(range(count))
    held = {
        at // PIECE
        for part in parse_aria2(aria2(total, pieces), "f").held
        for at in range(part.start, part.stop, PIECE)
    }
    assert held == pieces


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\1",
        b"\0\2" + aria2(PIECE, {0})[2:],
        aria2(PIECE, {0})[:-1],
        aria2(PIECE, {0}) + b"x",
        aria2(9 * PIECE, {0})[:30] + struct.pack(">I", 1) + aria2(9 * PIECE, {0})[34:],
        struct.pack(">HIIIQQII", 1, 0, 0, 0, PIECE, 0, 0, 0),
        struct.pack(">HIIIQQII", 1, 0, 0, 1, 2**63, 0, 0, 0),
        struct.pack(">HII", 1, 0, 2**31),
        aria2(PIECE, set(), {0: set()})[:-12] + struct.pack(">III", 7, PIECE, 8) + bytes(8),
    ],
)
def test_what_does_not_add_up_is_no_control_file_of_aria2(data: bytes) -> None:
    with pytest.raises(DamagedError):
        parse_aria2(data, "f.aria2")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        axel(0),
        axel(30, (10, 50))[:-1],
        axel(-1, (0, 9)),
        axel(9, (-1, 9)),
        axel(0, (0, 9), (0, 9)),
        axel(1, (9, 99), (50, 50)),
    ],
)
def test_what_does_not_add_up_is_no_state_of_axel(data: bytes) -> None:
    with pytest.raises(DamagedError):
        parse_axel(data, "f.st")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"size=9\n",
        lftp(9, (0, 10)),
        b"size=9\n0.pos=3\n",
        b"hello\n",
        lftp(9, (0, 5), (3, 9)),
        b"\xff" * 50,
    ],
)
def test_what_does_not_add_up_is_no_status_of_lftp(data: bytes) -> None:
    with pytest.raises(DamagedError):
        parse_lftp(data, "f")


@pytest.mark.parametrize("parse", [parse_aria2, parse_axel, parse_lftp])
@given(
    data=st.one_of(
        st.binary(max_size=200),
        st.builds(
            lambda head, tail: head + tail, st.just(aria2(9 * PIECE, {1, 4})[:26]), st.binary(max_size=60)
        ),
        st.text("0123456789=.\nsizepolmt", max_size=80).map(str.encode),
    ),
    at=st.integers(0, 300),
    value=st.integers(0, 255),
)
def test_any_bytes_are_claims_in_order_or_damaged(parse: object, data: bytes, at: int, value: int) -> None:
    assert callable(parse)
    for base in (data, aria2(9 * PIECE, {1, 4}, {2: {3}}), axel(30, (10, 50), (70, 100)), lftp(99, (3, 9))):
        spoilt = bytearray(base)
        if at < len(spoilt):
            spoilt[at] = value
        try:
            found = parse(bytes(spoilt), "f")
        except DamagedError:
            continue
        edges = [edge for part in found.held for edge in (part.start, part.stop)]
        assert edges == sorted(set(edges))
        assert found.size is None or not edges or edges[-1] <= found.size
