"""Everything said about one call, folded into the call and its outcome. Knows no carrier, storage or clock.

Calls are a join-semilattice: `merge` is commutative, associative and idempotent, so that order, repetition and lateness
of deliveries change nothing. Every field takes the least or greatest of the values seen, which is all it needs.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from operator import attrgetter
from typing import Any, Final, TypeVar

from receiver.model import (
    MICROSECONDS,
    Call,
    CallFailure,
    CallKind,
    CallReport,
    Event,
    EventTimeSource,
    KeyPress,
    Outcome,
)

_Value = TypeVar("_Value", int, bytes)

_OUTCOME_OF_RESULT: Final = {1: Outcome.NO_ANSWER, 2: Outcome.SYSTEM_ERROR}
_BEST_RESULTS: Final = range(3)

# A call has one of each; deliveries that name different ones disagree. Reason texts drift, so they are not among them.
# A callee is told apart by its hash, which stays when the number is erased.
_SINGLE: Final = {
    "kind": "kind",
    "result": "result",
    "failure_code": "failure_code",
    "caller": "caller",
    "callee": "callee_hash",
    "nationcode": "nationcode",
    "started_at": "started_at",
    "answered_at": "answered_at",
    "ended_at": "ended_at",
    "billed_minutes": "billed_minutes",
}
_single_values: Final[Callable[[Call], tuple[object, ...]]] = attrgetter(*_SINGLE.values())

# RFC 9562, section 5.1: time_low, time_mid, version 1 and time_high, variant; with dashes, as section 4 writes it.
_UUID_1: Final = re.compile(
    r"([0-9a-f]{8})-([0-9a-f]{4})-1([0-9a-f]{3})-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE
)
_UUID_EPOCH_TO_UNIX_US: Final = 0x01B21DD213814000 // 10
_UUID_TICKS_PER_US: Final = 10
_DAY_US: Final = 24 * 60 * 60 * MICROSECONDS


def with_callee_hash(event: Event, hash_of: Callable[[str], bytes]) -> Event:
    """Add the callee's keyed hash, which decides whether two deliveries speak of the same callee."""
    parties = event.parties
    if parties.callee is None or parties.callee_hash is not None:
        return event
    return replace(event, parties=replace(parties, callee_hash=hash_of(parties.callee)))


def lift(event: Event, *, carrier: str, app: str, received_us: int) -> Call:
    """Turn what one delivery says into the call as far as this delivery knows it."""
    known: dict[str, Any] = {
        "carrier": carrier,
        "app": app,
        "call_id": event.call_id,
        "caller": event.parties.caller,
        "callee": event.parties.callee,
        "callee_hash": event.parties.callee_hash,
        "nationcode": event.parties.nationcode,
        "first_received_us": received_us,
        "last_received_us": received_us,
        "anomalies": frozenset(event.anomalies),
    }
    match event:
        case CallReport():
            return Call(
                **known,
                kind=event.kind,
                result=event.result,
                started_at=event.started_at,
                answered_at=event.answered_at,
                ended_at=event.ended_at,
                billed_minutes=event.billed_minutes,
            )
        case CallFailure():
            return Call(**known, failure_code=event.failure_code, failure_reason=event.failure_reason)
        case KeyPress():
            return Call(**known, digits=frozenset() if event.digit is None else frozenset({event.digit}))


def merge(a: Call, b: Call) -> Call:
    """Join what is known of one call from two sides; both must have the same carrier, app and call id."""
    code, reason = _first_known((a.failure_code, a.failure_reason), (b.failure_code, b.failure_reason))
    callee_hash, callee = _first_known((a.callee_hash, a.callee), (b.callee_hash, b.callee))
    return Call(
        carrier=a.carrier,
        app=a.app,
        call_id=a.call_id,
        kind=_kind(a.kind, b.kind),
        result=_result(a.result, b.result),
        failure_code=code,
        failure_reason=reason,
        caller=_least(a.caller, b.caller),
        callee=callee,
        callee_hash=callee_hash,
        nationcode=_least(a.nationcode, b.nationcode),
        started_at=_greatest(a.started_at, b.started_at),
        answered_at=_greatest(a.answered_at, b.answered_at),
        ended_at=_greatest(a.ended_at, b.ended_at),
        billed_minutes=_greatest(a.billed_minutes, b.billed_minutes),
        digits=a.digits | b.digits,
        first_received_us=min(a.first_received_us, b.first_received_us),
        last_received_us=max(a.last_received_us, b.last_received_us),
        conflicts=a.conflicts | b.conflicts | _disagreements(a, b),
        anomalies=a.anomalies | b.anomalies,
    )


def outcome(call: Call, failure_outcomes: Mapping[int, Outcome]) -> Outcome:
    """How the call ended; `pending` while nothing final is known. `lost` depends on the clock, so not from here."""
    if call.result == 0:
        return Outcome.ANSWERED
    if call.failure_code is not None:
        return failure_outcomes.get(call.failure_code, Outcome.OTHER)
    if call.result is None:
        return Outcome.PENDING
    return _OUTCOME_OF_RESULT.get(call.result, Outcome.OTHER)


def event_time(call: Call) -> tuple[int, EventTimeSource]:
    """When the call happened, in Unix seconds, by the best source there is (contract, section 5)."""
    if call.started_at is not None:
        return call.started_at, EventTimeSource.CARRIER
    dated_us = _uuid_time_us(call.call_id)
    if dated_us is not None and 0 <= call.first_received_us - dated_us <= _DAY_US:
        return dated_us // MICROSECONDS, EventTimeSource.CALLID
    return call.first_received_us // MICROSECONDS, EventTimeSource.ARRIVAL


def _uuid_time_us(call_id: str) -> int | None:
    match = _UUID_1.fullmatch(call_id)
    if match is None:
        return None
    low, mid, high = match.groups()
    return int(high + mid + low, 16) // _UUID_TICKS_PER_US - _UUID_EPOCH_TO_UNIX_US


def _least(a: str | None, b: str | None) -> str | None:
    if a is None or b is None:
        return a or b
    return min(a, b)


def _greatest(a: int | None, b: int | None) -> int | None:
    if a is None:
        return b
    return a if b is None else max(a, b)


def _result(a: int | None, b: int | None) -> int | None:
    """Answered beats not answered beats abnormal beats whatever else; None is no result."""
    if a is None or a == b:
        return b
    return a if b is None else min((a not in _BEST_RESULTS, a), (b not in _BEST_RESULTS, b))[1]


def _kind(a: CallKind, b: CallKind) -> CallKind:
    if a is CallKind.UNKNOWN or a is b:
        return b
    return a if b is CallKind.UNKNOWN else min(a, b)


def _first_known(
    a: tuple[_Value | None, str | None], b: tuple[_Value | None, str | None]
) -> tuple[_Value | None, str | None]:
    """The pair with the lesser first value, and the text that belongs to it; None comes last in both."""
    return a if a == b else min(a, b, key=lambda pair: (pair[0] is None, pair[0], pair[1] is None, pair[1]))


def _disagreements(a: Call, b: Call) -> frozenset[str]:
    ours, theirs = _single_values(a), _single_values(b)
    if ours == theirs:
        return frozenset()
    return frozenset(
        [
            name
            for name, one, other in zip(_SINGLE, ours, theirs, strict=True)
            if one != other and one is not None and other is not None
            if CallKind.UNKNOWN not in {one, other} or name != "kind"
        ]
    )
