"""What is kept beside the journal and never rebuilt. Each method is part of a transaction that its caller opens."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from receiver.errors import UsageError
from receiver.model import Decision, Receipt
from receiver.store.sqlite.journal_db import JournalDb
from receiver.store.sqlite.rules import Apps, TrustRules
from receiver.store.sqlite.tokens import Sessions, Tokens

META: Final = "select value from meta where name = ?"
REFUSALS: Final = "select carrier, reason, sum(n) from refusal group by carrier, reason"
_SET_META: Final = "insert into meta (name, value) values (?, ?) on conflict do update set value = excluded.value"
_COUNT_REFUSALS: Final = """
insert into refusal (day, carrier, reason, n, last_at) values (?, ?, ?, ?, ?)
on conflict do update set n = n + excluded.n, last_at = max(last_at, excluded.last_at)
"""
_AUDIT: Final = "insert into audit (at_us, actor, action, detail) values (?, ?, ?, ?)"
_DISMISS: Final = "update quarantine set state = 'dismissed' where id = ? and state = 'new'"

_DAY: Final = 24 * 60 * 60


class State(Tokens, Sessions, Apps, TrustRules):
    """The journal's file as seen by one function on the writer's thread: tokens, applications, rules and records."""

    def __init__(self, connection: sqlite3.Connection, journal: JournalDb) -> None:
        super().__init__(connection)
        self._journal = journal

    def decide(self, decision: Decision) -> Receipt:
        """Write a decision into the journal. While something serves, decisions go through its group commit instead."""
        return self._journal.append_within(decision)

    def refusals_add(self, counts: Mapping[tuple[str, str], int], *, now: int) -> None:
        """Count refused requests, by (carrier, reason)."""
        rows = [(now // _DAY, carrier, reason, count, now) for (carrier, reason), count in counts.items()]
        self._connection.executemany(_COUNT_REFUSALS, rows)

    def meta_get(self, name: str) -> str | None:
        """A fact about the store as a whole."""
        row = self._connection.execute(META, (name,)).fetchone()
        return row[0] if row else None

    def meta_set(self, name: str, value: str) -> None:
        """Note a fact about the store as a whole."""
        self._connection.execute(_SET_META, (name, value))

    def audit_append(self, *, at_us: int, actor: str, action: str, detail: Mapping[str, Any]) -> None:
        """Record who did what. `detail` holds no secret, no body and no full number."""
        self._connection.execute(_AUDIT, (at_us, actor, action, orjson.dumps(dict(detail)).decode()))

    def quarantine_dismiss(self, ids: Sequence[int]) -> None:
        """Mark undecodable bodies as looked at; they stay.

        Raises:
            UsageError: there is no such body, or it was dealt with already.
        """
        for row_id in ids:
            if not self._connection.execute(_DISMISS, (row_id,)).rowcount:
                raise UsageError(f"quarantine has no new body {row_id}")
