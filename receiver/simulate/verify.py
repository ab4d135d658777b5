"""Asks the receiver for its figures and compares their change with what was expected. Knows the API, not the plan."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import aiohttp

from receiver.errors import ReceiverError
from receiver.simulate.expected import FIGURES, OUTCOME_PREFIX, Figures
from receiver.simulate.target import Target

EVERYTHING: Final = "all"
_POLL_SECONDS: Final = 0.1
_FOLD_PATIENCE_SECONDS: Final = 60.0
# What an attempt adds that was kept without a success answer: the carrier's repeat is one more delivery.
_AMBIGUOUS: Final = frozenset({"deliveries", "duplicates"})
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30)


class VerifyError(ReceiverError):
    """The receiver's figures could not be read."""

    reason = "verify"


class Comparison(NamedTuple):
    """One figure of one application, or of all. `slack` is how much more than expected is explained by retries."""

    app: str
    figure: str
    expected: int
    actual: int
    slack: int

    @property
    def is_equal(self) -> bool:
        """The receiver has what was expected."""
        return self.expected <= self.actual <= self.expected + self.slack


@dataclass(frozen=True, slots=True, kw_only=True)
class Auditor:
    """Reads `/api/v1/summary` of the target's carrier over a fixed time (Unix seconds, half-open)."""

    target: Target
    apps: tuple[str, ...]
    start: int
    end: int

    async def settled(self, receipt: int) -> dict[str, Figures]:
        """The figures of all and of each application, once all up to this journal cursor is folded.

        Raises:
            VerifyError: the receiver does not answer, or does not fold that far in a minute.
        """
        headers = {"Authorization": f"Bearer {self.target.token}"}
        async with aiohttp.ClientSession(headers=headers, timeout=_TIMEOUT) as session:
            await self._wait_for_fold(session, receipt)
            total = flatten(await self._summary(session))
            return {EVERYTHING: total} | {app: flatten(await self._summary(session, app=app)) for app in self.apps}

    async def _wait_for_fold(self, session: aiohttp.ClientSession, receipt: int) -> None:
        patience_ends = time.monotonic() + _FOLD_PATIENCE_SECONDS
        while True:
            summary = await self._summary(session)
            # Before the first callback nothing lags, and nothing is folded.
            if (summary.get("watermark") or 0) >= receipt and not summary.get("fold_lag_seconds"):
                return
            if time.monotonic() > patience_ends:
                raise VerifyError(f"not folded up to journal cursor {receipt} within {_FOLD_PATIENCE_SECONDS:.0f} s")
            await asyncio.sleep(_POLL_SECONDS)

    async def _summary(self, session: aiohttp.ClientSession, **filters: str) -> dict[str, Any]:
        query = {"carrier": self.target.carrier, "start": str(self.start), "end": str(self.end), **filters}
        url = f"{self.target.ops_url}/api/v1/summary"
        try:
            async with session.get(url, params=query) as response:
                body = await response.read()
                if response.status == HTTPStatus.OK:
                    return dict(await response.json())
        except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
            raise VerifyError(f"{url}: {type(exc).__name__}: {exc}") from None
        raise VerifyError(f"{url}: status {response.status}: {body[:200].decode(errors='replace')}")


def flatten(summary: Mapping[str, Any]) -> Figures:
    """The counts of one summary under the names of `expected.FIGURES`."""
    outcomes = {f"{OUTCOME_PREFIX}{name}": count for name, count in summary.get("outcomes", {}).items()}
    # A count is expected, and the rate is exact: it goes back into the count it came from.
    keypressed = round((summary.get("keypress_rate") or 0) * summary["answered"])
    counts = {**summary, **outcomes, "keypressed": keypressed}
    return Counter({name: counts[name] for name in FIGURES if isinstance(counts.get(name), int)})


def compare(
    expected: Mapping[str, Figures], *, before: Mapping[str, Figures], after: Mapping[str, Figures], ambiguous: int
) -> list[Comparison]:
    """Every figure of every application that is expected or has changed."""
    return [
        Comparison(
            app=app,
            figure=figure,
            expected=wanted[figure],
            actual=after[app][figure] - before[app][figure],
            slack=ambiguous if figure in _AMBIGUOUS else 0,
        )
        for app, wanted in expected.items()
        for figure in FIGURES
        if wanted[figure] or after[app][figure] != before[app][figure]
    ]


def differing(comparisons: Iterable[Comparison]) -> list[Comparison]:
    """Those that are not explained."""
    return [each for each in comparisons if not each.is_equal]
