"""What the journal's file keeps: exact bytes, in order, all or none, within quotas, and through a kill."""

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
import store_lab as lab

from receiver.errors import QuotaError, RowRefusedError, StoreError, StoreLockedError, UsageError
from receiver.model import MICROSECONDS, UNKNOWN_KIND, Decision, DecisionKind, Entry, Receipt, Role, Selection
from receiver.store.interface import Quotas
from receiver.store.sqlite import State, StoreFiles, offline, open_store
from receiver.store.sqlite.schema import JOURNAL
from receiver.store.sqlite.source import JournalSource
from receiver.trust import NamePin, pin_from, pin_row

TOKEN = "9f" * 32
AWKWARD = b"\x00\xff\xfe{'\"\\\r\n" + bytes(range(256))


def rows_of(directory: Path, question: str) -> list[Any]:
    """What a statement finds in the journal's file, by a connection of its own."""
    with closing(sqlite3.connect(StoreFiles(directory).journal)) as connection:
        return connection.execute(question).fetchall()


def test_bytes_are_kept_exactly_and_in_order(tmp_path: Path) -> None:
    """Deliveries come back byte for byte under consecutive numbers, a whole batch of any size."""
    bodies = [bytes([n]) * n + AWKWARD for n in range(200)]

    receipts = lab.keep(tmp_path, [lab.delivery(body) for body in bodies])

    assert [receipt.seq for receipt in receipts] == list(range(1, 201))
    with JournalSource.open(StoreFiles(tmp_path).journal) as source:
        found = source.after(0, limit=1000)
    assert [(row.seq, row.body) for row in found] == list(enumerate(bodies, start=1))


def test_identity_is_kept_with_each_delivery(tmp_path: Path) -> None:
    """Peer and TLS facts stand with the delivery; a peer is written once, with when it was first and last seen."""
    later = (lab.NOW + 90) * MICROSECONDS
    lab.keep(tmp_path, [lab.delivery(), lab.delivery(received_us=later), lab.delivery(peer=lab.peer(sha256="ef" * 32))])

    peers = rows_of(tmp_path, "select subject, serial, sha256, first_seen_at, last_seen_at from peer order by id")
    joined = rows_of(tmp_path, "select peer_id, protocol, cipher from journal join tls on tls.id = tls_id order by seq")

    assert peers == [
        ("CN=callbacks", "2a", "ab" * 32, lab.NOW, lab.NOW + 90),
        ("CN=callbacks", "2a", "ef" * 32, lab.NOW, lab.NOW),
    ]
    assert joined == [(peer, "TLSv1.3", "TLS_AES_256_GCM_SHA384") for peer in (1, 1, 2)]


def test_decisions_are_journal_rows(tmp_path: Path) -> None:
    """A decision takes its place in the one sequence, and comes back as it was made."""
    decided = lab.decision(DecisionKind.RELEASE, app="demo", received_from_us=1, received_to_us=2, seqs=(1, 7))

    receipts = lab.keep(tmp_path, [lab.delivery(), decided, lab.delivery()])

    assert [receipt.seq for receipt in receipts] == [1, 2, 3]
    with JournalSource.open(StoreFiles(tmp_path).journal) as source:
        (numbered,) = source.decisions(upto=3).numbered
    assert (numbered.seq, numbered.decision) == (2, decided)


def test_undecodable_bodies_are_kept_once_and_counted(tmp_path: Path) -> None:
    """The same bytes for the same application raise `hits`; all else is a row of its own."""
    later = lab.NOW * MICROSECONDS + 5
    entries = [
        lab.undecodable(AWKWARD),
        lab.undecodable(AWKWARD, received_us=later),
        lab.undecodable(AWKWARD, app="other"),
        lab.undecodable(b"else"),
        lab.undecodable(AWKWARD, received_us=later - 3),
    ]

    receipts = lab.keep(tmp_path, entries)

    assert [receipt.seq for receipt in receipts] == [1, 1, 2, 3, 1]
    kept = rows_of(tmp_path, "select app, hits, received_us, last_received_us, body, state from quarantine order by id")
    assert kept[0] == ("demo", 3, lab.NOW * MICROSECONDS, later, AWKWARD, "new")
    assert [row[:2] for row in kept[1:]] == [("other", 1), ("demo", 1)]
    assert rows_of(tmp_path, "select count(*) from journal") == [(0,)]


def test_a_bad_row_refuses_itself_alone(tmp_path: Path) -> None:
    """Of a batch in which one row cannot be held, every other row is kept, and the bad one leaves nothing behind."""
    bad: list[Entry] = [
        lab.delivery(received_us=2**63),
        lab.delivery(kind="\ud800"),
        lab.delivery(peer=lab.peer(sha256="12" * 32, subject=object())),
        lab.undecodable(received_us=2**70, peer=lab.peer(sha256="34" * 32)),
    ]
    entries: list[Entry] = [
        lab.delivery(b"1"),
        *bad,
        lab.delivery(b"2", peer=lab.peer(sha256="56" * 32)),
        lab.undecodable(),
    ]

    with lab.journal(tmp_path) as db:
        results = db.append(entries)
        more = db.append([lab.delivery(b"3", peer=lab.peer(sha256="34" * 32))])

    assert [type(result) for result in results] == [Receipt, *[RowRefusedError] * len(bad), Receipt, Receipt]
    assert isinstance(more[0], Receipt)
    assert rows_of(tmp_path, "select body, peer.sha256 from journal join peer on peer.id = peer_id order by seq") == [
        (b"1", "ab" * 32),
        (b"2", "56" * 32),
        (b"3", "34" * 32),
    ]
    assert rows_of(tmp_path, "select count(*) from quarantine") == [(1,)]


def test_a_full_disk_refuses_the_whole_batch(tmp_path: Path) -> None:
    """When the file cannot grow, nothing of the batch is kept; once it can, the same connection goes on."""
    with lab.journal(tmp_path) as db:
        connection = db._connection
        db.append([lab.delivery(b"before")])
        (pages,) = connection.execute("pragma page_count").fetchone()
        connection.execute(f"pragma max_page_count = {pages + 1}").fetchall()
        with pytest.raises(StoreError, match="SQLITE_FULL"):
            db.append([lab.delivery(b"x" * 60_000), lab.delivery(b"small")])
        connection.execute("pragma max_page_count = 1000000").fetchall()
        after = db.append([lab.delivery(b"after")])

    assert isinstance(after[0], Receipt)
    assert rows_of(tmp_path, "select body from journal order by seq") == [(b"before",), (b"after",)]


@pytest.mark.parametrize(
    ("what", "entry"),
    [
        ("unknown_kind", lab.delivery(b"{}", kind=UNKNOWN_KIND)),
        ("held", lab.held()),
        ("quarantine", lab.undecodable()),
    ],
)
def test_quotas_are_per_application_and_utc_day(tmp_path: Path, what: str, entry: Any) -> None:
    """Past its quota an application's entry is refused and not kept; other applications and days are not concerned."""

    def another(number: int, **changes: Any) -> Any:
        body = b"%d" % number
        return replace(entry, body=body, sha256=bytes([number]) * 32, **changes)

    tomorrow = entry.received_us + 86_400 * MICROSECONDS
    entries = [another(n) for n in range(4)] + [another(9, app="other"), another(9, received_us=tomorrow)]
    with lab.journal(tmp_path, quotas=Quotas(unknown_kind=2, quarantine=2, held=2)) as db:
        results = db.append(entries)
        again = db.append([another(0)])

    assert [type(result) for result in results] == [Receipt, Receipt, QuotaError, QuotaError, Receipt, Receipt]
    assert [result.what for result in results if isinstance(result, QuotaError)] == [what, what]
    # The same undecodable bytes again take no room.
    assert isinstance(again[0], Receipt if what == "quarantine" else QuotaError)


async def test_only_one_process_serves_a_store(tmp_path: Path) -> None:
    """A second opener is refused in one clear line, whether it would serve or run one command."""
    async with open_store(tmp_path, quotas=lab.AMPLE):
        with pytest.raises(StoreLockedError, match=f"in use by process {os.getpid()}"):
            async with open_store(tmp_path, quotas=lab.AMPLE):
                pass
        with pytest.raises(StoreLockedError), offline(tmp_path):
            pass
    with offline(tmp_path) as state:
        assert state.token_list() == []


async def test_the_store_is_durable_and_private(tmp_path: Path) -> None:
    """Commits wait for the disk, and nobody else can read the files."""
    directory = tmp_path / "store"
    async with open_store(directory, quotas=lab.AMPLE) as store:
        await store.commit([lab.delivery()])
        connection = store._connection
        settings = {
            name: connection.execute(f"pragma {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
        }
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}

    assert settings == {"journal_mode": "wal", "synchronous": 2}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert set(modes.values()) == {0o600}
    assert {"journal.db", "journal.db-wal", "derived.db"} <= modes.keys()


async def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    """A file of a newer version is not touched, and the refusal says so."""
    async with open_store(tmp_path, quotas=lab.AMPLE):
        pass
    with closing(sqlite3.connect(StoreFiles(tmp_path).journal)) as connection:
        connection.execute(f"pragma user_version = {JOURNAL.version + 1}")

    with pytest.raises(StoreError, match="newer version"):
        async with open_store(tmp_path, quotas=lab.AMPLE):
            pass


@pytest.mark.parametrize("content", [b"not a database, whatever it is called" * 200, None])
async def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """A file that is no database, or another program's, is not touched."""
    path = StoreFiles(tmp_path).journal
    if content is None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("create table theirs (a)")
    else:
        path.write_bytes(content)

    with pytest.raises(StoreError, match=r"journal\.db: "):
        async with open_store(tmp_path, quotas=lab.AMPLE):
            pass


async def test_a_state_function_is_one_transaction(tmp_path: Path) -> None:
    """What a failing function did to the state is undone; its error reaches whoever asked."""
    async with open_store(tmp_path, quotas=lab.AMPLE) as store:

        def fail(state: Any) -> None:
            state.meta_set("simulated", "1")
            raise UsageError("no")

        with pytest.raises(UsageError):
            await store.write(fail)
        await store.write(lambda state: state.meta_set("other", "2"))

        assert [await store.reader.meta(name) for name in ("simulated", "other")] == [None, "2"]


async def test_a_cancelled_commit_still_happens(tmp_path: Path) -> None:
    """Whoever stops waiting leaves no transaction open, and the rows are kept."""
    async with open_store(tmp_path, quotas=lab.AMPLE) as store:
        waiting = asyncio.create_task(store.commit([lab.delivery(b"1")]))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await store.commit([lab.delivery(b"2")])
        found = await store.reader.callbacks(after=0, limit=9)

    assert [row.body for row in found] == [b"1", b"2"]


async def test_tokens_codes_and_sessions(tmp_path: Path) -> None:
    """A revoked token and everything opened under its name are gone; a code works once and in time only."""
    async with open_store(tmp_path, quotas=lab.AMPLE) as store:
        roles = [Role.READ, Role.REVEAL]
        await store.write(
            lambda state: state.token_create(
                name="ops", token_hash=TOKEN, roles=roles, apps=["demo"], created_at=1, expires_at=9
            )
        )
        for code, expires_at in (("early", 10), ("late", 5)):
            facts: dict[str, Any] = {"code_hash": code, "name": "ops", "roles": roles, "apps": [], "now": 0}
            await store.write(partial(State.signin_code_create, **facts, expires_at=expires_at))
        taken = [
            await store.write(partial(State.signin_code_take, code_hash=code, now=5))
            for code in ("early", "early", "late")
        ]
        await store.write(
            lambda state: state.session_create(session_hash="s", name="ops", roles=roles, apps=["demo"], now=7)
        )
        await store.write(lambda state: state.session_seen("s", now=8))
        token = await store.reader.token(TOKEN)
        sessions = [await store.reader.session("s", seen_since=since) for since in (8, 9)]
        await store.write(lambda state: state.token_revoke("ops"))
        after = (await store.reader.token(TOKEN), await store.reader.session("s", seen_since=0))

    assert token is not None
    assert (token.roles, token.apps, token.expires_at) == (frozenset(roles), frozenset({"demo"}), 9)
    assert [row and row.name for row in taken] == ["ops", None, None]
    assert [row and row.last_seen_at for row in sessions] == [8, None]
    assert after == (None, None)


async def test_an_application_has_two_keys_during_rotation(tmp_path: Path) -> None:
    """The newest two keys of an application are valid; a removed application has none."""
    async with open_store(tmp_path, quotas=lab.AMPLE) as store:
        for at, key in enumerate(["old", "present", "next"]):
            app: dict[str, Any] = {"carrier": "tencent", "name": "demo", "key_hash": key}
            await store.write(partial(State.app_add, **app, created_at=at))
        await store.write(
            lambda state: state.app_add(
                carrier="tencent", name="shop", key_hash="k", created_at=1, callers=["075583763333"]
            )
        )
        apps = await store.reader.apps()
        await store.write(lambda state: state.app_remove(carrier="tencent", name="demo"))
        left = await store.reader.apps()
        with pytest.raises(UsageError, match="no application demo"):
            await store.write(lambda state: state.app_remove(carrier="tencent", name="demo"))

    assert [(app.name, app.key_hashes) for app in apps] == [("demo", ("present", "next")), ("shop", ("k",))]
    assert [(app.name, app.callers) for app in left] == [("shop", ("075583763333",))]


async def test_pins_blocks_refusals_and_audit(tmp_path: Path) -> None:
    """Trust rules come back as they were given, refusals add up, and the audit only grows."""
    pin = NamePin(issuer=bytes.fromhex("3000"), subject=bytes.fromhex("3000"))
    async with open_store(tmp_path, quotas=lab.AMPLE) as store:
        await store.write(
            lambda state: state.pin_add(carrier="tencent", columns=pin_row(pin), reason="first", created_at=1)
        )
        block = {"kind": "sha256", "sha256": "ab" * 32}
        number = await store.write(
            lambda state: state.block_add(carrier=None, columns=block, reason="leaked", created_at=2)
        )
        pins, blocks = await store.reader.pins(), await store.reader.blocks()
        await store.write(lambda state: state.block_remove(number))
        for now in (lab.NOW, lab.NOW + 86_400):
            await store.write(partial(State.refusals_add, counts={("tencent", "expired"): 2}, now=now))
        await store.write(lambda state: state.audit_append(at_us=1, actor="ops", action="reveal", detail={"seq": 1}))
        refusals, left = await store.reader.refusals(), await store.reader.blocks()

    assert [pin_from(row.columns) for row in pins] == [pin]
    assert [(row.carrier, dict(row.columns), row.reason) for row in blocks] == [(None, block, "leaked")]
    assert left == []
    assert refusals == {("tencent", "expired"): 4}
    assert rows_of(tmp_path, "select actor, action, detail from audit") == [("ops", "reveal", '{"seq":1}')]


def test_a_decision_round_trip_keeps_every_condition(tmp_path: Path) -> None:
    """Conditions that were not given stay not given."""
    decided = Decision(decided_us=1, kind=DecisionKind.ERASE, selection=Selection(), reason="", decided_by="uid 0")
    lab.keep(tmp_path, [decided])

    with JournalSource.open(StoreFiles(tmp_path).journal) as source:
        assert source.decisions(upto=9).numbered[0].decision == decided


WRITE_FOR_EVER = """
import sys
from pathlib import Path
import store_lab as lab

with lab.journal(Path(sys.argv[1])) as db:
    n = 0
    while True:
        batch = [lab.delivery(b"%d" % (n + i)) for i in range(n % 90 + 1)]
        n += len(batch)
        results = db.append(batch)
        sys.stdout.write(f"{results[0].seq} {results[-1].seq}\\n")
        sys.stdout.flush()
"""


def acknowledged(directory: Path, *, seconds: float) -> Iterator[int]:
    """Let a process write, kill it, and give the numbers that it acknowledged."""
    tests = str(Path(lab.__file__).parent)
    command = [sys.executable, "-c", WRITE_FOR_EVER, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": tests}) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        lines = [first, *process.stdout.readlines()]
    for line in lines:
        if line.endswith(b"\n"):
            start, end = map(int, line.split())
            yield from range(start, end + 1)


def test_a_kill_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """After each of five kills at random moments, every acknowledged row is there, and the file is sound."""
    chance = Random()  # noqa: S311 -- moments, not secrets
    promised: set[int] = set()
    for _ in range(5):
        promised.update(acknowledged(tmp_path, seconds=0.05 + 0.3 * chance.random()))

        assert promised <= {seq for (seq,) in rows_of(tmp_path, "select seq from journal")}
        assert rows_of(tmp_path, "pragma integrity_check") == [("ok",)]
    assert len(promised) > 500
