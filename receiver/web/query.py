"""The query of one request: every parameter taken once, whatever nobody took refused. Knows names, no store."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

from multidict import MultiMapping

from receiver.config import Settings
from receiver.errors import QueryError
from receiver.model import MICROSECONDS, CallKind, Outcome, Span
from receiver.statistics import periods
from receiver.store.interface import Filters
from receiver.web.auth import Caller

_Word = TypeVar("_Word", bound=StrEnum)
_LONGEST: Final = 256
_HOUR_US: Final = 3600 * MICROSECONDS


class Query:
    """Parameters still to be taken."""

    def __init__(self, given: MultiMapping[str]) -> None:
        self._left: dict[str, str] = {}
        for name, value in given.items():
            if name in self._left:
                raise QueryError(name, f"{name} is given more than once")
            if len(value) > _LONGEST:
                raise QueryError(name, f"{name} is longer than {_LONGEST} characters")
            self._left[name] = value

    def take(self, name: str) -> str | None:
        """Take a parameter as it was written; None when it was not given."""
        return self._left.pop(name, None)

    def whole(self, name: str, default: int, *, least: int, most: int) -> int:
        """Take a whole number.

        Raises:
            QueryError: it is none, or out of bounds.
        """
        text = self.take(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise QueryError(name, f"{name} must be a whole number from {least} to {most}")
        return int(text)

    def word(self, name: str, words: type[_Word]) -> _Word | None:
        """Take one of a set of words.

        Raises:
            QueryError: it is another word; the message lists all.
        """
        text = self.take(name)
        if text is None:
            return None
        try:
            return words(text)
        except ValueError:
            raise QueryError(name, f"{name} must be one of: {', '.join(words)}") from None

    def finish(self) -> None:
        """Refuse what nobody took.

        Raises:
            QueryError: a parameter is not known here.
        """
        for name in self._left:
            raise QueryError(name, "this parameter is not known here")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which calls a question is about: the filters, the half-open interval, and the zone it is told in.

    Attributes:
        lost_before_us: a call without a final outcome is lost when its first callback came before this instant.
    """

    filters: Filters
    span: Span
    zone: ZoneInfo
    lost_before_us: int


def take_zone(query: Query, settings: Settings) -> ZoneInfo:
    """Take the zone in which an answer tells its times.

    Raises:
        QueryError: there is no such zone.
    """
    return periods.zone_of(query.take("tz") or settings.statistics.zone)


def lost_before(settings: Settings, *, now_us: int) -> int:
    """The instant (Unix microseconds) before which calls that are still without a final outcome first came."""
    return now_us - settings.statistics.lost_after_hours * _HOUR_US


def take_scope(query: Query, caller: Caller, settings: Settings, *, now_us: int) -> Scope:
    """Take the parameters common to all questions about calls.

    Raises:
        QueryError: one of them cannot be used.
    """
    zone = take_zone(query, settings)
    span = periods.resolve(
        range_name=query.take("range"),
        start=query.take("start"),
        end=query.take("end"),
        zone=zone,
        now=now_us // MICROSECONDS,
    )
    lost_before_us = lost_before(settings, now_us=now_us)
    return Scope(
        filters=_take_filters(query, caller, settings, lost_before_us),
        span=span,
        zone=zone,
        lost_before_us=lost_before_us,
    )


def _take_filters(query: Query, caller: Caller, settings: Settings, lost_before_us: int) -> Filters:
    carrier = query.take("carrier")
    if carrier is not None and carrier not in settings.carriers:
        raise QueryError("carrier", f"carrier must be one of: {', '.join(sorted(settings.carriers))}")
    filters = Filters(
        carrier=carrier,
        app=_permitted_app(query.take("app"), caller),
        kind=query.word("kind", CallKind),
        caller=query.take("call_from"),
        nationcode=query.take("nationcode"),
        outcome=query.word("outcome", Outcome),
    )
    # The store knows calls without a final outcome; which of them are lost is a question of time.
    if filters.outcome is Outcome.LOST:
        return replace(filters, outcome=Outcome.PENDING, first_received_before_us=lost_before_us)
    if filters.outcome is Outcome.PENDING:
        return replace(filters, first_received_from_us=lost_before_us)
    return filters


def _permitted_app(app: str | None, caller: Caller) -> str | None:
    if not caller.apps or app in caller.apps:
        return app
    if app is None and len(caller.apps) == 1:
        return next(iter(caller.apps))
    names = ", ".join(sorted(caller.apps))
    raise QueryError("app", f"this token sees some applications only; app must be one of: {names}")
