"""What every figure means: the outcome matrix, and each metric's formula with its Chinese label. Data only."""
# ruff: noqa: RUF001 -- the labels are Chinese, and so are their brackets

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from receiver.carriers import PROFILES
from receiver.model import Outcome

# Grows with every change of a formula or of the matrix, so that stored figures can say what they meant.
VERSION: Final = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What an outcome counts for.

    Attributes:
        label_zh: the Chinese label.
        is_final: the call ended; only such calls are in a denominator.
        is_reached: the callee's terminal was reached (contract, section 5).
        is_network_effective: in the numerator of ITU-T E.425's NER, which leaves out what only the callee decides.
        is_list_fault: the number should not have been called: a fault of the list.
    """

    label_zh: str
    is_final: bool = True
    is_answered: bool = False
    is_reached: bool = False
    is_network_effective: bool = False
    is_list_fault: bool = False


OUTCOMES: Final[Mapping[Outcome, Traits]] = {
    Outcome.ANSWERED: Traits(label_zh="已接听", is_answered=True, is_reached=True, is_network_effective=True),
    Outcome.NO_ANSWER: Traits(label_zh="无人接听", is_reached=True, is_network_effective=True),
    Outcome.USER_BUSY: Traits(label_zh="用户忙", is_reached=True, is_network_effective=True),
    Outcome.REJECTED: Traits(label_zh="用户拒接", is_reached=True, is_network_effective=True),
    Outcome.FORWARDED: Traits(label_zh="呼叫转移", is_network_effective=True),
    Outcome.POWERED_OFF: Traits(label_zh="关机", is_network_effective=True),
    Outcome.OUT_OF_COVERAGE: Traits(label_zh="不在服务区", is_network_effective=True),
    Outcome.UNAVAILABLE: Traits(label_zh="暂时无法接通"),
    Outcome.SUSPENDED: Traits(label_zh="停机", is_list_fault=True),
    Outcome.INVALID_NUMBER: Traits(label_zh="空号", is_list_fault=True),
    Outcome.BARRED: Traits(label_zh="呼入受限", is_list_fault=True),
    Outcome.NETWORK_BUSY: Traits(label_zh="网络忙"),
    Outcome.CARRIER_LIMITED: Traits(label_zh="服务商限制"),
    Outcome.SYSTEM_ERROR: Traits(label_zh="呼叫异常"),
    Outcome.OTHER: Traits(label_zh="其他"),
    Outcome.PENDING: Traits(label_zh="未完结", is_final=False),
    Outcome.LOST: Traits(label_zh="结果丢失", is_final=False),
}

FINAL: Final = frozenset(outcome for outcome, traits in OUTCOMES.items() if traits.is_final)
REACHED: Final = frozenset(outcome for outcome, traits in OUTCOMES.items() if traits.is_reached)
NETWORK_EFFECTIVE: Final = frozenset(outcome for outcome, traits in OUTCOMES.items() if traits.is_network_effective)
LIST_FAULTS: Final = frozenset(outcome for outcome, traits in OUTCOMES.items() if traits.is_list_fault)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One figure: its name in every answer, its Chinese label, its formula in terms of other figures."""

    id: str
    label_zh: str
    formula: str
    unit: str = "count"


_RATIO: Final = "ratio"
_SECONDS: Final = "seconds"

_FIGURES: Final = (
    Metric(
        id="calls",
        label_zh="已结束呼叫",
        formula="calls with a final outcome whose event time lies in [start, end), one per (carrier, app, callid)",
    ),
    Metric(id="pending", label_zh="未完结呼叫", formula="calls without a final outcome that are not lost"),
    Metric(
        id="lost",
        label_zh="结果丢失的呼叫",
        formula="calls without a final outcome 24 h (by default) after their first callback",
    ),
    Metric(id="answered", label_zh="接听", formula="calls with the outcome answered"),
    Metric(id="answer_rate", label_zh="接通率（接听 ÷ 已结束呼叫）", formula="answered / calls", unit=_RATIO),
    Metric(
        id="answer_rate_bounds",
        label_zh="接通率上下界",
        formula="[answered / (calls + pending + lost), (answered + pending + lost) / (calls + pending + lost)]",
        unit=_RATIO,
    ),
    Metric(id="floor", label_zh="接通率下限", formula="the configured floor of answer_rate", unit=_RATIO),
    Metric(
        id="verdict",
        label_zh="与下限的比较",
        formula="literal: none without calls, insufficient under 50 calls, kept when the lower of answer_rate_bounds "
        ">= floor, broken when the upper < floor, else open; statistical: none without calls, above when the lower "
        "end of answer_rate_wilson95 >= floor, below when the upper < floor, else undecided",
        unit="word",
    ),
    Metric(
        id="reach_rate",
        label_zh="触达率（触达 ÷ 已结束呼叫）",
        formula="calls whose outcome is reached / calls",
        unit=_RATIO,
    ),
    Metric(
        id="answer_given_reach",
        label_zh="触达后接听率（接听 ÷ 触达）",
        formula="answered / calls whose outcome is reached",
        unit=_RATIO,
    ),
    Metric(
        id="network_effectiveness",
        label_zh="网络接通率（NER）",
        formula="calls whose outcome is network_effective / calls (after ITU-T E.425)",
        unit=_RATIO,
    ),
    Metric(
        id="short_call_share",
        label_zh="短通话占比",
        formula="answered calls that talked shorter than their kind's threshold / answered",
        unit=_RATIO,
    ),
    Metric(
        id="list_quality",
        label_zh="号码质量",
        formula="1 - calls whose outcome is list_fault / calls",
        unit=_RATIO,
    ),
    Metric(
        id="callees", label_zh="被叫人数", formula="distinct callees called, those of pending and lost calls included"
    ),
    Metric(
        id="callee_answer_rate",
        label_zh="人均接通率",
        formula="distinct callees with at least one answered call / callees",
        unit=_RATIO,
    ),
    Metric(id="outcomes", label_zh="呼叫结果", formula="calls per final outcome; they add up to calls"),
    Metric(
        id="time_to_answer_seconds",
        label_zh="接听等待时长",
        formula="accept_time - start_calltime of answered calls, set-up and ringing, clamped to 3600; "
        "percentiles by nearest rank, p99 from 100 calls on",
        unit=_SECONDS,
    ),
    Metric(
        id="talk_seconds",
        label_zh="通话时长",
        formula="end_calltime - accept_time of answered calls, clamped to 3600; the mean is the ACD; "
        "percentiles by nearest rank, p99 from 100 calls on",
        unit=_SECONDS,
    ),
    Metric(id="billed_minutes", label_zh="计费分钟", formula="sum of fee over all calls", unit="minutes"),
    Metric(
        id="keypress_rate",
        label_zh="按键率（有按键的接听 ÷ 接听）",
        formula="answered calls with at least one key press / answered",
        unit=_RATIO,
    ),
    Metric(id="deliveries", label_zh="回调次数", formula="counted deliveries by arrival, duplicates included"),
    Metric(
        id="duplicates",
        label_zh="重复回调",
        formula="byte-equal status or failure deliveries beyond the first, by arrival",
    ),
    Metric(
        id="conflicts",
        label_zh="矛盾呼叫",
        formula="calls, pending and lost included, whose deliveries disagree in a single-valued field",
    ),
    Metric(id="contradictions", label_zh="接听又失败", formula="answered calls that also have a failure code"),
    Metric(id="quarantined", label_zh="隔离", formula="bodies that could not be decoded, by arrival"),
    Metric(id="held", label_zh="待确认", formula="deliveries under no pin that were not released, by arrival"),
    Metric(id="unknown_kind", label_zh="未知类型", formula="deliveries of an unknown kind, by arrival"),
    Metric(
        id="lag_seconds",
        label_zh="回调延迟",
        formula="arrival - end_calltime of status deliveries, by arrival; percentiles by nearest rank, "
        "p99 from 100 deliveries on",
        unit=_SECONDS,
    ),
    Metric(
        id="worst", label_zh="最不利口径", formula="the least favourable scope and window of answer_rate", unit="scope"
    ),
    Metric(id="submitted", label_zh="提交呼叫", formula="calls the sending side reported as submitted"),
    Metric(
        id="answer_rate_submitted",
        label_zh="提交接通率",
        formula="answered / submitted",
        unit=_RATIO,
    ),
)

_WITH_INTERVAL: Final = frozenset(
    {
        "answer_rate",
        "reach_rate",
        "answer_given_reach",
        "network_effectiveness",
        "list_quality",
        "short_call_share",
        "keypress_rate",
        "callee_answer_rate",
    }
)
METRICS: Final = _FIGURES + tuple(
    Metric(
        id=f"{metric.id}_wilson95",
        label_zh=f"{metric.label_zh} 95% 置信区间",
        formula=f"Wilson score interval, z = 1.959964, of {metric.formula}",
        unit=_RATIO,
    )
    for metric in _FIGURES
    if metric.id in _WITH_INTERVAL
)


def definitions() -> dict[str, Any]:
    """Everything above and each carrier's failure codes, ready for JSON."""
    return {
        "id": VERSION,
        "metrics": [asdict(metric) for metric in METRICS],
        "outcomes": [{"outcome": outcome.value, **asdict(traits)} for outcome, traits in OUTCOMES.items()],
        "carriers": {
            name: {
                "outcomes": [outcome.value for outcome in profile.outcomes],
                "failure_codes": [
                    {"code": code, "text": profile.failure_texts[code], "outcome": outcome.value}
                    for code, outcome in profile.failure_outcomes.items()
                ],
            }
            for name, profile in PROFILES.items()
        },
    }
