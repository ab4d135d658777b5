"""Deliveries, decisions and undecodable bodies into the journal's file, one transaction per batch. Folds nothing."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias

import orjson

from receiver.errors import QuotaError, RowRefusedError
from receiver.model import (
    MICROSECONDS,
    UNKNOWN_KIND,
    Decision,
    Delivery,
    Disposition,
    Entry,
    Receipt,
    Undecodable,
)
from receiver.store import standing
from receiver.store.interface import Quotas
from receiver.store.sqlite.connection import inserted, readable_errors, transaction
from receiver.store.sqlite.identities import Identities

Result: TypeAlias = Receipt | RowRefusedError | QuotaError
_Row: TypeAlias = tuple[Any, ...]

# What is wrong with one row, as opposed to the disk, the file or the lock; those concern every row.
_DATA_ERRORS: Final = (
    sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError,
    OverflowError, TypeError, ValueError,
)  # fmt: skip
_DAY: Final = 24 * 60 * 60

_ROW: Final = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT: Final = """
insert into journal (received_us, carrier, app, kind, is_held, peer_id, tls_id, sha256, size, body, decision)
values
"""
# One statement for many rows: each statement gives the interpreter's lock away and has to win it back.
_CHUNKS: Final = (128, 64, 32, 16, 8, 4, 2, 1)
_INSERT_MANY: Final = {size: _INSERT + ", ".join([_ROW] * size) for size in _CHUNKS}

_QUOTA_USED: Final = "select n from quota_day where day = ? and carrier = ? and app = ? and what = ?"
_USE_QUOTA: Final = """
insert into quota_day (day, carrier, app, what, n) values (?, ?, ?, ?, 1)
on conflict do update set n = n + 1
"""

_QUARANTINED: Final = "select id from quarantine where carrier = ? and app = ? and sha256 = ?"
# Repeats of the same bytes raise `hits`, so that a retry storm cannot fill the disk.
_QUARANTINE_AGAIN: Final = """
update quarantine set hits = hits + 1, last_received_us = max(last_received_us, ?) where id = ?
"""
_QUARANTINE: Final = """
insert into quarantine (
  received_us, last_received_us, hits, carrier, app, peer_id, headers, sha256, size, body, reason, offset,
  answered_status
)
values (?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_QUARANTINE_ARRIVED: Final = """
insert into quarantine_arrival (carrier, app, received_at, n) values (?, ?, ?, 1)
on conflict do update set n = n + 1
"""


class JournalDb:
    """The writing side of the journal's file. One thread at a time."""

    def __init__(self, connection: sqlite3.Connection, quotas: Quotas) -> None:
        self._connection = connection
        self._limits = {"unknown_kind": quotas.unknown_kind, "quarantine": quotas.quarantine, "held": quotas.held}
        self._identities = Identities(connection)

    def append(self, entries: Sequence[Entry]) -> list[Receipt | Exception]:
        """Keep the entries, all in one transaction; see `interface.Commit`.

        Raises:
            StoreError: nothing was kept.
        """
        with readable_errors("journal.db"):
            try:
                return list(self._together(entries))
            except _DATA_ERRORS:
                return list(self._one_by_one(entries))

    def append_within(self, entry: Entry) -> Receipt:
        """Keep one entry as part of a transaction that is already open.

        Raises:
            QuotaError: its quota is used up.
        """
        (result,) = self._write([entry])
        if isinstance(result, Receipt):
            return result
        raise result

    def _together(self, entries: Sequence[Entry]) -> list[Result]:
        try:
            with transaction(self._connection):
                return self._write(entries)
        except BaseException:
            self._identities.forget()
            raise

    def _one_by_one(self, entries: Sequence[Entry]) -> list[Result]:
        try:
            with transaction(self._connection):
                return [self._safely(entry) for entry in entries]
        except BaseException:
            self._identities.forget()
            raise

    def _safely(self, entry: Entry) -> Result:
        self._connection.execute("savepoint entry")
        try:
            (result,) = self._write([entry])
        except _DATA_ERRORS as exc:
            self._connection.execute("rollback to entry")
            self._identities.forget()
            # The error's own words may quote the row.
            result = RowRefusedError(f"journal.db: a row was refused ({type(exc).__name__})")
        self._connection.execute("release entry")
        return result

    def _write(self, entries: Sequence[Entry]) -> list[Result]:
        results: dict[int, Result] = {}
        rows: list[_Row] = []
        for position, entry in enumerate(entries):
            match entry:
                case Delivery():
                    refusal = self._delivery_refusal(entry)
                    if refusal is None:
                        rows.append(self._delivery_row(entry))
                    else:
                        results[position] = refusal
                case Decision():
                    rows.append(_decision_row(entry))
                case Undecodable():
                    results[position] = self._quarantine(entry)
        seqs = self._insert(rows)
        return [
            results[position] if position in results else Receipt(seq=next(seqs)) for position in range(len(entries))
        ]

    def _insert(self, rows: Sequence[_Row]) -> Iterator[int]:
        start, seqs = 0, list[int]()
        while start < len(rows):
            size = next(size for size in _CHUNKS if size <= len(rows) - start)
            values = [value for row in rows[start : start + size] for value in row]
            last = inserted(self._connection, _INSERT_MANY[size], values)
            # One writer: the rows of one statement are numbered without a gap, in their order.
            seqs.extend(range(last - size + 1, last + 1))
            start += size
        return iter(seqs)

    def _delivery_refusal(self, delivery: Delivery) -> QuotaError | None:
        if delivery.disposition is Disposition.HELD:
            what = "held"
        elif delivery.kind == UNKNOWN_KIND:
            what = "unknown_kind"
        else:
            return None
        return self._use_quota(delivery, what)

    def _use_quota(self, entry: Delivery | Undecodable, what: str) -> QuotaError | None:
        key = (entry.received_us // MICROSECONDS // _DAY, entry.carrier, entry.app, what)
        used = self._connection.execute(_QUOTA_USED, key).fetchone()
        if (used[0] if used else 0) >= self._limits[what]:
            return QuotaError(what)
        self._connection.execute(_USE_QUOTA, key)
        return None

    def _delivery_row(self, delivery: Delivery) -> _Row:
        return (
            delivery.received_us,
            delivery.carrier,
            delivery.app,
            delivery.kind,
            int(delivery.disposition is Disposition.HELD),
            self._identities.peer(delivery.peer, seen_at=delivery.received_us // MICROSECONDS),
            self._identities.tls(delivery.tls_protocol, delivery.tls_cipher),
            delivery.sha256,
            len(delivery.body),
            delivery.body,
            None,
        )

    def _quarantine(self, entry: Undecodable) -> Receipt | QuotaError:
        quarantined = self._connection.execute(_QUARANTINED, (entry.carrier, entry.app, entry.sha256)).fetchone()
        if quarantined is None:
            # A certificate under no pin has an allowance of its own, so that it cannot use up the carrier's.
            refusal = self._use_quota(entry, "quarantine" if entry.peer.is_pinned else "held")
            if refusal is not None:
                return refusal
            row_id = inserted(self._connection, _QUARANTINE, self._quarantine_row(entry))
        else:
            (row_id,) = quarantined
            self._connection.execute(_QUARANTINE_AGAIN, (entry.received_us, row_id))
        self._connection.execute(_QUARANTINE_ARRIVED, (entry.carrier, entry.app, entry.received_us // MICROSECONDS))
        return Receipt(seq=row_id)

    def _quarantine_row(self, entry: Undecodable) -> _Row:
        return (
            entry.received_us,
            entry.received_us,
            entry.carrier,
            entry.app,
            self._identities.peer(entry.peer, seen_at=entry.received_us // MICROSECONDS),
            orjson.dumps(dict(entry.headers)).decode(),
            entry.sha256,
            len(entry.body),
            entry.body,
            entry.reason,
            entry.offset,
            entry.answered_status,
        )


def _decision_row(decision: Decision) -> _Row:
    # fmt: off
    return (
        decision.decided_us, None, None, None, None, None, None, None, None, None,
        standing.to_json(decision),
    )
    # fmt: on
