"""How time is cut into the buckets of the roll-ups, and which buckets make up a span. Knows no figures and no database.

All instants are Unix seconds. Days are those of the default zone, so their length may vary; minutes and hours are the
clock's. Minutes (and seconds, for arrivals) are kept for `FINE_DAYS` only: everything older has hours and days.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final
from zoneinfo import ZoneInfo

MINUTE: Final = 60
HOUR: Final = 3600
FINE_SECONDS: Final = 3 * 24 * HOUR
# Every time zone in use since 1972 is off by a multiple of this, so that an instant and its quarter share their day.
_QUARTER: Final = 900
_REMEMBERED_DAYS: Final = 10_000


class Level(IntEnum):
    """How wide a bucket is. Only arrivals have seconds: the calls themselves are asked for ragged ends."""

    SECOND = 0
    MINUTE = 1
    HOUR = 2
    DAY = 3


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a span: whole buckets of one level, or (level None) calls one by one. Half-open."""

    level: Level | None
    start: int
    end: int


class Calendar:
    """The days of one time zone."""

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone
        self._days: dict[int, int] = {}

    def day_of(self, at: int) -> int:
        """The start of the day in which an instant lies."""
        quarter = at // _QUARTER
        day = self._days.get(quarter)
        if day is None:
            if len(self._days) >= _REMEMBERED_DAYS:
                self._days.clear()
            day = self._days[quarter] = _midnight(datetime.fromtimestamp(at, self.zone))
        return day

    def day_from(self, at: int) -> int:
        """The first start of a day at or after an instant."""
        day = self.day_of(at)
        return day if day == at else _midnight(datetime.fromtimestamp(day, self.zone) + timedelta(hours=36))

    def buckets(self, at: int, *, floor: int, finest: Level) -> list[tuple[Level, int]]:
        """The buckets that are kept for an instant, as (level, start); `floor` is where fine ones begin."""
        coarse = [(Level.HOUR, at - at % HOUR), (Level.DAY, self.day_of(at))]
        if at < floor:
            return coarse
        minute = (Level.MINUTE, at - at % MINUTE)
        return [(Level.SECOND, at), minute, *coarse] if finest is Level.SECOND else [minute, *coarse]


def _midnight(local: datetime) -> int:
    # Where clocks skip midnight, fold=0 (PEP 495) gives the instant of the change: the first of that day.
    return int(local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).timestamp())


def floor_after(received_us: int) -> int:
    """Where fine buckets begin once a delivery of that arrival has come: a whole hour."""
    hour = received_us // 1_000_000 // HOUR * HOUR
    return hour - FINE_SECONDS


def cover_calls(start: int, end: int, *, calendar: Calendar, floor: int) -> list[Piece]:
    """Cut a span of event time into the largest buckets there are, and calls one by one at its ragged ends."""
    first, last = calendar.day_from(start), calendar.day_of(end)
    if first >= last:
        return _hours(start, end, floor=floor)
    whole_days = Piece(Level.DAY, first, last)
    return [*_hours(start, first, floor=floor), whole_days, *_hours(last, end, floor=floor)]


def _hours(start: int, end: int, *, floor: int) -> list[Piece]:
    first, last = start + -start % HOUR, end - end % HOUR
    if first >= last:
        return _minutes(start, end, floor=floor)
    return [*_minutes(start, first, floor=floor), Piece(Level.HOUR, first, last), *_minutes(last, end, floor=floor)]


def _minutes(start: int, end: int, *, floor: int) -> list[Piece]:
    first, last = max(start + -start % MINUTE, floor), end - end % MINUTE
    if first >= last:
        return _some(Piece(None, start, end))
    return [*_some(Piece(None, start, first)), Piece(Level.MINUTE, first, last), *_some(Piece(None, last, end))]


def cover_arrivals(start: int, end: int, *, calendar: Calendar, floor: int) -> list[Piece]:
    """Cut a span of arrivals into buckets; where only hours are left, it is widened to whole ones.

    Hours of a zone whose days do not begin with one overlap two days: there, hours stand for the days.
    """
    start = start if start >= floor else start - start % HOUR
    end = end if end >= floor else end + -end % HOUR
    first, last = calendar.day_from(start), calendar.day_of(end)
    if first >= last or first % HOUR or last % HOUR:
        return _arrival_hours(start, end)
    return [*_arrival_hours(start, first), Piece(Level.DAY, first, last), *_arrival_hours(last, end)]


def _arrival_hours(start: int, end: int) -> list[Piece]:
    first, last = start + -start % HOUR, end - end % HOUR
    if first >= last:
        return _arrival_minutes(start, end)
    return [*_arrival_minutes(start, first), Piece(Level.HOUR, first, last), *_arrival_minutes(last, end)]


def _arrival_minutes(start: int, end: int) -> list[Piece]:
    first, last = start + -start % MINUTE, end - end % MINUTE
    if first >= last:
        return _some(Piece(Level.SECOND, start, end))
    seconds, more_seconds = Piece(Level.SECOND, start, first), Piece(Level.SECOND, last, end)
    return [*_some(seconds), Piece(Level.MINUTE, first, last), *_some(more_seconds)]


def _some(piece: Piece) -> list[Piece]:
    return [piece] if piece.start < piece.end else []
