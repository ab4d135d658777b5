"""Tolerant readers for the fields of one JSON object. Nothing here knows a carrier or what a field means."""

import re
from collections.abc import Mapping
from typing import Any, Final

from receiver.model import Anomaly

_WHOLE_NUMBER: Final = re.compile(r"[+-]?[0-9]+")
_INT64: Final = range(-(2**63), 2**63)
# So many digits fit into 64 bit whatever they are.
_SURE_DIGITS: Final = 18
_MAX_DIGITS: Final = 19

_YEAR_2000: Final = 946_684_800
_YEAR_2100: Final = 4_102_444_800
_TIME_ANOMALY: Final = {
    Anomaly.NUMBER_OUT_OF_RANGE: Anomaly.TIME_OUT_OF_RANGE,
    Anomaly.NUMBER_UNREADABLE: Anomaly.TIME_UNREADABLE,
}

IDENTIFIER_LENGTH: Final = 32


def whole_number(value: object) -> int | Anomaly | None:
    """Read an integer, the text of one or an integral float; None when there is none, the anomaly when unusable.

    The result fits into signed 64 bit. `true` is no number.
    """
    if type(value) is str:
        return _from_text(value.strip())
    if value is None:
        return None
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:
        return Anomaly.NUMBER_UNREADABLE
    return value if value in _INT64 else Anomaly.NUMBER_OUT_OF_RANGE


def _from_text(text: str) -> int | Anomaly | None:
    if len(text) <= _SURE_DIGITS and text.isascii() and text.isdecimal():
        return int(text)
    if not text:
        return None
    if _WHOLE_NUMBER.fullmatch(text) is None:
        return Anomaly.NUMBER_UNREADABLE
    # Measured first: int() of thousands of digits is slow, and refused by Python above 4300.
    if len(text.lstrip("+-").lstrip("0")) > _MAX_DIGITS or (number := int(text)) not in _INT64:
        return Anomaly.NUMBER_OUT_OF_RANGE
    return number


class Fields:
    """The fields of one object, and what was odd about those read so far."""

    __slots__ = ("_values", "anomalies")

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self.anomalies: tuple[Anomaly, ...] = ()

    def number(self, name: str, *, unreadable: int | None = None) -> int | None:
        """Read a 64-bit integer; `unreadable` stands for something that is there and is no number."""
        number = whole_number(self._values.get(name))
        if isinstance(number, Anomaly):
            self.anomalies += (number,)
            return unreadable if number is Anomaly.NUMBER_UNREADABLE else None
        return number

    def count(self, name: str, *, limit: int) -> int | None:
        """Read an integer from 0 to `limit`."""
        number = self.number(name)
        if number is None or 0 <= number <= limit:
            return number
        self.anomalies += (Anomaly.NUMBER_OUT_OF_RANGE,)
        return None

    def time(self, name: str) -> int | None:
        """Read an instant in Unix seconds, 2000 to 2100; zero and less mean that there is none."""
        seconds = whole_number(self._values.get(name))
        if isinstance(seconds, Anomaly):
            self.anomalies += (_TIME_ANOMALY[seconds],)
            return None
        if seconds is None or seconds <= 0:
            return None
        if _YEAR_2000 <= seconds <= _YEAR_2100:
            return seconds
        self.anomalies += (Anomaly.TIME_OUT_OF_RANGE,)
        return None

    def text(self, name: str) -> str | None:
        """Read a text, or an integer as text; trimmed, None when empty."""
        value = self._values.get(name)
        if type(value) is str:
            return value.strip() or None
        if value is None:
            return None
        if type(value) is int:
            return str(value)
        self.anomalies += (Anomaly.TEXT_UNREADABLE,)
        return None

    def identifier(self, name: str) -> str | None:
        """Read a short text, such as a telephone number; what is longer than 32 characters cannot be one."""
        text = self.text(name)
        if text is None or len(text) <= IDENTIFIER_LENGTH:
            return text
        self.anomalies += (Anomaly.TEXT_UNREADABLE,)
        return None
