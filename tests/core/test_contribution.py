"""What one call adds to its buckets, and that sums are sums."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.model import Call, CallKind, Outcome
from receiver.statistics.contribution import contribution, seconds_to_answer, talk_seconds
from receiver.statistics.tally import MEASURE_NAMES, Measures, add

SHORT = {CallKind.CODE: 3, CallKind.PROMPT: 10}


def call(**changes: Any) -> Call:
    """An answered prompt: 14 s to answer, 8 s of talk."""
    fields: dict[str, Any] = {
        "kind": CallKind.PROMPT,
        "result": 0,
        "started_at": 1470196821,
        "answered_at": 1470196835,
        "ended_at": 1470196843,
        "billed_minutes": 1,
    }
    return Call(
        carrier="tencent", app="demo", call_id="a", first_received_us=1, last_received_us=1, **(fields | changes)
    )


def test_answered_call_adds_its_times() -> None:
    assert contribution(call(), Outcome.ANSWERED, short_seconds=SHORT) == Measures(
        calls=1,
        billed_minutes=1,
        short=1,
        timed_to_answer=1,
        seconds_to_answer=14,
        timed_talk=1,
        talk_seconds=8,
    )


def test_call_that_was_not_answered_adds_no_times() -> None:
    """Tencent may fill the times of unanswered calls; they are no ringing and no talk."""
    assert contribution(call(result=1), Outcome.NO_ANSWER, short_seconds=SHORT) == Measures(calls=1, billed_minutes=1)


def test_key_presses_conflicts_and_contradictions_count_once_per_call() -> None:
    odd = call(digits=frozenset({"1", "2"}), conflicts=frozenset({"caller", "result"}), failure_code=8)

    measures = contribution(odd, Outcome.ANSWERED, short_seconds=SHORT)

    assert (measures.keypressed, measures.conflicts, measures.contradictions) == (1, 1, 1)


def test_failure_code_of_an_unanswered_call_contradicts_nothing() -> None:
    failed = call(result=1, failure_code=8)

    assert contribution(failed, Outcome.INVALID_NUMBER, short_seconds=SHORT).contradictions == 0


@pytest.mark.parametrize(
    ("kind", "talk", "short"),
    [
        (CallKind.PROMPT, 9, 1),
        (CallKind.PROMPT, 10, 0),
        (CallKind.CODE, 2, 1),
        (CallKind.CODE, 3, 0),
        (CallKind.UNKNOWN, 0, 0),
    ],
)
def test_short_is_judged_by_the_kinds_threshold(kind: CallKind, talk: int, short: int) -> None:
    talked = call(kind=kind, answered_at=1470196835, ended_at=1470196835 + talk)

    assert contribution(talked, Outcome.ANSWERED, short_seconds=SHORT).short == short


@pytest.mark.parametrize(
    ("elapsed", "seconds"), [(-1, None), (0, 0), (1, 1), (3600, 3600), (3601, 3600), (10**9, 3600)]
)
def test_durations_are_clamped_and_never_negative(elapsed: int, seconds: int | None) -> None:
    answered = call(started_at=1470196835 - elapsed, ended_at=1470196835 + elapsed)

    assert seconds_to_answer(answered, Outcome.ANSWERED) == seconds
    assert talk_seconds(answered, Outcome.ANSWERED) == seconds


@pytest.mark.parametrize("missing", ["started_at", "answered_at", "ended_at"])
def test_missing_time_is_no_duration(missing: str) -> None:
    timeless = call(**{missing: None})

    measures = contribution(timeless, Outcome.ANSWERED, short_seconds=SHORT)

    assert (measures.timed_to_answer, measures.timed_talk) == (int(missing == "ended_at"), int(missing == "started_at"))


measures = st.builds(Measures, **dict.fromkeys(MEASURE_NAMES, st.integers(0, 2**40)))
tallies = st.lists(st.dictionaries(st.sampled_from(Outcome), measures, max_size=4), max_size=4)


@given(a=measures, b=measures)
def test_measures_add_in_every_field(a: Measures, b: Measures) -> None:
    assert a + b == Measures(**{name: getattr(a, name) + getattr(b, name) for name in MEASURE_NAMES})


@given(several=tallies)
def test_tallies_add_by_outcome(several: list[dict[Outcome, Measures]]) -> None:
    total = add(several)

    assert total == add(reversed(several))
    for outcome in Outcome:
        expected = sum(tally[outcome].talk_seconds for tally in several if outcome in tally)
        assert total.get(outcome, Measures()).talk_seconds == expected
