"""What may come: every form of a callback that is accepted, and what is kept and counted of it."""

import json

import pytest
from certificates import client, now
from product import PATH, Product, encoded, report
from refusals import OK
from wire import chunked

pytest_plugins = ["product_fixture"]
pytestmark = pytest.mark.edge


def test_the_four_kinds_are_accepted_in_any_order_and_form(product: Product) -> None:
    """Extra fields, numbers for strings, any Content-Type or none, a byte order mark: all are callbacks."""
    call_id = report()["voiceprompt_callback"]["callid"]
    bodies = [
        encoded({"voicecode_callback": report(result=1, fee=None, extra={"a": [1]})["voiceprompt_callback"]}),
        b"\xef\xbb\xbf" + encoded(report(callid=12345678901)),
        encoded({"voicekey_callback": {"callid": call_id, "keypress": "2", "mobile": "13800138000"}}),
        encoded({"voice_failure_callback": {"failure_reason": "空号", "failure_code": 8, "callid": call_id}}),
        encoded(report(callid=call_id, start_calltime="", accept_time=0, end_calltime=None)),
    ]

    for body in bodies:
        for headers in ([], [("Content-Type", "text/plain; charset=latin-1")]):
            answer = product.carrier().post(PATH, body, headers=headers)

            assert (answer.status, answer.body) == (200, OK)
            assert int(answer.headers["x-receiver-receipt"]) > 0


def test_a_success_is_on_disk_exact_to_the_byte(product: Product) -> None:
    body = b' {"voiceprompt_callback" : {"callid":"exact","result":"0","failure_reason":"\\u7a7a\xe5\x8f\xb7"} }\r\n'

    answer = product.carrier().send(chunked(PATH, [body[:7], body[7:]]))

    seq = int(answer.headers["x-receiver-receipt"])
    assert product.rows(f"select body from journal where seq = {seq}") == [(body,)]  # noqa: S608 -- our own number


def test_a_repeated_delivery_gets_the_same_answer_and_counts_once(product: Product) -> None:
    before = product.summary()
    body = encoded(report())

    answers = [product.carrier().post(PATH, body) for _ in range(3)]

    after = product.summary()
    assert {(answer.status, answer.body) for answer in answers} == {(200, OK)}
    assert len({answer.headers["x-receiver-receipt"] for answer in answers}) == 3
    assert after["calls"] == before["calls"] + 1
    assert after["deliveries"] == before["deliveries"] + 3
    assert after["duplicates"] == before["duplicates"] + 2


@pytest.mark.parametrize("document", [{}, {"voicemail_callback": {"callid": "1"}}])
def test_an_unknown_kind_is_kept_and_visible_but_no_call(product: Product, document: object) -> None:
    before = product.summary()

    answer = product.carrier().post(PATH, encoded(document))

    after = product.summary()
    assert (answer.status, answer.body) == (200, OK)
    assert (after["calls"], after["pending"]) == (before["calls"], before["pending"])
    assert after["unknown_kind"] == before["unknown_kind"] + 1


def test_a_certificate_under_no_pin_is_held(product: Product) -> None:
    """Chain-valid, of this carrier, matching no pin: kept, answered with success, visible, not counted."""
    before = product.summary()
    # Of the carrier as far as the chain goes, under another name than the pinned one.
    unpinned = client(product.client_ca(), "another.tencent.test", at=now())

    answer = product.anybody(unpinned).post(PATH, encoded(report()))

    after = product.summary()
    assert (answer.status, answer.body) == (200, OK)
    assert after["held"] == before["held"] + 1
    assert (after["calls"], after["pending"]) == (before["calls"], before["pending"])
    assert product.ask("/api/v1/held?limit=1000").json["held"][-1]["peer"]["sha256"] == unpinned.sha256


def test_huge_numbers_and_odd_times_count_as_missing(product: Product) -> None:
    """Beyond 64 bit, or outside 2000 to 2100: the call is kept, the field is missing, nothing breaks."""
    call_id = report()["voiceprompt_callback"]["callid"]
    huge = "9" * 400
    body = encoded(report(callid=call_id)).replace(b'"fee": "1"', b'"fee": ' + huge.encode())
    body = body.replace(b'"result": "0"', b'"result": "0", "start_calltime": ' + huge.encode())

    answer = product.carrier().post(PATH, body)

    product.summary()
    call = product.ask(f"/api/v1/calls/tencent/demo/{call_id}").json
    assert (answer.status, answer.body) == (200, OK)
    assert '"billed_minutes": null' in json.dumps(call)


def test_of_duplicate_names_the_last_counts(product: Product) -> None:
    call_id = report()["voiceprompt_callback"]["callid"]
    body = encoded(report(callid=call_id)).replace(b'"result": "0"', b'"result": "1", "result": "2", "result": "0"')

    answer = product.carrier().post(PATH, body)

    product.summary()
    assert (answer.status, answer.body) == (200, OK)
    assert '"outcome": "answered"' in json.dumps(product.ask(f"/api/v1/calls/tencent/demo/{call_id}").json)


@pytest.mark.parametrize("value", ["a\x1bb", "a\x7fb", "a\x01b"])
@pytest.mark.parametrize("name", ["User-Agent", "Content-Type", "Content-Encoding"])
def test_no_callback_is_lost_over_an_odd_header(product: Product, name: str, value: str) -> None:
    answer = product.carrier().post(PATH, encoded(report()), headers=[(name, value)])

    assert (answer.status, answer.body) == (200, OK)


def test_half_a_surrogate_pair_costs_no_callback(product: Product) -> None:
    """RFC 8259 allows it in JSON; the text shows a replacement character, the bytes stay as they came."""
    body = rb'{"voice_failure_callback":{"callid":"surrogate","failure_code":8,"failure_reason":"a\ud83db"}}'

    assert product.carrier().post(PATH, body).body == OK
    product.summary()
    shown = product.ask("/api/v1/calls/tencent/demo/surrogate").json
    assert shown["call"]["failure_reason"] == "a\ufffdb"
