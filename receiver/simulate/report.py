"""What a simulation shows in the end: tables for people, one object for scripts."""

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from receiver.simulate.expected import FIGURES
from receiver.simulate.play import Played
from receiver.simulate.sender import Sent
from receiver.simulate.verify import EVERYTHING, Comparison, differing

_QUANTILES: Final = {"p50": 0.50, "p90": 0.90, "p99": 0.99, "max": 1.0}


def latency_milliseconds(seconds: Sequence[float]) -> Mapping[str, float | None]:
    """Percentiles by nearest rank, None without any answer."""
    ordered = sorted(seconds)
    return {
        name: round(ordered[max(math.ceil(quantile * len(ordered)), 1) - 1] * 1000, 3) if ordered else None
        for name, quantile in _QUANTILES.items()
    }


def as_object(played: Played) -> dict[str, Any]:
    """Everything a script may want to know; `verified` and `differences` only where figures were compared."""
    sent = played.sent
    verdict: dict[str, Any] = {}
    if played.comparisons is not None:
        verdict = {
            "verified": not differing(played.comparisons),
            "differences": [each._asdict() for each in differing(played.comparisons)],
        }
    return {
        "sent": sent.posts,
        "accepted": sent.accepted,
        "refused": _refused(sent),
        "unexpected": _by_status(sent.unexpected),
        "retried": {"unavailable": sent.unavailable, "broken": sent.broken, "given_up": sent.given_up},
        "is_complete": sent.is_complete,
        "elapsed_seconds": round(sent.elapsed_seconds, 3),
        "behind_seconds": round(sent.behind_seconds, 3),
        "latency_ms": latency_milliseconds(sent.seconds),
        "expected": {app: {name: figures[name] for name in FIGURES} for app, figures in played.expected.items()},
        **verdict,
    }


def show(played: Played, console: Console) -> None:
    """Print the tables."""
    console.print(_sent_table(played.sent))
    if played.comparisons is None:
        console.print(_expected_table(played))
    else:
        console.print(_comparison_table(played.comparisons))
    for line in complaints(played):
        console.print(line, markup=False, highlight=False)


def complaints(played: Played) -> list[str]:
    """What went wrong, a line each; empty when all is as it must be."""
    sent = played.sent
    lines = [
        f"{count} callbacks were answered {status}, which is not what they must get"
        for status, count in sorted(sent.unexpected.items())
    ]
    if sent.given_up:
        lines.append(f"{sent.given_up} callbacks were given up, last because of {sent.last_break or 'answers 503'}")
    if not sent.is_complete:
        lines.append("ended early: the plan was not posted to its end, so no figures are compared")
    lines += [
        f"differs: {each.figure} of {each.app}: expected {each.expected}, actual {each.actual}"
        for each in differing(played.comparisons or ())
    ]
    return lines


def _refused(sent: Sent) -> dict[str, int]:
    return _by_status({status: count for status, count in sent.statuses.items() if status != HTTPStatus.OK})


def _by_status(counts: Mapping[int, int]) -> dict[str, int]:
    return {str(status): count for status, count in sorted(counts.items())}


def _sent_table(sent: Sent) -> Table:
    table = Table("callbacks", "", title="Sent", title_justify="left")
    table.columns[1].justify = "right"
    rate = sent.posts / sent.elapsed_seconds if sent.elapsed_seconds else 0.0
    table.add_row("sent", f"{sent.posts} in {sent.elapsed_seconds:.1f} s, {rate:.0f}/s")
    table.add_row("accepted", str(sent.accepted))
    for status, count in _refused(sent).items():
        table.add_row(f"refused with {status}", str(count))
    for name, count in (
        ("answered 503, tried again", sent.unavailable),
        ("connection broken, tried again", sent.broken),
        ("given up", sent.given_up),
    ):
        if count:
            table.add_row(name, str(count))
    if sent.behind_seconds >= 1:
        table.add_row("behind the pace by up to", f"{sent.behind_seconds:.1f} s")
    for name, milliseconds in latency_milliseconds(sent.seconds).items():
        table.add_row(f"latency {name}", "-" if milliseconds is None else f"{milliseconds:.1f} ms")
    return table


def _expected_table(played: Played) -> Table:
    table = Table("figure", *played.expected, title="Expected figures", title_justify="left")
    for figure in FIGURES:
        if played.expected[EVERYTHING][figure]:
            table.add_row(figure, *(str(figures[figure]) for figures in played.expected.values()))
    return table


def _comparison_table(comparisons: Sequence[Comparison]) -> Table:
    table = Table("figure", "expected", "actual", "", title="Expected and actual figures, all applications")
    table.title_justify = "left"
    for each in comparisons:
        if each.app == EVERYTHING:
            verdict = "" if each.is_equal else "differs"
            table.add_row(each.figure, str(each.expected), str(each.actual), verdict)
    return table
