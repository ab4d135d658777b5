"""What the figures must be after a plan was posted, from what really happened in it.

Deliberately not computed with the receiver's own fold: the two ways to a figure share no code, so they can disagree.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from receiver.model import Outcome
from receiver.simulate.plan import Episode, Nature

Figures: TypeAlias = Counter[str]
"""Name to count; outcomes are named `outcomes.NAME`. A name that is missing counts 0."""

OUTCOME_PREFIX: Final = "outcomes."
FIGURES: Final = (
    "calls",
    "answered",
    "pending",
    "lost",
    "billed_minutes",
    "keypressed",
    "conflicts",
    "deliveries",
    "duplicates",
    "quarantined",
    "held",
    "unknown_kind",
    *(f"{OUTCOME_PREFIX}{outcome}" for outcome in Outcome if outcome not in {Outcome.PENDING, Outcome.LOST}),
)
# Repeated key presses cannot be told from real ones, so they are deliveries and not duplicates.
_REPEATS_COUNTED: Final = frozenset({Nature.REPORT, Nature.FAILURE})


class Expectation:
    """The expected figures of each application, counted while a plan passes by."""

    def __init__(self) -> None:
        self.by_app: dict[str, Figures] = {}
        self.episodes = 0

    def watch(self, planned: Iterable[Episode]) -> Iterator[Episode]:
        """Pass every episode on, and count it."""
        for each in planned:
            self.by_app.setdefault(each.call.app, Counter()).update(figures(each))
            self.episodes += 1
            yield each

    @property
    def total(self) -> Figures:
        """The figures of all applications together."""
        return sum(self.by_app.values(), Counter[str]())


def figures(episode: Episode) -> Figures:
    """What one call and everything posted beside it adds to the figures."""
    call, posts = episode.call, episode.posts
    is_pending = call.outcome is Outcome.PENDING
    return Counter(
        {
            "calls": int(not is_pending),
            "pending": int(is_pending),
            "answered": int(call.is_answered),
            f"{OUTCOME_PREFIX}{call.outcome}": int(not is_pending),
            "billed_minutes": call.billed_minutes,
            "keypressed": int(call.is_answered and bool(call.digits)),
            "deliveries": sum(post.nature is not Nature.UNDECODABLE for post in posts),
            "duplicates": sum(post.is_repeat and post.nature in _REPEATS_COUNTED for post in posts),
            "quarantined": sum(post.nature is Nature.UNDECODABLE for post in posts),
            "unknown_kind": sum(post.nature is Nature.UNKNOWN_KIND for post in posts),
        }
    )
