"""The writing side of the derived tables: journal rows are applied, and the cursor moves, in one transaction."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final, Self

from receiver.errors import StoreError
from receiver.store.levels import floor_after
from receiver.store.sqlite import refold, schema
from receiver.store.sqlite.connection import Synchronous, open_writer, readable_errors, transaction
from receiver.store.sqlite.fold import Fold
from receiver.store.sqlite.reading import Rules
from receiver.store.sqlite.source import JournalRow, JournalSource
from receiver.store.standing import Numbered, from_json

_PROGRESS: Final = "select cursor, version, last_received_us, floor, rules from progress"
_ADVANCE: Final = "update progress set cursor = ?, version = version + 1, last_received_us = ?, floor = ?"
_SET_RULES: Final = "update progress set rules = ?"
_SET_VERSION: Final = "update progress set version = ?"
_SCOPE_IDS: Final = "select id from scope"


@dataclass(frozen=True, slots=True)
class Watermark:
    """How far one file is.

    Attributes:
        cursor: the last journal row folded.
        version: how often the tables changed.
        last_received_us: the latest arrival among the deliveries folded, None before the first.
        floor: where fine buckets begin (Unix seconds).
        rules: the fingerprint under which the tables were computed, "" for none yet.
    """

    cursor: int
    version: int
    last_received_us: int | None
    floor: int
    rules: str


class DerivedDb:
    """One file of derived tables, folded by these rules. One thread at a time."""

    def __init__(self, connection: sqlite3.Connection, source: JournalSource, rules: Rules, *, name: str) -> None:
        self._connection = connection
        self._name = name
        self._source = source
        self._fold = Fold(connection, rules)
        self._mark = watermark(connection)
        self._decisions = source.decisions(upto=self._mark.cursor)
        # A decision known beforehand needs no refolding when its row comes.
        self._decided = self._mark.cursor

    @classmethod
    @contextmanager
    def open(
        cls, path: Path, source: JournalSource, rules: Rules, *, synchronous: Synchronous = Synchronous.NORMAL
    ) -> Iterator[Self]:
        """Open a file for folding, making it if need be.

        Raises:
            StoreError: it cannot be opened or written, or was computed by other rules.
        """
        connection = open_writer(path, synchronous=synchronous)
        try:
            with readable_errors(path.name):
                schema.migrate(connection, schema.DERIVED, name=path.name)
                _adopt(connection, rules, path.name)
                yield cls(connection, source, rules, name=path.name)
        finally:
            connection.close()

    @property
    def cursor(self) -> int:
        """The last journal row folded."""
        return self._mark.cursor

    def expect(self, *, upto: int, version: int) -> None:
        """Prepare to fold everything up to a cursor in one go: what is decided and which buckets stay is known now.

        The versions of a file that takes another's place go on where those ended.
        """
        self._decisions = self._source.decisions(upto=upto)
        self._decided = upto
        arrival = self._source.last_arrival(upto=upto)
        floor = self._mark.floor if arrival is None else floor_after(arrival)
        with transaction(self._connection):
            self._connection.execute(_SET_VERSION, (version,))
            self._connection.execute(_ADVANCE, (self._mark.cursor, self._mark.last_received_us, floor))
        self._mark = watermark(self._connection)

    def apply(self, rows: Sequence[JournalRow]) -> None:
        """Fold the next rows of the journal, at least one, and move the cursor to the last of them.

        Raises:
            DiskFullError: there is no room; nothing was folded, and it can be tried again.
            StoreError: it cannot be written, or is not what was folded before.
        """
        decisions = self._decisions
        try:
            with readable_errors(self._name), transaction(self._connection):
                self._apply(rows)
                self._advance(rows)
        except BaseException:
            self._decisions = decisions
            self._fold.forget()
            raise
        self._mark = watermark(self._connection)

    def _apply(self, rows: Sequence[JournalRow]) -> None:
        for is_decision, run in groupby(rows, key=lambda row: row.decision is not None):
            if not is_decision:
                self._fold.deliveries(list(run), self._decisions)
                continue
            for row in run:
                if row.seq > self._decided and row.decision is not None:
                    decision = Numbered(row.seq, from_json(row.decision))
                    self._decisions = refold.decide(self._fold, self._source, decision, known=self._decisions)

    def _advance(self, rows: Sequence[JournalRow]) -> None:
        arrivals = [row.received_us for row in rows if row.decision is None]
        last_us, floor = self._mark.last_received_us, self._mark.floor
        if arrivals:
            last_us = max(*arrivals, last_us or 0)
            floor = max(floor, floor_after(last_us))
        self._fold.rollups.write(floor=floor)
        if floor > self._mark.floor:
            self._fold.rollups.drop_fine([row[0] for row in self._connection.execute(_SCOPE_IDS)], floor=floor)
        self._connection.execute(_ADVANCE, (rows[-1].seq, last_us, floor))


def watermark(connection: sqlite3.Connection) -> Watermark:
    """How far a file is."""
    return Watermark(*connection.execute(_PROGRESS).fetchone())


def _adopt(connection: sqlite3.Connection, rules: Rules, name: str) -> None:
    mark = watermark(connection)
    fingerprint = rules.fingerprint()
    if mark.rules == fingerprint:
        return
    if mark.cursor:
        raise StoreError(f"{name}: computed by other rules; run: receiver rebuild")
    connection.execute(_SET_RULES, (fingerprint,))
