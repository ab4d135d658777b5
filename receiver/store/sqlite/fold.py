"""Journal rows into calls, links and sums: the changes of one transaction. Knows no file and no process.

Whatever the order of rows, the tables end the same: f(set of deliveries, set of decisions).
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import orjson

from receiver import calls
from receiver.model import MICROSECONDS, Call
from receiver.store.levels import Calendar
from receiver.store.sqlite.call_table import CallKey, CallState, CallTable, row_of, scope_of
from receiver.store.sqlite.codes import CODE_OF, sums_of
from receiver.store.sqlite.reading import Reading, Rules, read
from receiver.store.sqlite.rollups import Contribution, Rollups
from receiver.store.sqlite.scopes import Scopes
from receiver.store.sqlite.source import JournalRow
from receiver.store.standing import Decisions, Standing, overlapping

_LINK: Final = """
insert into call_delivery (call_id, digest, received_us, seq, is_counted) values (?, ?, ?, ?, ?)
"""
# The earliest of each wanted group of byte-equal deliveries.
_EARLIEST: Final = """
select
  wanted.value ->> 0,
  wanted.value ->> 1,
  (
    select received_us from call_delivery
    where call_id = wanted.value ->> 0 and digest = wanted.value ->> 1
    order by received_us limit 1
  )
from json_each(?) as wanted
"""
_FOLD_ERROR: Final = "insert into fold_error (seq, reason) values (?, ?)"

_Group: TypeAlias = tuple[int, int]
"""A call's number and the digest of a delivery: byte-equal deliveries."""


class Fold:
    """Folds deliveries into the tables of one file, within a transaction that its caller opens."""

    def __init__(self, connection: sqlite3.Connection, rules: Rules) -> None:
        self.connection: Final = connection
        self.rules: Final = rules
        self.scopes: Final = Scopes(connection)
        self.table: Final = CallTable(connection)
        self.rollups: Final = Rollups(connection, self.scopes, Calendar(rules.zone))

    def forget(self) -> None:
        """Drop what is remembered of a transaction that was rolled back."""
        self.scopes.forget()
        self.table.forget()
        self.rollups.forget()

    def deliveries(self, rows: Sequence[JournalRow], decisions: Decisions) -> None:
        """Fold deliveries that were never folded before."""
        near = overlapping(decisions, rows)
        counted: list[Reading] = []
        for row in rows:
            standing = near.standing(row)
            if standing is Standing.COUNTED:
                counted.append(read(row, self.rules))
                self.arrive(counted[-1], standing, 1)
            elif standing is Standing.HELD:
                self.rollups.arrive((row.carrier, row.app), row.received_us // MICROSECONDS, held=1)
        self._fold(counted)

    def arrive(self, reading: Reading, standing: Standing, sign: int) -> None:
        """Count (`sign` 1) or uncount (-1) a delivery by its arrival; its calls are not touched."""
        source, at = reading.source, reading.received_at
        if standing is Standing.HELD:
            self.rollups.arrive(source, at, held=sign)
        if standing is not Standing.COUNTED:
            return
        self.rollups.arrive(source, at, deliveries=sign, unknown_kind=sign * reading.is_unknown)
        if reading.lag_seconds is not None:
            self.rollups.lag(source, at, seconds=reading.lag_seconds, sign=sign)
        if reading.problem is not None and sign > 0:
            self.connection.execute(_FOLD_ERROR, (reading.row.seq, reading.problem))

    def _fold(self, readings: Sequence[Reading]) -> None:
        states = self.table.load([key for reading in readings for key in reading.calls])
        earliest = self._earliest(readings, states)
        links: list[tuple[int, ...]] = []
        for reading in readings:
            for position, (key, said) in enumerate(reading.calls.items()):
                state = states[key]
                state.call = said if state.call is None else calls.merge(state.call, said)
                state.deliveries += 1
                is_counted = position == 0 and reading.is_repeatable
                links.append((state.id, reading.digest, reading.row.received_us, reading.row.seq, int(is_counted)))
                if is_counted:
                    self._count_repetition(reading, state, earliest)
        self.connection.executemany(_LINK, links)
        self.write(states.values())

    def _earliest(self, readings: Iterable[Reading], states: Mapping[CallKey, CallState]) -> dict[_Group, int]:
        wanted = {
            (states[next(iter(reading.calls))].id, reading.digest)
            for reading in readings
            if reading.is_repeatable and states[next(iter(reading.calls))].stored is not None
        }
        rows = self.connection.execute(_EARLIEST, (orjson.dumps(list(wanted)).decode(),))
        return {(call_id, digest): received_us for call_id, digest, received_us in rows if received_us is not None}

    def _count_repetition(self, reading: Reading, state: CallState, earliest: dict[_Group, int]) -> None:
        """All but the earliest of byte-equal deliveries are duplicates, whichever of them is folded first."""
        group, received_us = (state.id, reading.digest), reading.row.received_us
        first_us = earliest.get(group)
        if first_us is None:
            earliest[group] = received_us
            return
        earliest[group] = min(first_us, received_us)
        state.duplicates += 1
        self.rollups.arrive(reading.source, max(first_us, received_us) // MICROSECONDS, duplicates=1)

    def write(self, states: Iterable[CallState]) -> None:
        """Write the rows of these calls, and what changes in their buckets."""
        new: list[tuple[Any, ...]] = []
        changed: list[tuple[Any, ...]] = []
        gone: list[int] = []
        for state in states:
            if state.call is None:
                if state.stored is not None:
                    gone.append(state.id)
                    self.rollups.add(state.stored, -1)
                continue
            adds, source = self._contribution(state.call)
            (new if state.stored is None else changed).append(row_of(state, state.call, adds, source))
            if adds != state.stored:
                if state.stored is not None:
                    self.rollups.add(state.stored, -1)
                self.rollups.add(adds, 1)
        self.table.write(new, is_new=True)
        self.table.write(changed, is_new=False)
        self.table.delete(gone)

    def _contribution(self, call: Call) -> tuple[Contribution, str]:
        outcome = self.rules.outcome(call)
        event_at, source = calls.event_time(call)
        measures = self.rules.measures(call, outcome)
        adds = Contribution(
            scope_id=self.scopes.id_of(scope_of(call)),
            event_at=event_at,
            outcome=CODE_OF[outcome],
            sums=sums_of(measures),
            seconds_to_answer=measures.seconds_to_answer if measures.timed_to_answer else None,
            talk_seconds=measures.talk_seconds if measures.timed_talk else None,
        )
        return adds, source.value
