"""Every row of the contract's table and every kind of bad input, through the real nginx into the real receiver.

After each: the product lives, nothing was counted as a call, what was quarantined is exact to the byte, the answer
says clearly what was wrong, and the refusal was counted.
"""

import ssl
from http.client import BadStatusLine

import pytest
from product import PATH, Product, encoded, report
from refusals import OK, nothing_counted, said
from wire import Target, chunked, read, read_all, request

pytest_plugins = ["product_fixture"]
pytestmark = pytest.mark.edge

LIMIT = 64 * 1024


GOOD = b'{"voiceprompt_callback":{"callid":"never-counted","result":"0"}}'
UNREADABLE = {
    "empty": b"",
    "cut short": GOOD[:-9],
    "invalid UTF-8": GOOD.replace(b"never", b"ne\xff\xfeer"),
    "an array": b"[" + GOOD + b"]",
    "a string": b'"voiceprompt_callback"',
    "deep nesting": b'{"voiceprompt_callback":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "deep nesting, not closed": b'{"a":' * 10_000,
    "two documents": GOOD + GOOD,
    "zero bytes": b"\0" * 100,
    "not JSON": b"callid=1&result=0",
    "NaN": GOOD.replace(b'"0"', b"NaN"),
    "no callid": b'{"voiceprompt_callback":{"result":"0"}}',
    "empty callid": b'{"voiceprompt_callback":{"callid":"  ","result":"0"}}',
    "long callid": b'{"voiceprompt_callback":{"callid":"' + b"x" * 129 + b'"}}',
    "callid is no text": b'{"voiceprompt_callback":{"callid":{"a":1}}}',
    "kind is no object": b'{"voiceprompt_callback":"x"}',
    "one kind of two unusable": b'{"voicekey_callback":{},"voiceprompt_callback":{"callid":"never-counted"}}',
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_cannot_be_decoded_is_quarantined_exactly(product: Product, body: bytes) -> None:
    with nothing_counted(product, "undecodable", quarantined=[body]):
        answer = product.carrier().post(PATH, body)

    message = said(answer, status=400, reason="undecodable")
    assert "never" not in message
    assert len(message) < 300


def test_a_repeated_undecodable_body_takes_one_row(product: Product) -> None:
    """A storm of retries of the same bytes cannot fill the disk."""
    body = b'{"voiceprompt_callback":' + b"storm"

    with nothing_counted(product, "undecodable", quarantined=[body]):
        answers = [product.carrier().post(PATH, body) for _ in range(3)]

    assert [answer.status for answer in answers] == [400, 400, 400]
    assert product.ask("/api/v1/quarantine?limit=1000").json["quarantine"][-1]["hits"] == 3


def test_the_reason_says_where(product: Product) -> None:
    answer = product.carrier().post(PATH, b'{"voiceprompt_callback": {"callid": x}}')

    assert "36" in said(answer, status=400, reason="undecodable")


@pytest.mark.parametrize(
    ("raw", "status", "reason"),
    [
        pytest.param(request("GET", PATH), 405, "method", id="GET"),
        pytest.param(request("PUT", PATH, GOOD), 405, "method", id="PUT"),
        pytest.param(request("DELETE", PATH), 405, "method", id="DELETE"),
        pytest.param(request("OPTIONS", PATH), 405, "method", id="OPTIONS"),
        pytest.param(request("POST", "/", GOOD), 404, "not_found", id="root"),
        pytest.param(request("POST", "/callbacks/tencent", GOOD), 404, "not_found", id="no app"),
        pytest.param(request("POST", "/api/v1/summary", GOOD), 404, "not_found", id="operations side"),
        pytest.param(request("GET", "/metrics"), 404, "not_found", id="metrics"),
        pytest.param(request("POST", f"{PATH}%0a", GOOD), 404, "not_found", id="newline at the end"),
        pytest.param(request("POST", "/callbacks/nobody/demo", GOOD), 404, "unknown_target", id="unknown carrier"),
        pytest.param(request("POST", PATH, b"x" * (LIMIT + 1)), 413, "too_large", id="65537 bytes"),
        pytest.param(request("POST", PATH, b"x" * 3_000_000), 413, "too_large", id="3 MB"),
        pytest.param(chunked(PATH, [b"x" * 1000] * 66), 413, "too_large", id="66 KB in chunks"),
        pytest.param(chunked(PATH, [b"x" * 10_000] * 300), 413, "too_large", id="3 MB in chunks"),
        pytest.param(request("POST", "/" + "a" * 9000, GOOD), 414, "uri_too_long", id="long address"),
        pytest.param(
            request("POST", PATH, GOOD, headers=[("X-A", "a" * 9000)]), 431, "headers_too_large", id="long header"
        ),
        pytest.param(
            request("POST", PATH, GOOD, headers=[("X-A", "a" * 90)] * 500), 431, "headers_too_large", id="many headers"
        ),
        pytest.param(
            b"POST %b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n" % PATH.encode(),
            501,
            "not_implemented",
            id="unknown transfer encoding",
        ),
        pytest.param(b"GARBAGE\r\n\r\n", 400, "bad_request", id="garbage"),
        pytest.param(
            b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            % PATH.encode(),
            400,
            "bad_request",
            id="two framings",
        ),
    ],
)
def test_what_is_no_callback_is_refused_in_the_same_shape(
    product: Product, raw: bytes, status: int, reason: str
) -> None:
    counted_as = "unknown_target_carrier" if reason == "unknown_target" else reason
    with nothing_counted(product, counted_as):
        answer = product.carrier().send(raw)

    said(answer, status=status, reason=reason)
    assert answer.headers.get("allow") == ("POST" if status == 405 else None)


def test_the_largest_body_is_accepted(product: Product) -> None:
    """The limit itself is within the limit, declared and in chunks."""
    body = encoded(report(padding=""))
    body = body.replace(b'"padding": ""', b'"padding": "' + b"x" * (LIMIT - len(body)) + b'"')
    assert len(body) == LIMIT

    assert product.carrier().post(PATH, body).body == OK
    assert product.carrier().send(chunked(PATH, [body[:1000], body[1000:]])).body == OK


def test_plain_http_on_the_tls_port(product: Product) -> None:
    with nothing_counted(product, "plain_http"):
        answer = Target(port=product.carrier().port, tls=None).post(PATH, GOOD)

    said(answer, status=400, reason="plain_http")


def test_a_body_that_ends_before_its_length(product: Product) -> None:
    """The connection closes before Content-Length is reached: nobody takes the half for the whole."""
    with nothing_counted(product, "truncated"), product.carrier().connected() as connection:
        connection.sendall(request("POST", PATH, GOOD)[:-1])


def test_a_slow_sender_is_disconnected_without_an_answer(product: Product) -> None:
    with nothing_counted(product, "timeout"), product.carrier().connected() as connection:
        connection.sendall(request("POST", PATH, GOOD)[:-1])
        with pytest.raises((BadStatusLine, ConnectionError)):
            read(connection)


def test_slow_senders_do_not_delay_others(product: Product) -> None:
    connections = [product.carrier().connected() for _ in range(20)]
    slow = [each.__enter__() for each in connections]
    try:
        for connection in slow:
            connection.sendall(request("POST", PATH, GOOD)[:-1])

        assert product.carrier().post(PATH, encoded(report())).body == OK
    finally:
        for each in connections:
            each.__exit__(None, None, None)


def test_pipelined_and_kept_alive_requests_are_answered_in_order(product: Product) -> None:
    bodies = [encoded(report()), b"[]", encoded(report())]

    with product.carrier().connected() as connection:
        connection.sendall(b"".join(request("POST", PATH, body) for body in bodies))
        answers = read_all(connection, len(bodies))

    assert [answer.status for answer in answers] == [200, 400, 200]


def test_old_tls_is_refused(product: Product) -> None:
    target = product.carrier()
    assert target.tls
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        target.tls.maximum_version = ssl.TLSVersion.TLSv1_1

    with pytest.raises(ssl.SSLError):
        target.post(PATH, GOOD)
