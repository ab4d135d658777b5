"""One simulation from plan to verdict: figures before, callbacks, figures after. Prints nothing."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from receiver.simulate.expected import Expectation, Figures
from receiver.simulate.plan import LATEST_SECONDS, Options, app_names, episodes, schedule
from receiver.simulate.sender import Acknowledgement, Sender, Sent
from receiver.simulate.target import Target
from receiver.simulate.verify import EVERYTHING, Auditor, Comparison, compare

_HOUR: Final = 3600
# Without a pace, how slow a receiver may be before its last arrivals fall behind the audited time.
_CALLS_PER_SECOND: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What was sent, what must come of it, and what did; `comparisons` is None when there are none to make."""

    sent: Sent
    expected: Mapping[str, Figures]
    comparisons: list[Comparison] | None


def _ignore(_: object) -> None:
    return


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """Who hears of a simulation while it runs: the number of calls that have begun, and each success answer."""

    on_progress: Callable[[int], None] = _ignore
    on_acknowledged: Callable[[Acknowledgement], None] = _ignore


async def play(
    options: Options, target: Target, *, connections: int, is_verified: bool, listeners: Listeners
) -> Played:
    """Post a plan; an interrupt ends it early and cleanly.

    Raises:
        UsageError: the target's files cannot be used.
        VerifyError: the receiver's figures could not be read.
    """
    auditor = _auditor(options, target)
    before = await auditor.settled(0) if is_verified else {}
    sender = Sender(
        target,
        connections=connections,
        pace_from=options.start if options.rate > 0 else None,
        on_acknowledged=listeners.on_acknowledged,
    )
    expectation = Expectation()
    posts = schedule(expectation.watch(episodes(options)))
    with _stopped_by_signals(sender.stop):
        sent = await sender.send(posts, lambda: listeners.on_progress(expectation.episodes))
    expected = {EVERYTHING: expectation.total, **expectation.by_app}
    comparisons = None
    if is_verified and sent.is_complete:
        after = await auditor.settled(sent.last_receipt)
        comparisons = compare(expected, before=before, after=after, ambiguous=sent.ambiguous)
    return Played(sent=sent, expected=expected, comparisons=comparisons)


def _auditor(options: Options, target: Target) -> Auditor:
    """Audit the time of the calls, which the plan fixes, and that of their arrival, which is now and after."""
    now = int(time.time())
    seconds = int(options.calls / (options.rate or _CALLS_PER_SECOND)) + _HOUR
    start = min(options.start - LATEST_SECONDS, now - _HOUR)
    end = max(options.start, now) + seconds
    return Auditor(
        target=target,
        apps=app_names(options.apps),
        start=start - start % _HOUR,
        end=end + -end % _HOUR,
    )


@contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
