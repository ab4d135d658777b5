"""The API's trust: who is pinned and blocked, and who was refused why. Shows rules, applies none."""

from dataclasses import asdict
from typing import Any, Final
from zoneinfo import ZoneInfo

from aiohttp import web

from receiver.store.interface import BlockRow, PinRow
from receiver.web import figures
from receiver.web.audit_socket import Handshake
from receiver.web.desk import Ask, reply
from receiver.web.envelope import head, instant
from receiver.web.query import Query, take_zone

# A pinned name is stored as text for people and DER for comparing; people get the text.
_DER_MARK: Final = ";der="


async def trust(ask: Ask) -> web.Response:
    """`GET /api/v1/trust`: pins, blocks, refusals by carrier and reason, and the last handshakes nginx refused."""
    desk = ask.desk
    query = Query(ask.request.query)
    zone = take_zone(query, desk.settings)
    query.finish()
    stated = await head(desk, zone)
    document = stated | {
        "carriers": {name: {"strictness": carrier.strictness} for name, carrier in desk.settings.carriers.items()},
        "pins": [_rule(row, zone) for row in await desk.reader.pins()],
        "blocks": [_rule(row, zone) for row in await desk.reader.blocks()],
        "warnings": desk.trust_warnings(),
        "refused": await figures.refusals(desk),
        "last_refused_handshakes": [_handshake(each, zone) for each in desk.handshakes()],
    }
    return reply(document)


def _rule(row: PinRow | BlockRow, zone: ZoneInfo) -> dict[str, Any]:
    columns = {name: _shown(value) for name, value in row.columns.items()}
    return {
        "id": row.id,
        "carrier": row.carrier,
        **columns,
        "reason": row.reason,
        "created_at": instant(row.created_at, zone),
    }


def _shown(value: str | int | None) -> str | int | None:
    return value.partition(_DER_MARK)[0] if isinstance(value, str) else value


def _handshake(handshake: Handshake, zone: ZoneInfo) -> dict[str, Any]:
    return asdict(handshake) | {"at": instant(handshake.at, zone)}
