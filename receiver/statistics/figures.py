"""Counts to the figures of an answer, under the names of the contract, section 4. Knows no source and no format."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from receiver.model import Outcome
from receiver.statistics import rates
from receiver.statistics.definitions import FINAL, LIST_FAULTS, NETWORK_EFFECTIVE, REACHED
from receiver.statistics.tally import NOTHING, Arrivals, Callees, Histogram, Tally

# Below, the 99th percentile is only the greatest value.
_SMALLEST_SAMPLE_OF_P99: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The sums of one scope that rates are made of. `unsettled` calls have no final outcome yet, lost ones included."""

    calls: int
    unsettled: int
    answered: int
    reached: int
    network_effective: int
    list_faults: int
    short: int
    keypressed: int
    billed_minutes: int
    conflicts: int
    contradictions: int


def totals(tally: Tally) -> Totals:
    """Sum a tally over its outcomes."""
    answered = tally.get(Outcome.ANSWERED, NOTHING)
    return Totals(
        calls=_calls(tally, FINAL),
        unsettled=_calls(tally, tally.keys() - FINAL),
        answered=answered.calls,
        reached=_calls(tally, REACHED),
        network_effective=_calls(tally, NETWORK_EFFECTIVE),
        list_faults=_calls(tally, LIST_FAULTS),
        short=answered.short,
        keypressed=answered.keypressed,
        billed_minutes=sum(measures.billed_minutes for measures in tally.values()),
        conflicts=sum(measures.conflicts for measures in tally.values()),
        contradictions=sum(measures.contradictions for measures in tally.values()),
    )


def _calls(tally: Tally, outcomes: Iterable[Outcome]) -> int:
    return sum(tally[outcome].calls for outcome in outcomes if outcome in tally)


# Part and whole of every rate that the sums of calls give.
RATES: Final[Mapping[str, Callable[[Totals], tuple[int, int]]]] = {
    "answer_rate": lambda of: (of.answered, of.calls),
    "reach_rate": lambda of: (of.reached, of.calls),
    "answer_given_reach": lambda of: (of.answered, of.reached),
    "network_effectiveness": lambda of: (of.network_effective, of.calls),
    "list_quality": lambda of: (of.calls - of.list_faults, of.calls),
    "short_call_share": lambda of: (of.short, of.answered),
    "keypress_rate": lambda of: (of.keypressed, of.answered),
}


def rate(name: str, of: Totals) -> tuple[float | None, int, tuple[float, float] | None]:
    """One of RATES with its n and its Wilson 95 % interval; rate and interval are None when n is 0."""
    part, whole = RATES[name](of)
    return rates.ratio(part, whole), whole, rates.wilson(part, whole) if whole else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Everything a summary is made of.

    Attributes:
        lost: how many of the tally's pending calls are lost.
        callees: None when not known exactly.
        arrivals: None under filters that arrivals do not know; `lag` likewise.
    """

    tally: Tally
    lost: int
    time_to_answer: Histogram
    talk: Histogram
    callees: Callees | None
    arrivals: Arrivals | None
    lag: Histogram | None


def summarise(counted: Counted, *, outcomes: Iterable[Outcome], floor: float) -> dict[str, Any]:
    """The summary's figures; `outcomes` are those that the carriers in scope can report, `floor` the rate's floor."""
    return {
        **call_figures(counted.tally, lost=counted.lost, outcomes=outcomes, floor=floor),
        **_callee_figures(counted.callees),
        "time_to_answer_seconds": durations(counted.time_to_answer),
        "talk_seconds": durations(counted.talk),
        **_arrival_figures(counted.arrivals),
        "lag_seconds": None if counted.lag is None else lags(counted.lag),
        "worst": None,
        "submitted": None,
        "answer_rate_submitted": None,
    }


def call_figures(tally: Tally, *, lost: int, outcomes: Iterable[Outcome], floor: float) -> dict[str, Any]:
    """The figures that the sums of calls give; also for one group or bucket."""
    of = totals(tally)
    # The sums and the count of lost calls are read one after the other; a call settled in between is not lost.
    lost = min(lost, of.unsettled)
    return {
        "calls": of.calls,
        "pending": of.unsettled - lost,
        "lost": lost,
        "answered": of.answered,
        **{name: rate(name, of)[0] for name in RATES},
        **{f"{name}_wilson95": rate(name, of)[2] for name in RATES},
        "answer_rate_bounds": rates.answer_rate_bounds(of.answered, of.calls, of.unsettled),
        "floor": floor,
        "verdict": {
            "literal": rates.literal_verdict(of.answered, of.calls, of.unsettled, floor=floor).value,
            "statistical": rates.statistical_verdict(of.answered, of.calls, floor=floor).value,
        },
        "outcomes": _outcomes(tally, outcomes),
        "billed_minutes": of.billed_minutes,
        "conflicts": of.conflicts,
        "contradictions": of.contradictions,
    }


def durations(histogram: Histogram) -> dict[str, float | None]:
    """Mean and percentiles in seconds of an exact histogram, with n; nulls for an empty one."""
    return {
        "n": sum(histogram.values()),
        "mean": rates.mean(histogram),
        "p50": rates.percentile(histogram, 50),
        "p90": rates.percentile(histogram, 90),
        "p99": _p99(histogram),
    }


def lags(histogram: Histogram) -> dict[str, int | None]:
    """The delay of callbacks in seconds: percentiles with n."""
    return {"n": sum(histogram.values()), "p50": rates.percentile(histogram, 50), "p99": _p99(histogram)}


def _p99(histogram: Histogram) -> int | None:
    return rates.percentile(histogram, 99) if sum(histogram.values()) >= _SMALLEST_SAMPLE_OF_P99 else None


def _outcomes(tally: Tally, reportable: Iterable[Outcome]) -> dict[str, int]:
    """Calls per final outcome; zeros for what could have been reported, and whatever was."""
    wanted = FINAL & {*reportable, *tally}
    return {outcome.value: tally.get(outcome, NOTHING).calls for outcome in Outcome if outcome in wanted}


def _callee_figures(callees: Callees | None) -> dict[str, Any]:
    if callees is None:
        return {"callees": None, "callee_answer_rate": None, "callee_answer_rate_wilson95": None}
    return {
        "callees": callees.called,
        "callee_answer_rate": rates.ratio(callees.answered, callees.called),
        "callee_answer_rate_wilson95": rates.wilson(callees.answered, callees.called) if callees.called else None,
    }


def _arrival_figures(arrivals: Arrivals | None) -> dict[str, int | None]:
    return {
        name: None if arrivals is None else getattr(arrivals, name)
        for name in ("deliveries", "duplicates", "quarantined", "held", "unknown_kind")
    }
