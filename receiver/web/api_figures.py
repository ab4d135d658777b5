"""The API's figures: summary, series, breakdown, definitions. Reads queries, leaves the counting to `figures`."""

from typing import Final

from aiohttp import web

from receiver.errors import QueryError
from receiver.statistics import definitions, periods
from receiver.store.interface import Dimension
from receiver.web import figures
from receiver.web.desk import Ask, reply
from receiver.web.envelope import is_simulated
from receiver.web.query import Query, take_scope

_DEFAULT_STEP: Final = "1h"


async def summary(ask: Ask) -> web.Response:
    """`GET /api/v1/summary`."""
    query = Query(ask.request.query)
    scope = take_scope(query, ask.caller, ask.desk.settings, now_us=ask.desk.now_us())
    query.finish()
    return reply(await figures.summary(ask.desk, scope))


async def series(ask: Ask) -> web.Response:
    """`GET /api/v1/series?metric=&step=&group_by=`."""
    query = Query(ask.request.query)
    scope = take_scope(query, ask.caller, ask.desk.settings, now_us=ask.desk.now_us())
    metric = query.take("metric") or "answer_rate"
    if metric not in figures.METRICS:
        raise QueryError("metric", f"must be one of: {', '.join(figures.METRICS)}")
    step = periods.step_seconds(query.take("step") or _DEFAULT_STEP)
    group_by = query.word("group_by", Dimension)
    query.finish()
    edges = periods.edges(scope.span, step, scope.zone)
    answer = await figures.series(ask.desk, scope, metric=metric, edges=edges, group_by=group_by)
    return reply(answer | {"step": step})


async def breakdown(ask: Ask) -> web.Response:
    """`GET /api/v1/breakdown?by=`."""
    query = Query(ask.request.query)
    scope = take_scope(query, ask.caller, ask.desk.settings, now_us=ask.desk.now_us())
    by = query.word("by", Dimension)
    query.finish()
    if by is None:
        raise QueryError("by", f"is missing; must be one of: {', '.join(Dimension)}")
    return reply(await figures.breakdown(ask.desk, scope, by=by))


async def definition(ask: Ask) -> web.Response:
    """`GET /api/v1/definitions`."""
    Query(ask.request.query).finish()
    document = definitions.definitions()
    return reply(document | {"simulated": True} if await is_simulated(ask.desk) else document)
