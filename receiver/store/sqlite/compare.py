"""Are two files of derived tables equal? Compares what they say, not how their rows are numbered."""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from receiver.store.sqlite.connection import open_reader, readable_errors

_SCOPE: Final = "scope.carrier, scope.app, scope.kind, scope.caller"

TABLES: Final[Mapping[str, str]] = {
    "progress": "select last_received_us, floor from progress",
    "call": f"""
        select {_SCOPE}, call.key, call.call_id, call.event_at, call.outcome, call.event_time_source, call.result,
          call.failure_code, call.failure_reason, call.callee, call.callee_hash, call.nationcode, call.started_at,
          call.answered_at, call.ended_at, call.billed_minutes, call.digits, call.first_received_us,
          call.last_received_us, call.conflicts, call.anomalies, call.deliveries, call.duplicates, call.is_keypressed,
          call.is_short, call.is_conflicting, call.is_contradictory, call.seconds_to_answer, call.talk_seconds
        from call join scope on scope.id = call.scope_id
    """,  # noqa: S608 -- a constant list of columns
    "call_delivery": """
        select call.key, call.call_id, call_delivery.digest, call_delivery.received_us, call_delivery.is_counted
        from call_delivery join call on call.id = call_delivery.call_id
    """,
    "fold_error": "select reason from fold_error",
    "rollup": f"""
        select {_SCOPE}, level, bucket, outcome, calls, billed_minutes, keypressed, short, conflicts, contradictions,
          timed_to_answer, seconds_to_answer, timed_talk, talk_seconds
        from rollup join scope on scope.id = rollup.scope_id
    """,  # noqa: S608 -- a constant list of columns
    "histogram": f"""
        select {_SCOPE}, level, what, bucket, second, n from histogram join scope on scope.id = histogram.scope_id
    """,  # noqa: S608 -- a constant list of columns
    "arrival": f"""
        select {_SCOPE}, level, bucket, deliveries, duplicates, held, unknown_kind
        from arrival join scope on scope.id = arrival.scope_id
    """,  # noqa: S608 -- a constant list of columns
}  # fmt: skip
"""Table to the question for everything it says. Journal numbers are left out: they tell the order of arrival."""

_HASH_BYTES: Final = 16


def rows(path: Path, table: str) -> Iterator[tuple[Any, ...]]:
    """Everything one table says, in no order."""
    connection = open_reader(path)
    try:
        yield from connection.execute(TABLES[table])
    finally:
        connection.close()


def fingerprint(path: Path) -> dict[str, str]:
    """A text for each table that is equal whenever the table says the same.

    Raises:
        StoreError: the file cannot be read.
    """
    with readable_errors(path.name):
        return {table: _fingerprint(rows(path, table)) for table in TABLES}


def difference(one: Path, other: Path) -> list[str]:
    """The tables in which two files differ.

    Raises:
        StoreError: a file cannot be read.
    """
    ours, theirs = fingerprint(one), fingerprint(other)
    return [table for table in TABLES if ours[table] != theirs[table]]


def _fingerprint(content: Iterator[tuple[Any, ...]]) -> str:
    # A sum of hashes: equal for equal sets of rows, in whatever order they come, in constant memory.
    count, total = 0, 0
    for row in content:
        count += 1
        total += int.from_bytes(blake2b(repr(row).encode(), digest_size=_HASH_BYTES).digest())
    return f"{count}:{total % 2 ** (8 * _HASH_BYTES):x}"
