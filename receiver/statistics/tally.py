"""Counts that add up: what one call contributes to its buckets, and sums of such contributions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Final, Self, TypeAlias

from receiver.model import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Sums over calls with one outcome in one bucket. All are integers, so any order of adding gives the same.

    Attributes:
        calls: number of calls.
        billed_minutes: sum of the carrier's charged minutes.
        keypressed: calls in which at least one key was pressed.
        short: answered calls whose talk was shorter than the kind's threshold.
        conflicts: calls whose deliveries disagree in a single-valued field.
        contradictions: answered calls that also have a failure code.
        timed_to_answer: calls with a time to answer; `seconds_to_answer` is their sum.
        timed_talk: calls with a talk time; `talk_seconds` is their sum.
    """

    calls: int = 0
    billed_minutes: int = 0
    keypressed: int = 0
    short: int = 0
    conflicts: int = 0
    contradictions: int = 0
    timed_to_answer: int = 0
    seconds_to_answer: int = 0
    timed_talk: int = 0
    talk_seconds: int = 0

    def __add__(self, other: Self) -> Self:
        """Add two sums, field by field; spelled out, because series add them by the ten thousand."""
        return type(self)(
            calls=self.calls + other.calls,
            billed_minutes=self.billed_minutes + other.billed_minutes,
            keypressed=self.keypressed + other.keypressed,
            short=self.short + other.short,
            conflicts=self.conflicts + other.conflicts,
            contradictions=self.contradictions + other.contradictions,
            timed_to_answer=self.timed_to_answer + other.timed_to_answer,
            seconds_to_answer=self.seconds_to_answer + other.seconds_to_answer,
            timed_talk=self.timed_talk + other.timed_talk,
            talk_seconds=self.talk_seconds + other.talk_seconds,
        )


MEASURE_NAMES: Final[tuple[str, ...]] = tuple(each.name for each in fields(Measures))
NOTHING: Final = Measures()

Tally: TypeAlias = Mapping[Outcome, Measures]
"""Outcome to its sums; `pending` holds the not-final ones, `lost` is split off only when read."""

Histogram: TypeAlias = Mapping[int, int]
"""Whole seconds to how often; exact, because carriers' times have no finer resolution."""


def add(tallies: Iterable[Tally]) -> dict[Outcome, Measures]:
    """Sum any number of tallies."""
    total: dict[Outcome, Measures] = {}
    for tally in tallies:
        for outcome, measures in tally.items():
            total[outcome] = total[outcome] + measures if outcome in total else measures
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Deliveries counted by arrival. They know a carrier and an application, and no other filter."""

    deliveries: int
    duplicates: int
    held: int
    unknown_kind: int
    quarantined: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Callees:
    """Distinct people called, and how many of them answered at least once."""

    called: int
    answered: int
