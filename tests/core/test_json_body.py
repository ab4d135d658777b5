"""Bodies that are no JSON object: what is wrong is said, and where, without quoting them."""

import pytest

from receiver.carriers.json_body import read_object
from receiver.errors import UndecodableError


def refused(body: bytes) -> UndecodableError:
    with pytest.raises(UndecodableError) as refusal:
        read_object(body)
    return refusal.value


@pytest.mark.parametrize("body", [b"", b" \n", b"\xef\xbb\xbf"])
def test_empty_body_is_called_so(body: bytes) -> None:
    refusal = refused(body)

    assert (str(refusal), refusal.offset) == ("not JSON: the body is empty", 0)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b"[]", "an array"),
        (b'"a"', "a string"),
        (b"1", "a number"),
        (b"1e999", "a number"),
        (b"true", "true or false"),
        (b"null", "null"),
    ],
)
def test_json_that_is_no_object_is_named(body: bytes, name: str) -> None:
    assert str(refused(body)) == f"not a JSON object but {name}"


@pytest.mark.parametrize(
    ("body", "offset"),
    [
        (b"\xff", 0),
        (b'{"a":"\xff"}', 6),
        (b'\xef\xbb\xbf{"a":"\xff"}', 9),
        (b'{"a":"\xed\xa0\x80"}', 6),
        (b'{"a":"\xc3', 6),
        ('{"a":1}'.encode("utf-16"), 0),
    ],
)
def test_body_that_is_not_utf8_says_where(body: bytes, offset: int) -> None:
    refusal = refused(body)

    assert (str(refusal), refusal.offset) == (f"not UTF-8: invalid byte at byte {offset}", offset)


@pytest.mark.parametrize(
    ("body", "offset"),
    [
        (b'{"a":1', 6),
        (b'{"a":NaN}', 5),
        (b'{"a":-Infinity}', 6),
        (b'{"a":1}{}', 7),
        (b'{"a":1e999}}', 11),
        (b'{"a":-12.5e+00999}}', 18),
        (b'{"a":01e999}', 5),
        ('{"\N{CJK UNIFIED IDEOGRAPH-4E2D}":1,x}'.encode(), 9),
        ('\ufeff{"\N{CJK UNIFIED IDEOGRAPH-4E2D}":1,x}'.encode(), 12),
        (b'{"a":' * 2000, 5121),
    ],
)
def test_body_that_is_not_json_says_what_and_at_which_byte(body: bytes, offset: int) -> None:
    """The offset counts bytes of the body as it came, byte order mark included."""
    refusal = refused(body)

    assert refusal.offset == offset
    assert str(refusal).startswith("not JSON: ")
    assert str(refusal).endswith(f" at byte {offset}")


@pytest.mark.timeout(10)
@pytest.mark.parametrize("filling", [b'\\"', b'"', b"9", b"1e", b"\\", b"-", b"1.", b"[", b'{"":'])
def test_no_body_makes_the_second_reading_slow(filling: bytes) -> None:
    """What follows a huge number is scanned once, whatever it is."""
    refused(b'{"a":1e999,"' + filling * (64 * 1024 // len(filling)))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (rb"\ud83d", "\ufffd"),
        (rb"\uDE00x", "\ufffdx"),
        (rb"\ud83d\ude00", "\U0001f600"),
        (rb"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        (rb"\\ud83d \ud83d", "\\ud83d \ufffd"),
    ],
)
def test_half_a_surrogate_pair_is_replaced_and_nothing_else(text: bytes, value: str) -> None:
    """RFC 8259, 8.2: the grammar allows it, no text can hold it, and pairs and escaped backslashes stay."""
    assert read_object(b'{"a":"' + text + b'"}') == {"a": value}
