"""The carrier side at its own socket: every row of the contract's table, and everybody who is not nginx."""

import asyncio
import dataclasses
import hashlib
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import web_lab
from store_lab import AMPLE, failure, key_press, report
from web_lab import PATH, Receiver, Setting, receiving

from receiver.errors import OverloadedError, RowRefusedError, StoreError
from receiver.model import Entry, Receipt
from receiver.web.gate import Gate
from receiver.web.refusals import NO_CARRIER
from receiver.web.targets import Declared


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    async with receiving(tmp_path) as running:
        yield running


def _rows(receiver: Receiver, statement: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{receiver.directory}/store/journal.db?mode=ro", uri=True)) as database:
        return database.execute(statement).fetchall()


def _kept(receiver: Receiver) -> list[bytes]:
    return [body for (body,) in _rows(receiver, "select body from journal order by seq")]


@pytest.mark.parametrize(
    "body",
    [
        report(),
        report(kind="voicecode_callback", result=1, fee=None, unknown="field"),
        failure(),
        key_press(),
        b"\xef\xbb\xbf" + report(),
        b'{"something_new":{"callid":"x"}}',
        b"{}",
    ],
)
async def test_a_readable_callback_is_on_disk_when_it_is_answered(receiver: Receiver, body: bytes) -> None:
    """Success means: these exact bytes are committed, under the journal cursor that the answer names."""
    answer = await receiver.post(body)

    assert (answer.status, answer.body) == (200, b'{"result":0,"errmsg":"OK"}')
    assert answer.headers["content-type"] == "application/json"
    rows = _rows(receiver, "select seq, body, sha256, carrier, app, received_us from journal")
    assert rows == [
        (
            int(answer.headers["x-receiver-receipt"]),
            body,
            hashlib.sha256(body).digest(),
            "tencent",
            "demo",
            web_lab.NOW * 1_000_000,
        )
    ]
    assert receiver.refusals.take() == {}


async def test_a_repeated_callback_gets_the_same_answer_and_a_row_of_its_own(receiver: Receiver) -> None:
    first, second = await receiver.post(report()), await receiver.post(report())

    assert first.body == second.body
    assert first.headers["x-receiver-receipt"] != second.headers["x-receiver-receipt"]
    assert _kept(receiver) == [report(), report()]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "empty"),
        (b"[]", "object"),
        (b'{"voiceprompt_callback":', "JSON"),
        (b'{"voiceprompt_callback":{"callid":" "}}', "callid"),
        (b'{"a":"\xff"}', ""),
        (b"[" * 5000, ""),
        (b"\x1f\x8b\x08\x00zipped", ""),
    ],
)
async def test_an_undecodable_body_is_refused_and_kept_to_the_byte(receiver: Receiver, body: bytes, what: str) -> None:
    """What cannot be read is answered with what is wrong, in the carrier's shape, and lies in quarantine unchanged."""
    answer = await receiver.post(body, headers={"Content-Encoding": "gzip", "Authorization": "Basic c2VjcmV0"})

    assert answer.status == 400
    assert answer.json.keys() == {"result", "errmsg"}
    assert answer.json["result"] != 0
    assert what in answer.json["errmsg"]
    assert answer.headers["x-receiver-reason"] == "undecodable"
    ((kept, headers),) = _rows(receiver, "select body, headers from quarantine")
    assert kept == body
    assert "gzip" in headers
    assert "c2VjcmV0" not in headers
    assert _kept(receiver) == []
    assert receiver.refusals.take() == {("tencent", "undecodable"): 1}


async def test_an_answer_never_repeats_what_the_body_said(receiver: Receiver) -> None:
    answer = await receiver.post(b'{"voiceprompt_callback":{"callid":["13812345678"],"mobile":"13812345678"')

    assert b"138" not in answer.body


async def test_a_carrier_may_be_told_success_for_what_cannot_be_read(tmp_path: Path) -> None:
    """`undecodable = "accept"`: the body is quarantined all the same, and the receipt names its row there."""
    async with receiving(tmp_path, Setting(accepts_undecodable=True)) as receiver:
        answer = await receiver.post(b"nonsense")

        assert (answer.status, answer.body) == (200, b'{"result":0,"errmsg":"OK"}')
        assert answer.headers["x-receiver-receipt"] == "quarantine-1"
        assert _rows(receiver, "select body, answered_status from quarantine") == [(b"nonsense", 200)]


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_body_over_the_limit_leaves_only_a_count(receiver: Receiver, *, is_chunked: bool) -> None:
    body = b" " * (64 * 1024 + 1)
    if is_chunked:
        head = receiver.request(headers={"Transfer-Encoding": "chunked"}).replace(b"Content-Length: 0\r\n", b"")
        answer = await receiver.send(head, b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    else:
        answer = await receiver.post(body)

    assert (answer.status, answer.headers["x-receiver-reason"]) == (413, "too_large")
    assert answer.json["result"] != 0
    assert _kept(receiver) == _rows(receiver, "select * from quarantine") == []
    assert receiver.refusals.take() == {("tencent", "too_large"): 1}


async def test_a_body_at_the_limit_is_read(receiver: Receiver) -> None:
    body = report().ljust(64 * 1024)

    assert (await receiver.post(body)).status == 200
    assert _kept(receiver) == [body]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
async def test_another_method_is_405_and_says_which_is_allowed(receiver: Receiver, method: str) -> None:
    answer = await receiver.send(receiver.request(method=method).replace(b"HEAD", b"PATCH"))

    assert (answer.status, answer.headers["allow"], answer.headers["x-receiver-reason"]) == (405, "POST", "method")
    assert answer.json["result"] != 0


@pytest.mark.parametrize("path", ["/callbacks/tencent/a%20b", "/callbacks/nobody/demo", "/", "/metrics", "/callbacks"])
async def test_every_other_address_is_404(receiver: Receiver, path: str) -> None:
    answer = await receiver.post(report(), path=path)

    assert (answer.status, answer.headers["x-receiver-reason"]) == (404, "unknown_target")
    assert answer.json["result"] != 0
    assert _kept(receiver) == []


@pytest.mark.parametrize(("path", "status"), [("/old", 200), ("/new", 200), ("/third", 404), ("", 404)])
async def test_a_production_home_wants_the_key(tmp_path: Path, path: str, status: int) -> None:
    """A carrier's certificate proves the carrier; that it is our account there, only the key in the address does."""
    hashes = tuple(hashlib.sha256(key.encode()).hexdigest() for key in ("old", "new"))
    declared = Declared({("tencent", "demo"): hashes}, is_required=True)
    async with receiving(tmp_path, Setting(declared=declared)) as receiver:
        answer = await receiver.post(report(), path=PATH + path)

        assert answer.status == status
        assert len(_kept(receiver)) == (status == 200)


async def test_an_undeclared_application_and_a_wrong_key_look_the_same_outside(tmp_path: Path) -> None:
    """Whoever guesses learns nothing; we count which it was."""
    declared = Declared({("tencent", "demo"): ("0" * 64,)}, is_required=True)
    async with receiving(tmp_path, Setting(declared=declared)) as receiver:
        app, key = [await receiver.post(report(), path=f"/callbacks/tencent/{end}") for end in ("other/x", "demo/x")]

        assert (app.status, app.body, app.headers["x-receiver-reason"]) == (
            key.status,
            key.body,
            key.headers["x-receiver-reason"],
        )
        assert receiver.refusals.take() == {
            ("tencent", "unknown_target_app"): 1,
            ("tencent", "unknown_target_key_wrong"): 1,
        }


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"X-Edge-Key": None}, "edge_key"),
        ({"X-Edge-Key": ""}, "edge_key"),
        ({"X-Edge-Key": "f" * 64}, "edge_key"),
        ({"X-Edge-Key": "\u00e9" * 64}, "edge_key"),
        ({"X-SSL-Client-Verify": None}, "bad_header"),
        ({"X-SSL-Client-Verify": "NONE", "X-SSL-Client-Cert": ""}, "no_certificate"),
        ({"X-SSL-Client-Verify": "FAILED:certificate has expired"}, "expired"),
        ({"X-SSL-Client-Cert": None}, "bad_header"),
        ({"X-SSL-Client-Cert": "x" * 8000}, "bad_header"),
    ],
)
async def test_a_request_that_nginx_did_not_vouch_for_is_refused(
    receiver: Receiver, headers: dict[str, str | None], reason: str
) -> None:
    """A genuine certificate at the socket is worth nothing without the edge key and nginx's own verdict."""
    answer = await receiver.send(receiver.request(report(), headers=headers))

    assert (answer.status, answer.headers["x-receiver-reason"]) == (403, reason)
    assert answer.json["result"] != 0
    assert _kept(receiver) == []


@pytest.mark.parametrize("name", ["X-Edge-Key", "X-SSL-Client-Verify", "X-SSL-Client-Cert", "x-ssl-client-cert"])
async def test_an_identity_given_twice_is_refused(receiver: Receiver, name: str) -> None:
    """Whoever appends a second header of ours is not nginx, which overwrites."""
    value = {key.lower(): value for key, value in receiver.identity().items()}[name.lower()]
    assert value is not None
    answer = await receiver.post(report(), more=[(name, value)])

    assert answer.status == 403
    assert answer.headers["x-receiver-reason"] in {"bad_header", "edge_key"}
    assert _kept(receiver) == []


@pytest.mark.parametrize("name", ["X_SSL_Client_Cert", "X-SSL_Client-Verify", "x_edge_key"])
async def test_an_identity_spelt_with_underscores_is_refused(receiver: Receiver, name: str) -> None:
    answer = await receiver.post(report(), more=[(name, "SUCCESS")])

    assert (answer.status, answer.headers["x-receiver-reason"]) == (403, "bad_header")


async def test_a_stranger_s_certificate_is_refused_though_nginx_let_it_pass(receiver: Receiver) -> None:
    """The forwarded certificate is verified again; nginx's word alone is not enough."""
    answer = await receiver.post(report(), headers=receiver.identity(receiver.certificates.stranger))

    assert (answer.status, answer.headers["x-receiver-reason"]) == (403, "untrusted")
    assert receiver.refusals.take() == {("tencent", "untrusted"): 1}


async def test_a_certificate_without_a_pin_is_held_not_refused(receiver: Receiver) -> None:
    """Chain-valid, of this carrier, under no pin: kept and answered with success, but it counts for nothing yet."""
    answer = await receiver.post(report(), headers=receiver.identity(receiver.certificates.unpinned))
    await receiver.fold()

    assert answer.status == 200
    assert _rows(receiver, "select is_held from journal") == [(1,)]
    (row,) = await receiver.store.reader.held(after=0, limit=10)
    assert row.seq == int(answer.headers["x-receiver-receipt"])


@pytest.mark.parametrize(
    ("quota", "body", "client", "expected"),
    [
        ("held", report(), "unpinned", (403, "held_quota")),
        ("unknown_kind", b"{}", "pinned", (503, "quota")),
        ("quarantine", b"one", "pinned", (503, "quota")),
    ],
)
async def test_past_its_quota_a_delivery_is_refused(
    tmp_path: Path, quota: str, body: bytes, client: str, expected: tuple[int, str]
) -> None:
    """A stranger past the quota of held deliveries gets 403; what we have no room for gets 503, to come again."""
    setting = Setting(quotas=dataclasses.replace(AMPLE, **{quota: 0}))
    async with receiving(tmp_path, setting) as receiver:
        answer = await receiver.post(body, headers=receiver.identity(getattr(receiver.certificates, client)))

        assert (answer.status, answer.headers["x-receiver-reason"]) == expected
        assert ("retry-after" in answer.headers) == (answer.status == 503)
        assert answer.json["result"] != 0


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (StoreError("disk I/O error at /secret/path"), "store"),
        (RowRefusedError("row"), "store_row"),
        (OverloadedError("queue"), "overloaded"),
        (ZeroDivisionError("a bug"), "internal"),
    ],
)
@pytest.mark.parametrize("body", [report(), b"undecodable"])
async def test_our_own_failure_is_503_and_never_a_4xx(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception, reason: str, body: bytes
) -> None:
    """What we cannot keep may come again: also an undecodable body, whose fault is then not what is told."""

    async def keep(_: Entry) -> Receipt:
        raise error

    async with receiving(tmp_path, Setting(keep=keep)) as receiver:
        answer = await receiver.post(body)

        assert (answer.status, answer.headers["x-receiver-reason"]) == (503, reason)
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json["result"] != 0
        assert str(error) not in answer.body.decode()
        assert ("a bug" in caplog.text) == (reason == "internal")
        assert receiver.refusals.take() == {("tencent", reason): 1}


async def test_a_connection_serves_many_callbacks(receiver: Receiver) -> None:
    """Connections are kept open; a refusal among them, its body unread, does not disturb the next callback."""
    reader, writer = await asyncio.open_unix_connection(str(receiver.edge_path))
    answers = []
    for headers in ({}, {"X-Edge-Key": "wrong"}, {}):
        writer.write(receiver.request(report(), headers=headers))
        answers.append(await web_lab._answer(reader))
    writer.close()
    await writer.wait_closed()

    assert [answer.status for answer in answers] == [200, 403, 200]
    assert len(_kept(receiver)) == 2


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_body_that_ends_too_early_is_not_kept(receiver: Receiver, *, is_chunked: bool) -> None:
    """A sender that hangs up half-way gets nothing, and leaves nothing but a count."""
    if is_chunked:
        head = receiver.request(headers={"Transfer-Encoding": "chunked"}).replace(b"Content-Length: 0\r\n", b"")
        whole = head + b"%x\r\n%b" % (len(report()), report())
    else:
        whole = receiver.request(report())[:-5]
    _, writer = await asyncio.open_unix_connection(str(receiver.edge_path))
    writer.write(whole)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(5):
        while not (counts := receiver.refusals.take()):  # noqa: ASYNC110  (nobody can tell when)
            await asyncio.sleep(0.01)

    assert counts == {("tencent", "truncated"): 1}
    assert (await receiver.post(report())).status == 200
    assert _kept(receiver) == [report()]


@pytest.mark.parametrize("request_bytes", [b"nonsense\r\n\r\n", b"POST / HTTP/1.1\r\nBad Header: x\r\n\r\n"])
async def test_what_is_not_http_is_answered_in_the_same_shape(receiver: Receiver, request_bytes: bytes) -> None:
    answer = await receiver.send(request_bytes)

    assert (answer.status, answer.headers["x-receiver-reason"]) == (400, "bad_http")
    assert answer.json["result"] != 0
    assert receiver.refusals.take() == {(NO_CARRIER, "bad_http"): 1}


async def test_the_longest_certificate_header_passes(receiver: Receiver) -> None:
    """8190 characters of certificate are a header we read; that it is no certificate is another matter."""
    answer = await receiver.post(report(), headers={"X-SSL-Client-Cert": "%41" * 2730})

    assert answer.headers["x-receiver-reason"] == "bad_header"


async def test_only_the_user_of_nginx_may_connect(receiver: Receiver) -> None:
    """The kernel says who connected; the right headers from another user are refused."""
    receiver.edge.gate = Gate(os.geteuid() + 1, web_lab.EDGE_KEY.encode())

    answer = await receiver.post(report())

    assert (answer.status, answer.headers["x-receiver-reason"]) == (403, "foreign_peer")


async def test_a_draining_receiver_answers_and_closes_its_connections(receiver: Receiver) -> None:
    """At the end what is under way is still kept and answered, and nginx is told to connect anew."""
    receiver.edge.is_draining = True

    answer = await receiver.post(report())

    assert (answer.status, answer.headers["connection"]) == (200, "close")


async def test_a_stopping_receiver_finishes_what_it_admitted(tmp_path: Path) -> None:
    """SIGTERM in the middle of a commit: the callback is answered with success before the side closes."""
    is_kept, may_end = asyncio.Event(), asyncio.Event()

    async def keep(_: Entry) -> Receipt:
        is_kept.set()
        await may_end.wait()
        return Receipt(seq=7)

    async with receiving(tmp_path, Setting(keep=keep)) as receiver:
        posting = asyncio.create_task(receiver.post(report()))
        await is_kept.wait()
        asyncio.get_running_loop().call_later(0.1, may_end.set)

    assert (await posting).headers["x-receiver-receipt"] == "7"


async def test_no_refusal_logs_a_body_a_key_or_a_number(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    declared = Declared({("tencent", "demo"): ("0" * 64,)}, is_required=True)
    async with receiving(tmp_path, Setting(declared=declared)) as receiver:
        await receiver.post(report(), path=f"{PATH}/url-key-in-the-address")
        await receiver.post(report(), headers={"X-Edge-Key": "guessed-edge-key"})
        receiver.edge.declared = Declared({}, is_required=False)
        await receiver.post(b'{"voiceprompt_callback":{"mobile":"13812345678"}}')

    everything = "\n".join(str(vars(record)) for record in caplog.records)
    assert len(caplog.records) == 3
    for secret in ("url-key-in-the-address", "guessed-edge-key", "13812345678", web_lab.EDGE_KEY):
        assert secret not in everything
