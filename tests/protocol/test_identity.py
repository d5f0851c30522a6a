"""Validators: which count, which are strong, and what two identities say of each other."""

from __future__ import annotations

import pytest

from smartremote_cli.protocol.identity import Identity, Match, identity_of
from tests.support.headers import fields

MON = "Mon, 02 Nov 2026 08:00:00 GMT"
TUE = "Tue, 03 Nov 2026 08:00:00 GMT"


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
