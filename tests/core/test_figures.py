"""The summary's figures: names and values of the contract, and what must hold between them whatever was counted."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.carriers import PROFILES
from receiver.model import Outcome
from receiver.statistics import figures
from receiver.statistics.definitions import FINAL, METRICS, OUTCOMES, definitions
from receiver.statistics.figures import Counted, summarise
from receiver.statistics.tally import Arrivals, Callees, Measures

TENCENT = PROFILES["tencent"].outcomes


def counted(tally: dict[Outcome, Measures], **changes: Any) -> Counted:
    fields: dict[str, Any] = {
        "lost": 0,
        "time_to_answer": {},
        "talk": {},
        "callees": None,
        "arrivals": None,
        "lag": None,
    }
    return Counted(tally=tally, **(fields | changes))


def summary(tally: dict[Outcome, Measures], **changes: Any) -> dict[str, Any]:
    return summarise(counted(tally, **changes), outcomes=TENCENT, floor=0.30)


def test_contracts_example_comes_out() -> None:
    """The figures of the contract's section 4, as far as its example determines them."""
    figure = summary(
        {
            Outcome.ANSWERED: Measures(calls=306, billed_minutes=312, keypressed=36, short=12),
            Outcome.NO_ANSWER: Measures(calls=170),
            Outcome.USER_BUSY: Measures(calls=60),
            Outcome.POWERED_OFF: Measures(calls=144),
            Outcome.INVALID_NUMBER: Measures(calls=51),
            Outcome.PENDING: Measures(calls=4),
        },
        callees=Callees(called=512, answered=297),
        arrivals=Arrivals(deliveries=1490, duplicates=12, held=0, unknown_kind=0, quarantined=1),
    )

    assert (figure["calls"], figure["pending"], figure["lost"], figure["answered"]) == (731, 4, 0, 306)
    assert figure["answer_rate"] == 306 / 731
    assert figure["answer_rate_wilson95"] == pytest.approx((0.3834, 0.4547), abs=5e-5)
    assert figure["answer_rate_bounds"] == (306 / 735, 310 / 735)
    assert figure["verdict"] == {"literal": "kept", "statistical": "above"}
    assert figure["reach_rate"] == (306 + 170 + 60) / 731
    assert figure["answer_given_reach"] == 306 / 536
    assert figure["network_effectiveness"] == (731 - 51) / 731
    assert figure["list_quality"] == (731 - 51) / 731
    assert figure["short_call_share"] == 12 / 306
    assert figure["keypress_rate"] == 36 / 306
    assert figure["callee_answer_rate"] == 297 / 512
    assert (figure["callees"], figure["billed_minutes"], figure["deliveries"]) == (512, 312, 1490)
    assert (figure["worst"], figure["submitted"], figure["answer_rate_submitted"]) == (None, None, None)


def test_nothing_counted_gives_nulls_and_zeros() -> None:
    """A rate without calls is null, never 0."""
    figure = summary({})

    rates = {*figures.RATES, "answer_rate_wilson95", "answer_rate_bounds", "callees", "callee_answer_rate"}
    assert {name: figure[name] for name in rates} == dict.fromkeys(rates)
    assert figure["verdict"] == {"literal": "none", "statistical": "none"}
    assert figure["outcomes"] == {outcome.value: 0 for outcome in TENCENT}
    assert figure["talk_seconds"] == {"n": 0, "mean": None, "p50": None, "p90": None, "p99": None}
    assert (figure["calls"], figure["lag_seconds"], figure["deliveries"]) == (0, None, None)


def test_pending_alone_leaves_everything_possible() -> None:
    figure = summary({Outcome.PENDING: Measures(calls=3)}, lost=1)

    assert (figure["calls"], figure["pending"], figure["lost"]) == (0, 2, 1)
    assert (figure["answer_rate"], figure["answer_rate_bounds"]) == (None, (0, 1))
    assert figure["verdict"] == {"literal": "none", "statistical": "none"}


def test_lost_calls_are_never_more_than_pending_ones() -> None:
    """A call settled between the two readings is not lost."""
    figure = summary({Outcome.PENDING: Measures(calls=2)}, lost=3)

    assert (figure["pending"], figure["lost"]) == (0, 2)


def test_no_outcome_that_occurred_is_hidden() -> None:
    """Tencent cannot report `rejected`; if a carrier in scope did, it is listed."""
    assert "rejected" not in summary({})["outcomes"]
    assert summary({Outcome.REJECTED: Measures(calls=1)})["outcomes"]["rejected"] == 1


def test_99th_percentile_needs_a_hundred() -> None:
    some = summary({}, talk={5: 99}, lag={2: 99})
    enough = summary({}, talk={5: 99, 7: 1}, lag={-1: 1, 2: 99})

    assert some["talk_seconds"] == {"n": 99, "mean": 5.0, "p50": 5, "p90": 5, "p99": None}
    assert some["lag_seconds"] == {"n": 99, "p50": 2, "p99": None}
    assert enough["talk_seconds"] == {"n": 100, "mean": 5.02, "p50": 5, "p90": 5, "p99": 5}
    assert enough["lag_seconds"] == {"n": 100, "p50": 2, "p99": 2}


def measured(calls: int, share: int) -> Measures:
    part = calls * share // 100
    return Measures(calls=calls, keypressed=part, short=part, conflicts=part, contradictions=part, billed_minutes=calls)


tallies = st.dictionaries(
    st.sampled_from(sorted({*Outcome} - {Outcome.LOST})),
    st.builds(measured, calls=st.integers(0, 2000), share=st.integers(0, 100)),
)


@given(tally=tallies, lost=st.integers(0, 100))
def test_figures_agree_with_each_other(tally: dict[Outcome, Measures], lost: int) -> None:
    """Outcomes partition the calls; answered is within reached, reached within the NER; no rate leaves 0 to 1."""
    figure = summary(tally, lost=lost)

    assert sum(figure["outcomes"].values()) == figure["calls"]
    assert figure["calls"] + figure["pending"] + figure["lost"] == sum(each.calls for each in tally.values())
    assert figure["pending"] >= 0
    rates = [figure[name] for name in figures.RATES]
    assert all(rate is None or 0 <= rate <= 1 for rate in rates)
    if figure["calls"]:
        low, high = figure["answer_rate_bounds"]
        assert low <= figure["answer_rate"] <= high
        assert figure["answer_rate"] <= figure["reach_rate"] <= figure["network_effectiveness"]
        assert figure["network_effectiveness"] <= figure["list_quality"]
        given_reach = figure["answer_given_reach"] or 0
        assert figure["answer_rate"] == pytest.approx(figure["reach_rate"] * given_reach)


@given(tally=tallies)
def test_every_rate_has_its_n_and_interval(tally: dict[Outcome, Measures]) -> None:
    of = figures.totals(tally)
    for name in figures.RATES:
        rate, n, interval = figures.rate(name, of)
        if n == 0:
            assert (rate, interval) == (None, None)
        else:
            assert rate is not None
            assert interval is not None
            assert interval[0] - 1e-12 <= rate <= interval[1] + 1e-12


def test_every_figure_is_defined_and_every_definition_is_a_figure() -> None:
    names = [metric.id for metric in METRICS]

    assert sorted(names) == sorted(summary({}))
    assert all(metric.label_zh and metric.formula for metric in METRICS)


def test_outcome_matrix_is_nested() -> None:
    """Contract, section 5: reached are answered, no_answer, user_busy, rejected."""
    assert OUTCOMES.keys() == set(Outcome)
    assert set(Outcome) - FINAL == {Outcome.PENDING, Outcome.LOST}
    assert [outcome for outcome, traits in OUTCOMES.items() if traits.is_answered] == ["answered"]
    reached = {outcome for outcome, traits in OUTCOMES.items() if traits.is_reached}
    effective = {outcome for outcome, traits in OUTCOMES.items() if traits.is_network_effective}
    assert reached == {"answered", "no_answer", "user_busy", "rejected"}
    assert effective == reached | {"forwarded", "powered_off", "out_of_coverage"}
    faults = {outcome for outcome, traits in OUTCOMES.items() if traits.is_list_fault}
    assert faults == {"suspended", "invalid_number", "barred"}


def test_definitions_are_json_and_name_every_failure_code() -> None:
    published = orjson.loads(orjson.dumps(definitions()))

    assert published["id"] == "1"
    codes = {row["code"]: row for row in published["carriers"]["tencent"]["failure_codes"]}
    assert codes[8] == {"code": 8, "text": "空号", "outcome": "invalid_number"}
    assert codes.keys() == PROFILES["tencent"].failure_outcomes.keys()
    assert {row["outcome"] for row in published["outcomes"]} == {outcome.value for outcome in Outcome}


def test_summary_is_json() -> None:
    figure = summary({Outcome.ANSWERED: Measures(calls=1)}, talk={1: 1}, lag={1: 1})

    assert orjson.loads(orjson.dumps(figure))["answer_rate"] == 1.0
