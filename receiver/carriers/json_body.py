"""Exact bytes to one JSON object, or a clear line about what is wrong and where. Knows no carrier and no field."""

import math
import re
from typing import Any, Final

import orjson

from receiver.errors import UndecodableError

_BOM: Final = b"\xef\xbb\xbf"
# RFC 8259, sections 6 and 7. Strings come first, so that digits inside them are left alone; the quantifiers are
# possessive and a missing closing quote ends at the end, so that no text makes this slow.
_STRING_OR_NUMBER: Final = re.compile(
    rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?', re.DOTALL
)
_BEYOND_EVERYTHING: Final = b"1e300"
# RFC 8259, section 8.2: the grammar allows half a surrogate pair, which no text can hold. A pair and any other escape
# are matched first, so that only halves are left.
_ESCAPE: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)
_REPLACEMENT: Final = rb"\ufffd"


def read_object(body: bytes) -> dict[str, Any]:
    """Read a body as one JSON object in UTF-8, with or without a byte order mark; of duplicate names the last counts.

    Integers beyond 64 bit and numbers beyond every float come out as floats beyond 64 bit.

    Raises:
        UndecodableError: not UTF-8, not JSON (RFC 8259), or no object; never quotes the body.
    """
    content = body.removeprefix(_BOM)
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        document = _read_again(content, skipped=len(body) - len(content))
    if type(document) is not dict:
        raise UndecodableError(f"not a JSON object but {_name(document)}")
    return document


def _read_again(content: bytes, *, skipped: int) -> Any:
    """Read again what orjson refused: huge numbers and halves of surrogate pairs are JSON, too."""
    try:
        return orjson.loads(_STRING_OR_NUMBER.sub(_tame, content))
    except orjson.JSONDecodeError as exc:
        raise _undecodable(exc, content, skipped) from None


def _tame(token: re.Match[bytes]) -> bytes:
    text = token[0]
    if text.startswith(b'"'):
        return _ESCAPE.sub(_whole, text) if b"\\u" in text else text
    if not math.isinf(float(text)):
        return text
    # The shortest number that overflows a float has five bytes too; of equal length, offsets stay true.
    return _BEYOND_EVERYTHING.ljust(len(text))


def _whole(escape: re.Match[bytes]) -> bytes:
    return escape[0] if escape["half"] is None else _REPLACEMENT


def _undecodable(exc: orjson.JSONDecodeError, content: bytes, skipped: int) -> UndecodableError:
    if not content.strip():
        return UndecodableError("not JSON: the body is empty", offset=0)
    try:
        text = content.decode()
    except UnicodeDecodeError as invalid:
        offset = skipped + invalid.start
        return UndecodableError(f"not UTF-8: invalid byte at byte {offset}", offset=offset)
    # orjson counts characters; the offset counts bytes of the body as it came.
    offset = skipped + len(text[: exc.pos].encode())
    return UndecodableError(f"not JSON: {exc.msg} at byte {offset}", offset=offset)


def _name(document: object) -> str:
    match document:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "a number"
