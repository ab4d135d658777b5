"""A seed to a sequence of callbacks: which calls happen, and what is posted of them when. No clock, no I/O."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from heapq import heappop, heappush
from itertools import count
from typing import Final

from receiver.simulate import wire
from receiver.simulate.chance import Chance
from receiver.simulate.truth import LONGEST_CALL_SECONDS, TrueCall, happen

DAY_SECONDS: Final = 86_400
# The carrier's zone has been UTC+8 without daylight saving since 1992.
ZONE_SECONDS: Final = 8 * 3600
# What one account may start by default; calls "as fast as possible" are dated as if they had come at this pace.
_CALLS_PER_SECOND: Final = 5
_WINDOW_SECONDS: Final = 600.0
_LATE_SECONDS: Final = (3600, 20 * 3600)
_DISORDER_CALLS: Final = 20
_DISORDER_SECONDS: Final = 30.0
_REPEAT_SECONDS: Final = 2.0
_UNKNOWN_AMONG_MALFORMED: Final = 0.25
CALLERS: Final = ("075583763333", "075583763334", "02160128801", "01059763320", "089831335739")
LATEST_SECONDS: Final = _LATE_SECONDS[1] + 3600
"""No call begins longer before its first callback than this."""


class Nature(StrEnum):
    """What a post is, and so what becomes of it."""

    REPORT = "report"
    FAILURE = "failure"
    KEY_PRESS = "key_press"
    UNKNOWN_KIND = "unknown_kind"
    UNDECODABLE = "undecodable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to simulate. Shares are between 0 and 1; `start` is Unix seconds, `rate` calls per second, 0 for no pace.

    Attributes:
        answer_rate: share of calls with a final end that are answered.
        duplicates: share of callbacks that are posted again, byte for byte.
        disorder: share of calls whose callbacks come shuffled and among those of later calls.
        late: share of calls that are reported hours after they ended.
        malformed: share of calls beside which a body comes that is undecodable or of an unknown kind.
    """

    calls: int
    start: int
    seed: int
    rate: float = 0.0
    answer_rate: float = 0.42
    duplicates: float = 0.02
    disorder: float = 0.1
    late: float = 0.02
    malformed: float = 0.01
    apps: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One callback to be sent; `due` is Unix seconds on the plan's clock."""

    due: float
    app: str
    call_id: str
    body: bytes
    nature: Nature
    is_repeat: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """A call as it really was, and every post made of it or beside it."""

    call: TrueCall
    reported: float
    posts: tuple[Post, ...]


def app_names(apps: int) -> tuple[str, ...]:
    """The names of the simulated applications: `demo`, `demo-2`, and so on."""
    return ("demo", *(f"demo-{number}" for number in range(2, apps + 1)))


def episodes(options: Options) -> Iterator[Episode]:
    """Every call of a plan, in the order of their first callbacks."""
    # With the start in the seed, a second run a minute later makes other calls, not the same ones again.
    chance = Chance(f"{options.seed} {options.start}")
    apps = app_names(options.apps)
    first, gap = _pace(options)
    for number in range(options.calls):
        reported = first + number * gap
        age = _lateness(chance, reported) if chance.happens(options.late) else chance.between(0, 2)
        call = happen(
            chance,
            app=chance.pick(apps),
            callers=CALLERS,
            ended_at=int(reported) - age,
            answer_rate=options.answer_rate,
        )
        yield episode(call, chance, options, reported=reported, gap=gap)


def episode(call: TrueCall, chance: Chance, options: Options, *, reported: float, gap: float) -> Episode:
    """Decide how one call is reported; `gap` is the time between calls, in seconds."""
    posts = [
        Post(due=reported + delay, app=call.app, call_id=call.call_id, body=body, nature=nature)
        for delay, nature, body in _callbacks(call, chance)
    ]
    if chance.happens(options.disorder):
        posts = _disordered(posts, chance, gap)
    posts += [
        replace(post, due=post.due + _REPEAT_SECONDS * chance.fraction(), is_repeat=True)
        for post in posts
        if chance.happens(options.duplicates)
    ]
    if chance.happens(options.malformed):
        posts.append(_malformed(call, chance, reported))
    return Episode(call=call, reported=reported, posts=tuple(posts))


def schedule(planned: Iterable[Episode]) -> Iterator[Post]:
    """The posts of all calls in the order in which they are due; holds only those that overlap."""
    waiting: list[tuple[float, int, Post]] = []
    number = count()
    for each in planned:
        while waiting and waiting[0][0] < each.reported:
            yield heappop(waiting)[2]
        for post in each.posts:
            heappush(waiting, (post.due, next(number), post))
    while waiting:
        yield heappop(waiting)[2]


def seconds_of_day(instant: float) -> float:
    """Seconds since midnight in the carrier's zone."""
    return (instant + ZONE_SECONDS) % DAY_SECONDS


def _pace(options: Options) -> tuple[float, float]:
    if options.rate > 0:
        return options.start, 1 / options.rate
    window = min(options.calls / _CALLS_PER_SECOND, _WINDOW_SECONDS)
    room = seconds_of_day(options.start) - LONGEST_CALL_SECONDS
    if room > 0:
        window = min(window, room)
    return options.start - window, window / max(options.calls, 1)


def _lateness(chance: Chance, reported: float) -> int:
    shortest, longest = _LATE_SECONDS
    room = int(seconds_of_day(reported)) - LONGEST_CALL_SECONDS
    return chance.between(shortest, min(longest, room) if room > shortest else longest)


def _callbacks(call: TrueCall, chance: Chance) -> Iterator[tuple[float, Nature, bytes]]:
    for digit in call.digits:
        is_after_the_report = chance.happens(0.1)
        yield chance.fraction() + is_after_the_report, Nature.KEY_PRESS, wire.key_press(call, digit, chance)
    if call.result is not None:
        yield 1.0, Nature.REPORT, wire.report(call, chance)
    if call.failure is not None:
        # Status and failure are seen to arrive at the same time, in either order.
        yield 0.8 + 0.4 * chance.fraction(), Nature.FAILURE, wire.failure(call, chance)


def _disordered(posts: list[Post], chance: Chance, gap: float) -> list[Post]:
    longest = min(_DISORDER_CALLS * gap, _DISORDER_SECONDS)
    dues = chance.shuffled([post.due for post in posts])
    return [replace(post, due=due + longest * chance.fraction()) for post, due in zip(posts, dues, strict=True)]


def _malformed(call: TrueCall, chance: Chance, due: float) -> Post:
    if chance.happens(_UNKNOWN_AMONG_MALFORMED):
        nature, body = Nature.UNKNOWN_KIND, wire.unknown_kind(call)
    else:
        nature, body = Nature.UNDECODABLE, wire.undecodable(call, chance)
    return Post(due=due, app=call.app, call_id=call.call_id, body=body, nature=nature)
