"""The API's calls: a list that pages by keyset, and one call with every delivery that made it."""

from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from receiver.store.interface import CallRow
from receiver.web import cursor
from receiver.web.desk import Ask, reply
from receiver.web.envelope import head, snapshot
from receiver.web.problems import Problem
from receiver.web.query import Query, Scope, lost_before, take_scope, take_zone
from receiver.web.reveal import reveals
from receiver.web.rows import call_row, delivery_row

_LIMIT: Final = 100
_MOST: Final = 1000
# What may differ between two pages of one list.
_PAGING: Final = frozenset({"cursor", "limit", "tz"})


async def calls(ask: Ask) -> web.Response:
    """`GET /api/v1/calls?cursor=&limit=`: newest first."""
    desk, given = ask.desk, ask.request.query
    query = Query(given)
    limit = query.whole("limit", _LIMIT, least=1, most=_MOST)
    text = query.take("cursor")
    scope = take_scope(query, ask.caller, desk.settings, now_us=desk.now_us())
    query.finish()
    # The parameters as they were given: what they resolve to moves with the clock.
    question = cursor.question_hash(ask.caller.apps, {name: given[name] for name in given if name not in _PAGING})
    last = None if text is None else cursor.read(text, question=question)
    if last is not None:
        scope = replace(scope, span=last.span)
    after = None if last is None else (last.event_at, last.row_id)
    async with snapshot(desk, scope) as (questions, _, stated):
        rows = await questions.calls(scope.filters, scope.span, after=after, limit=limit + 1)
    following = _following(rows, limit, scope, question)
    document = stated | {
        "calls": await _shown(ask, rows[:limit], scope),
        "next_cursor": following,
    }
    return reply(document, headers=_link(ask.request, following))


async def _shown(ask: Ask, rows: list[CallRow], scope: Scope) -> list[dict[str, Any]]:
    may_reveal = await reveals(ask, what=ask.request.path, count=len(rows))
    return [call_row(row, zone=scope.zone, reveals=may_reveal, lost_before_us=scope.lost_before_us) for row in rows]


def _following(rows: list[CallRow], limit: int, scope: Scope, question: str) -> str | None:
    if len(rows) <= limit:
        return None
    last = rows[limit - 1]
    end = cursor.Cursor(span=scope.span, event_at=last.event_at, row_id=last.row_id)
    return cursor.write(end, question=question)


def _link(request: web.Request, following: str | None) -> dict[str, str]:
    if following is None:
        return {}
    return {"Link": f'<{request.rel_url.update_query(cursor=following)}>; rel="next"'}


async def call(ask: Ask) -> web.Response:
    """`GET /api/v1/calls/{carrier}/{app}/{callid}`: one call, and every delivery that made it, in commit order."""
    desk, place = ask.desk, ask.request.match_info
    query = Query(ask.request.query)
    zone = take_zone(query, desk.settings)
    query.finish()
    stated = await head(desk, zone)
    found = await desk.reader.call(place["carrier"], place["app"], place["callid"])
    if found is None or not ask.caller.sees(place["app"]):
        raise Problem(HTTPStatus.NOT_FOUND, "no such call")
    row, deliveries = found
    may_reveal = await reveals(ask, what=ask.request.path, count=1)
    lost_before_us = lost_before(desk.settings, now_us=desk.now_us())
    document = stated | {
        "call": call_row(row, zone=zone, reveals=may_reveal, lost_before_us=lost_before_us),
        "deliveries": [delivery_row(each, zone=zone, reveals=may_reveal) for each in deliveries],
    }
    return reply(document)
