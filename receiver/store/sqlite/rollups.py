"""Sums over calls and arrivals: changes are gathered in memory, then written once per bucket. Knows no call.

Every table here holds exactly the buckets that are not empty, so that equal deliveries give equal tables.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from enum import IntEnum
from operator import add, sub
from typing import Final, NamedTuple, TypeAlias

from receiver.errors import StoreError
from receiver.store.levels import MINUTE, Calendar, Level
from receiver.store.sqlite.scopes import Scope, Scopes

_Key: TypeAlias = tuple[int, ...]
_Sums: TypeAlias = list[int]


class Seconds(IntEnum):
    """What a histogram counts seconds of."""

    TIME_TO_ANSWER = 0
    TALK = 1
    LAG = 2


class Contribution(NamedTuple):
    """What one call adds to its buckets. `sums` are in the order of `tally.MEASURE_NAMES`."""

    scope_id: int
    event_at: int
    outcome: int
    sums: tuple[int, ...]
    seconds_to_answer: int | None
    talk_seconds: int | None


# A bucket's row appears, changes and goes. SQLite checks a row's constraints before it sees the conflict, so sums that
# shrink are an update; they can only be of rows that exist.
_ADD_TALLY: Final = """
insert into rollup (
  scope_id, level, bucket, outcome, calls, billed_minutes, keypressed, short, conflicts, contradictions,
  timed_to_answer, seconds_to_answer, timed_talk, talk_seconds
)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict do update set
  calls             = calls             + excluded.calls,
  billed_minutes    = billed_minutes    + excluded.billed_minutes,
  keypressed        = keypressed        + excluded.keypressed,
  short             = short             + excluded.short,
  conflicts         = conflicts         + excluded.conflicts,
  contradictions    = contradictions    + excluded.contradictions,
  timed_to_answer   = timed_to_answer   + excluded.timed_to_answer,
  seconds_to_answer = seconds_to_answer + excluded.seconds_to_answer,
  timed_talk        = timed_talk        + excluded.timed_talk,
  talk_seconds      = talk_seconds      + excluded.talk_seconds
"""
_CHANGE_TALLY: Final = """
update rollup set
  calls             = calls             + ?5,
  billed_minutes    = billed_minutes    + ?6,
  keypressed        = keypressed        + ?7,
  short             = short             + ?8,
  conflicts         = conflicts         + ?9,
  contradictions    = contradictions    + ?10,
  timed_to_answer   = timed_to_answer   + ?11,
  seconds_to_answer = seconds_to_answer + ?12,
  timed_talk        = timed_talk        + ?13,
  talk_seconds      = talk_seconds      + ?14
where scope_id = ?1 and level = ?2 and bucket = ?3 and outcome = ?4
"""
_DROP_TALLY: Final = """
delete from rollup where scope_id = ? and level = ? and bucket = ? and outcome = ? and calls = 0
"""
_ADD_SECONDS: Final = """
insert into histogram (scope_id, level, what, bucket, second, n) values (?, ?, ?, ?, ?, ?)
on conflict do update set n = n + excluded.n
"""
_CHANGE_SECONDS: Final = """
update histogram set n = n + ?6 where scope_id = ?1 and level = ?2 and what = ?3 and bucket = ?4 and second = ?5
"""
_DROP_SECONDS: Final = """
delete from histogram where scope_id = ? and level = ? and what = ? and bucket = ? and second = ? and n = 0
"""
_ADD_ARRIVALS: Final = """
insert into arrival (scope_id, level, bucket, deliveries, duplicates, held, unknown_kind) values (?, ?, ?, ?, ?, ?, ?)
on conflict do update set
  deliveries   = deliveries   + excluded.deliveries,
  duplicates   = duplicates   + excluded.duplicates,
  held         = held         + excluded.held,
  unknown_kind = unknown_kind + excluded.unknown_kind
"""
_CHANGE_ARRIVALS: Final = """
update arrival set
  deliveries   = deliveries   + ?4,
  duplicates   = duplicates   + ?5,
  held         = held         + ?6,
  unknown_kind = unknown_kind + ?7
where scope_id = ?1 and level = ?2 and bucket = ?3
"""
_DROP_ARRIVALS: Final = """
delete from arrival where scope_id = ? and level = ? and bucket = ? and deliveries = 0 and held = 0
"""
_DROP_FINE: Final = (
    "delete from rollup where scope_id = ? and level = ? and bucket < ?",
    "delete from histogram where scope_id = ? and level = ? and what = 0 and bucket < ?",
    "delete from histogram where scope_id = ? and level = ? and what = 1 and bucket < ?",
    "delete from histogram where scope_id = ? and level = ? and what = 2 and bucket < ?",
    "delete from arrival where scope_id = ? and level = ? and bucket < ?",
)


class Rollups:
    """The changes to the sums of one file since the last `write`, by the full key and the finest bucket."""

    def __init__(self, connection: sqlite3.Connection, scopes: Scopes, calendar: Calendar) -> None:
        self._connection = connection
        self._scopes = scopes
        self._calendar = calendar
        self._tallies: defaultdict[tuple[int, int, int], _Sums] = defaultdict(lambda: [0] * 10)
        self._seconds: defaultdict[tuple[int, Seconds, int, int], int] = defaultdict(int)
        self._arrivals: defaultdict[tuple[int, int], _Sums] = defaultdict(lambda: [0] * 4)

    def forget(self) -> None:
        """Drop what was gathered: its transaction was rolled back."""
        self._tallies.clear()
        self._seconds.clear()
        self._arrivals.clear()

    def add(self, call: Contribution, sign: int) -> None:
        """Add (`sign` 1) or take away (-1) what one call contributes."""
        minute = call.event_at - call.event_at % MINUTE
        tally = self._tallies[call.scope_id, minute, call.outcome]
        tally[:] = map(add if sign > 0 else sub, tally, call.sums)
        if call.seconds_to_answer is not None:
            self._seconds[call.scope_id, Seconds.TIME_TO_ANSWER, minute, call.seconds_to_answer] += sign
        if call.talk_seconds is not None:
            self._seconds[call.scope_id, Seconds.TALK, minute, call.talk_seconds] += sign

    def arrive(  # noqa: PLR0913 -- the columns of an arrival
        self,
        source: tuple[str, str],
        at: int,
        *,
        deliveries: int = 0,
        duplicates: int = 0,
        held: int = 0,
        unknown_kind: int = 0,
    ) -> None:
        """Change what arrived in a second from a (carrier, application)."""
        sums = self._arrivals[self._scopes.id_of(Scope(*source)), at]
        sums[0] += deliveries
        sums[1] += duplicates
        sums[2] += held
        sums[3] += unknown_kind

    def lag(self, source: tuple[str, str], at: int, *, seconds: int, sign: int) -> None:
        """Add or take away how long after a call's end its report arrived."""
        self._seconds[self._scopes.id_of(Scope(*source)), Seconds.LAG, at - at % MINUTE, seconds] += sign

    def write(self, *, floor: int) -> None:
        """Write the changes to every scope and level they touch; fine buckets before the floor are not kept.

        Raises:
            StoreError: a sum would fall below zero, so the tables are not what was folded.
        """
        try:
            self._write_tallies(floor)
            self._write_seconds(floor)
            self._write_arrivals(floor)
        except sqlite3.IntegrityError as exc:
            raise _inconsistent(str(exc)) from exc
        self.forget()

    def drop_fine(self, scope_ids: Iterable[int], *, floor: int) -> None:
        """Delete the fine buckets before the floor."""
        rows = [(scope_id, level, floor) for scope_id in scope_ids for level in (Level.SECOND, Level.MINUTE)]
        for statement in _DROP_FINE:
            self._connection.executemany(statement, rows)

    def _write_tallies(self, floor: int) -> None:
        changes: defaultdict[_Key, _Sums] = defaultdict(lambda: [0] * 10)
        for (scope_id, minute, outcome), sums in self._tallies.items():
            if any(sums):
                for level, bucket in self._calendar.buckets(minute, floor=floor, finest=Level.MINUTE):
                    for parent in self._scopes.family(scope_id):
                        total = changes[parent, level, bucket, outcome]
                        total[:] = map(add, total, sums)
        self._apply(changes, _ADD_TALLY, _CHANGE_TALLY, _DROP_TALLY)

    def _write_seconds(self, floor: int) -> None:
        changes: defaultdict[_Key, _Sums] = defaultdict(lambda: [0])
        for (scope_id, what, minute, second), count in self._seconds.items():
            if count:
                for level, bucket in self._calendar.buckets(minute, floor=floor, finest=Level.MINUTE):
                    for parent in self._scopes.family(scope_id):
                        changes[parent, level, what, bucket, second][0] += count
        self._apply(changes, _ADD_SECONDS, _CHANGE_SECONDS, _DROP_SECONDS)

    def _write_arrivals(self, floor: int) -> None:
        changes: defaultdict[_Key, _Sums] = defaultdict(lambda: [0] * 4)
        for (scope_id, at), sums in self._arrivals.items():
            if any(sums):
                for level, bucket in self._calendar.buckets(at, floor=floor, finest=Level.SECOND):
                    for parent in self._scopes.family(scope_id):
                        total = changes[parent, level, bucket]
                        total[:] = map(add, total, sums)
        self._apply(changes, _ADD_ARRIVALS, _CHANGE_ARRIVALS, _DROP_ARRIVALS)

    def _apply(self, changes: dict[_Key, _Sums], grow: str, shrink: str, drop: str) -> None:
        growing = [(*key, *sums) for key, sums in changes.items() if min(sums) >= 0 and any(sums)]
        shrinking = [(*key, *sums) for key, sums in changes.items() if min(sums) < 0]
        self._connection.executemany(grow, growing)
        if shrinking:
            changed = self._connection.executemany(shrink, shrinking).rowcount
            if changed != len(shrinking):
                raise _inconsistent("a bucket is missing")
            self._connection.executemany(drop, [key for key, sums in changes.items() if min(sums) < 0])


def _inconsistent(detail: str) -> StoreError:
    return StoreError(f"derived.db: its sums do not match what was folded ({detail}); run: receiver rebuild")
