"""Questions about calls and arrivals as SQL: which scopes, which pieces of the span, which columns. Asks nothing.

Roll-ups answer whenever every filter and the grouping are part of the full key; else calls do, one by one. Fragments
are constants, values are bound.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from receiver.model import Outcome, Span
from receiver.store.interface import Dimension, Filters
from receiver.store.levels import Calendar, Piece, cover_arrivals, cover_calls
from receiver.store.sqlite.codes import ANSWERED, CODE_OF, PENDING
from receiver.store.sqlite.rollups import Seconds

# Joins are crossed so that SQLite keeps their order: pieces of the span first. Left to choose, it starts with scopes.
_PIECES: Final = """
with piece (edge, level, first, past) as materialized (
  select value ->> 0, value ->> 1, value ->> 2, value ->> 3 from json_each(:pieces)
)
"""
_TALLY_SUMS: Final = """
  sum(calls), sum(billed_minutes), sum(keypressed), sum(short), sum(conflicts), sum(contradictions),
  sum(timed_to_answer), sum(seconds_to_answer), sum(timed_talk), sum(talk_seconds)
"""
_CALL_SUMS: Final = """
  count(*), coalesce(sum(billed_minutes), 0), sum(is_keypressed), sum(is_short), sum(is_conflicting),
  sum(is_contradictory), count(seconds_to_answer), coalesce(sum(seconds_to_answer), 0), count(talk_seconds),
  coalesce(sum(talk_seconds), 0)
"""
_FROM_ROLLUPS: Final = """
from piece
cross join scope
cross join rollup on rollup.scope_id = scope.id and rollup.level = piece.level
  and rollup.bucket >= piece.first and rollup.bucket < piece.past
where piece.level is not null
"""
_FROM_CALLS: Final = """
from piece
cross join call on call.event_at >= piece.first and call.event_at < piece.past
cross join scope on scope.id = call.scope_id
where piece.level is null
"""
_FROM_HISTOGRAM: Final = """
from piece
cross join scope
cross join histogram on histogram.scope_id = scope.id and histogram.level = piece.level and histogram.what = :what
  and histogram.bucket >= piece.first and histogram.bucket < piece.past
where piece.level is not null
"""
_ARRIVALS: Final = """
select coalesce(sum(deliveries), 0), coalesce(sum(duplicates), 0), coalesce(sum(held), 0),
  coalesce(sum(unknown_kind), 0)
from piece
cross join scope
cross join arrival on arrival.scope_id = scope.id and arrival.level = piece.level
  and arrival.bucket >= piece.first and arrival.bucket < piece.past
where true
"""
_QUARANTINED: Final = """
select coalesce(sum(n), 0) from quarantine_arrival as scope where received_at >= :start and received_at < :end
"""
_CALLEES: Final = """
select count(distinct callee_hash), count(distinct case when outcome = :answered then callee_hash end)
"""
_IN_SPAN: Final = """
from call cross join scope on scope.id = call.scope_id where call.event_at >= :start and call.event_at < :end
"""

# Which scopes: those of the whole carrier, of one of its parts, or of the full key.
_WHOLE: Final = " and scope.app is null and scope.kind is null and scope.caller is null"
_PARTS: Final = {
    "app": " and scope.app is not null and scope.kind is null",
    "kind": " and scope.kind is not null and scope.app is null",
    "caller": " and scope.caller is not null and scope.app is null",
}
_FULL: Final = " and scope.app is not null and scope.kind is not null"

_OF_SCOPE: Final = {
    "carrier": " and scope.carrier = :carrier",
    "app": " and scope.app = :app",
    "kind": " and scope.kind = :kind",
    "caller": " and scope.caller = :caller",
}
_OF_CALL: Final = {
    "nationcode": " and coalesce(call.nationcode, '') = :nationcode",
    "first_received_from_us": " and call.first_received_us >= :first_received_from_us",
    "first_received_before_us": " and call.first_received_us < :first_received_before_us",
}
_OUTCOME: Final = " and outcome = :outcome"
# A literal, so that SQLite sees that the index of pending calls holds them all.
_IS_PENDING: Final = f" and outcome = {PENDING}"

_NO_KEY: Final = "null"
_KEY: Final = {
    Dimension.CARRIER: "scope.carrier",
    Dimension.APP: "scope.app",
    Dimension.KIND: "scope.kind",
    Dimension.CALLER: "scope.caller",
    Dimension.FAILURE_CODE: "coalesce(cast(call.failure_code as text), '')",
    Dimension.NATIONCODE: "coalesce(call.nationcode, '')",
}
_PART_OF: Final = {Dimension.APP: "app", Dimension.KIND: "kind", Dimension.CALLER: "caller"}
_OF_CALLS_ONLY: Final = frozenset({Dimension.FAILURE_CODE, Dimension.NATIONCODE})


@dataclass(frozen=True, slots=True)
class Question:
    """A statement and the values bound into it."""

    statement: str
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cuts:
    """How the roll-ups of one file are cut: the days of its zone, and where fine buckets begin."""

    calendar: Calendar
    floor: int

    def calls(self, start: int, end: int) -> list[Piece]:
        """The pieces of a span of event time."""
        return cover_calls(start, end, calendar=self.calendar, floor=self.floor)

    def arrivals(self, start: int, end: int) -> list[Piece]:
        """The pieces of a span of arrivals."""
        return cover_arrivals(start, end, calendar=self.calendar, floor=self.floor)


def tally(filters: Filters, spans: Sequence[Span], *, group_by: Dimension | None, cuts: Cuts) -> Question:
    """Rows of (number of the span, key, outcome, the sums), some of which may have to be added up."""
    dimension = None if group_by is Dimension.OUTCOME else group_by
    key = _NO_KEY if dimension is None else _KEY[dimension]
    from_calls = f"select edge, {key}, outcome, {_CALL_SUMS} {_FROM_CALLS} {_calls_where(filters)} group by 1, 2, 3"
    if dimension in _OF_CALLS_ONLY or not _is_in_key(filters):
        pieces = [(number, Piece(None, span.start, span.end)) for number, span in enumerate(spans)]
        return Question(f"{_PIECES} {from_calls}", _values(filters) | {"pieces": _json(pieces)})
    pieces = [(number, piece) for number, span in enumerate(spans) for piece in cuts.calls(span.start, span.end)]
    where = _scopes_where(filters, dimension) + (_OUTCOME if filters.outcome else "")
    from_rollups = f"select edge, {key}, outcome, {_TALLY_SUMS} {_FROM_ROLLUPS} {where} group by 1, 2, 3"
    statement = f"{_PIECES} {from_rollups} union all {from_calls}"
    return Question(statement, _values(filters) | {"pieces": _json(pieces)})


def seconds(filters: Filters, span: Span, *, what: Seconds, cuts: Cuts) -> Question:
    """Rows of (second, how many calls), some of which may have to be added up. Only answered calls have any."""
    column = "call.seconds_to_answer" if what is Seconds.TIME_TO_ANSWER else "call.talk_seconds"
    from_calls = f"select {column}, count(*) {_FROM_CALLS} {_calls_where(filters)} and {column} is not null group by 1"
    is_in_key = _is_in_key(filters) and filters.outcome in {None, Outcome.ANSWERED}
    pieces = cuts.calls(span.start, span.end) if is_in_key else [Piece(None, span.start, span.end)]
    values = _values(filters) | {"pieces": _json([(0, piece) for piece in pieces]), "what": what}
    if not is_in_key:
        return Question(f"{_PIECES} {from_calls}", values)
    where = _scopes_where(filters, None)
    from_histogram = f"select second, sum(n) {_FROM_HISTOGRAM} {where} group by 1"
    return Question(f"{_PIECES} {from_histogram} union all {from_calls}", values)


def lags(filters: Filters, span: Span, *, cuts: Cuts) -> Question:
    """Rows of (second, how many deliveries), by arrival in whole minutes."""
    widened = cuts.arrivals(span.start - span.start % 60, span.end + -span.end % 60)
    source = _source_of(filters)
    statement = f"{_PIECES} select second, sum(n) {_FROM_HISTOGRAM} {_scopes_where(source, None)} group by 1"
    return Question(
        statement, _values(source) | {"pieces": _json([(0, each) for each in widened]), "what": Seconds.LAG}
    )


def arrivals(filters: Filters, span: Span, *, cuts: Cuts) -> Question:
    """One row of deliveries, duplicates, held and unknown kinds."""
    source = _source_of(filters)
    pieces = [(0, piece) for piece in cuts.arrivals(span.start, span.end)]
    return Question(f"{_PIECES} {_ARRIVALS} {_scopes_where(source, None)}", _values(source) | {"pieces": _json(pieces)})


def quarantined(filters: Filters, span: Span) -> Question:
    """One row: how many undecodable bodies arrived."""
    source = _source_of(filters)
    where = "".join([_OF_SCOPE[name] for name in _given(source, _OF_SCOPE)])
    return Question(f"{_QUARANTINED} {where}", _values(source) | {"start": span.start, "end": span.end})


def pending(filters: Filters, span: Span) -> Question:
    """One row: how many calls have no final outcome."""
    return in_span(f"select count(*) {_IN_SPAN} {_IS_PENDING}", filters, span)


def callees(filters: Filters, span: Span) -> Question:
    """One row: distinct callees, and how many of them answered."""
    question = in_span(f"{_CALLEES} {_IN_SPAN}", filters, span)
    return Question(question.statement, question.values | {"answered": ANSWERED})


def calls(columns: str, filters: Filters, span: Span, *, after: tuple[int, int] | None, limit: int) -> Question:
    """Calls newest first, behind a keyset."""
    question = in_span(f"select {columns} {_IN_SPAN}", filters, span)
    values = question.values | {"limit": limit}
    behind = ""
    if after is not None:
        behind = " and (call.event_at, call.id) < (:after_event_at, :after_id)"
        values |= {"after_event_at": after[0], "after_id": after[1]}
    return Question(f"{question.statement} {behind} order by call.event_at desc, call.id desc limit :limit", values)


def in_span(select: str, filters: Filters, span: Span) -> Question:
    """A question to the calls of one span."""
    values = _values(filters) | {"start": span.start, "end": span.end}
    return Question(f"{select} {_calls_where(filters)}", values)


def _is_in_key(filters: Filters) -> bool:
    return not _given(filters, _OF_CALL)


def _source_of(filters: Filters) -> Filters:
    """What arrivals obey of the filters."""
    return Filters(carrier=filters.carrier, app=filters.app)


def _scopes_where(filters: Filters, dimension: Dimension | None) -> str:
    """The smallest family of scopes that knows every filter and the dimension; no call is in two of a family."""
    parts = {name for name in _PARTS if getattr(filters, name) is not None}
    if dimension in _PART_OF:
        parts.add(_PART_OF[dimension])
    family = _WHOLE if not parts else _PARTS[parts.pop()] if len(parts) == 1 else _FULL
    return family + "".join([_OF_SCOPE[name] for name in _given(filters, _OF_SCOPE)])


def _calls_where(filters: Filters) -> str:
    conditions = [*[_OF_SCOPE[name] for name in _given(filters, _OF_SCOPE)]]
    conditions += [_OF_CALL[name] for name in _given(filters, _OF_CALL)]
    return "".join(conditions) + (_OUTCOME if filters.outcome else "")


def _given(filters: Filters, names: Iterable[str]) -> list[str]:
    return [name for name in names if getattr(filters, name) is not None]


def _values(filters: Filters) -> dict[str, Any]:
    values = {name: getattr(filters, name) for name in _given(filters, (*_OF_SCOPE, *_OF_CALL))}
    return values | ({"outcome": CODE_OF[filters.outcome]} if filters.outcome else {})


def _json(pieces: Iterable[tuple[int, Piece]]) -> str:
    rows = [[number, None if each.level is None else int(each.level), each.start, each.end] for number, each in pieces]
    return orjson.dumps(rows).decode()
