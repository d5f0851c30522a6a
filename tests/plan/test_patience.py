"""How often to fail, how long to wait, and how many connections to keep: times are numbers here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartremote_cli.errors import AttemptFailed, IncompleteError, StalledError, UnbelievableError
from smartremote_cli.plan.patience import MAX_WAIT, MIN_BYTES_PER_SECOND, Patience

RESET = AttemptFailed("x", "reset")
BUSY = AttemptFailed("x", "503", crowded=True)
REFUSED = AttemptFailed("x", "refused", refused=True)
STALLED = AttemptFailed("x", "stalled", stalled=True)
GARBLED = AttemptFailed("x", "garbled", garbled=True)


def patience(connections: int = 8, retries: int = 5, timeout: float = 30.0) -> Patience:
    return Patience(connections, retries, timeout, 0.0, lambda failures, chance: float(failures))


def welcomed(connections: int = 8, cores: int = 2) -> Patience:
    mine = Patience(connections, 5, 30.0, 0.0, cores=cores)
    for _ in range(connections):
        mine.welcome()
    return mine


def asked_to_wait(seconds: float, *, crowded: bool = False) -> AttemptFailed:
    return AttemptFailed("x", "503", crowded=crowded, retry_after=seconds)


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_so_many_failures_in_a_row_and_no_more(retries: int) -> None:
    mine = patience(retries=retries)
    assert [mine.plan_retry(failures, RESET, 0.0) for failures in range(1, retries + 1)] == [
        float(failures) for failures in range(1, retries + 1)
    ]
    with pytest.raises(IncompleteError, match="reset"):
        mine.plan_retry(retries + 1, RESET, 0.0)


def test_a_server_that_only_drips_is_tried_once_more_alone_and_patiently() -> None:
    mine = patience(connections=8, retries=1, timeout=30.0)
    mine.welcome()
    slow = AttemptFailed("x", "only 9 bytes in 60 s", stalled=True, slow=True)
    mine.plan_retry(1, slow, 0.0)
    assert not mine.is_patient and mine.slow_window == 60
    mine.plan_retry(2, slow, 0.0)
    assert mine.is_patient and mine.connections == 1 and mine.slow_window == 300
    with pytest.raises(StalledError) as failed:
        mine.plan_retry(3, slow, 0.0)
    assert "--timeout longer than 30" in str(failed.value.hint)


def test_only_silence_from_the_start_calls_for_a_longer_timeout() -> None:
    mine = patience(retries=0)
    with pytest.raises(StalledError) as failed:
        mine.plan_retry(1, STALLED, 0.0)
    assert "--timeout" in str(failed.value.hint)
    mine.arrived = 1
    with pytest.raises(StalledError) as failed:
        mine.plan_retry(1, STALLED, 0.0)
    assert "--timeout" not in str(failed.value.hint)


def test_nobody_there_is_believed_after_two_tries() -> None:
    mine = patience()
    assert mine.plan_retry(1, REFUSED, 0.0) == 1.0
    with pytest.raises(IncompleteError):
        mine.plan_retry(2, REFUSED, 0.0)


def test_a_refusal_after_an_answer_has_the_whole_patience() -> None:
    mine = patience()
    mine.welcome()
    assert mine.plan_retry(5, REFUSED, 0.0) == 5.0


def test_what_is_no_http_is_asked_for_again_once() -> None:
    mine = patience()
    assert mine.plan_retry(1, GARBLED, 0.0) == 1.0
    with pytest.raises(UnbelievableError, match="garbled"):
        mine.plan_retry(2, GARBLED, 0.0)


def test_without_retries_nothing_is_asked_for_again() -> None:
    for error in (RESET, REFUSED, GARBLED, BUSY, STALLED):
        with pytest.raises((IncompleteError, UnbelievableError)):
            patience(retries=0).plan_retry(1, error, 0.0)


@pytest.mark.parametrize(
    ("asked", "waits"),
    [(None, 1.0), (0.0, 1.0), (0.5, 1.0), (7.0, 7.0), (MAX_WAIT, MAX_WAIT)],
)
def test_the_servers_wish_is_the_least_wait(asked: float | None, waits: float) -> None:
    mine = patience()
    assert mine.plan_retry(1, AttemptFailed("x", "503", retry_after=asked), 10.0) == waits
    assert mine.not_before == (10.0 + asked if asked is not None else 0.0)


@pytest.mark.parametrize("asked", [MAX_WAIT + 1, 86_400.0, 1e300, float("inf")])
@pytest.mark.parametrize("crowded", [False, True])
def test_a_wish_beyond_reason_ends_it_at_once(asked: float, crowded: bool) -> None:
    mine = patience()
    with pytest.raises(IncompleteError, match="asked again only after"):
        mine.plan_retry(1, asked_to_wait(asked), 0.0)
    with pytest.raises(IncompleteError, match="asked again only after"):
        mine.use_one_fewer(asked_to_wait(asked, crowded=True), 4, 0.0)
    assert mine.not_before == 0.0


def test_a_wish_holds_for_all_connections_and_never_moves_back() -> None:
    mine = patience()
    mine.use_one_fewer(asked_to_wait(20, crowded=True), 4, 100.0)
    assert mine.not_before == 120.0
    mine.plan_retry(1, asked_to_wait(5), 101.0)
    assert mine.not_before == 120.0


@pytest.mark.parametrize(
    ("most", "grows"), [(1, [1, 1, 1, 1, 1, 1]), (3, [1, 2, 3, 3, 3, 3]), (8, [1, 2, 4, 6, 8, 8])]
)
def test_connections_start_with_one_and_double_with_every_round_of_answers(
    most: int, grows: list[int]
) -> None:
    mine = patience(connections=most)
    seen = []
    for _ in grows:
        seen.append(mine.connections)
        mine.welcome()
    assert seen == grows


@pytest.mark.parametrize(("workers", "left"), [(8, 7), (3, 2), (2, 1), (1, 1)])
def test_a_crowd_loses_one(workers: int, left: int) -> None:
    mine = patience()
    for _ in range(8):
        mine.welcome()
    mine.use_one_fewer(BUSY, workers, 0.0)
    assert mine.connections == left


def test_a_host_that_allows_two_gets_two() -> None:
    mine = patience()
    for _ in range(8):
        mine.welcome()
    for workers in range(8, 2, -1):
        mine.use_one_fewer(BUSY, workers, 0.0)
    assert mine.connections == 2


def test_the_limit_is_tried_again_more_and_more_cautiously() -> None:
    mine = patience()
    for _ in range(8):
        mine.welcome()
    waits = []
    now = 0.0
    for _ in range(7):
        mine.use_one_fewer(BUSY, 3, now)
        since = now
        while mine.connections == 2:
            now += 0.5
            mine.try_more(now)
        waits.append(now - since)
    assert waits == sorted(waits)
    assert waits[0] >= 2 and waits[-1] <= 61


def test_what_was_lost_to_a_crowd_comes_back() -> None:
    mine = patience()
    for _ in range(8):
        mine.welcome()
    mine.use_one_fewer(BUSY, 8, 0.0)
    for now in range(1, 100):
        mine.try_more(float(now))
    assert mine.connections == 8


def test_a_403_after_successes_is_tried_once_more_alone() -> None:
    mine = patience()
    assert not mine.go_on_alone() and not mine.one_only
    mine.welcome()
    mine.welcome()
    assert mine.go_on_alone()
    assert mine.connections == 1
    assert mine.go_on_alone() and mine.one_only  # others that were refused at the same moment leave as well
    mine.try_more(1e6)
    assert mine.connections == 1


def test_any_new_byte_renews_the_patience() -> None:
    mine = patience()
    mine.arrived = 1
    assert mine.take_stock(0, RESET, 1.0)
    assert mine.take_stock(0, STALLED, 1.0)
    assert not mine.take_stock(1, RESET, 2.0)


def test_bytes_below_a_kib_per_second_renew_nothing() -> None:
    mine = patience(timeout=1.0, retries=2)
    for now in (2.0, 4.0, 6.0):
        seen, mine.arrived = mine.arrived, mine.arrived + MIN_BYTES_PER_SECOND  # half of what it takes
        assert not mine.take_stock(seen, STALLED, now)
        if now < 6.0:
            assert mine.plan_retry(1, STALLED, now) == 1.0
    with pytest.raises(IncompleteError):
        mine.plan_retry(1, STALLED, 6.0)


def test_bytes_above_a_kib_per_second_go_on_for_ever() -> None:
    mine = patience(timeout=1.0, retries=2)
    for round_ in range(1, 100):
        seen, mine.arrived = mine.arrived, mine.arrived + 3 * MIN_BYTES_PER_SECOND
        assert mine.take_stock(seen, STALLED, 2.0 * round_)
        assert mine.plan_retry(1, STALLED, 2.0 * round_) == 1.0


@given(
    st.lists(st.sampled_from(["welcome", "crowded", "refused", "more", "wait"]), max_size=60),
    st.integers(1, 16),
)
def test_there_is_always_a_connection_and_never_one_too_many(steps: list[str], most: int) -> None:
    mine = patience(connections=most)
    for now, step in enumerate(steps):
        match step:
            case "welcome":
                mine.welcome()
            case "crowded":
                mine.use_one_fewer(BUSY, mine.connections, float(now))
            case "refused":
                mine.go_on_alone()
            case "more":
                mine.try_more(float(now))
            case "wait":
                mine.plan_retry(1, BUSY, float(now))
        assert 1 <= mine.connections <= most


def test_where_the_processor_is_the_limit_no_more_connections_are_opened_than_keep_it_busy() -> None:
    mine = welcomed()
    mine.measure_load(0.0, 7.0, 1)
    assert mine.connections == 8  # what it did before says nothing
    mine.measure_load(0.1, 7.1, 2)
    assert mine.connections == 3
    mine.measure_load(0.2, 7.2, 6)
    assert mine.connections == 6  # those that there are stay
    assert welcomed(connections=2).connections == 2


def test_once_the_processor_waits_for_the_network_all_connections_may_be_opened() -> None:
    mine = welcomed()
    mine.measure_load(0.0, 0.0, 1)
    mine.measure_load(0.1, 0.1, 3)
    assert mine.connections == 3
    mine.measure_load(0.101, 0.101, 3)  # too soon to tell
    assert mine.connections == 3
    mine.measure_load(0.2, 0.15, 3)
    assert mine.connections == 8


def test_a_crowded_server_gets_no_more_connections_because_the_processor_has_time() -> None:
    mine = welcomed()
    mine.use_one_fewer(BUSY, 2, 0.0)
    mine.measure_load(0.0, 0.0, 1)
    mine.measure_load(0.1, 0.0, 1)
    assert mine.connections == 1
