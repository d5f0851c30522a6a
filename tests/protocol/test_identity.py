"""Validators: which count, which are strong, and what two identities say of each other."""

from __future__ import annotations

import pytest

from smartremote_cli.protocol.identity import Identity, Match, changed, identity_of
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
        ('ETag: "a"\nETag: "a"', '"a"', None),
        ('ETag: "a"\nETag: "b"', None, None),
        (f"Last-Modified: {MON}", None, MON),
        (f"Last-Modified: {MON}\nLast-Modified: {TUE}", None, None),
        ("Last-Modified: yesterday", None, None),
        ("Last-Modified: 0", None, None),
        (f"Last-Modified: {MON}\xe9", None, None),
        (f'ETag: "a"\nLast-Modified: {MON}', '"a"', MON),
    ],
)
def test_malformed_and_contradictory_validators_count_as_absent(
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


def seen(*lines: str, whole: bool = False) -> Identity:
    return identity_of(fields(*lines), 7, whole=whole)


@pytest.mark.parametrize(
    ("before", "now", "match"),
    [
        ("ETag: a", "ETag: a", Match.SAME),
        ("ETag: a", "ETag: b", Match.DIFFERENT),
        ('ETag: "a"', "ETag: b", Match.DIFFERENT),
        ('ETag: "a"', "ETag: a", Match.UNPROVEN),  # a proxy that drops the quotes
        ("ETag: a", "X: y", Match.SAME),
        ('ETag: w/"a"', 'ETag: w/"b"', Match.DIFFERENT),
        ('ETag: "a"\nETag: "b"', 'ETag: "a"\nETag: "c"', Match.DIFFERENT),
        ("Last-Modified: yesterday", "Last-Modified: today", Match.DIFFERENT),
        ("Last-Modified: yesterday", f"Last-Modified: {MON}", Match.DIFFERENT),
        ("Last-Modified: yesterday", "Last-Modified: yesterday", Match.SAME),
        (f'ETag: W/"a"\nLast-Modified: {MON}', f'ETag: W/"b"\nLast-Modified: {MON}', Match.UNPROVEN),
        ("x-goog-generation: 1", "x-goog-generation: 2", Match.DIFFERENT),
        ("x-goog-metageneration: 1", "x-goog-metageneration: 2", Match.SAME),
        ('ETag: "a"\nx-goog-generation: 1', 'ETag: "a"\nx-goog-generation: 2', Match.DIFFERENT),
        ("x-amz-version-id: A", "x-amz-version-id: B", Match.DIFFERENT),
        ("x-ms-version-id: A", "x-ms-version-id: B", Match.DIFFERENT),
        ("x-ms-blob-content-md5: A==", "x-ms-blob-content-md5: B==", Match.DIFFERENT),
        ("x-ms-version: A", "x-ms-version: B", Match.SAME),  # of the protocol
        ("x-oss-hash-crc64ecma: 1", "x-oss-hash-crc64ecma: 2", Match.DIFFERENT),
        ("x-goog-hash: crc32c=A==, md5=B==", "x-goog-hash: md5=B==\nx-goog-hash: crc32c=A==", Match.SAME),
        ("x-goog-hash: crc32c=A==, md5=B==", "x-goog-hash: md5=C==", Match.DIFFERENT),
        ("Repr-Digest: sha-256=:A=:", "Repr-Digest: sha-512=:B=:", Match.SAME),
        ("Repr-Digest: sha-256=:A=:", "Repr-Digest: sha-256=:B=:", Match.DIFFERENT),
        ("Content-MD5: A==", "Content-MD5: B==", Match.SAME),  # of a range each
        ("Content-Digest: sha-256=:A=:", "Content-Digest: sha-256=:B=:", Match.SAME),
        ("X-Request-Id: 1", "X-Request-Id: 2", Match.SAME),
        ('ETag: "a"\nContent-Encoding: gzip', 'ETag: "a"\nContent-Encoding: x-gzip', Match.SAME),
        ('ETag: "a"\nContent-Encoding: gzip', 'ETag: "a"', Match.UNPROVEN),
        ('ETag: "a"\nContent-Encoding: gzip', 'ETag: "a"\nContent-Encoding: br', Match.DIFFERENT),
        ('ETag: "a"\nContent-Encoding: none', 'ETag: "a"', Match.SAME),
    ],
)
def test_any_text_that_differs_proves_another_version(before: str, now: str, match: Match) -> None:
    one, other = seen(*before.split("\n")), seen(*now.split("\n"))
    assert one.compare(other) is match
    assert other.compare(one) is match


@pytest.mark.parametrize("name", ["Content-MD5", "Content-Digest"])
def test_a_hash_of_the_body_tells_whole_answers_apart(name: str) -> None:
    one, other = seen(f"{name}: md5=:A==:", whole=True), seen(f"{name}: md5=:B==:", whole=True)
    assert one.compare(other) is Match.DIFFERENT and "md5" in changed(one, other)
    assert one.compare(seen(f"{name}: md5=:B==:")) is Match.SAME


def test_evidence_is_never_sent() -> None:
    identity = seen("ETag: a", "Last-Modified: yesterday", "x-goog-generation: 1")
    assert identity.evidence and not identity.has_validator and not identity.is_strong
    assert not (identity.precondition() or identity.if_range() or identity.condition())


@pytest.mark.parametrize(
    ("date", "proof"),
    [
        ("Mon, 02 Nov 2026 08:00:00 GMT", False),
        ("Mon, 02 Nov 2026 08:00:02 GMT", False),
        ("Mon, 02 Nov 2026 08:00:03 GMT", True),
        ("Mon, 02 Nov 2026 07:59:00 GMT", False),  # changed in the future
        ("today", True),
    ],
)
def test_validators_of_what_has_just_changed_are_no_proof_later(date: str, proof: bool) -> None:
    identity = seen('ETag: "a"', f"Last-Modified: {MON}", f"Date: {date}")
    assert identity.is_strong and identity.is_proof == proof


def test_sizes_are_compared_elsewhere() -> None:
    assert Identity(1, '"a"').compare(Identity(2, '"a"')) is Match.SAME
    assert Identity(1, '"a"', MON, settled=True).sized(2) == Identity(2, '"a"', MON)
