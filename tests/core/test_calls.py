"""The fold: order, repetition and lateness of deliveries change nothing; disagreement is seen; outcomes and times."""

import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import reduce
from typing import Any

import pytest
from bodies import STARTED, callbacks, encoded, failure, key_press, report
from hypothesis import given
from hypothesis import strategies as st

from receiver import calls
from receiver.carriers import tencent
from receiver.model import Anomaly, Call, CallFailure, CallKind, CallReport, Event, EventTimeSource, KeyPress, Outcome

ARRIVED_US = (STARTED + 30) * 1_000_000

Delivery = tuple[bytes, int]
"""A body and its arrival."""

deliveries = st.lists(
    st.tuples(callbacks.map(encoded), st.integers(ARRIVED_US, ARRIVED_US + 3_000_000)), min_size=1, max_size=6
)


def hash_of(callee: str) -> bytes:
    return hashlib.sha256(b"key" + callee.encode()).digest()


def events(delivery: Delivery) -> list[Event]:
    return [calls.with_callee_hash(event, hash_of) for event in tencent.decode(delivery[0]).events]


def lifted(event: Event, received_us: int = ARRIVED_US) -> Call:
    return calls.lift(event, carrier="tencent", app="demo", received_us=received_us)


def folded(*delivered: Delivery) -> Call:
    return reduce(calls.merge, [lifted(event, delivery[1]) for delivery in delivered for event in events(delivery)])


def call_of(*documents: dict[str, Any]) -> Call:
    return folded(*[(encoded(document), ARRIVED_US) for document in documents])


def outcome_of(*documents: dict[str, Any]) -> Outcome:
    return calls.outcome(call_of(*documents), tencent.FAILURE_OUTCOMES)


@given(delivered=deliveries, data=st.data())
def test_order_and_repetition_change_nothing(delivered: list[Delivery], data: st.DataObject) -> None:
    """Any permutation and any duplication of the same deliveries is the same call."""
    repeated = delivered + data.draw(st.lists(st.sampled_from(delivered), max_size=6))

    assert folded(*data.draw(st.permutations(repeated))) == folded(*delivered)


partial_calls = deliveries.map(lambda delivered: folded(*delivered))


@given(a=partial_calls, b=partial_calls, c=partial_calls)
def test_merge_is_a_join_of_a_semilattice(a: Call, b: Call, c: Call) -> None:
    assert calls.merge(a, a) == a
    assert calls.merge(a, b) == calls.merge(b, a)
    assert calls.merge(calls.merge(a, b), c) == calls.merge(a, calls.merge(b, c))
    assert calls.merge(calls.merge(a, b), b) == calls.merge(a, b)


def known(said: Sequence[Event], of: Callable[[Event], Any]) -> set[Any]:
    return {of(event) for event in said} - {None}


def field(kind: type[Event], name: str) -> Callable[[Event], Any]:
    return lambda event: getattr(event, name) if isinstance(event, kind) else None


@given(delivered=deliveries)
def test_fold_equals_the_rules_read_over_all_deliveries_at_once(delivered: list[Delivery]) -> None:
    """The contract's and the facts' rule of each field, without any merging."""
    said = [event for delivery in delivered for event in events(delivery)]
    results = known(said, field(CallReport, "result"))
    codes = known(said, field(CallFailure, "failure_code"))
    callees = known(said, lambda event: event.parties.callee_hash)
    singles: dict[str, set[Any]] = {
        "kind": known(said, field(CallReport, "kind")),
        "result": results,
        "failure_code": codes,
        "callee": callees,
        "caller": known(said, lambda event: event.parties.caller),
        "nationcode": known(said, lambda event: event.parties.nationcode),
    }
    least = {name: min(values, default=None) for name, values in singles.items()}
    latest = {name: known(said, field(CallReport, name)) for name in ("started_at", "answered_at", "ended_at")}
    latest["billed_minutes"] = known(said, field(CallReport, "billed_minutes"))
    texts = {
        event.failure_reason
        for event in said
        if isinstance(event, CallFailure) and event.failure_code == least["failure_code"] and event.failure_reason
    }

    call = folded(*delivered)

    assert call == Call(
        carrier="tencent",
        app="demo",
        call_id=call.call_id,
        kind=least["kind"] or CallKind.UNKNOWN,
        result=next((best for best in (0, 1, 2) if best in results), least["result"]),
        failure_code=least["failure_code"],
        failure_reason=min(texts, default=None),
        caller=least["caller"],
        callee=min((event.parties.callee for event in said if event.parties.callee), key=hash_of, default=None),
        callee_hash=least["callee"],
        nationcode=least["nationcode"],
        digits=frozenset(known(said, field(KeyPress, "digit"))),
        first_received_us=min(received_us for _, received_us in delivered),
        last_received_us=max(received_us for _, received_us in delivered),
        conflicts=frozenset(name for name, values in (singles | latest).items() if len(values) > 1),
        anomalies=frozenset(anomaly for event in said for anomaly in event.anomalies),
        **{name: max(values, default=None) for name, values in latest.items()},
    )


@given(delivered=deliveries)
def test_folding_erased_facts_equals_folding_bodies(delivered: list[Delivery]) -> None:
    """When the number is erased and its hash kept, nothing but the number changes."""
    erased = [
        lifted(replace(event, parties=replace(event.parties, callee=None)), delivery[1])
        for delivery in delivered
        for event in events(delivery)
    ]

    assert reduce(calls.merge, erased) == replace(folded(*delivered), callee=None)


@given(delivered=deliveries)
def test_hash_is_given_once_and_only_to_a_known_callee(delivered: list[Delivery]) -> None:
    for event in events(delivered[0]):
        callee = event.parties.callee

        assert event.parties.callee_hash == (None if callee is None else hash_of(callee))
        assert calls.with_callee_hash(event, lambda _: b"other") == event


def test_caller_named_like_an_unknown_kind_still_disagrees() -> None:
    call = call_of(report(call_from="unknown"), failure(call_from="075583763333"))

    assert call.conflicts == {"caller"}


def test_status_and_failure_of_one_call_do_not_conflict() -> None:
    """Both come for one unanswered call; they speak of different things."""
    call = call_of(report(result="1"), failure(), key_press())

    assert (call.result, call.failure_code, call.failure_reason) == (1, 8, "空号")
    assert (call.digits, call.conflicts) == (frozenset({"2"}), frozenset())


def test_reason_texts_drift_without_conflict() -> None:
    call = call_of(failure(failure_reason="空号。"), failure(failure_reason="空号"))

    assert (call.failure_reason, call.conflicts) == ("空号", frozenset())


def test_two_spellings_of_one_callee_agree() -> None:
    call = call_of(report(mobile="13812345678"), failure(mobile="+86 138-1234-5678"))

    assert (call.callee, call.conflicts) == ("8613812345678", frozenset())


def test_anomalies_are_kept_with_the_call() -> None:
    call = call_of(report(fee="-1"), key_press(keypress=True))

    assert call.anomalies == {Anomaly.NUMBER_OUT_OF_RANGE, Anomaly.TEXT_UNREADABLE}


@pytest.mark.parametrize(
    ("documents", "outcome"),
    [
        ([report(result="0")], Outcome.ANSWERED),
        ([report(result="1")], Outcome.NO_ANSWER),
        ([report(result="2")], Outcome.SYSTEM_ERROR),
        ([report(result="3")], Outcome.OTHER),
        ([report(result="-1")], Outcome.OTHER),
        ([report(result="abc")], Outcome.OTHER),
        ([report(result=True)], Outcome.OTHER),
        ([report(result="")], Outcome.PENDING),
        ([report(result=10**30)], Outcome.PENDING),
        ([key_press()], Outcome.PENDING),
        ([failure(failure_code=None)], Outcome.PENDING),
        ([failure(failure_code=14)], Outcome.OTHER),
        ([failure(failure_code=-7)], Outcome.OTHER),
        ([failure(failure_code=2**62)], Outcome.OTHER),
        ([report(result="1"), failure(failure_code=2)], Outcome.USER_BUSY),
        ([report(result="2"), failure(failure_code=12)], Outcome.CARRIER_LIMITED),
        ([report(result="abc"), failure(failure_code=8)], Outcome.INVALID_NUMBER),
        ([report(result="0"), failure(failure_code=8)], Outcome.ANSWERED),
        ([report(result="1"), report("voicecode_callback", result="0")], Outcome.ANSWERED),
        ([report(result="2"), report(result="1")], Outcome.NO_ANSWER),
        ([report(result="-1"), report(result="2")], Outcome.SYSTEM_ERROR),
        ([failure(failure_code=8), failure(failure_code=1)], Outcome.POWERED_OFF),
    ],
)
def test_outcome_by_precedence(documents: list[dict[str, Any]], outcome: Outcome) -> None:
    """Contract, section 5: answered, then the failure code, then not answered, abnormal, whatever else."""
    assert outcome_of(*documents) == outcome
    assert outcome_of(*reversed(documents)) == outcome


@pytest.mark.parametrize("code", tencent.FAILURE_OUTCOMES)
def test_every_documented_code_decides_the_outcome(code: int) -> None:
    assert outcome_of(report(result="1"), failure(failure_code=code)) == tencent.FAILURE_OUTCOMES[code]


UUID = "0bd403fe-ffd6-11eb-935a-5254002ab735"
UUID_DATED = int(datetime(2021, 8, 18, 3, 40, 35, tzinfo=UTC).timestamp())
# Its ticks are 100 ns, and the epoch of such UUIDs lies on a whole second.
UUID_FRACTION_US = uuid.UUID(UUID).time // 10 % 1_000_000
DAY_US = 24 * 3600 * 1_000_000


def arrived(call_id: str, us: int) -> tuple[int, EventTimeSource]:
    """Event time of a call of which only a failure came, that long after its call id's date."""
    call = folded((encoded(failure(callid=call_id)), UUID_DATED * 1_000_000 + us))
    return calls.event_time(call)


def test_carriers_start_is_the_event_time() -> None:
    call = call_of(failure(callid=UUID), report(callid=UUID))

    assert calls.event_time(call) == (STARTED, EventTimeSource.CARRIER)


@pytest.mark.parametrize("call_id", [UUID, UUID.upper()])
def test_version_1_uuid_dates_a_call_without_times(call_id: str) -> None:
    assert arrived(call_id, 60_000_000) == (UUID_DATED, EventTimeSource.CALLID)


def test_uuid_of_the_api_pages_example_gives_its_documented_time() -> None:
    dated = int(datetime(2020, 12, 17, 7, 47, 11, tzinfo=UTC).timestamp())
    call = folded((encoded(failure(callid="12582bce-403c-11eb-96b8-525400476c37")), (dated + 5) * 1_000_000))

    assert calls.event_time(call) == (dated, EventTimeSource.CALLID)


@pytest.mark.parametrize(
    ("after_us", "source"),
    [
        (UUID_FRACTION_US - 1000, EventTimeSource.ARRIVAL),
        (UUID_FRACTION_US + 1000, EventTimeSource.CALLID),
        (DAY_US + UUID_FRACTION_US - 1000, EventTimeSource.CALLID),
        (DAY_US + UUID_FRACTION_US + 1000, EventTimeSource.ARRIVAL),
    ],
)
def test_uuid_counts_only_within_a_day_before_the_arrival(after_us: int, source: EventTimeSource) -> None:
    at, seen = arrived(UUID, after_us)

    assert seen == source
    assert at == (UUID_DATED if source is EventTimeSource.CALLID else UUID_DATED + after_us // 1_000_000)


@pytest.mark.parametrize(
    "call_id",
    [
        UUID.replace("-", ""),
        UUID.replace("-11eb-", "-41eb-"),
        UUID.replace("-935a-", "-135a-"),
        UUID + "0",
        UUID.replace("0bd4", "\N{ARABIC-INDIC DIGIT ZERO}bd4"),
        "opaque",
    ],
)
def test_call_id_that_is_no_version_1_uuid_dates_nothing(call_id: str) -> None:
    assert arrived(call_id, 60_000_000) == (UUID_DATED + 60, EventTimeSource.ARRIVAL)


def test_arrival_of_the_first_callback_dates_the_rest() -> None:
    call = folded((encoded(key_press()), ARRIVED_US + 5_000_000), (encoded(failure()), ARRIVED_US + 1_999_999))

    assert calls.event_time(call) == (STARTED + 31, EventTimeSource.ARRIVAL)
