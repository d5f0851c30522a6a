"""What answers promise: tables of what servers get wrong, and header soup."""

from __future__ import annotations

import math
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartremote_cli.blocks import MAX_SIZE
from smartremote_cli.headers import (
    EVERYTHING,
    MOST_SKIPPED,
    Answer,
    Asked,
    Failed,
    Headers,
    Identity,
    Match,
    NotModified,
    Partial,
    PreconditionFailed,
    Unbelievable,
    Unproven,
    Unsatisfiable,
    Whole,
    coding_of,
    identity_of,
    parse_date,
    read_answer,
    retry_after,
)
from smartremote_cli.ranges import ByteRange

MON = "Mon, 02 Nov 2026 08:00:00 GMT"
TUE = "Tue, 03 Nov 2026 08:00:00 GMT"

MIDDLE = Asked(range=ByteRange(100, 200))
HEAD = Asked(range=ByteRange(0, 100))
TAIL = Asked(suffix=100)


def fields(*lines: str) -> Headers:
    """Return the header fields that *lines* hold, each ``Name: value``."""
    pairs = (line.partition(":") for line in lines)
    return Headers([(name, value) for name, _, value in pairs])


def partial(content_range: str, *more: str, asked: Asked = MIDDLE) -> Answer:
    return read_answer(206, fields(f"Content-Range: {content_range}", *more), asked)


def whole(*lines: str, asked: Asked = MIDDLE) -> Answer:
    return read_answer(200, fields(*lines), asked)


# -- fields --


def test_names_have_no_case_and_doubles_are_kept_in_order() -> None:
    headers = Headers([("ETag", " one "), ("etag", "\ttwo"), ("X", "")])
    assert headers.all("etag") == ["one", "two"]
    assert headers.get("etag") == "one"
    assert headers.get("x") == ""
    assert headers.get("y") is None
    assert list(headers) == [("etag", "one"), ("etag", "two"), ("x", "")]


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


@pytest.mark.parametrize("early", [0, 1, MOST_SKIPPED, MOST_SKIPPED + 1])
def test_an_earlier_start_is_skipped_over_up_to_one_mib(early: int) -> None:
    start = 5 * MOST_SKIPPED
    answer = partial(f"bytes {start - early}-{start}/*", asked=Asked(range=ByteRange(start, start + 9)))
    assert isinstance(answer, Partial if early <= MOST_SKIPPED else Unbelievable)


@pytest.mark.parametrize(
    "more",
    [
        "Content-Range: bytes 100-199/1000",  # doubled, though alike
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
        "Content-Length: 100\nContent-Length: 100",
        "Content-Length: 100\nTransfer-Encoding: chunked",
        "Content-Length: 100\nTransfer-Encoding: identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\nTransfer-Encoding: chunked",
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


# -- validators --


@pytest.mark.parametrize(
    ("lines", "etag", "date"),
    [
        ('ETag: "a"', '"a"', None),
        ('ETag: W/"a"', 'W/"a"', None),
        ('ETag: ""', '""', None),
        ('ETag: "\xe9"', '"\xe9"', None),
        ("ETag: a", None, None),
        ("ETag:", None, None),
        ('ETag: "a', None, None),
        ('ETag: w/"a"', None, None),
        ('ETag: "a" "b"', None, None),
        ('ETag: "a b"', None, None),
        ('ETag: "a", "b"', None, None),
        ('ETag: "a"\nETag: "a"', None, None),
        ('ETag: "a"\nETag: "b"', None, None),
        (f"Last-Modified: {MON}", None, MON),
        (f"Last-Modified: {MON}\nLast-Modified: {TUE}", None, None),
        ("Last-Modified: yesterday", None, None),
        ("Last-Modified: 0", None, None),
        (f"Last-Modified: {MON}\xe9", None, None),
        (f'ETag: "a"\nLast-Modified: {MON}', '"a"', MON),
    ],
)
def test_malformed_and_doubled_validators_count_as_absent(
    lines: str, etag: str | None, date: str | None
) -> None:
    assert identity_of(fields(*lines.split("\n")), 7) == Identity(7, etag, date)


@pytest.mark.parametrize(
    ("modified", "date", "settled"),
    [
        (MON, TUE, True),
        (MON, "Mon, 02 Nov 2026 08:00:01 GMT", True),
        (MON, MON, False),
        (TUE, MON, False),
        (MON, "today", False),
        (MON, "", False),
    ],
)
def test_a_date_is_strong_once_it_is_a_second_old(modified: str, date: str, settled: bool) -> None:
    identity = identity_of(fields(f"Last-Modified: {modified}", f"Date: {date}"), None)
    assert identity.settled == identity.is_strong == settled


@pytest.mark.parametrize(
    ("identity", "strong", "precondition", "if_range", "condition"),
    [
        (Identity(9), False, None, None, None),
        (Identity(9, '"a"'), True, 'If-Match: "a"', 'If-Range: "a"', 'If-None-Match: "a"'),
        (Identity(9, '"a"', MON, settled=True), True, 'If-Match: "a"', 'If-Range: "a"', 'If-None-Match: "a"'),
        (Identity(9, 'W/"a"'), False, None, None, None),
        (Identity(9, None, MON), False, None, None, None),
        (
            Identity(9, None, MON, True),
            True,
            f"If-Range: {MON}",
            f"If-Range: {MON}",
            f"If-Modified-Since: {MON}",
        ),
        (
            Identity(9, 'W/"a"', MON, True),
            True,
            f"If-Range: {MON}",
            f"If-Range: {MON}",
            f"If-Modified-Since: {MON}",
        ),
        (Identity(9, '"\xe9"'), True, None, None, None),  # compared, but no client library sends it
    ],
)
def test_only_strong_validators_make_conditions(
    identity: Identity, strong: bool, precondition: str | None, if_range: str | None, condition: str | None
) -> None:
    assert identity.is_strong == strong
    made = [identity.precondition(), identity.if_range(), identity.condition()]
    assert made == [
        dict([line.split(": ", 1)]) if line else {} for line in (precondition, if_range, condition)
    ]


def known(text: str) -> Identity:
    """Return the identity that *text* spells: tag and date in a row, `-` for none."""
    tag, date = text.split()
    return Identity(
        None,
        None if tag == "-" else tag.replace("a", '"a"').replace("b", '"b"'),
        {"-": None, "mon": MON, "tue": TUE}[date],
    )


@pytest.mark.parametrize(
    ("before", "now", "match"),
    [
        ("- -", "- -", Match.SAME),
        ("a -", "a -", Match.SAME),
        ("a mon", "a mon", Match.SAME),
        ("- mon", "- mon", Match.SAME),
        ("W/a -", "W/a -", Match.SAME),
        ("a mon", "- mon", Match.SAME),
        ("a mon", "a -", Match.SAME),
        ("a mon", "W/a mon", Match.SAME),
        ("a -", "- -", Match.UNPROVEN),
        ("a -", "W/a -", Match.UNPROVEN),
        ("W/a -", "a -", Match.UNPROVEN),
        ("W/a -", "W/b -", Match.UNPROVEN),
        ("- mon", "- -", Match.UNPROVEN),
        ("a -", "- mon", Match.UNPROVEN),
        ("a -", "b -", Match.DIFFERENT),
        ("a -", "W/b -", Match.DIFFERENT),
        ("a mon", "b mon", Match.DIFFERENT),
        ("a mon", "a tue", Match.DIFFERENT),
        ("W/a mon", "W/a tue", Match.DIFFERENT),
        ("- mon", "- tue", Match.DIFFERENT),
        ("a mon", "- tue", Match.DIFFERENT),
    ],
)
def test_identities_compare_what_both_sides_give(before: str, now: str, match: Match) -> None:
    assert known(before).compare(known(now)) is match
    assert known(now).compare(known(before)) is match


def test_sizes_are_compared_elsewhere() -> None:
    assert Identity(1, '"a"').compare(Identity(2, '"a"')) is Match.SAME
    assert Identity(1, '"a"', MON, settled=True).sized(2) == Identity(2, '"a"', MON)


# -- dates and waits --


@pytest.mark.parametrize(
    "text",
    [MON, "Monday, 02-Nov-26 08:00:00 GMT", "Mon Nov  2 08:00:00 2026", "Mon, 02 Nov 2026 09:00:00 +0100"],
)
def test_every_form_of_an_http_date_is_read(text: str) -> None:
    date = parse_date(text)
    assert date is not None
    assert date.isoformat() == "2026-11-02T08:00:00+00:00"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        ("Mon, 02 Nov 2026 08:01:40 GMT", 100),
        ("Mon, 02 Nov 2026 07:00:00 GMT", 0),  # past
        ("99999999999999999999", 1e20),
        ("9" * 5000, math.inf),
        ("", None),
        ("-5", None),
        ("+5", None),
        ("1.5", None),
        ("120s", None),
        ("soon", None),
        ("١٢٠", None),
        ("²", None),
        ("Mon, 31 Feb 2026 99:99:99 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(value: str, seconds: float | None) -> None:
    now = parse_date(MON)
    assert now is not None
    assert retry_after(fields(f"Retry-After: {value}"), now.timestamp()) == seconds


def test_without_retry_after_nobody_asks_to_wait() -> None:
    assert retry_after(fields(), 0) is None


@settings(deadline=None)
@given(st.text(max_size=60) | st.text("0123456789 :-+,GMTJanuaryMonday", max_size=40))
def test_no_date_however_odd_raises(text: str) -> None:
    parse_date(text)
    wait = retry_after(Headers([("Retry-After", text)]), 0)
    assert wait is None or wait >= 0


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
