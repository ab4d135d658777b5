"""Rates, how sure they are, and what they mean against a floor. Knows numbers only."""

from enum import StrEnum
from math import sqrt
from typing import Final

from receiver.statistics.tally import Histogram

# The 0.975 quantile of the normal distribution: two-sided 95 %.
Z_95: Final = 1.959964
# Tencent's own example of its rule: 50 calls, of which at least 15 answered.
SMALLEST_SAMPLE: Final = 50


class LiteralVerdict(StrEnum):
    """What the carrier's rule says, read word for word, while some calls have not ended."""

    NONE = "none"
    INSUFFICIENT = "insufficient"
    KEPT = "kept"
    BROKEN = "broken"
    OPEN = "open"


class StatisticalVerdict(StrEnum):
    """What the sample proves about the rate behind it."""

    NONE = "none"
    ABOVE = "above"
    UNDECIDED = "undecided"
    BELOW = "below"


def ratio(part: int, whole: int) -> float | None:
    """A rate; None, never 0, when there is nothing to divide by."""
    return part / whole if whole else None


def wilson(successes: int, total: int, z: float = Z_95) -> tuple[float, float]:
    """The interval in which the rate behind a sample lies; everything, 0 to 1, for an empty one.

    E. B. Wilson, Probable Inference, J. Am. Stat. Assoc. 22 (1927), 209-212.
    """
    if not total:
        return 0.0, 1.0
    p = successes / total
    shrink = 1 + z * z / total
    centre = (p + z * z / (2 * total)) / shrink
    half = z * sqrt(p * (1 - p) / total + z * z / (4 * total * total)) / shrink
    # Exact at the ends, where rounding would leave a speck.
    return (centre - half if successes else 0.0), (centre + half if successes < total else 1.0)


def answer_rate_bounds(answered: int, calls: int, unsettled: int) -> tuple[float, float] | None:
    """The rate if all unsettled calls had failed, and if all had been answered; None without any call."""
    everything = calls + unsettled
    return (answered / everything, (answered + unsettled) / everything) if everything else None


def literal_verdict(answered: int, calls: int, unsettled: int, *, floor: float) -> LiteralVerdict:
    """Read the rule `answered / calls >= floor` word for word; exactly at the floor it is kept."""
    bounds = answer_rate_bounds(answered, calls, unsettled)
    if bounds is None or not calls:
        return LiteralVerdict.NONE
    if calls < SMALLEST_SAMPLE:
        return LiteralVerdict.INSUFFICIENT
    if bounds[0] >= floor:
        return LiteralVerdict.KEPT
    return LiteralVerdict.BROKEN if bounds[1] < floor else LiteralVerdict.OPEN


def statistical_verdict(answered: int, calls: int, *, floor: float) -> StatisticalVerdict:
    """Compare the Wilson 95 % interval with the floor; a sample that proves neither is undecided."""
    if not calls:
        return StatisticalVerdict.NONE
    low, high = wilson(answered, calls)
    if low >= floor:
        return StatisticalVerdict.ABOVE
    return StatisticalVerdict.BELOW if high < floor else StatisticalVerdict.UNDECIDED


def mean(histogram: Histogram) -> float | None:
    """The mean of an exact histogram; None when it is empty."""
    return ratio(sum(value * n for value, n in histogram.items()), sum(histogram.values()))


def percentile(histogram: Histogram, q: int) -> int | None:
    """The least value that at least `q` per cent (1 to 100, whole) of the sample do not exceed; None when empty."""
    # Ceiling division of integers: floats put 7 % of 100 at rank 8.
    rank = -(-sum(histogram.values()) * q // 100)
    seen = 0
    for value in sorted(histogram):
        seen += histogram[value]
        if seen >= rank > 0:
            return value
    return None
