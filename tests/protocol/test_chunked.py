"""The chunked coding: any chunks, fed in any pieces, and what is no such coding."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartremote_cli.protocol.chunked import MAX_HELD, MAX_LINE, MAX_TRAILERS, ChunkError, Chunks


def coded(
    chunks: list[bytes], *, end: bytes = b"\r\n", extension: bytes = b"", trailers: bytes = b""
) -> bytes:
    parts = [b"%x%s%s%s%s" % (len(chunk), extension, end, chunk, end) for chunk in chunks]
    return b"".join(parts) + b"0" + extension + end + trailers + end


def decoded(data: bytes, pieces: list[int], size: int = 7) -> tuple[bytes, Chunks]:
    """Feed *data* in *pieces*, take *size* bytes at a time."""
    chunks, out, view = Chunks(), b"", memoryview(bytearray(size))
    cuts = sorted({0, len(data), *(cut % (len(data) + 1) for cut in pieces)})
    for start, stop in itertools.pairwise(cuts):
        chunks.feed(data[start:stop])
        while count := chunks.take(view):
            out += bytes(view[:count])
    return out, chunks


some = st.lists(st.binary(min_size=1, max_size=40), max_size=12)
cuts = st.lists(st.integers(0, 2000), max_size=30)


@given(
    some,
    cuts,
    st.integers(1, 100),
    st.sampled_from([b"\r\n", b"\n"]),
    st.sampled_from([b"", b";a=b", b" ; x", b" "]),
    st.sampled_from([b"", b"A: b\r\n", b"A: b\nC: d\n"]),
)
def test_whatever_the_chunks_and_the_pieces_the_body_comes_out(
    body: list[bytes], pieces: list[int], size: int, end: bytes, extension: bytes, trailers: bytes
) -> None:
    data = coded(body, end=end, extension=extension, trailers=trailers)
    out, chunks = decoded(data, pieces, size)
    assert out == b"".join(body)
    assert chunks.is_whole and chunks.is_over and chunks.leftovers == b""


@given(some, cuts, st.integers(0, 1000))
def test_a_cut_body_is_not_whole(body: list[bytes], pieces: list[int], keep: int) -> None:
    data = coded(body)
    keep = min(keep, len(data) - 3 - len(b"0\r\n"))
    out, chunks = decoded(data[: max(keep, 0)], pieces)
    assert not chunks.is_whole and not chunks.is_over
    assert b"".join(body).startswith(out)


def test_a_small_chunk_is_given_out_when_its_end_is_here() -> None:
    chunks, view = Chunks(), memoryview(bytearray(9))
    chunks.feed(b"4\r\nbody")
    assert chunks.take(view) == 0
    chunks.feed(b"\r\n")
    assert chunks.take(view) == 4 and chunks.unconfirmed == 0


def test_of_a_chunk_that_is_given_out_as_it_comes_nothing_is_confirmed_before_its_end() -> None:
    large, released, view = Chunks(), Chunks(), memoryview(bytearray(3))
    large.feed(b"%x\r\nbody" % (MAX_HELD + 1))
    released.feed(b"4\r\nbo")
    assert (large.take(view), large.unconfirmed) == (3, 3)
    released.take(view)
    released.release()
    assert (released.take(view), released.unconfirmed) == (2, 2)
    released.feed(b"dy\r\n")
    assert (released.take(view), released.unconfirmed) == (2, 0)


def test_what_follows_is_left_over() -> None:
    out, chunks = decoded(coded([b"body"]) + b"HTTP/1.1 200 OK\r\n", [])
    assert out == b"body" and chunks.is_over and chunks.leftovers == b"HTTP/1.1 200 OK\r\n"


def test_the_body_is_whole_before_its_trailers_are() -> None:
    out, chunks = decoded(b"4\r\nbody\r\n0\r\nA: ", [])
    assert out == b"body" and chunks.is_whole and not chunks.is_over


@pytest.mark.parametrize(
    "data",
    [
        b"-4\r\nbody\r\n",
        b"+4\r\nbody\r\n",
        b"0x4\r\nbody\r\n",
        b"4_0\r\nbody\r\n",
        b"\r\nbody\r\n",
        b"four\r\n",
        b"4 4\r\nbody\r\n",
        b"4\r\nbodyX\r\n",
        b"5\r\nbody\r\n0\r\n\r\n",  # the CR taken for data
        b"4\nbody\r\n",
        b" 4\r\nbody\r\n",
        b"4\r\nbody\r\r\n",
        b"4\r\nbody\r\n0000\r\nmore of it\r\n",  # a digit lost: what follows is no trailer
        b"4\r\nbody\r\n0\r\n\x00",
        b"4\r\nbody\r\nX",
        b"4\r\nbodyX",
        b"f" * 16 + b"\r\n",
        b"1" * (MAX_LINE + 2),
        b"4;" + b"x" * MAX_LINE + b"\r\nbody",
        b"0\r\n" + b"A: b\r\n" * (MAX_TRAILERS // 6 + 1),
        b"HTTP/1.1 200 OK\r\n",
        b"4;a\rb\r\nbody\r\n",
    ],
)
def test_what_is_no_chunked_coding_is_refused(data: bytes) -> None:
    with pytest.raises(ChunkError) as failed:
        decoded(data, [])
    assert len(str(failed.value)) < 200


@given(st.binary(max_size=200), cuts)
def test_any_bytes_are_a_body_or_an_error(data: bytes, pieces: list[int]) -> None:
    try:
        out, chunks = decoded(data, pieces)
    except ChunkError:
        return
    assert len(out) <= len(data) and len(chunks.leftovers) <= len(data)
