"""Questions about calls, asked of the store and answered under the contract's names. Knows no HTTP.

All figures of an answer come from one snapshot, the progress it states included.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from receiver.carriers import PROFILES, CarrierProfile
from receiver.config import Settings
from receiver.errors import QueryError
from receiver.model import Outcome, Span
from receiver.statistics import rates, tally
from receiver.statistics.figures import RATES, Counted, Totals, rate, summarise, totals
from receiver.statistics.tally import Tally
from receiver.store.interface import Cell, Dimension, Filters, Questions
from receiver.web.desk import Desk
from receiver.web.envelope import instant_us, snapshot
from receiver.web.query import Scope

# Distinct callees are counted exactly, so the calls they are counted over are bounded (contract, section 4).
_CALLS_FOR_CALLEES: Final = 100_000
_GROUPS: Final = 1000
_POINTS: Final = 200_000

COUNTS: Final = (
    "calls", "answered", "reached", "unsettled", "short", "keypressed", "billed_minutes", "conflicts", "contradictions",
)  # fmt: skip
"""Metrics of a series that are sums, not rates: the fields of `Totals` under their own names."""

METRICS: Final = (*RATES, *COUNTS)


async def summary(desk: Desk, scope: Scope) -> dict[str, Any]:
    """One period's figures: the contract's summary."""
    async with snapshot(desk, scope) as (questions, progress, head):
        counted = await _counted(questions, scope, desk.settings.statistics.zone)
    outcomes = _reportable(desk.settings, scope.filters)
    figures = summarise(counted, outcomes=outcomes, floor=desk.settings.statistics.floor)
    last_us = progress.last_callback_us
    return head | figures | {"last_callback_at": None if last_us is None else instant_us(last_us, scope.zone)}


async def _counted(questions: Questions, scope: Scope, zone_name: str) -> Counted:
    filters, span = scope.filters, scope.span
    total = tally.add(cell.tally for cell in await questions.tabulate(filters, span))
    is_bounded = sum(measures.calls for measures in total.values()) <= _CALLS_FOR_CALLEES
    has_callees = is_bounded or _is_day(span, zone_name)
    by_arrival = filters == Filters(carrier=filters.carrier, app=filters.app)
    return Counted(
        tally=total,
        lost=await questions.lost(filters, span, first_received_before_us=scope.lost_before_us),
        time_to_answer=await questions.histogram(filters, span, "time_to_answer"),
        talk=await questions.histogram(filters, span, "talk"),
        callees=await questions.callees(filters, span) if has_callees else None,
        arrivals=await questions.arrivals(filters, span) if by_arrival else None,
        lag=await questions.histogram(filters, span, "lag") if by_arrival else None,
    )


def _is_day(span: Span, zone_name: str) -> bool:
    """Whether a span is one calendar day of a zone."""
    zone = ZoneInfo(zone_name)
    start = datetime.fromtimestamp(span.start, zone)
    midnight = start.replace(hour=0, minute=0, second=0, fold=0)
    next_midnight = (midnight + timedelta(days=1)).timestamp()
    return midnight.timestamp() == span.start and next_midnight == span.end


def _profiles(settings: Settings, filters: Filters) -> list[CarrierProfile]:
    names = settings.carriers if filters.carrier is None else [filters.carrier]
    return [PROFILES[settings.carriers[name].profile] for name in names]


def _reportable(settings: Settings, filters: Filters) -> set[Outcome]:
    return {outcome for profile in _profiles(settings, filters) for outcome in profile.outcomes}


async def series(
    desk: Desk, scope: Scope, *, metric: str, edges: Sequence[int], group_by: Dimension | None
) -> dict[str, Any]:
    """Columns ready for plotting: bucket starts (Unix seconds), and per group a rate with its n and interval.

    Raises:
        QueryError: more points than an answer may have.
    """
    async with snapshot(desk, scope) as (questions, _, head):
        cells = await questions.tabulate(scope.filters, scope.span, edges=edges, group_by=group_by)
    # Without groups there is one line, also when nothing was called.
    groups: defaultdict[str | None, dict[int, Tally]] = defaultdict(dict, {} if group_by else {None: {}})
    for cell in cells:
        groups[cell.key][cell.start] = cell.tally
    if len(groups) * len(edges) > _POINTS:
        raise QueryError("group_by", f"makes more than {_POINTS} points; ask for a longer step or a filter")
    lines = [
        {"key": {} if group_by is None else {group_by.value: key or ""}, **_columns(metric, edges, buckets)}
        for key, buckets in sorted(groups.items(), key=lambda item: item[0] or "")
    ]
    return head | {"metric": metric, "t": list(edges), "series": lines}


def _columns(metric: str, edges: Sequence[int], buckets: Mapping[int, Tally]) -> dict[str, list[Any]]:
    points = [totals(buckets.get(edge, {})) for edge in edges]
    ratio = metric if metric in RATES else "answer_rate"
    told = [rate(ratio, point) for point in points]
    columns: dict[str, list[Any]] = {
        "n": [n for _, n, _ in told],
        # What the rate is of n; `answered` is there beside every metric.
        "part": [RATES[ratio](point)[0] for point in points],
        "answered": [point.answered for point in points],
        "rate": [value for value, _, _ in told],
        "lo": [interval and interval[0] for _, _, interval in told],
        "hi": [interval and interval[1] for _, _, interval in told],
    }
    if metric in COUNTS:
        # A bucket without any call is a gap, not a zero somebody measured.
        columns["values"] = [_value(metric, point) for point in points]
    return columns


def _value(metric: str, point: Totals) -> int | None:
    value: int = getattr(point, metric)
    return value if point.calls or point.unsettled else None


async def breakdown(desk: Desk, scope: Scope, *, by: Dimension) -> dict[str, Any]:
    """The calls of a period by one dimension, most calls first."""
    async with snapshot(desk, scope) as (questions, _, head):
        cells = await questions.tabulate(scope.filters, scope.span, group_by=by)
    rows = _rows(cells, by, _profiles(desk.settings, scope.filters))
    return head | {"by": by.value, "rows": rows[:_GROUPS], "truncated": len(rows) > _GROUPS}


def _rows(cells: Iterable[Cell], by: Dimension, profiles: Sequence[CarrierProfile]) -> list[dict[str, Any]]:
    groups: defaultdict[str, list[Tally]] = defaultdict(list)
    for cell in cells:
        groups[cell.key or ""].append(cell.tally)
    summed = {key: totals(tally.add(tallies)) for key, tallies in groups.items()}
    everything = sum(of.calls for of in summed.values())
    rows = [_row(key, of, everything) | _explained(key, by, profiles) for key, of in summed.items()]
    return sorted(rows, key=lambda row: (-row["calls"], -row["unsettled"], row["key"]))


def _row(key: str, of: Totals, everything: int) -> dict[str, Any]:
    value, _, interval = rate("answer_rate", of)
    return {
        "key": key,
        "calls": of.calls,
        "unsettled": of.unsettled,
        "answered": of.answered,
        "answer_rate": value,
        "answer_rate_wilson95": interval,
        "share": rates.ratio(of.calls, everything),
    }


def _explained(key: str, by: Dimension, profiles: Sequence[CarrierProfile]) -> dict[str, Any]:
    """What a carrier's failure code means: its own text, and the outcome we count it as."""
    if by is not Dimension.FAILURE_CODE or not key:
        return {}
    code = int(key)
    texts = [profile.failure_texts[code] for profile in profiles if code in profile.failure_texts]
    outcomes = [profile.failure_outcomes[code] for profile in profiles if code in profile.failure_outcomes]
    return {"text": texts[0] if texts else None, "outcome": outcomes[0] if outcomes else Outcome.OTHER}


async def refusals(desk: Desk) -> list[dict[str, Any]]:
    """Refused requests since the beginning by carrier and reason, the most frequent first."""
    counts = await desk.reader.refusals()
    rows = [{"carrier": carrier, "reason": reason, "count": count} for (carrier, reason), count in counts.items()]
    return sorted(rows, key=lambda row: (-row["count"], row["carrier"], row["reason"]))
