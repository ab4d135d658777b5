"""What really happened in simulated calls, and how likely it is. Nothing here knows how a carrier reports it.

The failure table is written out a second time on purpose: the simulated carrier is the yardstick for the receiver's own
table and must not be computed from it.
"""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from receiver.model import CallKind, Outcome
from receiver.simulate.chance import Chance, Weighted

# 100 ns intervals from 1582-10-15 to 1970-01-01: RFC 9562, 5.1.
_UUID_EPOCH: Final = 0x01B21DD213814000
_SECONDS_TO_ANSWER: Final = (4, 28)
_SECONDS_TO_FAIL: Final = (1, 9)
_SECONDS_TO_RING_OUT: Final = (31, 58)
LONGEST_CALL_SECONDS: Final = 28 + 80


class Failure(NamedTuple):
    """A failure code, the carrier's text for it, what the contract says it means, and how often it is seen."""

    code: int
    text: str
    outcome: Outcome
    weight: float


FAILURES: Final = (
    Failure(1, "关机", Outcome.POWERED_OFF, 12),
    Failure(2, "通话中", Outcome.USER_BUSY, 9),
    Failure(3, "不在服务区", Outcome.OUT_OF_COVERAGE, 4),
    Failure(4, "您拨打的号码已欠费", Outcome.SUSPENDED, 3),
    Failure(5, "无人接听", Outcome.NO_ANSWER, 22),
    Failure(6, "暂时无法接通", Outcome.UNAVAILABLE, 9),
    Failure(7, "停机", Outcome.SUSPENDED, 5),
    Failure(8, "空号", Outcome.INVALID_NUMBER, 8),
    Failure(9, "电路正忙", Outcome.NETWORK_BUSY, 1),
    Failure(10, "用户正忙", Outcome.USER_BUSY, 8),
    Failure(11, "其他", Outcome.OTHER, 3),
    Failure(12, "呼叫受限，请勿越权使用", Outcome.CARRIER_LIMITED, 1),  # noqa: RUF001 - as the carrier writes it
    Failure(13, "您拨打的号码已暂停服务", Outcome.SUSPENDED, 2),
    Failure(15, "号码不存在", Outcome.INVALID_NUMBER, 2),
    Failure(16, "来电提醒", Outcome.FORWARDED, 1),
    Failure(17, "您拨打的号码已过期", Outcome.INVALID_NUMBER, 0.5),
    Failure(18, "网络忙", Outcome.NETWORK_BUSY, 2),
    Failure(19, "未开通语音通话功能", Outcome.BARRED, 0.5),
    Failure(20, "无应答", Outcome.NO_ANSWER, 8),
    Failure(22, "系统正忙", Outcome.NETWORK_BUSY, 1),
    Failure(23, "加拨零", Outcome.INVALID_NUMBER, 0.5),
    Failure(24, "您拨打的号码已改号", Outcome.INVALID_NUMBER, 0.5),
    Failure(25, "未开通联通秘书服务", Outcome.FORWARDED, 0.5),
    Failure(26, "来电助手", Outcome.FORWARDED, 2),
    Failure(27, "暂时无法接通", Outcome.UNAVAILABLE, 2),
    Failure(28, "漏话提醒服务", Outcome.FORWARDED, 1),
    Failure(29, "留言信箱", Outcome.FORWARDED, 1),
    Failure(30, "您拨打的号码有误", Outcome.INVALID_NUMBER, 0.5),
    Failure(31, "您拨打的号码不在使用中", Outcome.INVALID_NUMBER, 0.5),
    # In no version of the carrier's table: a receiver must live with codes it has never heard of.
    Failure(14, "未知原因", Outcome.OTHER, 0.2),
    Failure(87, "号码风险管控", Outcome.OTHER, 0.3),
)
_FAILURE: Final = Weighted({failure: failure.weight for failure in FAILURES})
_RANG: Final = frozenset({Outcome.NO_ANSWER, Outcome.FORWARDED})


class Ending(NamedTuple):
    """How a call ended and what is reported of it.

    Attributes:
        result: of the status callback: 0 to 3; "" is a report without a result; None is no status callback at all.
        failure: of the failure callback; None is no failure callback.
    """

    outcome: Outcome
    result: int | str | None
    failure: Failure | None = None


_NO_ANSWER: Final = Ending(Outcome.NO_ANSWER, 1)
_ABNORMAL: Final = Ending(Outcome.SYSTEM_ERROR, 2)
_UNHEARD_OF: Final = Ending(Outcome.OTHER, 3)
# Which results stand beside a failure code is unknown, so all that public code shows are used.
_BESIDE_FAILURE: Final = Weighted[int | None]({None: 50, 1: 30, 2: 20})
_PLAIN_ENDING: Final = Weighted[Ending | None]({None: 67, _NO_ANSWER: 29.5, _ABNORMAL: 3, _UNHEARD_OF: 0.5})
_KEY_ONLY: Final = Ending(Outcome.PENDING, None)
_EMPTY_REPORT: Final = Ending(Outcome.PENDING, "")
_PENDING: Final = 0.004
_ANSWERED_AND_FAILED: Final = 0.002
_KEYS: Final = Weighted[int]({0: 80, 1: 15, 2: 5})
_PEOPLE: Final = 20_000
_DIGITS: Final = "1234567890*#"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueCall:
    """One call as it really was. `callee` has no country code; `result` and `failure` are what will be reported."""

    app: str
    call_id: str
    kind: CallKind
    caller: str
    callee: str
    started_at: int
    answered_at: int | None
    ended_at: int
    outcome: Outcome
    result: int | str | None
    failure: Failure | None
    digits: tuple[str, ...]
    billed_minutes: int

    @property
    def is_answered(self) -> bool:
        """The callee took the call."""
        return self.answered_at is not None


def happen(chance: Chance, *, app: str, callers: tuple[str, ...], ended_at: int, answer_rate: float) -> TrueCall:
    """One call that ends at `ended_at` (Unix seconds); `answer_rate` is the share of final ends that are answers."""
    kind = CallKind.PROMPT if chance.happens(0.6) else CallKind.CODE
    ending = _ending(chance, answer_rate)
    setup, talk = _durations(chance, kind, ending)
    started_at = ended_at - setup - talk
    is_answered = ending.outcome is Outcome.ANSWERED
    return TrueCall(
        app=app,
        call_id=_call_id(chance, started_at),
        kind=kind,
        caller=chance.pick(callers),
        callee=_callee(chance),
        started_at=started_at,
        answered_at=started_at + setup if is_answered else None,
        ended_at=ended_at,
        outcome=ending.outcome,
        result=ending.result,
        failure=ending.failure,
        digits=_digits(chance, kind, ending),
        billed_minutes=math.ceil(talk / 60),
    )


def _ending(chance: Chance, answer_rate: float) -> Ending:
    if chance.happens(_PENDING):
        return chance.pick((_KEY_ONLY, _EMPTY_REPORT))
    if chance.happens(answer_rate):
        failure = chance.weigh(_FAILURE) if chance.happens(_ANSWERED_AND_FAILED) else None
        return Ending(Outcome.ANSWERED, 0, failure)
    plain = chance.weigh(_PLAIN_ENDING)
    if plain is not None:
        return plain
    failure = chance.weigh(_FAILURE)
    return Ending(failure.outcome, chance.weigh(_BESIDE_FAILURE), failure)


def _durations(chance: Chance, kind: CallKind, ending: Ending) -> tuple[int, int]:
    if ending.outcome is Outcome.ANSWERED:
        longest = 80 if chance.happens(0.05) else 30 if kind is CallKind.PROMPT else 16
        return chance.between(*_SECONDS_TO_ANSWER), chance.between(2, longest)
    return chance.between(*(_SECONDS_TO_RING_OUT if ending.outcome in _RANG else _SECONDS_TO_FAIL)), 0


def _digits(chance: Chance, kind: CallKind, ending: Ending) -> tuple[str, ...]:
    if ending is _KEY_ONLY:
        return (chance.pick(_DIGITS),)
    if kind is CallKind.PROMPT and ending.outcome is Outcome.ANSWERED:
        # Two real presses of the same key look like a redelivery, so two are always different.
        return tuple(chance.shuffled(_DIGITS)[: chance.weigh(_KEYS)])
    return ()


def _callee(chance: Chance) -> str:
    """One of so many people that some are called again now and then."""
    person = chance.between(0, _PEOPLE - 1)
    # The factor shares no divisor with the modulus, so that no two have the same number.
    return f"1{3 + person % 7}{person * 387_420_489 % 1_000_000_000:09}"


def _call_id(chance: Chance, started_at: int) -> str:
    """A version 1 UUID of that second, from a node such as the carrier's (RFC 9562, 5.1)."""
    ticks = started_at * 10_000_000 + chance.between(0, 9_999_999) + _UUID_EPOCH
    fields = (ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 & 0x0FFF | 0x1000)
    node = 0x525400 << 24 | chance.between(0, 0xFFFFFF)
    return str(UUID(fields=(*fields, 0x80 | chance.between(0, 0x3F), chance.between(0, 0xFF), node)))
