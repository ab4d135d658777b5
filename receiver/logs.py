"""Log records as JSON lines on standard error: facts as fields. Knows nothing of what the facts mean."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import orjson

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def printable(text: str) -> str:
    """Foreign text without anything that a terminal or a viewer acts upon: controls, bidirectional and other marks."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else f"\\u{{{ord(char):x}}}" for char in text)


class JsonLines(logging.Formatter):
    """One JSON object per record: `at`, `level`, `logger`, `event`, then the record's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the record as one line, whatever its fields hold."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": printable(record.getMessage()),
        }
        line |= {name: _value(value) for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            line["traceback"] = [printable(each) for each in self.formatException(record.exc_info).splitlines()]
        return orjson.dumps(line, default=_text).decode()


def _value(value: object) -> object:
    return printable(value) if isinstance(value, str) else value


def _text(value: object) -> str:
    return printable(str(value))


def configure(level: str, *, stream: TextIO | None = None) -> None:
    """Send every logger's records of at least `level` to standard error, and nowhere else."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
