"""The journal as the projector reads it: deliveries and decisions in commit order. Writes nothing."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from receiver.model import Selection
from receiver.store import standing
from receiver.store.sqlite.connection import open_reader, readable_errors
from receiver.store.standing import Decisions, Numbered

_COLUMNS: Final = """
  journal.seq, journal.received_us, journal.carrier, journal.app, journal.kind, journal.is_held, peer.sha256,
  journal.sha256, journal.body, journal.decision
"""
_AFTER: Final = f"""
select {_COLUMNS} from journal left join peer on peer.id = journal.peer_id
where journal.seq > ? and journal.seq <= ? order by journal.seq limit ?
"""  # noqa: S608 -- a constant list of columns
_BY_SEQS: Final = f"""
select {_COLUMNS} from json_each(?) as wanted
cross join journal on journal.seq = wanted.value
left join peer on peer.id = journal.peer_id
"""  # noqa: S608 -- a constant list of columns
# The plus sign keeps SQLite from walking the whole journal where the index of arrivals is the short way.
_SELECTED: Final = """
select journal.seq from journal left join peer on peer.id = journal.peer_id
where +journal.seq <= :upto and journal.decision is null
"""
_COUNT_SELECTED: Final = """
select count(*) from journal left join peer on peer.id = journal.peer_id where journal.decision is null
"""
_IS_HELD: Final = " and journal.is_held = 1"
_CONDITIONS: Final = {
    "carrier": " and journal.carrier = :carrier",
    "app": " and journal.app = :app",
    "peer_sha256": " and peer.sha256 = :peer_sha256",
    "received_from_us": " and journal.received_us >= :received_from_us",
    "received_to_us": " and journal.received_us < :received_to_us",
    "seqs": " and journal.seq in (select value from json_each(:seqs))",
}
_DECISIONS: Final = "select seq, decision from journal where decision is not null and seq <= ? order by seq"
_ARRIVAL_AFTER: Final = "select received_us from journal where seq > ? order by seq limit 1"
_LAST_SEQ: Final = "select coalesce(max(seq), 0) from journal"
_LAST_ARRIVAL: Final = """
select received_us from journal where decision is null and +seq <= ? order by received_us desc limit 1
"""
_COUNT: Final = "select count(*) from journal where seq <= ?"


class JournalRow(NamedTuple):
    """One row of the journal, read by the ten thousand per second; a decision has no more than `decision`."""

    seq: int
    received_us: int
    carrier: str
    app: str
    kind: str
    is_held: bool
    peer_sha256: str
    sha256: bytes
    body: bytes | None
    decision: str | None


class JournalSource:
    """A read-only connection to the journal. It keeps no snapshot between two calls."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator["JournalSource"]:
        """Open a journal for reading.

        Raises:
            StoreError: there is none, or it cannot be read.
        """
        connection = open_reader(path)
        try:
            with readable_errors(path.name):
                yield cls(connection)
        finally:
            connection.close()

    def after(self, seq: int, *, limit: int, upto: int | None = None) -> list[JournalRow]:
        """The next rows behind a cursor, in order."""
        return self._rows(_AFTER, (seq, 2**62 if upto is None else upto, limit))

    def by_seqs(self, seqs: Sequence[int]) -> list[JournalRow]:
        """The rows of these numbers, as far as they are still kept."""
        return self._rows(_BY_SEQS, (orjson.dumps(seqs).decode(),))

    def selected(self, selection: Selection, *, upto: int) -> list[int]:
        """The numbers of the deliveries up to a cursor that a selection is about."""
        given = _given(selection)
        statement = "".join([_SELECTED, *[_CONDITIONS[name] for name in given]])
        return [seq for (seq,) in self._connection.execute(statement, {**given, "upto": upto})]

    def decisions(self, *, upto: int) -> Decisions:
        """Every decision up to a cursor."""
        rows = self._connection.execute(_DECISIONS, (upto,)).fetchall()
        return Decisions.of([Numbered(seq, standing.from_json(text)) for seq, text in rows])

    def arrival_after(self, seq: int) -> int | None:
        """When the next row behind a cursor arrived (Unix microseconds), None when there is none."""
        row = self._connection.execute(_ARRIVAL_AFTER, (seq,)).fetchone()
        return row[0] if row else None

    def last_seq(self) -> int:
        """The cursor of the newest row."""
        return int(self._connection.execute(_LAST_SEQ).fetchone()[0])

    def last_arrival(self, *, upto: int) -> int | None:
        """The latest arrival of any delivery up to a cursor (Unix microseconds)."""
        row = self._connection.execute(_LAST_ARRIVAL, (upto,)).fetchone()
        return row[0] if row else None

    def count(self, *, upto: int) -> int:
        """How many rows there are up to a cursor."""
        return int(self._connection.execute(_COUNT, (upto,)).fetchone()[0])

    def _rows(self, statement: str, values: Any) -> list[JournalRow]:
        return [JournalRow._make(row) for row in self._connection.execute(statement, values).fetchall()]


def count_selected(selection: Selection, *, is_held: bool) -> tuple[str, dict[str, Any]]:
    """The question how many deliveries a selection is about, with `is_held` only of those that came under no pin."""
    given = _given(selection)
    held = [_IS_HELD] if is_held else []
    return "".join([_COUNT_SELECTED, *[_CONDITIONS[name] for name in given], *held]), given


def _given(selection: Selection) -> dict[str, Any]:
    """The given conditions, by name, as values to bind."""
    given = {name: getattr(selection, name) for name in _CONDITIONS}
    if given["seqs"] is not None:
        given["seqs"] = orjson.dumps(given["seqs"]).decode()
    return {name: value for name, value in given.items() if value is not None}
