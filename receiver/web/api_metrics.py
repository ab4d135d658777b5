"""`GET /metrics`: gathers the stored totals. Leaves names and formats to `receiver.metrics`."""

from typing import Final

from aiohttp import web

from receiver import metrics
from receiver.store.interface import Filters, Span
from receiver.web.desk import Ask, Desk
from receiver.web.envelope import fold_lag_seconds
from receiver.web.query import Query

_ALWAYS: Final = Span(start=0, end=4_102_444_800)  # until 2100


async def exposition(ask: Ask) -> web.Response:
    """`GET /metrics`: Prometheus text, or OpenMetrics for those who accept it."""
    Query(ask.request.query).finish()
    totals = await _totals(ask.desk)
    body, content_type = metrics.render(totals, accept=ask.request.headers.get("Accept", ""))
    return web.Response(body=body, headers={"Content-Type": content_type})


async def _totals(desk: Desk) -> metrics.Totals:
    progress = await desk.reader.progress()
    arrivals = {
        carrier: await desk.reader.arrivals(Filters(carrier=carrier), _ALWAYS) for carrier in desk.settings.carriers
    }
    return metrics.Totals(
        arrivals=arrivals,
        refusals=await desk.reader.refusals(),
        progress=progress,
        lag_seconds=fold_lag_seconds(progress, now_us=desk.now_us()),
    )
