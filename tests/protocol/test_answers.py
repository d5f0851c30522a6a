"""What answers promise: tables of what servers get wrong, and header soup."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartremote_cli.core.blocks import MAX_SIZE
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.protocol.answers import (
    EVERYTHING,
    MAX_SKIPPED,
    Answer,
    Asked,
    Failed,
    NotModified,
    Partial,
    PreconditionFailed,
    Unbelievable,
    Unproven,
    Unsatisfiable,
    Whole,
    read_answer,
)
from smartremote_cli.protocol.headers import Headers, coding_of
from smartremote_cli.protocol.identity import Identity
from tests.support.headers import fields

MON = "Mon, 02 Nov 2026 08:00:00 GMT"
TUE = "Tue, 03 Nov 2026 08:00:00 GMT"

MIDDLE = Asked(range=ByteRange(100, 200))
HEAD = Asked(range=ByteRange(0, 100))
TAIL = Asked(suffix=100)


def partial(content_range: str, *more: str, asked: Asked = MIDDLE) -> Answer:
    return read_answer(206, fields(f"Content-Range: {content_range}", *more), asked)


def whole(*lines: str, asked: Asked = MIDDLE) -> Answer:
    return read_answer(200, fields(*lines), asked)


# -- 206 --


@pytest.mark.parametrize(
    ("content_range", "body", "total"),
    [
        ("bytes 100-199/1000", ByteRange(100, 200), 1000),
        ("Bytes 100-199/1000", ByteRange(100, 200), 1000),
        ("bytes 100-199/200", ByteRange(100, 200), 200),
        ("bytes 100-199/*", ByteRange(100, 200), None),
        ("bytes 100-100/1000", ByteRange(100, 101), 1000),  # shorter
        ("bytes 100-999/1000", ByteRange(100, 1000), 1000),  # longer
        ("bytes 0-199/1000", ByteRange(0, 200), 1000),  # earlier
        ("bytes 0-100/1000", ByteRange(0, 101), 1000),  # earlier, with a single byte of use
        ("bytes 00100-0199/01000", ByteRange(100, 200), 1000),
        (f"bytes 100-{MAX_SIZE - 1}/{MAX_SIZE}", ByteRange(100, MAX_SIZE), MAX_SIZE),
    ],
)
def test_a_well_formed_206_is_believed(content_range: str, body: ByteRange, total: int | None) -> None:
    assert partial(content_range) == Partial(body, Identity(total))
    assert partial(content_range, f"Content-Length: {len(body)}") == Partial(body, Identity(total))
    assert partial(content_range, "Transfer-Encoding: chunked") == Partial(body, Identity(total))


@pytest.mark.parametrize(
    "content_range",
    """
    |bytes|bytes 100-199|bytes 100-199/|bytes 100/1000|bytes -199/1000|bytes 100-/1000|bytes */1000|bytes */*
    bytes=100-199/1000|100-199/1000|items 100-199/1000|bytes100-199/1000|bytes  100-199/1000|bytes 100 -199/1000
    bytes 100-199 /1000|bytes 100-199/1000;|bytes 100-199/1000, bytes 100-199/1000|bytes +100-199/1000
    bytes 100--199/1000|bytes 0x64-199/1000|bytes 1e2-199/1000|bytes 100.0-199/1000|bytes 100-199/1_000
    bytes 199-100/1000|bytes 100-199/199|bytes 100-199/0|bytes 100-1000/1000|bytes 100-199/-1|bytes 100-199/1000 x
    bytes 101-199/1000|bytes 0-99/1000|bytes 200-299/1000|bytes 0-0/1000|bytes 900-999/1000
    bytes 100-199/9999999999999999999|bytes 100-199/18446744073709551716|bytes 100-18446744073709551615/*
    bytes \u0661\u0660\u0660-\u0661\u0669\u0669/\u0661\u0660\u0660\u0660|bytes 100-199/1000\xa0|bytes\xa0100-199/1000
    """.strip("\n ")
    .replace("\n    ", "|")
    .split("|"),
)
def test_a_content_range_that_is_malformed_absurd_or_elsewhere_is_not_believed(content_range: str) -> None:
    assert isinstance(partial(content_range), Unbelievable)
    assert isinstance(partial(content_range, "Content-Length: 100"), Unbelievable)


def test_the_last_byte_of_the_largest_resource_is_the_last_that_is_believed() -> None:
    assert isinstance(partial(f"bytes 100-{MAX_SIZE - 1}/*"), Partial)
    assert isinstance(partial(f"bytes 100-{MAX_SIZE}/*"), Unbelievable)


@pytest.mark.parametrize("early", [0, 1, MAX_SKIPPED, MAX_SKIPPED + 1])
def test_an_earlier_start_is_skipped_over_up_to_one_mib(early: int) -> None:
    start = 5 * MAX_SKIPPED
    answer = partial(f"bytes {start - early}-{start}/*", asked=Asked(range=ByteRange(start, start + 9)))
    assert isinstance(answer, Partial if early <= MAX_SKIPPED else Unbelievable)


@pytest.mark.parametrize(
    "more",
    [
        "Content-Range: bytes 0-99/1000",
        "Content-Range:",
        "Content-Length: 99",
        "Content-Length: 101",
        "Content-Length: 0",
        "Content-Length: -100",
        "Content-Length: +100",
        "Content-Length: 100, 100",
        "Content-Length: 1e2",
        "Content-Length: 0x64",
        "Content-Length:",
        "Content-Length: \u0661\u0660\u0660",
        f"Content-Length: {'9' * 5000}",
        "Content-Length: 100\nContent-Length: 101",
        "Content-Length: 100\nTransfer-Encoding: chunked",
        "Content-Length: 100\nTransfer-Encoding: identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\nTransfer-Encoding: gzip",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding:",
        "Content-Type: multipart/byteranges; boundary=x",
        "Content-Type: MultiPart/ByteRanges;boundary=x",
        "Content-Type: text/plain\nContent-Type: multipart/byteranges; boundary=x",
    ],
)
def test_a_206_that_contradicts_itself_is_not_believed(more: str) -> None:
    assert isinstance(partial("bytes 100-199/1000", *more.split("\n")), Unbelievable)


@pytest.mark.parametrize(
    "more",
    [
        "Content-Range: bytes 100-199/1000",
        "Content-Length: 100\nContent-Length: 100",
        "Transfer-Encoding: chunked\nTransfer-Encoding: Chunked",
        "Transfer-Encoding: identity, chunked",
    ],
)
def test_what_a_proxy_repeats_counts_once(more: str) -> None:
    assert partial("bytes 100-199/1000", *more.split("\n")) == Partial(ByteRange(100, 200), Identity(1000))


@pytest.mark.parametrize(
    ("content_range", "size"),
    [("bytes 100-199/1000", 1000), ("bytes 100-199/*", None), ("bytes 99-199/1000", None)],
)
def test_a_206_that_only_its_length_speaks_against_names_the_size(
    content_range: str, size: int | None
) -> None:
    answer = partial(content_range, "Content-Length: 1000")
    assert isinstance(answer, Unbelievable)
    assert answer.size == size


def test_a_206_without_content_range_or_without_having_been_asked_for_is_not_believed() -> None:
    assert isinstance(read_answer(206, fields("Content-Length: 100"), MIDDLE), Unbelievable)
    assert isinstance(partial("bytes 0-99/100", asked=EVERYTHING), Unbelievable)


@pytest.mark.parametrize(
    "coding", ["gzip", "br", "identity, gzip", "X-Unheard-Of", "identity\nContent-Encoding: gzip"]
)
def test_a_range_of_coded_bytes_is_no_range_of_the_resource(coding: str) -> None:
    more = f"Content-Encoding: {coding}".split("\n")
    assert isinstance(partial("bytes 100-199/1000", *more), Unproven)


@pytest.mark.parametrize("coding", ["identity", "Identity", "", " , identity,"])
def test_identity_is_no_coding(coding: str) -> None:
    assert coding_of(fields(f"Content-Encoding: {coding}")) is None
    assert isinstance(partial("bytes 100-199/1000", f"Content-Encoding: {coding}"), Partial)


@pytest.mark.parametrize("content_range", ["bytes 900-999/1000", "bytes 0-99/1000", "bytes 0-49/50"])
def test_the_answer_to_a_suffix_says_where_it_lies(content_range: str) -> None:
    """Some servers send the head; the reader sees that, for the body's place is known."""
    answer = partial(content_range, asked=TAIL)
    assert isinstance(answer, Partial)
    assert f"bytes {answer.body.start}-{answer.body.stop - 1}/{answer.identity.size}" == content_range


# -- 200 --


@pytest.mark.parametrize("asked", [EVERYTHING, HEAD, MIDDLE, TAIL])
@pytest.mark.parametrize(
    ("lines", "size", "framed"),
    [
        (["Content-Length: 1000"], 1000, True),
        (["Content-Length: 99"], 99, True),  # shorter than the range: a small resource
        (["Content-Length: 0"], 0, True),
        (["Transfer-Encoding: Chunked"], None, True),
        ([], None, False),
        ([f"Content-Length: {MAX_SIZE}"], MAX_SIZE, True),
    ],
)
def test_a_200_is_the_whole_resource(asked: Asked, lines: list[str], size: int | None, framed: bool) -> None:
    assert whole(*lines, asked=asked) == Whole(Identity(size), None, framed)


@pytest.mark.parametrize("asked", [HEAD, MIDDLE, TAIL])
@pytest.mark.parametrize(
    "lines",
    [
        "Content-Length: 100",
        "Content-Length: 1000\nContent-Range: bytes 0-999/1000",
        "Content-Length: 1000\nContent-Range: bytes 100-199/1000",
        "Content-Range: nonsense",
        "Content-Length: 1000\nContent-Type: multipart/byteranges; boundary=x",
    ],
)
def test_a_200_that_may_be_a_range_after_all_proves_nothing(asked: Asked, lines: str) -> None:
    assert isinstance(whole(*lines.split("\n"), asked=asked), Unproven)


def test_a_200_of_any_length_is_whole_where_everything_was_asked_for() -> None:
    assert whole("Content-Length: 100", asked=EVERYTHING) == Whole(Identity(100), None, True)
    assert isinstance(whole("Content-Range: bytes 0-99/100", asked=EVERYTHING), Unbelievable)


@pytest.mark.parametrize(
    "lines",
    [
        f"Content-Length: {MAX_SIZE + 1}",
        f"Content-Length: {2**64}",
        f"Content-Length: {'9' * 5000}",
        "Content-Length: -1",
        "Content-Length: 5\nContent-Length: 6",
        "Content-Length: 1000\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip",
    ],
)
def test_absurd_and_contradictory_lengths_are_refused(lines: str) -> None:
    for asked in (EVERYTHING, MIDDLE):
        assert isinstance(whole(*lines.split("\n"), asked=asked), Unbelievable)


def test_a_coded_200_says_how_it_is_coded_also_where_it_is_as_long_as_the_range() -> None:
    assert whole("Content-Length: 100", "Content-Encoding: GZip, br") == Whole(
        Identity(100), "gzip, br", True
    )


# -- other statuses --


@pytest.mark.parametrize(
    ("status", "lines", "answer"),
    [
        (416, "Content-Range: bytes */1000", Unsatisfiable(1000)),
        (416, "Content-Range: bytes */0", Unsatisfiable(0)),
        (416, "Content-Length: 77", Unsatisfiable(None)),
        (416, "Content-Range: bytes */*", Unsatisfiable(None)),
        (416, "Content-Range: bytes 0-9/10", Unsatisfiable(None)),
        (416, "Content-Range: bytes */10\nContent-Range: bytes */20", Unsatisfiable(None)),
        (416, f"Content-Range: bytes */{MAX_SIZE}", Unsatisfiable(MAX_SIZE)),
        (416, f"Content-Range: bytes */{MAX_SIZE + 1}", Unsatisfiable(None)),
        (412, "", PreconditionFailed()),
        (403, "", Failed(403)),
        (429, "", Failed(429)),
        (503, "Content-Range: bytes 100-199/1000", Failed(503)),
        (599, "", Failed(599)),
        (999, "", Failed(999)),
    ],
)
def test_other_statuses(status: int, lines: str, answer: Answer) -> None:
    read = read_answer(status, fields(*lines.split("\n")), MIDDLE)
    assert (type(read), read) == (type(answer), answer)


@pytest.mark.parametrize("status", [201, 202, 204, 205, 207, 226, 299, 300, 304, 305, 399])
def test_a_status_that_no_get_of_a_range_deserves_is_not_believed(status: int) -> None:
    for asked in (EVERYTHING, MIDDLE, TAIL):
        answer = read_answer(status, fields("Content-Length: 0", 'ETag: "a"'), asked)
        assert isinstance(answer, Unbelievable)
        assert str(status) in answer.why


def test_a_304_answers_a_condition_only() -> None:
    headers = fields('ETag: "a"', "Content-Length: 1000")
    assert read_answer(304, headers, Asked(conditional=True)) == NotModified(Identity(None, '"a"'))
    assert isinstance(read_answer(304, headers, MIDDLE), Unbelievable)


# -- soup --

numbers = st.sampled_from(
    ["0", "99", "100", "199", "200", "1000", str(MAX_SIZE), str(2**64), "*", "", "-1", "x"]
)
content_ranges = st.builds("bytes {}-{}/{}".format, numbers, numbers, numbers)
values = {
    "Content-Range": content_ranges | st.builds("bytes */{}".format, numbers),
    "Content-Length": numbers,
    "Transfer-Encoding": st.sampled_from(["chunked", "gzip, chunked", "identity"]),
    "Content-Encoding": st.sampled_from(["gzip", "identity", "br"]),
    "Content-Type": st.sampled_from(["text/plain", "multipart/byteranges; boundary=b"]),
    "ETag": st.sampled_from(['"a"', 'W/"a"', "a"]),
    "Last-Modified": st.sampled_from([MON, "never"]),
    "Date": st.sampled_from([TUE, "now"]),
}
soup = st.lists(
    st.sampled_from(sorted(values)).flatmap(
        lambda name: st.tuples(st.just(name), values[name] | st.text(max_size=12))
    ),
    max_size=5,
)
fair = [("Content-Range", "bytes 100-199/1000"), ("Content-Length", "100")]
requests = st.builds(
    Asked,
    range=st.none() | st.sampled_from([ByteRange(0, 100), ByteRange(100, 200), ByteRange(150, 2**21)]),
    suffix=st.none() | st.just(100),
    conditional=st.booleans(),
)


@settings(deadline=None)
@given(
    st.sampled_from([200, 206, 304, 412, 416, 204, 503]) | st.integers(-1, 1000),
    st.sampled_from([[], fair]),
    soup,
    requests,
)
def test_whatever_a_server_says_nothing_raises_and_only_what_was_asked_for_is_believed(
    status: int, base: list[tuple[str, str]], more: list[tuple[str, str]], asked: Asked
) -> None:
    headers = Headers(base + more)
    answer = read_answer(status, headers, asked)
    assert isinstance(answer, get_args(Answer))
    if isinstance(answer, Partial):
        assert status == 206 and asked.header is not None
        assert len(headers.all("content-range")) == 1 and coding_of(headers) is None
        assert [int(text) for text in headers.all("content-length")] in ([], [len(answer.body)])
        assert answer.identity.size is None or answer.body.stop <= answer.identity.size <= MAX_SIZE
        if asked.range is not None:
            assert answer.body.start <= asked.range.start < answer.body.stop
    if isinstance(answer, Whole):
        lengths = [int(text) for text in headers.all("content-length")]
        if headers.all("content-range"):
            assert asked.header is None and headers.all("content-range") in (
                [f"bytes 0-{lengths[0] - 1}/{lengths[0]}"],
                [f"bytes */{lengths[0]}"],
            )
        assert status in (200, 203) or (status == 206 and headers.all("content-range"))
        assert not (lengths and headers.all("transfer-encoding"))
        assert lengths == ([] if answer.identity.size is None else [answer.identity.size])
    if isinstance(answer, NotModified):
        assert asked.conditional
