"""Bench `ingest`: durable callbacks per second through nginx with mutual TLS on kept-alive connections.

Paired with an aiohttp application behind the same nginx that only answers, in turn and in one run, because only ratios
travel between machines. Nginx answering by itself shows how much of the time is TLS and the load generator.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from benches import callbacks, homes, load
from benches.processes import busy_seconds, cpu_by_role

RECEIVER: Final = "receiver"
ANSWERING_ONLY: Final = "answering only"
NGINX_ALONE: Final = "nginx alone"
SIDES: Final = (RECEIVER, ANSWERING_ONLY, NGINX_ALONE)


class LostError(Exception):
    """Fewer callbacks are in the journal than were answered with success."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One side in one round. `cores` is processor seconds per second, by role; `elsewhere` is what others took."""

    side: str
    round: int
    load: load.Load
    cores: dict[str, float]
    caught_up_seconds: float | None

    def as_object(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "bench": "ingest",
            "side": self.side,
            "round": self.round,
            "callbacks_per_second": round(self.load.rate, 1),
            "p50_ms": round(self.load.percentile_ms(0.5), 3),
            "p99_ms": round(self.load.percentile_ms(0.99), 3),
            "answered": self.load.answered,
            "refused": self.load.refused,
            "reconnects": self.load.reconnects,
            "cores": self.cores,
            "caught_up_seconds": self.caught_up_seconds,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How hard, how long and how often each side is driven."""

    connections: int
    seconds: float
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contestant:
    name: str
    side: homes.Side
    request: Callable[[], bytes]


def runs(directory: Path, shape: Shape) -> Iterator[Run]:
    """Measure every side once a round, in turn.

    Raises:
        HomeError, LoadError, LostError: the bench cannot go on, or its figures would mean nothing.
    """
    with ExitStack() as stack:
        home = stack.enter_context(homes.development_home(directory / "home"))
        sides = {
            RECEIVER: home.side,
            ANSWERING_ONLY: stack.enter_context(homes.answering_only(home, directory / "answering")),
            NGINX_ALONE: stack.enter_context(homes.nginx_alone(home, directory / "alone")),
        }
        contestants = [
            _Contestant(name=name, side=side, request=callbacks.endless(path=homes.CALLBACKS_PATH, seed=1))
            for name, side in sides.items()
        ]
        acknowledged = 0
        for number in range(1, shape.rounds + 1):
            for contestant in contestants:
                run = _run(home, contestant, shape, number)
                if contestant.name == RECEIVER:
                    acknowledged += run.load.all_answered
                    _check_kept(home, acknowledged)
                yield run


def _run(home: homes.RunningHome, contestant: _Contestant, shape: Shape, number: int) -> Run:
    opened = load.opener(contestant.side.port, home.tls())
    busy_before, before = busy_seconds(), cpu_by_role(contestant.side.roots)
    seen = load.drive(opened, contestant.request, connections=shape.connections, seconds=shape.seconds)
    busy, after = busy_seconds() - busy_before, cpu_by_role(contestant.side.roots)
    used = {role: after[role] - before.get(role, 0.0) for role in after}
    used["generator"] = seen.cpu_seconds
    used["elsewhere"] = max(busy - sum(used.values()), 0.0)
    # Nobody's catching up may run into another side's turn.
    caught_up = home.settled()[1] if contestant.name == RECEIVER else None
    cores = {role: round(cpu_seconds / seen.whole_seconds, 2) for role, cpu_seconds in sorted(used.items())}
    return Run(side=contestant.name, round=number, load=seen, cores=cores, caught_up_seconds=caught_up)


def _check_kept(home: homes.RunningHome, acknowledged: int) -> None:
    kept, _ = home.settled()
    if kept < acknowledged:
        raise LostError(f"{acknowledged} callbacks were answered with success, and the journal has {kept}")


def result(measured: list[Run], shape: Shape, machine: dict[str, str]) -> dict[str, Any]:
    """Medians, spreads and the ratio that counts, of all rounds."""
    by_side = {side: [run for run in measured if run.side == side] for side in SIDES}
    pairs = zip(by_side[RECEIVER], by_side[ANSWERING_ONLY], strict=True)
    ratios = [receiver.load.rate / answering.load.rate for receiver, answering in pairs]
    return {
        "bench": "ingest",
        "ratio_to_answering_only": _spread(ratios, digits=3),
        "sides": {side: _side(found) for side, found in by_side.items()},
        "options": asdict(shape),
        "machine": machine,
    }


def _side(found: list[Run]) -> dict[str, Any]:
    roles = sorted({role for run in found for role in run.cores})
    return {
        "callbacks_per_second": _spread([run.load.rate for run in found], digits=0),
        "p50_ms": _spread([run.load.percentile_ms(0.5) for run in found], digits=1),
        "p99_ms": _spread([run.load.percentile_ms(0.99) for run in found], digits=1),
        "cores": {role: round(median(run.cores.get(role, 0.0) for run in found), 2) for role in roles},
        "refused": sum(sum(run.load.refused.values()) for run in found),
    }


def _spread(values: list[float], *, digits: int) -> dict[str, float]:
    return {
        "median": round(median(values), digits),
        "least": round(min(values), digits),
        "greatest": round(max(values), digits),
    }
