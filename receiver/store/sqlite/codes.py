"""Small numbers for outcomes and sums, as the derived tables keep them. Knows no row."""

from collections.abc import Sequence
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


def measures_of(sums: Sequence[int]) -> Measures:
    """Measures from sums in the order of the roll-ups' columns; spelled out, because series make ten thousands."""
    return Measures(
        calls=sums[0],
        billed_minutes=sums[1],
        keypressed=sums[2],
        short=sums[3],
        conflicts=sums[4],
        contradictions=sums[5],
        timed_to_answer=sums[6],
        seconds_to_answer=sums[7],
        timed_talk=sums[8],
        talk_seconds=sums[9],
    )
