"""Tencent's callback bodies, valid unless changed, and strategies that draw them. Knows the wire, not the receiver."""

import json
from typing import Any, Final

from hypothesis import strategies as st

STARTED: Final = 1_470_196_821
CALL_ID: Final = "9277cf828943eb70b3cea31890008ad0"
REMOVED: Final = object()

STATUS_KINDS: Final = ("voicecode_callback", "voiceprompt_callback")


def said(kind: str, content: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """One kind's object with some fields changed, or REMOVED."""
    fields = {"call_from": "075583763333", "callid": CALL_ID, "mobile": "13812345678", "nationcode": "86"} | content
    return {kind: {name: value for name, value in (fields | changes).items() if value is not REMOVED}}


def report(kind: str = "voiceprompt_callback", **changes: Any) -> dict[str, Any]:
    """A status callback of an answered call."""
    times = {"start_calltime": "1470196821", "accept_time": "1470196835", "end_calltime": "1470196843"}
    return said(kind, {"result": "0", "fee": "1", **times}, **changes)


def failure(**changes: Any) -> dict[str, Any]:
    """A failure callback: no such number."""
    return said("voice_failure_callback", {"failure_code": 8, "failure_reason": "空号"}, **changes)


def key_press(**changes: Any) -> dict[str, Any]:
    """A key callback."""
    return said("voicekey_callback", {"keypress": "2"}, **changes)


def encoded(document: object) -> bytes:
    """The document as a carrier would send it."""
    return json.dumps(document, ensure_ascii=False).encode()


_SHARED: Final = {
    "call_from": st.sampled_from(["", "075583763333", "089831335739"]),
    "mobile": st.sampled_from(["13812345678", "+8613812345678", "13800000000", "", None]),
    "nationcode": st.sampled_from(["86", 86, "", "852"]),
}
_TIME: Final = st.sampled_from(["", "0", None, STARTED, str(STARTED + 14), STARTED + 22, "1" * 25])

reports: Final = st.builds(
    report,
    kind=st.sampled_from(STATUS_KINDS),
    result=st.sampled_from(["0", 1, "2", "3", -5, "", None, "abc", 10**30]),
    start_calltime=_TIME,
    accept_time=_TIME,
    end_calltime=_TIME,
    fee=st.sampled_from(["", "0", "1", 2, -1]),
    **_SHARED,
)
failures: Final = st.builds(
    failure,
    failure_code=st.sampled_from([8, "2", 14, None, 10**30]),
    failure_reason=st.sampled_from(["空号", "空号。", "", "其他", None]),
    **_SHARED,
)
key_presses: Final = st.builds(key_press, keypress=st.sampled_from(["1", 2, "*", "12", ""]), **_SHARED)
callbacks: Final = st.one_of(reports, failures, key_presses, st.builds(lambda a, b: a | b, reports, failures))
"""Bodies that speak of one call, agree or not."""
