"""What a person asks for ("today", "by hour") to instants and bucket edges, in any time zone. Knows no figures.

Everything is half-open and in Unix seconds. Days have 23 to 25 hours where clocks change.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from receiver.errors import QueryError
from receiver.model import Span

_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR
_ROLLING: Final = {"1h": _HOUR, "24h": _DAY, "7d": 7 * _DAY, "30d": 30 * _DAY}
RANGES: Final = ("today", "yesterday", *_ROLLING)

# Until 2100, and some days of slack for zones and steps.
_LAST_INSTANT: Final = 4_103_000_000
_UNIX: Final = re.compile(r"[0-9]{1,10}")
# RFC 3339, section 5.6. A plus that was not escaped in a URL arrives as a space.
_RFC_3339: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]+)?([Zz]|[+ -][0-9]{2}:[0-9]{2})"
)
_STEP: Final = re.compile(r"([0-9]{1,9})([smhdw]?)")
_STEP_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": _HOUR, "d": _DAY, "w": 7 * _DAY}

MIN_STEP: Final = 60
MAX_BUCKETS: Final = 11_000


def zone_of(name: str) -> ZoneInfo:
    """The IANA time zone of that name.

    Raises:
        QueryError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # no such zone, no possible name, the name of a directory of zones
        raise QueryError("tz", "must be an IANA time zone such as Asia/Shanghai") from None


def resolve(*, range_name: str | None, start: str | None, end: str | None, zone: ZoneInfo, now: int) -> Span:
    """The span of a named range (default `today`), or from `start` to `end` (default now); days are the zone's.

    Raises:
        QueryError: no such range, no such instant, both kinds at once, or nothing between start and end.
    """
    if start is None and end is None:
        return _named("today" if range_name is None else range_name, zone, now)
    if range_name is not None:
        raise QueryError("range", "give either range, or start and end")
    if start is None:
        raise QueryError("start", "is missing; end was given")
    span = Span(start=_instant("start", start), end=now + 1 if end is None else _instant("end", end))
    if span.start >= span.end:
        raise QueryError("start", "must lie before end")
    return span


def _named(name: str, zone: ZoneInfo, now: int) -> Span:
    if name in _ROLLING:
        # The second that has begun belongs to it.
        return Span(start=now + 1 - _ROLLING[name], end=now + 1)
    if name not in RANGES:
        raise QueryError("range", f"must be one of: {', '.join(RANGES)}")
    day = datetime.fromtimestamp(now, zone).date() - timedelta(days=name == "yesterday")
    # Until midnight, not until now: a carrier's clock may run ahead of ours.
    return Span(start=_midnight(day, zone), end=_midnight(day + timedelta(days=1), zone))


def _instant(parameter: str, text: str) -> int:
    """Whole seconds; a fraction is rounded up, which is the same to whole-second event times in half-open spans."""
    seconds = int(text) if _UNIX.fullmatch(text) else _rfc_3339(text)
    if seconds is None or not 0 <= seconds <= _LAST_INSTANT:
        raise QueryError(
            parameter,
            "must be an instant from 1970 to 2100, RFC 3339 with an offset (2026-11-22T10:00:00+08:00) or Unix seconds",
        )
    return seconds


def _rfc_3339(text: str) -> int | None:
    match = _RFC_3339.fullmatch(text)
    if match is None:
        return None
    day, time, fraction, offset = match.groups()
    try:
        whole = datetime.fromisoformat(f"{day}T{time}{offset.upper().replace(' ', '+')}")
    except ValueError:
        return None
    return int(whole.timestamp()) + (1 if fraction and fraction.strip(".0") else 0)


def rfc_3339(at: int, zone: ZoneInfo) -> str:
    """An instant as the zone's clocks show it, with its offset."""
    return datetime.fromtimestamp(at, zone).isoformat()


def step_seconds(text: str) -> int:
    """Seconds of a step such as `60s`, `5m`, `1h`, `1d`, `1w`, or `3600`.

    Raises:
        QueryError: no step, shorter than a minute, or longer than a day and not of whole days.
    """
    match = _STEP.fullmatch(text)
    if match is None:
        raise QueryError("step", "must be a duration such as 60s, 5m, 1h, 1d or 1w")
    step = int(match[1]) * _STEP_UNITS[match[2]]
    if step < MIN_STEP:
        raise QueryError("step", f"must be at least {MIN_STEP} s")
    if step > _DAY and step % _DAY:
        raise QueryError("step", "must be whole days when it is longer than one")
    return step


def edges(span: Span, step: int, zone: ZoneInfo) -> list[int]:
    """Starts of the span's buckets, ascending: the span's own start, then wherever the zone's clocks reach a step.

    Steps within a day count from local midnight, days and weeks from a Monday; the first and last bucket may be cut.

    Raises:
        QueryError: more than 11,000 buckets.
    """
    boundaries = _days(span, step // _DAY, zone) if step % _DAY == 0 else _clock_steps(span, step, zone)
    starts = [span.start]
    for boundary in boundaries:
        starts.append(boundary)
        if len(starts) > MAX_BUCKETS:
            raise QueryError("step", f"makes more than {MAX_BUCKETS} buckets; ask for a longer step or a shorter time")
    return starts


def _days(span: Span, days: int, zone: ZoneInfo) -> Iterator[int]:
    """First instants of every so many days, within the span. Ordinal 1 is a Monday."""
    ordinal = datetime.fromtimestamp(span.start, zone).date().toordinal()
    last = span.start
    for each in range(ordinal - (ordinal - 1) % days + days, date.max.toordinal(), days):
        midnight = _midnight(date.fromordinal(each), zone)
        if midnight >= span.end:
            return
        # A zone that changed sides of the date line has days of no length.
        if midnight > last:
            yield midnight
            last = midnight


def _clock_steps(span: Span, step: int, zone: ZoneInfo) -> Iterator[int]:
    """Instants within the span at which the zone's clocks reach a multiple of the step since midnight."""
    at = span.start
    while (at := _next_step(at, step, zone)) < span.end:
        yield at


def _next_step(at: int, step: int, zone: ZoneInfo) -> int:
    offset = _offset(at, zone)
    begun = _at_or_before(at + offset, step)
    wanted = _at_or_after(at + offset + 1, step)
    if _offset(wanted - offset, zone) == offset:
        return wanted - offset
    within = range(at, wanted - offset + 1)
    change = within[bisect_left(within, 1, key=lambda instant: _offset(instant, zone) != offset)]
    shifted = _offset(change, zone)
    if shifted > offset:
        # Clocks skip the wanted time, or reach it sooner.
        return max(change, wanted - shifted)
    # Clocks repeat some time: a repeated step is one of its own when the first has had its full length.
    reached = _at_or_after(change + shifted, step)
    while reached < wanted and (reached - shifted) - (begun - offset) < step:
        reached = _at_or_after(reached + 1, step)
    return reached - shifted


def _at_or_before(clock: int, step: int) -> int:
    day, second = divmod(clock, _DAY)
    return day * _DAY + second // step * step


def _at_or_after(clock: int, step: int) -> int:
    day, second = divmod(clock, _DAY)
    return day * _DAY + min(-(-second // step) * step, _DAY)


def _midnight(day: date, zone: ZoneInfo) -> int:
    """The first instant of a day; where clocks skip midnight, PEP 495's fold=0 gives the instant of the change."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())


def _offset(at: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(at, zone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())
