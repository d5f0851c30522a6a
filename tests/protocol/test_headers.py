"""Header fields, dates and waits as servers write them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartremote_cli.protocol.headers import Headers, coding_of, is_chunked, only, parse_date, retry_after
from tests.support.headers import fields

MON = "Mon, 02 Nov 2026 08:00:00 GMT"


def test_names_have_no_case_and_doubles_are_kept_in_order() -> None:
    headers = Headers([("ETag", " one "), ("etag", "\ttwo"), ("X", "")])
    assert headers.all("etag") == ["one", "two"]
    assert headers.get("etag") == "one"
    assert headers.get("x") == ""
    assert headers.get("y") is None
    assert list(headers) == [("etag", "one"), ("etag", "two"), ("x", "")]


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


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        ("Retry-After: Mon, 02 Nov 2026 08:00:10 GMT\nDate: Mon, 02 Nov 2026 08:00:08 GMT", 2),
        ("Retry-After: Mon, 02 Nov 2026 07:00:10 GMT\nDate: Mon, 02 Nov 2026 07:00:08 GMT", 2),
        ("Retry-After: Mon, 02 Nov 2026 08:00:10 GMT\nDate: now", 10),
        ("Retry-After: 5\nDate: Mon, 02 Nov 2026 07:00:08 GMT", 5),
    ],
)
def test_a_date_to_retry_after_is_held_against_the_servers_own_clock(lines: str, seconds: float) -> None:
    now = parse_date(MON)
    assert now is not None
    assert retry_after(fields(*lines.split("\n")), now.timestamp()) == seconds


@pytest.mark.parametrize(
    ("value", "coding"),
    [
        *(
            (word, None)
            for word in ("", "identity", "none", "None", "binary", "utf-8", "UTF8", "aws-chunked")
        ),
        *(
            (word, None)
            for word in ("us-ascii", "ISO-8859-1", "8bit", "application/zip", "identity, none", '""')
        ),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("X-GZIP", "gzip"),
        ("aws-chunked, gzip", "gzip"),
        ("gzip, br", "gzip, br"),
        ("zstd", "zstd"),
    ],
)
def test_words_that_name_no_coding_are_none(value: str, coding: str | None) -> None:
    assert coding_of(fields(f"Content-Encoding: {value}")) == coding


def test_what_is_repeated_counts_once_and_what_differs_not_at_all() -> None:
    assert only(fields("A: x", "A: x"), "a") == "x"
    assert only(fields("A: x", "A: y"), "a") is None
    assert only(fields(), "a") is None


@pytest.mark.parametrize(
    ("lines", "chunked"),
    [
        ("Transfer-Encoding: chunked", True),
        ("Transfer-Encoding: Chunked\nTransfer-Encoding: chunked", True),
        ("Transfer-Encoding: identity, chunked", True),
        ("Transfer-Encoding: chunked\nTransfer-Encoding:", True),
        ("Transfer-Encoding: gzip, chunked", False),
        ("Transfer-Encoding: identity", False),
        ("Transfer-Encoding:", False),
        ("X: y", False),
    ],
)
def test_chunked_is_the_only_transfer_coding(lines: str, chunked: bool) -> None:
    assert is_chunked(fields(*lines.split("\n"))) == chunked


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(9999, 12, 31)).map(lambda time: time.replace(microsecond=0))
)
def test_the_usual_form_of_a_date_means_what_the_mail_library_says(time: datetime) -> None:
    text = format_datetime(time.replace(tzinfo=UTC), usegmt=True)
    assert parse_date(text) == parsedate_to_datetime(text) == time.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    ["Sun, 31 Feb 2025 00:00:00 GMT", "Sun, 01 Jan 2025 24:00:00 GMT", "Sun, 00 Jan 2025 00:00:00 GMT"],
)
def test_a_day_or_an_hour_that_there_is_not_names_no_time(value: str) -> None:
    assert parse_date(value) is None
