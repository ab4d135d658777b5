"""The simulated week looks like a week, and one number gets into trouble at its end."""

from itertools import pairwise

from receiver.model import Outcome
from receiver.simulate.history import History, episodes
from receiver.simulate.plan import CALLERS, DAY_SECONDS, Episode, seconds_of_day

NOW = 1_763_784_000  # Saturday, 2025-11-22 12:00 in Shanghai
HISTORY = History(now=NOW, seed=5, calls_per_day=2000)
WEEK = list(episodes(HISTORY))


def answer_rate(calls: list[Episode]) -> float:
    final = [each for each in calls if each.call.outcome is not Outcome.PENDING]
    return sum(each.call.is_answered for each in final) / len(final)


def test_a_history_repeats_itself() -> None:
    """The same days, seed and end make the same calls."""
    assert list(episodes(HISTORY)) == WEEK
    assert list(episodes(History(now=NOW, seed=6, calls_per_day=2000))) != WEEK


def test_a_week_lies_behind_now_in_order() -> None:
    """Calls are reported one after the other, over the whole time, and none in the future."""
    assert all(a.reported <= b.reported for a, b in pairwise(WEEK))
    assert HISTORY.start <= WEEK[0].reported < HISTORY.start + DAY_SECONDS
    assert NOW - DAY_SECONDS < WEEK[-1].reported < NOW


def test_days_have_a_shape() -> None:
    """Mornings are busy and nights are not; Sundays have fewer calls than Fridays."""
    hours = [int(seconds_of_day(each.reported)) // 3600 for each in WEEK]
    days = [(NOW - DAY_SECONDS // 2 - each.reported) // DAY_SECONDS for each in WEEK]

    assert hours.count(10) > 20 * max(hours.count(2), 1)
    assert 0 < days.count(5) < 0.75 * days.count(0)


def test_one_number_sinks_to_the_floor() -> None:
    """The last number begins well above 30 % and ends near it; the others stay above."""

    def of(caller: str, *, is_end: bool) -> list[Episode]:
        middle = (HISTORY.start + NOW) / 2 + (DAY_SECONDS * 2 if is_end else -DAY_SECONDS)
        return [
            each
            for each in WEEK
            if each.call.caller == caller and (each.reported > middle if is_end else each.reported < middle)
        ]

    *others, sinking = CALLERS

    assert answer_rate(of(sinking, is_end=False)) > 0.4
    assert answer_rate(of(sinking, is_end=True)) < 0.36
    assert all(answer_rate(of(caller, is_end=True)) > 0.36 for caller in others)


def test_a_history_has_two_applications() -> None:
    """There is something to compare."""
    assert {each.call.app for each in WEEK} == {"demo", "demo-2"}
