"""The journal's deliveries and the quarantine as rows for people and followers. Writes nothing, folds nothing."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson

from receiver.model import Disposition
from receiver.store import standing
from receiver.store.interface import DeliveryRow, QuarantineRow
from receiver.store.sqlite.pool import Connection
from receiver.store.sqlite.source import JournalRow
from receiver.store.standing import Decisions, Numbered, Standing

_COLUMNS: Final = """
  journal.seq, journal.received_us, journal.carrier, journal.app, journal.kind, journal.is_held, journal.sha256,
  journal.size, journal.body, peer.subject, peer.issuer, peer.serial, peer.sha256, tls.protocol, tls.cipher
"""
_FROM: Final = """
from journal
join peer on peer.id = journal.peer_id
join tls on tls.id = journal.tls_id
"""
_AFTER: Final = f"""
select {_COLUMNS} {_FROM}
where journal.seq > ? and journal.decision is null order by journal.seq limit ?
"""
_HELD_AFTER: Final = f"""
select {_COLUMNS} {_FROM}
where journal.seq > ? and journal.is_held = 1 order by journal.seq limit ?
"""
_OF_CALL: Final = f"""
select {_COLUMNS}
from call_delivery
join journal on journal.seq = call_delivery.seq
join peer on peer.id = journal.peer_id
join tls on tls.id = journal.tls_id
where call_delivery.call_id = ? order by journal.seq
"""  # noqa: S608 -- a constant list of columns
_DECISIONS: Final = "select seq, decision from journal where decision is not null order by seq"
_QUARANTINE: Final = """
select quarantine.id, received_us, last_received_us, hits, quarantine.carrier, app, peer.sha256, headers,
  quarantine.sha256, size, reason, offset, answered_status, state, body
from quarantine join peer on peer.id = quarantine.peer_id
where quarantine.id > ? order by quarantine.id limit ?
"""


async def after(connection: Connection, seq: int, limit: int) -> list[DeliveryRow]:
    """Deliveries behind a cursor, in commit order."""
    return _rows(await connection.rows(_AFTER, (seq, limit)), await _decisions(connection))


async def held_after(connection: Connection, seq: int, limit: int) -> list[DeliveryRow]:
    """Deliveries that wait for a release, behind a cursor."""
    decisions = await _decisions(connection)
    held: list[DeliveryRow] = []
    while len(held) < limit:
        page = _rows(await connection.rows(_HELD_AFTER, (seq, limit)), decisions)
        if not page:
            break
        held += [row for row in page if row.standing is Standing.HELD]
        seq = page[-1].seq
    return held[:limit]


async def of_call(connection: Connection, call_id: int) -> list[DeliveryRow]:
    """The deliveries that make a call, in commit order."""
    return _rows(await connection.rows(_OF_CALL, (call_id,)), await _decisions(connection))


async def quarantine_after(connection: Connection, row_id: int, limit: int) -> list[QuarantineRow]:
    """Undecodable bodies behind a number."""
    return [_quarantine_row(row) for row in await connection.rows(_QUARANTINE, (row_id, limit))]


async def _decisions(connection: Connection) -> Decisions:
    rows = await connection.rows(_DECISIONS)
    return Decisions.of([Numbered(seq, standing.from_json(text)) for seq, text in rows])


def _rows(rows: Iterable[Sequence[Any]], decisions: Decisions) -> list[DeliveryRow]:
    return [_delivery_row(row, decisions) for row in rows]


def _delivery_row(row: Sequence[Any], decisions: Decisions) -> DeliveryRow:
    seq, received_us, carrier, app, kind, is_held, sha256, size, body, subject, issuer, serial, peer, *tls = row
    facts = JournalRow(seq, received_us, carrier, app, kind, bool(is_held), peer, sha256, None, None)
    return DeliveryRow(
        seq=seq,
        received_us=received_us,
        carrier=carrier,
        app=app,
        kind=kind,
        disposition=Disposition.HELD if is_held else Disposition.COUNTED,
        standing=decisions.standing(facts),
        peer={"subject": subject, "issuer": issuer, "serial": serial, "sha256": peer},
        tls_protocol=tls[0],
        tls_cipher=tls[1],
        sha256=sha256.hex(),
        size=size,
        body=body,
    )


def _quarantine_row(row: Sequence[Any]) -> QuarantineRow:
    row_id, received_us, last_us, hits, carrier, app, peer, headers, sha256, size, reason, offset, *rest = row
    answered_status, state, body = rest
    return QuarantineRow(
        id=row_id,
        received_us=received_us,
        last_received_us=last_us,
        hits=hits,
        carrier=carrier,
        app=app,
        peer_sha256=peer,
        headers=orjson.loads(headers),
        sha256=sha256.hex(),
        size=size,
        reason=reason,
        offset=offset,
        answered_status=answered_status,
        state=state,
        body=body,
    )
