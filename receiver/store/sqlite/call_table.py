"""Calls as rows, and rows as calls again. Folds nothing and sums nothing up."""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, TypeAlias

import orjson

from receiver.model import Anomaly, Call, CallKind
from receiver.store.sqlite.rollups import Contribution
from receiver.store.sqlite.scopes import Scope

CallKey: TypeAlias = tuple[str, str, str]
"""Carrier, application and call id."""

COLUMNS: Final = """
  call.id, call.call_id, scope.carrier, scope.app, scope.kind, scope.caller, call.result, call.failure_code,
  call.failure_reason, call.callee, call.callee_hash, call.nationcode, call.started_at, call.answered_at, call.ended_at,
  call.billed_minutes, call.digits, call.first_received_us, call.last_received_us, call.conflicts, call.anomalies,
  call.deliveries, call.duplicates, call.event_at, call.outcome, call.event_time_source
"""
_SELECT_BY_KEY: Final = f"""
select {COLUMNS}, call.scope_id, call.is_keypressed, call.is_short, call.is_conflicting, call.is_contradictory,
  call.seconds_to_answer, call.talk_seconds
from json_each(?) as wanted
cross join call on call.key = wanted.value
join scope on scope.id = call.scope_id
"""  # noqa: S608 -- a constant list of columns
BY_KEY: Final = f"select {COLUMNS} from call join scope on scope.id = call.scope_id where call.key = ?"  # noqa: S608
_INSERT: Final = """
insert into call (
  id, key, call_id, scope_id, event_at, outcome, event_time_source, result, failure_code, failure_reason, callee,
  callee_hash, nationcode, started_at, answered_at, ended_at, billed_minutes, digits, first_received_us,
  last_received_us, conflicts, anomalies, deliveries, duplicates, is_keypressed, is_short, is_conflicting,
  is_contradictory, seconds_to_answer, talk_seconds
)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_REPLACE: Final = _INSERT.replace("insert into", "replace into", 1)
_DELETE: Final = "delete from call where id = ?"
_LAST_ID: Final = "select coalesce(max(id), 0) from call"


@dataclass(slots=True)
class CallState:
    """A call while it is folded: what the tables hold of it (`stored`), and what is known of it now.

    A call of which nothing is known (any more) has no row; `id` is its row's number all the same.
    """

    id: int
    stored: Contribution | None = None
    call: Call | None = None
    deliveries: int = 0
    duplicates: int = 0


@lru_cache(maxsize=16_384)
def hash_of(key: CallKey) -> int:
    """The number under which a call is looked up: signed 64 bit, as SQLite has them. Unequal calls may share one."""
    return int.from_bytes(blake2b("\0".join(key).encode(), digest_size=8).digest(), signed=True)


class CallTable:
    """The calls of one file; only its writer numbers new ones. Kept in step with a transaction by `forget`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._last_id = 0
        self.forget()

    def forget(self) -> None:
        """Take the last number from the file again: a rolled-back transaction's are void."""
        (self._last_id,) = self._connection.execute(_LAST_ID).fetchone()

    def load(self, keys: Iterable[CallKey]) -> dict[CallKey, CallState]:
        """The state of each of these calls; those without a row are numbered in this order."""
        states: dict[CallKey, CallState | None] = dict.fromkeys(keys)
        wanted = orjson.dumps([hash_of(key) for key in states]).decode()
        for row in self._connection.execute(_SELECT_BY_KEY, (wanted,)):
            call = call_of(row)
            key = (call.carrier, call.app, call.call_id)
            if key in states:
                states[key] = CallState(row[0], _contribution_of(row), call, deliveries=row[21], duplicates=row[22])
        return {key: state or self._new() for key, state in states.items()}

    def _new(self) -> CallState:
        self._last_id += 1
        return CallState(self._last_id)

    def write(self, rows: Sequence[tuple[Any, ...]], *, is_new: bool) -> None:
        """Add or replace rows, in the order of `row_of`."""
        self._connection.executemany(_INSERT if is_new else _REPLACE, rows)

    def delete(self, ids: Iterable[int]) -> None:
        """Delete the rows of calls of which nothing is known any more."""
        self._connection.executemany(_DELETE, [(call_id,) for call_id in ids])


def scope_of(call: Call) -> Scope:
    """The full key of a call."""
    return Scope(call.carrier, call.app, call.kind.value, call.caller or "")


def row_of(state: CallState, call: Call, adds: Contribution, source: str) -> tuple[Any, ...]:
    """A call as its row."""
    _, _, keypressed, short, conflicts, contradictions, *_ = adds.sums
    return (
        state.id,
        hash_of((call.carrier, call.app, call.call_id)),
        call.call_id,
        adds.scope_id,
        adds.event_at,
        adds.outcome,
        source,
        call.result,
        call.failure_code,
        call.failure_reason,
        call.callee,
        call.callee_hash,
        call.nationcode,
        call.started_at,
        call.answered_at,
        call.ended_at,
        call.billed_minutes,
        _text(call.digits),
        call.first_received_us,
        call.last_received_us,
        _text(call.conflicts),
        _text(call.anomalies),
        state.deliveries,
        state.duplicates,
        keypressed,
        short,
        conflicts,
        contradictions,
        adds.seconds_to_answer,
        adds.talk_seconds,
    )


def call_of(row: Sequence[Any]) -> Call:
    """A call from a row that begins with `COLUMNS`."""
    return Call(
        call_id=row[1],
        carrier=row[2],
        app=row[3],
        kind=CallKind(row[4]),
        caller=row[5] or None,
        result=row[6],
        failure_code=row[7],
        failure_reason=row[8],
        callee=row[9],
        callee_hash=row[10],
        nationcode=row[11],
        started_at=row[12],
        answered_at=row[13],
        ended_at=row[14],
        billed_minutes=row[15],
        digits=_texts(row[16]),
        first_received_us=row[17],
        last_received_us=row[18],
        conflicts=_texts(row[19]),
        anomalies=frozenset([Anomaly(name) for name in _texts(row[20])]),
    )


def _contribution_of(row: Sequence[Any]) -> Contribution:
    event_at, outcome = row[23:25]
    scope_id, keypressed, short, conflicts, contradictions, to_answer, talk = row[26:]
    sums = (
        1,
        row[15] or 0,
        keypressed,
        short,
        conflicts,
        contradictions,
        int(to_answer is not None),
        to_answer or 0,
        int(talk is not None),
        talk or 0,
    )
    return Contribution(scope_id, event_at, outcome, sums, to_answer, talk)


def _text(names: frozenset[str]) -> str | None:
    return orjson.dumps(sorted(names)).decode() if names else None


def _texts(text: str | None) -> frozenset[str]:
    return frozenset(orjson.loads(text)) if text else frozenset()
