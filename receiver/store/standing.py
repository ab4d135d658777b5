"""Which kept deliveries count, given everything operations decided. Knows no database and no figures.

What a delivery counts for depends on the delivery and on the set of decisions alone, never on which came first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Protocol, Self

import orjson

from receiver.model import Decision, DecisionKind, Selection


class Standing(StrEnum):
    """What a kept delivery counts for, after all decisions."""

    COUNTED = "counted"
    HELD = "held"
    DISCARDED = "discarded"
    VOIDED = "voided"


class Selectable(Protocol):
    """The facts of a delivery that selections are about."""

    @property
    def seq(self) -> int: ...  # noqa: D102 -- the journal's names
    @property
    def received_us(self) -> int: ...  # noqa: D102
    @property
    def carrier(self) -> str: ...  # noqa: D102
    @property
    def app(self) -> str: ...  # noqa: D102
    @property
    def peer_sha256(self) -> str: ...  # noqa: D102
    @property
    def is_held(self) -> bool: ...  # noqa: D102


def selects(selection: Selection, delivery: Selectable) -> bool:
    """Whether every given condition holds for the delivery."""
    start, end = selection.received_from_us, selection.received_to_us
    return (
        (start is None or start <= delivery.received_us)
        and (end is None or delivery.received_us < end)
        and selection.carrier in {None, delivery.carrier}
        and selection.app in {None, delivery.app}
        and selection.peer_sha256 in {None, delivery.peer_sha256}
        and (selection.seqs is None or delivery.seq in selection.seqs)
    )


@dataclass(frozen=True, slots=True)
class Numbered:
    """A decision with its journal cursor."""

    seq: int
    decision: Decision


@dataclass(frozen=True, slots=True)
class Decisions:
    """Every decision that changes what deliveries count for, in journal order."""

    numbered: tuple[Numbered, ...] = ()

    @classmethod
    def of(cls, numbered: Iterable[Numbered]) -> Self:
        """Put decisions into journal order."""
        return cls(tuple(sorted(numbered, key=lambda each: each.seq)))

    def and_also(self, later: Numbered) -> "Decisions":
        """These and one more."""
        return Decisions.of((*self.numbered, later))

    def between(self, first_us: int, last_us: int) -> "Decisions":
        """Those that can concern deliveries that arrived between two instants, both included."""
        return Decisions(
            tuple([each for each in self.numbered if _reaches(each.decision.selection, first_us, last_us)])
        )

    def standing(self, delivery: Selectable) -> Standing:
        """A void wins for good; of a held delivery's releases and discards the latest holds."""
        latest: DecisionKind | None = None
        for each in self.numbered:
            if selects(each.decision.selection, delivery):
                if each.decision.kind is DecisionKind.VOID:
                    return Standing.VOIDED
                if each.decision.kind in {DecisionKind.RELEASE, DecisionKind.DISCARD}:
                    latest = each.decision.kind
        if not delivery.is_held or latest is DecisionKind.RELEASE:
            return Standing.COUNTED
        return Standing.HELD if latest is None else Standing.DISCARDED


def _reaches(selection: Selection, first_us: int, last_us: int) -> bool:
    start, end = selection.received_from_us, selection.received_to_us
    return (start is None or start <= last_us) and (end is None or first_us < end)


def to_json(decision: Decision) -> str:
    """Write a decision as the journal keeps it; conditions that were not given are left out."""
    document: dict[str, Any] = asdict(decision)
    document["selection"] = {name: value for name, value in document["selection"].items() if value is not None}
    return orjson.dumps(document).decode()


def from_json(text: str) -> Decision:
    """Read what `to_json` wrote."""
    document = orjson.loads(text)
    conditions = document["selection"]
    if "seqs" in conditions:
        conditions["seqs"] = tuple(conditions["seqs"])
    return Decision(**document | {"kind": DecisionKind(document["kind"]), "selection": Selection(**conditions)})


def overlapping(decisions: Decisions, deliveries: Sequence[Selectable]) -> Decisions:
    """The decisions that can concern any of these deliveries, at least one."""
    arrivals = [each.received_us for each in deliveries]
    return decisions.between(min(arrivals), max(arrivals))
