"""The carriers this receiver knows. A carrier is data plus two functions; adding one adds one module here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from receiver.carriers import tencent
from receiver.model import Decoded, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierProfile:
    """Everything carrier-specific the rest of the house needs.

    Attributes:
        decode: exact body bytes to events; raises UndecodableError.
        answer: `(problem | None) -> body` in the carrier's own shape; None is success.
        failure_outcomes: failure code to outcome; any other code is `other`.
        failure_texts: failure code to the carrier's documented text.
        outcomes: the outcomes this carrier can report.
        brings_own_ca: its client certificates come from a CA of its own, so we issue none for it.
    """

    name: str
    decode: Callable[[bytes], Decoded]
    answer: Callable[[str | None], bytes]
    failure_outcomes: Mapping[int, Outcome]
    failure_texts: Mapping[int, str]
    outcomes: tuple[Outcome, ...]
    brings_own_ca: bool = False


PROFILES: Final[Mapping[str, CarrierProfile]] = {
    "tencent": CarrierProfile(
        name="tencent",
        decode=tencent.decode,
        answer=tencent.answer,
        failure_outcomes=tencent.FAILURE_OUTCOMES,
        failure_texts=tencent.FAILURE_TEXTS,
        outcomes=tencent.OUTCOMES,
        brings_own_ca=True,
    ),
}
