"""The API's journal: deliveries in commit order for those who follow it, what waits for a pin, undecodable bodies."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol, TypeVar
from zoneinfo import ZoneInfo

from aiohttp import web

from receiver.carriers import PROFILES
from receiver.config import Settings
from receiver.errors import UndecodableError
from receiver.store.interface import DeliveryRow, QuarantineRow
from receiver.web.desk import Ask, reply
from receiver.web.envelope import head
from receiver.web.query import Query, take_zone
from receiver.web.reveal import reveals
from receiver.web.rows import delivery_row, quarantine_row

_LIMIT: Final = 100
_MOST: Final = 1000
_LAST_CURSOR: Final = (1 << 63) - 1

_Row = TypeVar("_Row", DeliveryRow, QuarantineRow)


class _Fetch(Protocol[_Row]):
    def __call__(self, *, after: int, limit: int) -> Awaitable[list[_Row]]: ...


async def callbacks(ask: Ask) -> web.Response:
    """`GET /api/v1/callbacks?after=&limit=`: the journal behind a cursor. `next_cursor` is the next `after`."""
    return await _listing(ask, "callbacks", ask.desk.reader.callbacks, _callback(ask.desk.settings), _seq)


async def held(ask: Ask) -> web.Response:
    """`GET /api/v1/held?after=&limit=`: deliveries that came under no pin and wait for a release."""
    return await _listing(ask, "held", ask.desk.reader.held, _callback(ask.desk.settings), _seq)


async def quarantine(ask: Ask) -> web.Response:
    """`GET /api/v1/quarantine?after=&limit=`: bodies that could not be decoded, by first arrival."""
    return await _listing(ask, "quarantine", ask.desk.reader.quarantine, quarantine_row, lambda row: row.id)


async def latest_callbacks(ask: Ask, *, zone: ZoneInfo, limit: int) -> list[dict[str, Any]]:
    """The last callbacks that the caller may see, newest first, without their bodies."""
    progress = await ask.desk.reader.progress()
    rows = await ask.desk.reader.callbacks(after=max(progress.last_seq - limit, 0), limit=limit)
    show = _callback(ask.desk.settings)
    return [show(row, zone=zone, reveals=False) for row in reversed(_visible(ask, rows))]


async def _listing(
    ask: Ask,
    name: str,
    fetch: _Fetch[_Row],
    show: Callable[..., dict[str, Any]],
    cursor: Callable[[_Row], int],
) -> web.Response:
    query = Query(ask.request.query)
    after = query.whole("after", 0, least=0, most=_LAST_CURSOR)
    limit = query.whole("limit", _LIMIT, least=1, most=_MOST)
    zone = take_zone(query, ask.desk.settings)
    query.finish()
    stated = await head(ask.desk, zone)
    rows = await fetch(after=after, limit=limit)
    visible = _visible(ask, rows)
    may_reveal = await reveals(ask, what=ask.request.path, count=len(visible))
    document = stated | {
        name: [show(row, zone=zone, reveals=may_reveal) for row in visible],
        "next_cursor": cursor(rows[-1]) if rows else after,
    }
    return reply(document)


def _visible(ask: Ask, rows: Sequence[_Row]) -> list[_Row]:
    # A caller who sees some applications only skips the others' rows; the cursor moves past them all the same.
    return [row for row in rows if ask.caller.sees(row.app)]


def _seq(row: DeliveryRow) -> int:
    return row.seq


def _callback(settings: Settings) -> Callable[..., dict[str, Any]]:
    def show(row: DeliveryRow, *, zone: ZoneInfo, reveals: bool) -> dict[str, Any]:
        return delivery_row(row, zone=zone, reveals=reveals) | _call_ids(row, settings)

    return show


def _call_ids(row: DeliveryRow, settings: Settings) -> dict[str, Any]:
    """The calls a delivery speaks of: one, but for a body that joins several kinds."""
    carrier = settings.carriers.get(row.carrier)
    if row.body is None or carrier is None:
        return {"call_id": None, "call_ids": []}
    try:
        events = PROFILES[carrier.profile].decode(row.body).events
    except UndecodableError:
        # Kept by an earlier decoder, which could read it.
        events = ()
    ids = list(dict.fromkeys(event.call_id for event in events))
    return {"call_id": ids[0] if ids else None, "call_ids": ids}
