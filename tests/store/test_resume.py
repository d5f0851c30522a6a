"""The table of what an earlier run may have left, and what becomes of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.errors import ForeignFileError, RemoteChangedError
from smartremote_cli.protocol.identity import Identity, Match, changed
from smartremote_cli.store.part import Record
from smartremote_cli.store.resume import OnDisk, Start, decide

MON = "Mon, 02 Nov 2026 08:00:00 GMT"
TUE = "Tue, 03 Nov 2026 08:00:00 GMT"

SIZE = 300_000
REMOTE = Identity(SIZE, '"a"', MON)
SOME = BitMap([0, 2])

WHOLE = OnDisk(SIZE, marked=False)
SHORT = OnDisk(SIZE - 1, marked=False)
LONG = OnDisk(SIZE + 1, marked=False)
MARKED = OnDisk(SIZE, marked=True)


@pytest.mark.parametrize(
    ("on_disk", "record", "start"),
    [
        (None, None, Start.FRESH),
        (WHOLE, None, Start.COMPARE),
        (MARKED, None, Start.COMPARE),  # Go's SmartRemote finished it
        (SHORT, None, Start.COMPARE_PREFIX),
        (OnDisk(BLOCK, marked=True), None, Start.COMPARE_PREFIX),
        (MARKED, Record(SOME, REMOTE), Start.RESUME),
        (WHOLE, Record(SOME, REMOTE), Start.RESUME),  # a file system without marks
        (SHORT, Record(SOME, REMOTE), Start.RESUME),  # the map loses what does not fit, the run goes on
        (OnDisk(SIZE * 2, marked=True), Record(SOME, REMOTE), Start.RESUME),
        (None, Record(SOME, REMOTE), Start.RESUME),
        (MARKED, Record(BitMap()), Start.RESUME),  # just created: there is nothing to mistrust
        (MARKED, Record(BitMap(), Identity(7, '"z"')), Start.RESUME),
        (MARKED, Record(SOME), Start.SAMPLE),  # written by Go's SmartRemote
        (None, Record(SOME), Start.SAMPLE),
    ],
)
@pytest.mark.parametrize("other_url", [False, True])
def test_what_is_here_decides_how_to_start(
    on_disk: OnDisk | None, record: Record | None, start: Start, other_url: bool
) -> None:
    if other_url and start is Start.RESUME and record is not None and record.bits:
        start = Start.SAMPLE
    assert decide("f", on_disk, record, REMOTE, other_url=other_url) is start


@pytest.mark.parametrize(
    ("on_disk", "remote", "why"),
    [
        (LONG, REMOTE, "a file of 300001 bytes exists, where the resource has 300000 bytes"),
        (OnDisk(0, marked=False), REMOTE, "a file of 0 bytes exists"),
        (WHOLE, Identity(None), "an unknown number of bytes"),
        (OnDisk(7, marked=True), REMOTE, "a file of 7 bytes exists"),
    ],
)
def test_a_file_without_a_record_is_foreign_unless_it_may_be_complete(
    on_disk: OnDisk, remote: Identity, why: str
) -> None:
    with pytest.raises(ForeignFileError, match=why) as caught:
        decide("f", on_disk, None, remote)
    assert caught.value.exit_code == 5
    assert caught.value.what == "f"


def test_an_empty_file_may_be_all_of_an_empty_resource() -> None:
    assert decide("f", OnDisk(0, marked=False), None, Identity(0)) is Start.COMPARE


@pytest.mark.parametrize(
    ("known", "now", "start"),
    [
        (Identity(SIZE, '"a"', MON), Identity(SIZE, '"a"', MON), Start.RESUME),
        (Identity(SIZE, '"a"'), Identity(SIZE, '"a"', MON), Start.RESUME),
        (Identity(SIZE, '"a"', MON), Identity(SIZE, '"a"'), Start.RESUME),
        (Identity(SIZE, None, MON), Identity(SIZE, None, MON), Start.RESUME),
        (Identity(SIZE, None, MON), Identity(SIZE, '"a"', MON), Start.RESUME),
        (Identity(SIZE, 'W/"a"', MON), Identity(SIZE, 'W/"a"', MON), Start.RESUME),
        (Identity(SIZE, '"a"'), Identity(None, '"a"'), Start.RESUME),
        (Identity(None, '"a"'), Identity(SIZE, '"a"'), Start.RESUME),
        # Validators of what had just changed: the next change may have shown the same.
        (Identity(SIZE, '"a"', MON, racy=True), Identity(SIZE, '"a"', MON), Start.SAMPLE),
        # Missing now, or weaker, or never given: held blocks are compared.
        (Identity(SIZE, '"a"', MON), Identity(SIZE, None, MON), Start.SAMPLE),
        (Identity(SIZE, '"a"', MON), Identity(SIZE, 'W/"a"', MON), Start.SAMPLE),
        (Identity(SIZE, 'W/"a"', MON), Identity(SIZE, 'W/"b"', MON), Start.SAMPLE),
        (Identity(SIZE, 'W/"a"', MON), Identity(SIZE, 'W/"a"'), Start.SAMPLE),
        (Identity(SIZE, '"a"'), Identity(SIZE, 'W/"a"'), Start.SAMPLE),
        (Identity(SIZE, '"a"'), Identity(SIZE), Start.SAMPLE),
        (Identity(SIZE, '"a"'), Identity(SIZE, None, MON), Start.SAMPLE),
        (Identity(SIZE), Identity(SIZE, '"a"'), Start.SAMPLE),
        (Identity(SIZE), Identity(SIZE), Start.SAMPLE),
        (Identity(None), Identity(None), Start.SAMPLE),
    ],
)
def test_equal_validators_are_proof_and_missing_ones_call_for_samples(
    known: Identity, now: Identity, start: Start
) -> None:
    assert decide("f", MARKED, Record(SOME, known), now) is start
    assert decide("f", MARKED, Record(SOME, known), now, other_url=True) is Start.SAMPLE


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (Identity(SIZE, '"b"', MON), 'ETag "a" before, "b" now'),
        (Identity(SIZE, 'W/"b"', MON), 'ETag "a" before, W/"b" now'),
        (Identity(SIZE, '"a"', TUE), f"Last-Modified {MON} before, {TUE} now"),
        (Identity(SIZE, 'W/"a"', TUE), f"Last-Modified {MON} before, {TUE} now"),
        (Identity(SIZE, None, TUE), f"Last-Modified {MON} before, {TUE} now"),
    ],
)
def test_a_differing_validator_is_another_resource_unless_the_url_is_another_one(
    now: Identity, why: str
) -> None:
    record = Record(SOME, REMOTE)
    with pytest.raises(RemoteChangedError) as caught:
        decide("f", MARKED, record, now)
    assert caught.value.exit_code == 5
    assert why in str(caught.value)
    assert decide("f", MARKED, record, now, other_url=True) is Start.SAMPLE


@pytest.mark.parametrize("size", [0, SIZE - 1, SIZE + 1])
@pytest.mark.parametrize("other_url", [False, True])
def test_another_size_is_another_resource_under_any_url(size: int, other_url: bool) -> None:
    with pytest.raises(RemoteChangedError, match=f"{size} bytes, where it had {SIZE}"):
        decide("f", MARKED, Record(SOME, REMOTE), REMOTE.sized(size), other_url=other_url)


identities = st.builds(
    Identity,
    st.sampled_from([None, 1, SIZE]),
    st.sampled_from([None, '"a"', 'W/"a"', '"b"']),
    st.sampled_from([None, MON, TUE]),
)


@settings(deadline=None)
@given(
    st.none() | st.builds(OnDisk, st.sampled_from([0, 1, SIZE]), st.booleans()),
    st.none() | st.builds(Record, st.sampled_from([BitMap(), SOME]), st.none() | identities),
    identities,
    st.booleans(),
)
def test_whatever_is_here_there_is_an_answer_and_held_blocks_are_never_taken_on_differing_facts(
    on_disk: OnDisk | None, record: Record | None, remote: Identity, other_url: bool
) -> None:
    try:
        start = decide("f", on_disk, record, remote, other_url=other_url)
    except (ForeignFileError, RemoteChangedError):
        return
    assert (start is Start.FRESH) == (on_disk is None and record is None)
    assert (start is Start.COMPARE) == (on_disk is not None and record is None)
    if start is Start.RESUME and record is not None and record.bits:
        assert record.identity is not None
        assert record.identity.has_validator and not other_url
        assert record.identity.compare(remote) is Match.SAME


def test_what_changed_is_named_with_both_sides() -> None:
    assert changed(Identity(1, '"a"'), Identity(2, '"b"')).endswith("1 bytes before, 2 now")
    assert changed(Identity(1, '"a"', MON), Identity(1, None, MON)).endswith('ETag "a" before, None now')
    assert changed(Identity(1, None, MON), Identity(1)).endswith(f"Last-Modified {MON} before, None now")
