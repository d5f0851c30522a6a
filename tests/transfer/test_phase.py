"""The phases of a transfer as values: which may follow which, and what interrupts what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from smartremote_cli.errors import IncompleteError
from smartremote_cli.transfer.phase import (
    TRANSITIONS,
    Draining,
    Failed,
    Mode,
    Phase,
    Probing,
    Ranges,
    SingleStream,
    Stopped,
    drained,
    draining_of,
    interrupted,
    may_follow,
    mode_of,
    with_mode,
)
from smartremote_cli.transfer.provenance import Provenance, Remedy, remedy

ERROR = IncompleteError("x", "broke")
MODES: list[Mode] = [Probing(), Probing(whole=True), Ranges(), SingleStream(), SingleStream(resumes=False)]
STREAM = SingleStream()

modes = st.sampled_from(MODES)
drainings = st.builds(Draining, modes, modes, st.booleans())
phases = st.one_of(
    modes,
    drainings,
    st.builds(Stopped, st.one_of(modes, drainings)),
    st.builds(Failed, st.just(ERROR), st.one_of(modes, drainings)),
)


def test_every_phase_has_its_row_in_the_table() -> None:
    assert set(TRANSITIONS) == {Probing, Ranges, SingleStream, Draining, Stopped, Failed}
    assert set().union(*TRANSITIONS.values()) <= set(TRANSITIONS)


@pytest.mark.parametrize(
    ("now", "then"),
    [
        (Stopped(Ranges()), Ranges()),
        (Failed(ERROR, Ranges()), Stopped(Ranges())),
        (SingleStream(), Ranges()),  # a stream that ends never comes back to ranges by itself
        (Ranges(), Probing()),
        (Probing(), Draining(Probing(), STREAM)),  # there is one worker, and nothing to drop
    ],
)
def test_what_has_no_way_back(now: Phase, then: Phase) -> None:
    assert not may_follow(now, then)


@given(phases, modes)
def test_the_mode_changes_inside_whatever_interrupts_it(phase: Phase, mode: Mode) -> None:
    changed = with_mode(phase, mode)
    assert mode_of(changed) == mode
    assert type(changed) is type(phase) or phase == mode_of(phase)
    before, after = draining_of(phase), draining_of(changed)
    assert (before is None) == (after is None)
    if before is not None and after is not None:
        assert (after.then, after.forgets) == (before.then, before.forgets)


@given(phases, modes)
def test_a_transfer_that_is_over_stays_over_while_it_drains(phase: Phase, then: Mode) -> None:
    draining = interrupted(phase, Draining(mode_of(phase), then))
    assert isinstance(draining, Stopped | Failed) == isinstance(phase, Stopped | Failed)
    assert mode_of(drained(draining)) == then
    assert draining_of(drained(draining)) is None


def held(*blocks: int, **flags: bool) -> Provenance:
    return Provenance(BitMap(blocks), **flags)


@pytest.mark.parametrize(
    ("phase", "provenance", "strict", "in_bytes", "restarts", "what"),
    [
        # A fresh download starts over, once.
        (Ranges(), held(), False, False, 0, Remedy.START_OVER),
        (Ranges(), held(), False, True, 0, Remedy.START_OVER),
        (Ranges(), held(), False, True, 1, Remedy.GIVE_UP),
        # A stream is read from byte 0 before that.
        (SingleStream(), held(), False, True, 0, Remedy.READ_FROM_START),
        (SingleStream(resumes=False), held(), False, True, 0, Remedy.START_OVER),
        (SingleStream(resumes=False), held(), False, True, 1, Remedy.GIVE_UP),
        # Bytes that a reader has seen, or that an earlier download left, must not change.
        (Ranges(), held(exposed=True), True, True, 0, Remedy.GIVE_UP),
        (Ranges(), held(1, resumed=True), True, False, 0, Remedy.GIVE_UP),
        (SingleStream(), held(exposed=True), True, True, 0, Remedy.GIVE_UP),
        # What only the cache held is dropped, and only where its bytes are wrong.
        (Ranges(), held(1), False, True, 0, Remedy.FETCH_ANEW),
        (Ranges(), held(1), False, True, 1, Remedy.FETCH_ANEW),
        (Ranges(), held(1), False, False, 0, Remedy.START_OVER),
        (Ranges(), held(1, exposed=True), True, True, 0, Remedy.GIVE_UP),
        (SingleStream(resumes=False), held(1), False, True, 0, Remedy.START_OVER),
        # Another worker has seen it first.
        (Draining(Ranges(), STREAM, True), held(), False, True, 1, Remedy.NONE),
        (Stopped(Draining(Ranges(), STREAM, True)), held(), False, True, 1, Remedy.NONE),
        # A stop changes nothing about what may be recorded.
        (Stopped(Ranges()), held(), False, True, 0, Remedy.START_OVER),
        (Failed(ERROR, Ranges()), held(1, resumed=True), True, True, 0, Remedy.GIVE_UP),
        (Probing(), held(), False, False, 0, Remedy.GIVE_UP),
    ],
)
def test_the_remedy_for_mixed_versions(
    phase: Phase, provenance: Provenance, strict: bool, in_bytes: bool, restarts: int, what: Remedy
) -> None:
    said = remedy(phase, provenance, is_strict=strict, in_bytes=in_bytes, restarts=restarts)
    assert said is what
