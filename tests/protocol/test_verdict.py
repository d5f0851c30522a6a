"""The table of what an answer means for a transfer under way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartremote_cli.core.blocks import BLOCK
from smartremote_cli.core.ranges import ByteRange
from smartremote_cli.protocol.answers import (
    EVERYTHING,
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
from smartremote_cli.protocol.approach import Approach
from smartremote_cli.protocol.headers import Headers
from smartremote_cli.protocol.identity import Identity, Match
from smartremote_cli.protocol.verdict import (
    MAX_IMPLAUSIBLE,
    Accept,
    AskInstead,
    Changed,
    Confirmed,
    Implausible,
    Known,
    Mixed,
    PastEnd,
    Refused,
    Retry,
    Verdict,
    judge,
)

SIZE = 1000
ONE = Identity(SIZE, '"one"')
TWO = Identity(SIZE, '"two"')
WEAK = Identity(SIZE, 'W/"one"')
BARE = Identity(SIZE)
LONGER = Identity(SIZE + 1, '"one"')
PART = ByteRange(100, 200)

ASKED = Asked(range=PART)
TAIL = Asked(suffix=100)

FIRST = Known(ASKED, None)
LATER = Known(ASKED, ONE, conditioned=True)
STREAM = Known(EVERYTHING, ONE, streaming=True)
GOING_ON = Known(ASKED, ONE, streaming=True, conditioned=True)

PLAIN = Approach(ASKED)
REPEATED = PLAIN._replace(repeated=True)
LAST_CHANCE = PLAIN._replace(implausible=MAX_IMPLAUSIBLE - 1)


def verdict_of(answer: Answer, at: Known, approach: Approach = PLAIN) -> Verdict:
    return judge(answer, approach, at)[0]


def part(identity: Identity = ONE, body: ByteRange = PART) -> Partial:
    return Partial(body, identity)


def whole(identity: Identity = ONE, *, framed: bool = True, coding: str | None = None) -> Whole:
    return Whole(identity, coding, framed)


def take(identity: Identity = ONE) -> Accept:
    return Accept(PART.start, PART.stop, identity)


def take_whole(identity: Identity = ONE, *, framed: bool = True, coding: str | None = None) -> Accept:
    return Accept(0, identity.size, identity, True, coding, framed)


@pytest.mark.parametrize(
    ("answer", "at", "verdict"),
    [
        # The first answer is believed as it stands.
        (part(), FIRST, take()),
        (part(BARE), FIRST, take(BARE)),
        (whole(), FIRST, take_whole()),
        (whole(coding="gzip"), FIRST, take_whole(coding="gzip")),
        (whole(framed=False), FIRST, take_whole(framed=False)),
        (
            part(Identity(None, '"one"')),
            FIRST,
            Retry.IN_ONE_PIECE,
        ),  # a total of *: the length of all says it
        # Later ones must be of the same version.
        (part(), LATER, take()),
        (part(Identity(None, '"one"')), LATER, take(Identity(None, '"one"'))),
        (whole(), STREAM, take_whole()),
        (part(), GOING_ON, take()),
    ],
)
def test_believed_answers_are_taken(answer: Answer, at: Known, verdict: Accept) -> None:
    said = verdict_of(answer, at)
    assert (type(said), said) == (type(verdict), verdict)


@pytest.mark.parametrize(
    ("answer", "at", "kind"),
    [
        (part(TWO), LATER, Mixed),
        (part(WEAK), LATER, Mixed),  # gone or weaker in the middle: mirrors, not one server
        (part(BARE), LATER, Mixed),
        (part(LONGER), LATER, Changed),
        (part(replace(TWO, size=SIZE + 1)), LATER, Changed),
        (whole(TWO), LATER, Mixed),
        (whole(LONGER), LATER, Changed),
        (whole(LONGER), STREAM, Changed),
        (whole(TWO), STREAM._replace(strict=True), Mixed),
        (part(TWO), GOING_ON, Mixed),
        (part(LONGER), GOING_ON, Changed),
        (part(), Known(ASKED, BARE), Mixed),
    ],
)
def test_what_is_of_another_version_is_never_taken(answer: Answer, at: Known, kind: type) -> None:
    assert isinstance(verdict_of(answer, at), kind)


@pytest.mark.parametrize(
    ("answer", "at", "verdict"),
    [
        # A 200 with the same validator is asked again once without the precondition, then believed.
        (whole(), LATER, Retry.UNCONDITIONALLY),
        (whole(BARE), LATER, Retry.UNCONDITIONALLY),
        (PreconditionFailed(), LATER, Retry.UNCONDITIONALLY),
        (PreconditionFailed(), LATER._replace(conditioned=False), Refused()),
        # One whose length is not announced may be just the range that was asked for, and so may a short one.
        (
            whole(Identity(None)),
            Known(Asked(range=ByteRange(0, 100)), None),
            Accept(0, None, Identity(None), True, doubtful=100),
        ),
        (whole(Identity(None)), FIRST, Retry.IN_ONE_PIECE),
        (whole(Identity(len(PART) - 1)), FIRST, Retry.IN_ONE_PIECE),
        (whole(Identity(None)), Known(TAIL, None), Retry.IN_ONE_PIECE),
        (whole(Identity(None)), LATER, Retry.UNCONDITIONALLY),
        (whole(Identity(None)), GOING_ON, Retry.IN_ONE_PIECE),
        (whole(Identity(None)), STREAM, take_whole(Identity(None))),
        # A cached copy of another version: the part that is wanted is asked for.
        (whole(), Known(ASKED, None, conditioned=True), Retry.UNCONDITIONALLY),
        (NotModified(ONE), Known(Asked(range=PART, conditional=True), None, conditioned=True), Confirmed()),
        # Suffixes are often mistreated.
        (whole(), Known(TAIL, None), AskInstead(Asked(range=ByteRange(900, 1000)))),
        (part(body=ByteRange(900, 1000)), Known(TAIL, None), Accept(900, 1000, ONE)),
        (part(body=ByteRange(0, 100)), Known(TAIL, None), AskInstead(Asked(range=ByteRange(900, 1000)))),
        (part(Identity(None), ByteRange(0, 100)), Known(TAIL, None), Retry.IN_ONE_PIECE),
        (Unsatisfiable(SIZE), Known(TAIL, None), AskInstead(Asked(range=ByteRange(900, 1000)))),
        (Failed(501), Known(TAIL, None), AskInstead(Asked(range=ByteRange(0, BLOCK)))),
        # It may be the condition, the suffix or the range that is refused.
        (Failed(400), Known(TAIL, None), AskInstead(Asked(range=ByteRange(0, BLOCK)))),
        (Failed(501), FIRST, Retry.IN_ONE_PIECE),
        (Failed(405), FIRST, Retry.IN_ONE_PIECE),
        (Failed(405), LATER._replace(conditioned=False), Refused()),
        (Failed(403), FIRST, Retry.IN_ONE_PIECE),
        (Failed(403), Known(TAIL, None), Retry.IN_ONE_PIECE),
        (Failed(400), LATER._replace(conditioned=True), Retry.UNCONDITIONALLY),
        (Failed(403), LATER._replace(conditioned=True), Retry.UNCONDITIONALLY),
        (Failed(404), LATER._replace(conditioned=False), Refused()),
        (Failed(400), STREAM, Refused()),
        (Failed(400), GOING_ON._replace(conditioned=True), Retry.IN_ONE_PIECE),
        (PreconditionFailed(), GOING_ON._replace(conditioned=True), Retry.IN_ONE_PIECE),
        (Failed(401), FIRST, Retry.IN_ONE_PIECE),
        (Failed(429), FIRST, Refused()),
        (Failed(500), FIRST, Refused()),
        (whole(Identity(0)), Known(TAIL, None), Accept(0, 0, Identity(0), whole=True)),
        # 416 never means done.
        (Unsatisfiable(50), FIRST, PastEnd(50)),
        (Unsatisfiable(50), FIRST._replace(asked=ASKED._replace(inside=True)), Retry.IN_ONE_PIECE),
        (Unsatisfiable(SIZE), FIRST, Retry.IN_ONE_PIECE),
        (Unsatisfiable(None), FIRST, Retry.IN_ONE_PIECE),
        (Unsatisfiable(0), Known(Asked(range=ByteRange(0, 100)), None), Retry.IN_ONE_PIECE),
        (Unsatisfiable(50), LATER, Retry.IN_ONE_PIECE),
        # A stream that broke goes on where both versions are proven, else from byte 0.
        (part(BARE), GOING_ON._replace(identity=BARE), Retry.IN_ONE_PIECE),
        (whole(TWO), STREAM, take_whole(TWO)),
        (Failed(404), FIRST, Retry.IN_ONE_PIECE),
        (Failed(404), Known(Asked(), None), Refused()),
        (Failed(503), LATER, Refused()),
    ],
)
def test_the_next_question(answer: Answer, at: Known, verdict: object) -> None:
    said = verdict_of(answer, at)
    assert (type(said), said) == (type(verdict), verdict)


def test_a_whole_answer_is_asked_for_again_once_and_then_believed() -> None:
    assert judge(whole(), PLAIN, LATER) == (
        Retry.UNCONDITIONALLY,
        PLAIN._replace(preconditions=False, repeated=True),
    )
    assert verdict_of(whole(), LATER, REPEATED) is Retry.USE_AS_STREAM
    assert verdict_of(whole(Identity(None)), LATER, REPEATED) is Retry.IN_ONE_PIECE


def test_a_condition_that_was_mistreated_is_never_sent_again() -> None:
    asked = Approach(ASKED._replace(conditional=True), {"If-None-Match": '"one"'})
    verdict, approach = judge(PreconditionFailed(), asked, Known(asked.first, None, conditioned=True))
    assert verdict is Retry.UNCONDITIONALLY
    assert approach.first == ASKED and not approach.condition and not approach.precondition(ONE)


def test_what_is_to_be_asked_instead_is_the_next_first_request() -> None:
    verdict, approach = judge(whole(), Approach(TAIL), Known(TAIL, None))
    assert isinstance(verdict, AskInstead) and approach.first == verdict.asked


def test_an_accepted_answer_renews_the_belief_in_a_server() -> None:
    doubted = PLAIN._replace(implausible=1, repeated=True)
    assert judge(part(), doubted, LATER) == (take(), PLAIN)
    assert judge(part(), doubted, FIRST)[1] == doubted  # the first answer confirms nothing that was known


def test_unbelievable_answers_are_asked_for_again_and_then_without_ranges() -> None:
    answer = Unbelievable("nonsense")
    assert judge(answer, PLAIN, LATER) == (Implausible("nonsense", final=False), LAST_CHANCE)
    assert verdict_of(answer, LATER, LAST_CHANCE) is Retry.IN_ONE_PIECE
    assert verdict_of(answer, STREAM) == Implausible("nonsense", final=False)
    assert verdict_of(answer, STREAM, LAST_CHANCE) == Implausible("nonsense", final=True)


def test_an_unproven_body_is_asked_for_without_range_at_once() -> None:
    assert verdict_of(Unproven("x"), FIRST) is Retry.IN_ONE_PIECE
    assert verdict_of(Unproven("x"), LATER) is Retry.IN_ONE_PIECE
    assert verdict_of(Unproven("x"), STREAM) == Implausible("x", final=True)
    assert verdict_of(Unsatisfiable(None), STREAM) == Implausible(
        "416 to a request without Range", final=True
    )


def test_a_whole_that_contradicts_what_its_parts_said_is_refused() -> None:
    _, larger = judge(Unbelievable("x", SIZE + 1), PLAIN, FIRST)
    _, equal = judge(Unbelievable("x", SIZE), PLAIN, FIRST)
    first = FIRST._replace(asked=EVERYTHING, streaming=True)
    verdict = verdict_of(whole(), first, larger)
    assert isinstance(verdict, Implausible) and verdict.final
    assert verdict_of(whole(), first, equal) == take_whole()


TAGS = st.sampled_from([None, '"one"', '"two"', 'W/"one"', 'W/"two"'])
DATES = st.sampled_from([None, "Wed, 01 Jan 2025 00:00:00 GMT", "Thu, 02 Jan 2025 00:00:00 GMT"])
SIZES = st.sampled_from([None, 0, 99, 200, 1000])
IDENTITIES = st.builds(Identity, SIZES, TAGS, DATES, settled=st.booleans())
SPANS = st.sampled_from([ByteRange(0, 1), PART, ByteRange(100, 201), ByteRange(0, 1000)])
ANSWERS = st.one_of(
    st.builds(Partial, SPANS, IDENTITIES).filter(
        lambda part: part.identity.size is None or part.identity.size >= part.body.stop
    ),
    st.builds(Whole, IDENTITIES, st.sampled_from([None, "gzip"]), st.booleans()),
    st.builds(Unsatisfiable, SIZES),
    st.builds(NotModified, IDENTITIES),
    st.just(PreconditionFailed()),
    st.builds(Unproven, st.just("x")),
    st.builds(Unbelievable, st.just("x"), SIZES),
    st.builds(Failed, st.sampled_from([400, 404, 500, 501, 503])),
)
CONTEXTS = st.builds(
    Known,
    st.sampled_from([ASKED, TAIL, EVERYTHING, Asked(range=PART, conditional=True)]),
    st.one_of(st.none(), IDENTITIES),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
APPROACHES = st.builds(
    Approach,
    st.sampled_from([ASKED, TAIL, EVERYTHING]),
    preconditions=st.booleans(),
    repeated=st.booleans(),
    implausible=st.integers(0, 3),
    unconfirmed_size=SIZES,
)


@given(ANSWERS, APPROACHES, CONTEXTS)
def test_nothing_is_taken_that_a_comparison_speaks_against(
    answer: Answer, approach: Approach, at: Known
) -> None:
    verdict = verdict_of(answer, at, approach)
    if not isinstance(verdict, Accept):
        return
    assert isinstance(answer, (Partial, Whole))
    known, now = at.identity, verdict.identity
    assert verdict.whole == isinstance(answer, Whole)
    assert verdict.start == (answer.body.start if isinstance(answer, Partial) else 0)
    if known is not None:
        assert known.size is None or now.size is None or known.size == now.size
        if isinstance(answer, Partial):
            assert known.compare(now) is Match.SAME
        else:
            assert at.streaming
            assert known.compare(now) is not Match.DIFFERENT or not at.strict
    if isinstance(answer, Whole) and approach.unconfirmed_size is not None:
        assert now.size in (None, approach.unconfirmed_size)


@given(
    st.integers(100, 999),
    st.lists(st.tuples(st.text(max_size=12), st.text(max_size=30)), max_size=6),
    APPROACHES,
    CONTEXTS,
)
def test_any_answer_whatever_has_a_verdict(
    status: int, fields: list[tuple[str, str]], approach: Approach, at: Known
) -> None:
    assert judge(read_answer(status, Headers(fields), at.asked), approach, at) is not None


@pytest.mark.parametrize(
    ("condition", "now", "verdict"),
    [
        ({"If-None-Match": '"one"'}, Identity(None, '"one"'), Confirmed()),
        ({"If-None-Match": '"one"'}, Identity(None, 'W/"one"'), Confirmed()),
        ({"If-None-Match": '"one"'}, Identity(None), Confirmed()),
        ({"If-None-Match": '"one"'}, Identity(None, '"two"'), Retry.UNCONDITIONALLY),
    ],
)
def test_a_304_that_names_another_version_confirms_nothing(
    condition: dict[str, str], now: Identity, verdict: object
) -> None:
    at = Known(Asked(range=PART, conditional=True), None, conditioned=True)
    assert verdict_of(NotModified(now), at, PLAIN._replace(condition=condition)) == verdict


def test_a_coded_range_is_taken_where_it_goes_on_in_the_same_coding() -> None:
    coded = Identity(SIZE, '"one"', evidence=(("Content-Encoding", "gzip"),))
    answer = Partial(PART, coded, "gzip")
    accepted = Accept(PART.start, PART.stop, coded, coding="gzip")
    assert verdict_of(answer, GOING_ON._replace(identity=coded)) == accepted
    assert isinstance(verdict_of(answer, GOING_ON), Mixed)


def test_a_refusal_is_believed_at_once_where_ranges_were_answered_before() -> None:
    assert verdict_of(Failed(404), FIRST._replace(answered=True)) == Refused()
