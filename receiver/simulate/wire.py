"""Simulated calls to Tencent's callback bodies, in all the forms they are known or feared to take.

Nothing here knows when a body is sent, or what the receiver makes of it. Sources: the carrier's pages 1128/51533 to
1128/51536 and public programs that consume them.
"""

import json
from typing import Any, Final

import orjson

from receiver.model import CallKind
from receiver.simulate.chance import Chance, Weighted
from receiver.simulate.truth import TrueCall

_NUMBERS_AS_NUMBERS: Final = 0.05
_OTHER_ORDER: Final = 0.25
_ESCAPED: Final = 0.03
_WITH_CONTEXT: Final = 0.02
_PROMPT_SHOWS_CALLER: Final = 0.6
_ABSENT: Final = "absent"
_NOT_ANSWERED_TIME: Final = Weighted({"": 40, "0": 30, _ABSENT: 20, "end": 10})
_NOT_BILLED: Final = Weighted({"0": 60, "": 25, _ABSENT: 15})
_NUMERIC: Final = ("result", "accept_time", "end_calltime", "fee", "start_calltime")


def report(call: TrueCall, chance: Chance) -> bytes:
    """The status callback."""
    fields: dict[str, Any] = {
        "result": str(call.result),
        "accept_time": _accept_time(call, chance),
        "call_from": _shown_caller(call, chance),
        "callid": call.call_id,
        "end_calltime": str(call.ended_at),
        "fee": str(call.billed_minutes) if call.is_answered else chance.weigh(_NOT_BILLED),
        "mobile": call.callee,
        "nationcode": "86",
        "start_calltime": str(call.started_at),
    }
    present = {name: value for name, value in fields.items() if value != _ABSENT}
    if chance.happens(_NUMBERS_AS_NUMBERS):
        present |= {name: int(present[name]) for name in _NUMERIC if present.get(name)}
    return _body("voiceprompt_callback" if call.kind is CallKind.PROMPT else "voicecode_callback", present, chance)


def failure(call: TrueCall, chance: Chance) -> bytes:
    """The failure callback of a call that has one."""
    return _body("voice_failure_callback", failure_fields(call, chance), chance)


def failure_fields(call: TrueCall, chance: Chance) -> dict[str, Any]:
    """The fields of a failure callback, the call's id first, as the one real payload known has it."""
    code, reason = (call.failure.code, call.failure.text) if call.failure else (11, "其他原因")
    return {
        "callid": call.call_id,
        "failure_code": str(code) if chance.happens(_NUMBERS_AS_NUMBERS) else code,
        "failure_reason": reason,
        "call_from": _shown_caller(call, chance),
        "mobile": call.callee,
        "nationcode": "86",
    }


def key_press(call: TrueCall, digit: str, chance: Chance) -> bytes:
    """The key-press callback of one key."""
    fields = {
        "call_from": _shown_caller(call, chance),
        "callid": call.call_id,
        "keypress": digit,
        "mobile": call.callee,
        "nationcode": "86",
    }
    return _body("voicekey_callback", fields, chance)


def unknown_kind(call: TrueCall) -> bytes:
    """A readable body of a kind nobody has announced."""
    return orjson.dumps({"voicerecord_callback": {"callid": call.call_id, "mobile": call.callee, "nationcode": "86"}})


def undecodable(call: TrueCall, chance: Chance) -> bytes:
    """A body that cannot be read; each names the call, so that no two are alike."""
    fields = failure_fields(call, chance)
    body = orjson.dumps({"voice_failure_callback": fields})
    match chance.between(0, 3):
        case 0:
            return body[: -chance.between(1, 40)]
        case 1:
            # The first byte of a two-byte sequence, and no second one.
            return body.replace(b'"nationcode"', b'"\xc3"')
        case 2:
            return b"[" + body + b"]"
        case _:
            return orjson.dumps({"voice_failure_callback": fields | {"callid": " ", "ext": call.call_id}})


def _accept_time(call: TrueCall, chance: Chance) -> str:
    if call.answered_at is not None:
        return str(call.answered_at)
    form = chance.weigh(_NOT_ANSWERED_TIME)
    return str(call.ended_at) if form == "end" else form


def _shown_caller(call: TrueCall, chance: Chance) -> str:
    return call.caller if call.kind is CallKind.CODE or chance.happens(_PROMPT_SHOWS_CALLER) else ""


def _body(kind: str, fields: dict[str, Any], chance: Chance) -> bytes:
    if chance.happens(_WITH_CONTEXT):
        fields["ext"] = "order-confirmation"
    if chance.happens(_OTHER_ORDER):
        fields = {name: fields[name] for name in chance.shuffled(tuple(fields))}
    if chance.happens(_ESCAPED):
        return json.dumps({kind: fields}).encode()
    return orjson.dumps({kind: fields})
