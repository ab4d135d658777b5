"""Tencent Cloud Voice Message Service: bytes to events, and the answer it wants. Knows no storage and no statistics.

Bodies: https://cloud.tencent.com/document/product/1128/51532 (four kinds, one JSON object each, UTF-8). Nearly every
field may be missing, empty, or a number where a string is documented; what cannot be used is left out and noted.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import orjson

from receiver.carriers.fields import Fields
from receiver.carriers.json_body import read_object
from receiver.errors import UndecodableError
from receiver.model import (
    UNKNOWN_KIND,
    CallFailure,
    CallKind,
    CallReport,
    Decoded,
    Event,
    KeyPress,
    Outcome,
    Parties,
)

# Code: text and outcome. https://cloud.tencent.com/document/api/1128/37531; the outcomes are this project's reading.
# Texts drift between versions of that page, so the code decides. 14, 21 and codes above 31 are not documented.
_FAILURES: Final[Mapping[int, tuple[str, Outcome]]] = {
    1: ("关机", Outcome.POWERED_OFF),
    2: ("通话中", Outcome.USER_BUSY),
    3: ("不在服务区", Outcome.OUT_OF_COVERAGE),
    4: ("您拨打的号码已欠费", Outcome.SUSPENDED),
    5: ("无人接听", Outcome.NO_ANSWER),
    6: ("暂时无法接通", Outcome.UNAVAILABLE),
    7: ("停机", Outcome.SUSPENDED),
    8: ("空号", Outcome.INVALID_NUMBER),
    9: ("电路正忙", Outcome.NETWORK_BUSY),
    10: ("用户正忙", Outcome.USER_BUSY),
    11: ("其他原因", Outcome.OTHER),
    12: ("呼叫受限，请勿越权使用", Outcome.CARRIER_LIMITED),  # noqa: RUF001 -- the carrier's own comma
    13: ("您拨打的号码已暂停服务", Outcome.SUSPENDED),
    15: ("号码不存在", Outcome.INVALID_NUMBER),
    16: ("来电提醒", Outcome.FORWARDED),
    17: ("您拨打的号码已过期", Outcome.INVALID_NUMBER),
    18: ("网络忙", Outcome.NETWORK_BUSY),
    19: ("未开通语音通话功能", Outcome.BARRED),
    20: ("无应答", Outcome.NO_ANSWER),
    22: ("系统正忙", Outcome.NETWORK_BUSY),
    23: ("加拨零", Outcome.INVALID_NUMBER),
    24: ("您拨打的号码已改号", Outcome.INVALID_NUMBER),
    25: ("未开通联通秘书服务", Outcome.FORWARDED),
    26: ("来电助手", Outcome.FORWARDED),
    27: ("暂时无法接通", Outcome.UNAVAILABLE),
    28: ("漏话提醒服务", Outcome.FORWARDED),
    29: ("留言信箱", Outcome.FORWARDED),
    30: ("您拨打的号码有误", Outcome.INVALID_NUMBER),
    31: ("不在使用中", Outcome.INVALID_NUMBER),
}
FAILURE_TEXTS: Final[Mapping[int, str]] = MappingProxyType({code: text for code, (text, _) in _FAILURES.items()})
FAILURE_OUTCOMES: Final[Mapping[int, Outcome]] = MappingProxyType({code: end for code, (_, end) in _FAILURES.items()})
# No callback of Tencent's says that the callee rejected the call.
OUTCOMES: Final = tuple(each for each in Outcome if each not in {Outcome.REJECTED, Outcome.PENDING, Outcome.LOST})

# A `result` that is there and is no number: other than 0, 1 and 2.
_UNREADABLE_RESULT: Final = -1
_CALL_ID_LENGTH: Final = 128
_REASON_LENGTH: Final = 256
# More is no charge for a call, and sums of millions of calls must stay within 64 bit.
_MAX_MINUTES: Final = 2**31 - 1

# Callees are in mainland China only: https://cloud.tencent.com/document/api/1128/51568
_CHINA: Final = "86"
_CHINA_WITH_PREFIX_LENGTH: Final = 13
_SEPARATORS: Final = str.maketrans("", "", " -")

_OK: Final = b'{"result":0,"errmsg":"OK"}'
_UNKNOWN: Final = Decoded(kind=UNKNOWN_KIND)


def answer(problem: str | None) -> bytes:
    """Say success (None) or what is wrong, as Tencent wants it: a `result` of 0 or not 0, and `errmsg`."""
    return _OK if problem is None else orjson.dumps({"result": 1, "errmsg": problem})


def decode(body: bytes) -> Decoded:
    """Read one body: every known kind in it, or none.

    Raises:
        UndecodableError: no JSON object, or a known kind that names no call; says what and where, quotes nothing.
    """
    document = read_object(body)
    kinds = sorted(document.keys() & _READERS.keys())
    if not kinds:
        return _UNKNOWN
    return Decoded(kind=",".join(kinds), events=tuple([_event(kind, document[kind]) for kind in kinds]))


def _event(kind: str, said: Any) -> Event:
    if type(said) is not dict:
        raise UndecodableError(f"{kind}: not an object")
    call_id = said.get("callid")
    if type(call_id) is int:
        call_id = str(call_id)
    if type(call_id) is not str:
        problem = "missing" if call_id is None else "neither a string nor an integer of 64 bit"
        raise UndecodableError(f"{kind}.callid: {problem}")
    call_id = call_id.strip()
    if not 1 <= len(call_id) <= _CALL_ID_LENGTH:
        problem = f"longer than {_CALL_ID_LENGTH} characters" if call_id else "empty"
        raise UndecodableError(f"{kind}.callid: {problem}")
    return _READERS[kind](call_id, Fields(said))


def _code_report(call_id: str, fields: Fields) -> CallReport:
    return _report(call_id, fields, CallKind.CODE)


def _prompt_report(call_id: str, fields: Fields) -> CallReport:
    return _report(call_id, fields, CallKind.PROMPT)


def _report(call_id: str, fields: Fields, kind: CallKind) -> CallReport:
    return CallReport(
        call_id=call_id,
        parties=_parties(fields),
        kind=kind,
        result=fields.number("result", unreadable=_UNREADABLE_RESULT),
        started_at=fields.time("start_calltime"),
        answered_at=fields.time("accept_time"),
        ended_at=fields.time("end_calltime"),
        # No charge is written in several ways, which are not to disagree: "0", "" and nothing at all.
        billed_minutes=fields.count("fee", limit=_MAX_MINUTES) or None,
        anomalies=fields.anomalies,
    )


def _failure(call_id: str, fields: Fields) -> CallFailure:
    reason = fields.text("failure_reason")
    return CallFailure(
        call_id=call_id,
        parties=_parties(fields),
        failure_code=fields.number("failure_code"),
        failure_reason=reason and reason[:_REASON_LENGTH],
        anomalies=fields.anomalies,
    )


def _key_press(call_id: str, fields: Fields) -> KeyPress:
    return KeyPress(
        call_id=call_id,
        parties=_parties(fields),
        digit=fields.identifier("keypress"),
        anomalies=fields.anomalies,
    )


_READERS: Final[Mapping[str, Callable[[str, Fields], Event]]] = {
    "voicecode_callback": _code_report,
    "voiceprompt_callback": _prompt_report,
    "voicekey_callback": _key_press,
    "voice_failure_callback": _failure,
}


def _parties(fields: Fields) -> Parties:
    mobile = fields.identifier("mobile")
    nationcode = fields.identifier("nationcode")
    if nationcode is not None and not nationcode.isdecimal():
        nationcode = nationcode.removeprefix("+").strip() or None
    return Parties(
        callee=None if mobile is None else _e164(mobile, nationcode or _CHINA),
        nationcode=nationcode,
        caller=fields.identifier("call_from"),
    )


def _e164(mobile: str, nationcode: str) -> str | None:
    """Join country code and number as E.164 writes them, without the plus; a masked number stays as masked as it is."""
    number = mobile if mobile.isdecimal() else mobile.translate(_SEPARATORS)
    for international in ("+", "00"):
        if number.startswith(international):
            return number.removeprefix(international) or None
    if nationcode == _CHINA and number.startswith(_CHINA) and len(number) == _CHINA_WITH_PREFIX_LENGTH:
        return number
    return nationcode + number if number else None
