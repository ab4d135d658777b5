"""What one call adds to its buckets. Knows one call and its outcome, and neither buckets nor other calls."""

from collections.abc import Mapping
from typing import Final

from receiver.model import Call, CallKind, Outcome
from receiver.statistics.tally import Measures

# Longer is not plausible for a voice message, and histograms stay small.
MAX_SECONDS: Final = 3600


def contribution(call: Call, outcome: Outcome, *, short_seconds: Mapping[CallKind, int]) -> Measures:
    """The sums of one call; `short_seconds` says below which talk time an answered call of a kind is short.

    A roll-up changes by `contribution(new) - contribution(old)`.
    """
    to_answer = seconds_to_answer(call, outcome)
    talk = talk_seconds(call, outcome)
    return Measures(
        calls=1,
        billed_minutes=call.billed_minutes or 0,
        keypressed=int(bool(call.digits)),
        short=int(talk is not None and talk < short_seconds.get(call.kind, 0)),
        conflicts=int(bool(call.conflicts)),
        contradictions=int(outcome is Outcome.ANSWERED and call.failure_code is not None),
        timed_to_answer=int(to_answer is not None),
        seconds_to_answer=to_answer or 0,
        timed_talk=int(talk is not None),
        talk_seconds=talk or 0,
    )


def seconds_to_answer(call: Call, outcome: Outcome) -> int | None:
    """Set-up and ringing of an answered call, 0 to 3600; None when the carrier's times do not tell."""
    return _elapsed(call.started_at, call.answered_at) if outcome is Outcome.ANSWERED else None


def talk_seconds(call: Call, outcome: Outcome) -> int | None:
    """Conversation of an answered call, 0 to 3600; None when the carrier's times do not tell."""
    return _elapsed(call.answered_at, call.ended_at) if outcome is Outcome.ANSWERED else None


def _elapsed(since: int | None, until: int | None) -> int | None:
    if since is None or until is None or until < since:
        return None
    return min(until - since, MAX_SECONDS)
