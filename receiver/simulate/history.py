"""A simulated past for demonstrations: calls by the hour as a business makes them. No clock, no I/O, no store."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from receiver.simulate.chance import Chance
from receiver.simulate.plan import (
    CALLERS,
    DAY_SECONDS,
    ZONE_SECONDS,
    Episode,
    Options,
    app_names,
    episode,
    seconds_of_day,
)
from receiver.simulate.truth import happen

_HOUR: Final = 3600
# Share of a day's calls in each hour of the carrier's zone: office hours with a lunch break, and an evening of codes.
_HOURS: Final = (2, 1, 1, 1, 1, 2, 5, 16, 48, 88, 98, 86, 42, 60, 84, 90, 86, 74, 52, 48, 46, 38, 20, 8)
_WEEKDAYS: Final = (1.05, 1.1, 1.05, 1.0, 1.0, 0.6, 0.5)
# 1970-01-01 was a Thursday, counted from Monday.
_EPOCH_WEEKDAY: Final = 3
# Answer rates of the calling numbers at the beginning and at the end: the last one is sinking to the carrier's floor.
_ANSWER_RATES: Final = ((0.52, 0.53), (0.47, 0.46), (0.44, 0.45), (0.42, 0.42), (0.48, 0.30))
_BUSY_HOURS: Final = range(9, 20)
_QUIET_PENALTY: Final = 0.06


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A number of days that end at `now` (Unix seconds), with about that many calls on an ordinary day."""

    now: int
    days: int = 7
    seed: int = 1
    calls_per_day: int = 700
    apps: int = 2

    @property
    def start(self) -> int:
        """When the first hour begins."""
        return self.now - self.days * DAY_SECONDS - self.now % _HOUR


def episodes(history: History) -> Iterator[Episode]:
    """Every call of a history, in the order of their first callbacks."""
    chance = Chance(f"{history.seed} {history.now}")
    odd = Options(calls=0, start=history.start, seed=history.seed, late=0.01, malformed=0.002)
    apps = app_names(history.apps)
    for reported in _moments(history, chance):
        number = chance.between(0, len(CALLERS) - 1)
        call = happen(
            chance,
            app=chance.pick(apps),
            callers=(CALLERS[number],),
            ended_at=int(reported) - chance.between(0, 2),
            answer_rate=_answer_rate(history, number, reported),
        )
        yield episode(call, chance, odd, reported=reported, gap=1.0)


def _moments(history: History, chance: Chance) -> Iterator[float]:
    for hour in range(history.start, history.now, _HOUR):
        moments = [hour + _HOUR * chance.fraction() for _ in range(_calls(history, hour, chance))]
        yield from (moment for moment in sorted(moments) if moment < history.now)


def _calls(history: History, hour: int, chance: Chance) -> int:
    local_hour = int(seconds_of_day(hour)) // _HOUR
    weekday = ((hour + ZONE_SECONDS) // DAY_SECONDS + _EPOCH_WEEKDAY) % 7
    expected = history.calls_per_day * _WEEKDAYS[weekday] * _HOURS[local_hour] / sum(_HOURS)
    return int(expected * (0.85 + 0.3 * chance.fraction()) + chance.fraction())


def _answer_rate(history: History, number: int, moment: float) -> float:
    first, last = _ANSWER_RATES[number]
    passed = (moment - history.start) / (history.now - history.start)
    is_busy = int(seconds_of_day(moment)) // _HOUR in _BUSY_HOURS
    return first + (last - first) * passed - (0 if is_busy else _QUIET_PENALTY)
