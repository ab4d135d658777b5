"""Stores to test with: entries that are valid unless changed, stores in a directory, and folding without a process."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from receiver.carriers import PROFILES
from receiver.home import Home
from receiver.model import (
    MICROSECONDS,
    CallKind,
    Decision,
    DecisionKind,
    Delivery,
    Disposition,
    Entry,
    Peer,
    Receipt,
    Selection,
    Undecodable,
)
from receiver.store.interface import Quotas
from receiver.store.sqlite import Rules, StoreFiles
from receiver.store.sqlite.compare import TABLES, rows
from receiver.store.sqlite.connection import Synchronous, open_writer
from receiver.store.sqlite.derived_db import DerivedDb
from receiver.store.sqlite.journal_db import JournalDb
from receiver.store.sqlite.schema import JOURNAL, migrate
from receiver.store.sqlite.source import JournalSource

NOW: Final = 1_795_053_600
"""2026-11-18 10:00:00 +08:00, in Unix seconds."""

AMPLE: Final = Quotas(unknown_kind=10**6, quarantine=10**6, held=10**6)
SHANGHAI: Final = ZoneInfo("Asia/Shanghai")


def rules(**changes: Any) -> Rules:
    """The rules of a default receiver."""
    short = {CallKind.CODE: 3, CallKind.PROMPT: 10}
    valid: dict[str, Any] = {"profiles": PROFILES, "zone": SHANGHAI, "short_seconds": short, "callee_key": b"k" * 32}
    return Rules(**valid | changes)


def peer(**changes: Any) -> Peer:
    """A pinned client of the carrier."""
    valid: dict[str, Any] = {"carrier": "tencent", "subject": "CN=callbacks", "issuer": "CN=carrier CA", "serial": "2a"}
    return Peer(**valid | {"sha256": "ab" * 32, "not_after": NOW + 86_400, "is_pinned": True} | changes)


def report(call_id: str = "call-1", *, kind: str = "voiceprompt_callback", **changes: Any) -> bytes:
    """A status callback of an answered call."""
    fields = {"result": "0", "fee": "1", "call_from": "075583763333", "callid": call_id, "mobile": "13812345678"}
    times = {"start_calltime": str(NOW - 30), "accept_time": str(NOW - 16), "end_calltime": str(NOW - 8)}
    return json.dumps({kind: fields | {"nationcode": "86"} | times | changes}).encode()


def failure(call_id: str = "call-1", **changes: Any) -> bytes:
    """A failure callback: no such number."""
    fields = {"callid": call_id, "failure_code": 8, "failure_reason": "空号", "call_from": "075583763333"}
    return json.dumps(
        {"voice_failure_callback": fields | {"mobile": "13812345678", "nationcode": "86"} | changes}
    ).encode()


def key_press(call_id: str = "call-1", **changes: Any) -> bytes:
    """A key callback."""
    fields = {"callid": call_id, "keypress": "2", "call_from": "", "mobile": "13812345678", "nationcode": "86"}
    return json.dumps({"voicekey_callback": fields | changes}).encode()


def delivery(body: bytes | None = None, **changes: Any) -> Delivery:
    """One kept callback."""
    body = report() if body is None else body
    valid: dict[str, Any] = {
        "received_us": NOW * MICROSECONDS,
        "carrier": "tencent",
        "app": "demo",
        "kind": "voiceprompt_callback",
        "body": body,
        "sha256": hashlib.sha256(body).digest(),
        "peer": peer(),
        "tls_protocol": "TLSv1.3",
        "tls_cipher": "TLS_AES_256_GCM_SHA384",
    }
    return Delivery(**valid | changes)


def held(body: bytes | None = None, **changes: Any) -> Delivery:
    """One callback from a peer that matches no pin."""
    return delivery(
        body, **{"disposition": Disposition.HELD, "peer": peer(sha256="cd" * 32, is_pinned=False)} | changes
    )


def undecodable(body: bytes = b'{"voiceprompt_callback":', **changes: Any) -> Undecodable:
    """One body that is no JSON."""
    valid: dict[str, Any] = {
        "received_us": NOW * MICROSECONDS,
        "carrier": "tencent",
        "app": "demo",
        "body": body,
        "sha256": hashlib.sha256(body).digest(),
        "peer": peer(),
        "headers": {"Content-Type": "application/json"},
        "reason": "not JSON: unexpected end of data at byte 24",
        "offset": 24,
        "answered_status": 400,
    }
    return Undecodable(**valid | changes)


def decision(
    kind: DecisionKind = DecisionKind.VOID, *, decided_us: int = NOW * MICROSECONDS, **selection: Any
) -> Decision:
    """What operations decided about the selected deliveries."""
    return Decision(
        decided_us=decided_us, kind=kind, selection=Selection(**selection), reason="a test", decided_by="uid 0"
    )


@contextmanager
def journal(directory: Path, *, quotas: Quotas = AMPLE) -> Iterator[JournalDb]:
    """The writing side of a journal, without a store around it."""
    files = StoreFiles(directory)
    files.make()
    connection = open_writer(files.journal, synchronous=Synchronous.FULL)
    try:
        migrate(connection, JOURNAL, name="journal.db")
        yield JournalDb(connection, quotas)
    finally:
        connection.close()


def keep(directory: Path, entries: Iterable[Entry]) -> list[Receipt]:
    """Write entries into a journal, all of which must be taken."""
    with journal(directory) as db:
        results = db.append(list(entries))
    receipts = [result for result in results if isinstance(result, Receipt)]
    assert len(receipts) == len(results), results
    return receipts


def fold(directory: Path, *, batches: Sequence[int] = (1000,), by: Rules | None = None) -> Path:
    """Fold what a journal holds into `derived.db`, in batches of these sizes, the last of them again and again."""
    files = StoreFiles(directory)
    with (
        JournalSource.open(files.journal) as source,
        DerivedDb.open(files.derived, source, by or rules()) as derived,
    ):
        sizes = list(batches)
        while found := source.after(derived.cursor, limit=sizes[0]):
            derived.apply(found)
            if len(sizes) > 1:
                del sizes[0]
    return files.derived


def content(derived: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Everything the derived tables say, sorted, so that unequal tables show where."""
    return {table: sorted(rows(derived, table), key=repr) for table in TABLES}


def home(directory: Path, *, settings: str = "") -> Home:
    """A development home with settings and the key that `rules` has."""
    made = Home(directory)
    made.callee_key.parent.mkdir(parents=True, exist_ok=True)
    made.callee_key.write_bytes(b"k" * 32)
    made.settings.write_text(settings, "utf-8")
    return made
