"""Opaque cursors: where a page of calls ended, and of which question. Knows how to read one, not what to do with it."""

import binascii
import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from receiver.errors import QueryError
from receiver.model import Span

_FIELDS: Final = 5
_OTHER_QUESTION: Final = "this cursor belongs to another question; start again without it"
_UNREADABLE: Final = "this is no cursor that was given out here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """The end of a page: the span that the first page was asked for, and the keyset of the last call shown."""

    span: Span
    event_at: int
    row_id: int


def question_hash(apps: Iterable[str], parameters: Mapping[str, str]) -> str:
    """A short name of a question: its parameters as given, and the applications that the caller may see."""
    return hashlib.sha256(orjson.dumps([sorted(apps), dict(parameters)], option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def write(cursor: Cursor, *, question: str) -> str:
    """A cursor as text for a URL."""
    fields = [cursor.span.start, cursor.span.end, cursor.event_at, cursor.row_id, question]
    return urlsafe_b64encode(orjson.dumps(fields)).decode().rstrip("=")


def read(text: str, *, question: str) -> Cursor:
    """Read a cursor.

    Raises:
        QueryError: it is none, or it belongs to another question.
    """
    try:
        fields = orjson.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        raise QueryError("cursor", _UNREADABLE) from None
    if not isinstance(fields, list) or len(fields) != _FIELDS or not all(_fits(number) for number in fields[:-1]):
        raise QueryError("cursor", _UNREADABLE)
    if fields[-1] != question:
        raise QueryError("cursor", _OTHER_QUESTION)
    start, end, event_at, row_id = fields[:-1]
    return Cursor(span=Span(start=start, end=end), event_at=event_at, row_id=row_id)


def _fits(number: object) -> bool:
    """Whether a database takes it as an integer."""
    return type(number) is int and abs(number) < 1 << 63
