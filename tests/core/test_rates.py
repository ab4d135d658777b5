"""Rates against independently computed figures (facts/statistics, 2.3), and the contract's verdicts."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.statistics import rates
from receiver.statistics.rates import LiteralVerdict, StatisticalVerdict

samples = st.integers(0, 5000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))


@pytest.mark.parametrize(
    ("answered", "calls", "low", "high"),
    [
        (1, 2, 0.0945, 0.9055),
        (0, 5, 0, 0.4345),
        (0, 8, 0, 0.3244),
        (0, 9, 0, 0.2991),
        (14, 50, 0.1747, 0.4167),
        (15, 50, 0.1910, 0.4375),
        (8, 50, 0.0834, 0.2851),
        (21, 100, 0.1417, 0.2998),
        (300, 1000, 0.2724, 0.3291),
        (271, 1000, 0.2444, 0.2994),
        (306, 731, 0.3834, 0.4547),
    ],
)
def test_wilson_gives_the_published_intervals(answered: int, calls: int, low: float, high: float) -> None:
    assert rates.wilson(answered, calls) == pytest.approx((low, high), abs=5e-5)


def test_wilson_of_nothing_is_everything() -> None:
    assert rates.wilson(0, 0) == (0, 1)


@given(sample=samples, z=st.floats(0.1, 5))
def test_wilson_holds_the_rate_between_0_and_1(sample: tuple[int, int], z: float) -> None:
    successes, total = sample
    low, high = rates.wilson(successes, total, z)

    assert 0 <= low <= high <= 1
    assert not total or low - 1e-12 <= successes / total <= high + 1e-12


@pytest.mark.parametrize(
    ("answered", "calls", "verdict"),
    [
        (0, 0, StatisticalVerdict.NONE),
        (0, 8, StatisticalVerdict.UNDECIDED),
        (0, 9, StatisticalVerdict.BELOW),
        (14, 50, StatisticalVerdict.UNDECIDED),
        (15, 50, StatisticalVerdict.UNDECIDED),
        (8, 50, StatisticalVerdict.BELOW),
        (21, 100, StatisticalVerdict.BELOW),
        (271, 1000, StatisticalVerdict.BELOW),
        *[(k, n, StatisticalVerdict.ABOVE) for k, n in ((22, 50), (39, 100), (171, 500), (329, 1000), (950, 3000))],
        *[(k, n, StatisticalVerdict.UNDECIDED) for k, n in ((21, 50), (38, 100), (170, 500), (328, 1000), (949, 3000))],
    ],
)
def test_statistical_verdict_is_given_only_when_proved(answered: int, calls: int, verdict: StatisticalVerdict) -> None:
    """One answer fewer than the facts' table is not enough."""
    assert rates.statistical_verdict(answered, calls, floor=0.30) == verdict


@pytest.mark.parametrize(
    ("answered", "calls", "unsettled", "verdict"),
    [
        (0, 0, 0, LiteralVerdict.NONE),
        (0, 0, 60, LiteralVerdict.NONE),
        (49, 49, 0, LiteralVerdict.INSUFFICIENT),
        (0, 49, 100, LiteralVerdict.INSUFFICIENT),
        (15, 50, 0, LiteralVerdict.KEPT),
        (14, 50, 0, LiteralVerdict.BROKEN),
        (15, 50, 1, LiteralVerdict.OPEN),
        (16, 50, 3, LiteralVerdict.KEPT),
        (14, 50, 1, LiteralVerdict.BROKEN),
        (14, 50, 2, LiteralVerdict.OPEN),
        (306, 731, 4, LiteralVerdict.KEPT),
    ],
)
def test_literal_verdict_reads_the_rule_by_the_letter(
    answered: int, calls: int, unsettled: int, verdict: LiteralVerdict
) -> None:
    """Exactly 15 of 50 keeps 30 %; unsettled calls leave it open while they could decide."""
    assert rates.literal_verdict(answered, calls, unsettled, floor=0.30) == verdict


@given(calls=st.integers(50, 10**7), percent=st.integers(1, 99))
def test_rate_exactly_at_the_floor_keeps_it(calls: int, percent: int) -> None:
    """Binary fractions must not decide: k of n with k/n equal to the floor is kept, one fewer is not."""
    answered = -(-calls * percent // 100)

    assert rates.literal_verdict(answered, calls, 0, floor=percent / 100) == LiteralVerdict.KEPT
    assert rates.literal_verdict(answered - 1, calls, 0, floor=percent / 100) == LiteralVerdict.BROKEN


@given(answered=st.integers(0, 100), others=st.integers(0, 100), unsettled=st.integers(0, 100))
def test_bounds_are_the_extremes_of_what_can_still_come(answered: int, others: int, unsettled: int) -> None:
    calls = answered + others
    bounds = rates.answer_rate_bounds(answered, calls, unsettled)

    possible = [(answered + more) / (calls + unsettled) for more in range(unsettled + 1) if calls + unsettled]
    assert bounds == ((min(possible), max(possible)) if possible else None)


def test_rate_of_nothing_is_null() -> None:
    assert rates.ratio(0, 0) is None
    assert rates.answer_rate_bounds(0, 0, 0) is None
    assert rates.mean({}) is None
    assert rates.percentile({}, 50) is None


@given(values=st.lists(st.integers(-50, 3600), min_size=1, max_size=60), q=st.integers(1, 100))
def test_percentile_is_the_nearest_rank(values: list[int], q: int) -> None:
    histogram = {value: values.count(value) for value in values} | {-99: 0}
    rank = next(rank for rank in range(1, len(values) + 1) if rank * 100 >= q * len(values))

    assert rates.percentile(histogram, q) == sorted(values)[rank - 1]
    assert rates.mean(histogram) == pytest.approx(sum(values) / len(values))


def test_percentile_of_a_hundred_is_not_moved_by_rounding() -> None:
    """In floats 0.07 * 100 is above 7."""
    assert ceil(0.07 * 100) == 8
    assert rates.percentile(dict.fromkeys(range(1, 101), 1), 7) == 7
