"""Stored rows to JSON under the API's names: numbers masked, foreign bytes as text or base64. Asks nobody anything."""

from base64 import b64encode
from typing import Any
from zoneinfo import ZoneInfo

from receiver.model import Call, Outcome
from receiver.statistics.contribution import seconds_to_answer, talk_seconds
from receiver.store.interface import CallRow, DeliveryRow, QuarantineRow
from receiver.web.envelope import instant, instant_or_none, instant_us
from receiver.web.numbers import masked


def call_row(row: CallRow, *, zone: ZoneInfo, reveals: bool, lost_before_us: int) -> dict[str, Any]:
    """A call with everything derived from it. A pending one is lost when its first callback came too long ago."""
    call, outcome = row.call, row.outcome
    if outcome is Outcome.PENDING and call.first_received_us < lost_before_us:
        outcome = Outcome.LOST
    return {
        "carrier": call.carrier,
        "app": call.app,
        "call_id": call.call_id,
        "kind": call.kind,
        "outcome": outcome,
        "event_time": instant(row.event_at, zone),
        "event_time_source": row.event_time_source,
        "call_from": call.caller or "",
        "callee": call.callee if reveals else masked(call.callee, call.nationcode),
        "nationcode": call.nationcode,
        **_ending(call, outcome, zone),
        "conflicts": sorted(call.conflicts),
        "anomalies": sorted(call.anomalies),
        "deliveries": row.deliveries,
        "duplicates": row.duplicates,
        "first_received_at": instant_us(call.first_received_us, zone),
        "last_received_at": instant_us(call.last_received_us, zone),
    }


def _ending(call: Call, outcome: Outcome, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "result": call.result,
        "failure_code": call.failure_code,
        "failure_reason": call.failure_reason,
        "started_at": instant_or_none(call.started_at, zone),
        "answered_at": instant_or_none(call.answered_at, zone),
        "ended_at": instant_or_none(call.ended_at, zone),
        "time_to_answer_seconds": seconds_to_answer(call, outcome),
        "talk_seconds": talk_seconds(call, outcome),
        "billed_minutes": call.billed_minutes,
        "keypress": sorted(call.digits),
    }


def delivery_row(row: DeliveryRow, *, zone: ZoneInfo, reveals: bool) -> dict[str, Any]:
    """A kept delivery; its body only when the caller may see it and it is still there."""
    document = {
        "cursor": row.seq,
        "received_at": instant_us(row.received_us, zone),
        "carrier": row.carrier,
        "app": row.app,
        "kind": row.kind,
        "disposition": row.disposition,
        "standing": row.standing,
        "peer": dict(row.peer),
        "tls": {"protocol": row.tls_protocol, "cipher": row.tls_cipher},
        "size": row.size,
        "sha256": row.sha256,
    }
    return document | body(row.body) if reveals else document


def body(exact: bytes | None) -> dict[str, str | None]:
    """Exact bytes for JSON: as `body` when they are UTF-8, else as `body_base64`; None when they are gone."""
    if exact is None:
        return {"body": None}
    try:
        return {"body": exact.decode()}
    except UnicodeDecodeError:
        return {"body_base64": b64encode(exact).decode()}


def quarantine_row(row: QuarantineRow, *, zone: ZoneInfo, reveals: bool) -> dict[str, Any]:
    """An undecodable body: why and where, and for those who may see it the exact bytes, always as base64."""
    document = {
        "id": row.id,
        "received_at": instant_us(row.received_us, zone),
        "last_received_at": instant_us(row.last_received_us, zone),
        "hits": row.hits,
        "carrier": row.carrier,
        "app": row.app,
        "peer_sha256": row.peer_sha256,
        "size": row.size,
        "sha256": row.sha256,
        "reason": row.reason,
        "offset": row.offset,
        "answered_status": row.answered_status,
        "state": row.state,
        "headers": dict(row.headers),
    }
    return document | {"body_base64": b64encode(row.body).decode()} if reveals else document
