"""Seeded choices that are the same on every Python version. Nothing here knows what is chosen."""

from bisect import bisect
from collections.abc import Mapping, Sequence
from itertools import accumulate
from random import Random
from typing import Generic, TypeVar

T = TypeVar("T")


class Weighted(Generic[T]):
    """Values with weights; the weights need not add up to anything."""

    __slots__ = ("limits", "values")

    def __init__(self, weights: Mapping[T, float]) -> None:
        self.values = tuple(weights)
        self.limits = tuple(accumulate(weights.values()))


class Chance:
    """Choices drawn from one seed.

    Only `Random.random()` is drawn from: it alone is promised to repeat across versions
    (https://docs.python.org/3/library/random.html#notes-on-reproducibility).
    """

    __slots__ = ("fraction",)

    def __init__(self, seed: str) -> None:
        self.fraction = Random(seed).random  # noqa: S311 - a repeatable plan, not a secret

    def happens(self, probability: float) -> bool:
        """True with this probability."""
        return self.fraction() < probability

    def between(self, low: int, high: int) -> int:
        """Any integer from `low` to `high`, both included."""
        return low + int(self.fraction() * (high - low + 1))

    def pick(self, values: Sequence[T]) -> T:
        """Any of the values, all equally likely."""
        return values[int(self.fraction() * len(values))]

    def weigh(self, weighted: Weighted[T]) -> T:
        """One of the values, as likely as its weight."""
        return weighted.values[bisect(weighted.limits, self.fraction() * weighted.limits[-1])]

    def shuffled(self, values: Sequence[T]) -> list[T]:
        """The values in any order, all orders equally likely (Fisher and Yates)."""
        shuffled = list(values)
        for last in range(len(shuffled) - 1, 0, -1):
            other = self.between(0, last)
            shuffled[last], shuffled[other] = shuffled[other], shuffled[last]
        return shuffled
