"""Small numbers for outcomes and sums, as the derived tables keep them. Knows no row."""

from operator import attrgetter
from typing import Final

from receiver.model import Outcome
from receiver.statistics.tally import MEASURE_NAMES, Measures

OUTCOMES: Final = tuple(Outcome)
"""By code. Only derived tables hold codes, and the names are part of `Rules.fingerprint`: other names, new tables."""

CODE_OF: Final = {outcome: code for code, outcome in enumerate(OUTCOMES)}
PENDING: Final = CODE_OF[Outcome.PENDING]
ANSWERED: Final = CODE_OF[Outcome.ANSWERED]

sums_of: Final = attrgetter(*MEASURE_NAMES)
"""The sums of a `Measures` as a tuple, in the order of the roll-ups' columns."""


def measures_of(sums: tuple[int, ...]) -> Measures:
    """Measures from sums in the order of the roll-ups' columns."""
    return Measures(**dict(zip(MEASURE_NAMES, sums, strict=True)))
