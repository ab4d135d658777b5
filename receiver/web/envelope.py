"""What every answer about calls says of itself: as of when, from which version, over which time, how far behind."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from zoneinfo import ZoneInfo

from receiver.model import MICROSECONDS
from receiver.statistics import definitions, periods
from receiver.store.interface import Progress, Questions
from receiver.web.desk import Desk
from receiver.web.query import Scope

_SIMULATED: Final = "simulated"


@asynccontextmanager
async def snapshot(desk: Desk, scope: Scope) -> AsyncIterator[tuple[Questions, Progress, dict[str, Any]]]:
    """One snapshot to ask questions of, how far it is, and the head of the answer made from it."""
    # Asked before: whoever holds a connection and waits for another one may wait for somebody who does the same.
    simulated = await is_simulated(desk)
    async with desk.reader.snapshot() as questions:
        progress = await questions.progress()
        interval = {"start": instant(scope.span.start, scope.zone), "end": instant(scope.span.end, scope.zone)}
        yield questions, progress, _head(desk, progress, scope.zone, simulated=simulated) | interval


async def head(desk: Desk, zone: ZoneInfo) -> dict[str, Any]:
    """The head of an answer whose rows are read afterwards: they are no older than it says."""
    progress = await desk.reader.progress()
    return _head(desk, progress, zone, simulated=await is_simulated(desk))


async def is_simulated(desk: Desk) -> bool:
    """Whether the store is stamped as one in which everything was made up."""
    return await desk.reader.meta(_SIMULATED) is not None


def _head(desk: Desk, progress: Progress, zone: ZoneInfo, *, simulated: bool) -> dict[str, Any]:
    now_us = desk.now_us()
    document = {
        "as_of": instant(now_us // MICROSECONDS, zone),
        "version": progress.version,
        "watermark": progress.watermark,
        "definition": definitions.VERSION,
        "tz": zone.key,
        "fold_lag_seconds": fold_lag_seconds(progress, now_us=now_us),
    }
    return document | {"simulated": True} if simulated else document


def fold_lag_seconds(progress: Progress, *, now_us: int) -> float:
    """How long the oldest delivery that is not in the figures yet has been waiting; 0 when all are."""
    oldest_us = progress.oldest_unfolded_us
    return 0.0 if oldest_us is None else max(now_us - oldest_us, 0) / MICROSECONDS


def instant(at: int, zone: ZoneInfo) -> str:
    """Unix seconds as RFC 3339 in a zone."""
    return periods.rfc_3339(at, zone)


def instant_or_none(at: int | None, zone: ZoneInfo) -> str | None:
    """As `instant`, for what may be missing."""
    return None if at is None else instant(at, zone)


def instant_us(at_us: int, zone: ZoneInfo) -> str:
    """Unix microseconds as RFC 3339 in a zone, to the microsecond."""
    seconds, fraction = divmod(at_us, MICROSECONDS)
    whole = instant(seconds, zone)
    return f"{whole[:19]}.{fraction:06d}{whole[19:]}"
