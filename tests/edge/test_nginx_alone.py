"""What nginx does before any receiver is asked: real nginx, rendered configuration, an upstream that echoes."""

import re
import ssl
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from http.client import BadStatusLine
from pathlib import Path

import pytest
from certificates import Extensions, authority, client, now
from cryptography import x509
from nginx_lab import EDGE_KEY, NGINX, PATH, Lab, refused, running
from wire import Answer, Target, chunked, read, request

pytestmark = [pytest.mark.edge, pytest.mark.skipif(NGINX is None, reason="nginx is not installed")]

BODY_BYTES = 4096
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def running_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    limits = {"body_bytes": BODY_BYTES, "client_seconds": 1, "answer_seconds": 1}
    directory = tmp_path_factory.mktemp("lab")
    with tempfile.TemporaryDirectory(prefix="lab-") as run, running(directory, Path(run), limits=limits) as lab:
        yield lab


@pytest.fixture
def lab(running_lab: Lab) -> Lab:
    running_lab.forget_reports()
    running_lab.upstream.status = 200
    running_lab.upstream.seconds = 0.0
    return running_lab


def test_receiver_sees_what_nginx_says_and_nothing_else(lab: Lab) -> None:
    """No header of a client passes but its Content-Type, Content-Encoding and User-Agent."""
    forged = [
        ("X-SSL-Client-Verify", "SUCCESS"),
        ("X-SSL-Client-Verify", "NONE"),
        ("X_SSL_Client_Verify", "FORGED"),
        ("X-SSL-Client-Cert", "FORGED"),
        ("X-Edge-Key", "FORGED"),
        ("X_Edge_Key", "FORGED"),
        ("Client-Cert", ":FORGED:"),
        ("Client-Cert-Chain", ":FORGED:"),
        ("X-Forwarded-Client-Cert", "Hash=FORGED"),
        ("X-Forwarded-Tls-Client-Cert", "FORGED"),
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Real-IP", "203.0.113.9"),
        ("X-Request-Id", "FORGED"),
        ("X-TLS-Protocol", "FORGED"),
        ("Connection", "X-Edge-Key"),
        ("Authorization", "Bearer FORGED"),
        ("Cookie", "FORGED=1"),
        ("Early-Data", "1"),
        ("Content-Type", "application/json"),
        ("User-Agent", "carrier/1"),
    ]
    issued = client(lab.client_ca, at=now())

    answer = lab.target(issued).post(PATH, b"{}", headers=forged)

    seen = answer.json["headers"]
    names = [name for name, _ in seen]
    assert sorted(names) == [
        "Content-Length",
        "Content-Type",
        "Host",
        "User-Agent",
        "X-Edge-Key",
        "X-Real-IP",
        "X-Request-Id",
        "X-SSL-Client-Cert",
        "X-SSL-Client-Verify",
        "X-TLS-Cipher",
        "X-TLS-Protocol",
    ]
    values = dict(seen)
    assert values["X-Edge-Key"] == EDGE_KEY
    assert values["X-SSL-Client-Verify"] == "SUCCESS"
    assert values["X-Real-IP"] == "127.0.0.1"
    assert "FORGED" not in answer.body.decode()


def test_receiver_sees_the_path_that_nginx_matched(lab: Lab) -> None:
    """What nginx took as the path and what the receiver reads can never be two things."""
    answer = lab.good().post("/x/../callbacks/tencent/%64emo/k3y?a=b", b"{}")

    assert answer.json["path"] == f"{PATH}/k3y"


@pytest.mark.parametrize("size", [0, 1, BODY_BYTES])
def test_a_body_within_the_limit_arrives_whole(lab: Lab, size: int) -> None:
    assert lab.good().post(PATH, b"x" * size).json["size"] == size
    assert lab.good().send(chunked(PATH, [b"x" * size] if size else [])).json["size"] == size


@pytest.mark.parametrize("body", [b"{}", b"x" * 60_000, b"x" * 5_000_000], ids=["small", "medium", "5 MB"])
def test_no_certificate(lab: Lab, body: bytes) -> None:
    """A stranger gets its reason, whatever it sends, and the receiver is not asked."""
    before = lab.upstream.requests

    answer = lab.target().post(PATH, body)

    refused(lab, answer, status=403, reason="no_certificate")
    assert lab.upstream.requests == before


def test_certificates_that_are_not_good(lab: Lab) -> None:
    """Each kind of bad certificate is told apart, in the answer and in the report."""
    at = now()
    server_only: Extensions = {x509.ExtendedKeyUsage: (x509.ExtendedKeyUsage([x509.OID_SERVER_AUTH]), False)}
    cases = {
        "expired": client(lab.client_ca, not_before=at - 9 * DAY, not_after=at - DAY),
        "not_yet_valid": client(lab.client_ca, not_before=at + DAY, not_after=at + 9 * DAY),
        "wrong_purpose": client(lab.client_ca, at=at, extensions=server_only),
        "untrusted": client(authority("Somebody else", at=at), at=at),
    }
    for reason, issued in cases.items():
        answer = lab.target(issued).post(PATH, b"{}")

        report = refused(lab, answer, status=403, reason=reason)
        assert reason in answer.json["errmsg"]
        assert report["verify"].startswith("FAILED:")
        assert int(report["serial"], 16) == issued.certificate.serial_number
        assert report["subject"] == "CN=callback.tencent.test"


def test_a_same_name_authority_with_another_key_is_untrusted(lab: Lab) -> None:
    impostor = authority(at=now())

    refused(lab, lab.target(client(impostor, at=now())).post(PATH, b"{}"), status=403, reason="untrusted")


@pytest.mark.parametrize("number", [0, 1, 2, 8])
def test_chains_of_up_to_eight_intermediates_pass(lab: Lab, number: int, tmp_path: Path) -> None:
    answer = _with_intermediates(lab, number, tmp_path)

    assert answer.status == 200


def test_chains_of_nine_intermediates_do_not(lab: Lab, tmp_path: Path) -> None:
    refused(lab, _with_intermediates(lab, 9, tmp_path), status=403, reason="untrusted")


def _with_intermediates(lab: Lab, number: int, directory: Path) -> Answer:
    issuer, chain = lab.client_ca, b""
    for level in range(number):
        issuer = authority(f"Intermediate {level}", parent=issuer, path_length=None, at=now())
        chain = issuer.pem + chain
    certificate, key = client(issuer, at=now()).write(directory, "leaf")
    certificate.write_bytes(certificate.read_bytes() + chain)
    context = ssl.create_default_context(cafile=lab.server_ca)
    context.load_cert_chain(certificate, key)
    return Target(port=lab.port, tls=context).post(PATH, b"{}")


@pytest.mark.parametrize(
    ("raw", "status", "reason"),
    [
        (b"GARBAGE\r\n\r\n", 400, "bad_request"),
        (b"POST %b HTTP/1.1\r\n\r\n" % PATH.encode(), 400, "bad_request"),
        (b"POST %b HTTP/1.1\r\nHo\0st: a\r\n\r\n" % PATH.encode(), 400, "bad_request"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "bad_request"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400, "bad_request"),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "bad_request",
        ),
        (
            b"POST %b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" % PATH.encode(),
            400,
            "bad_request",
        ),
        (request("POST", "/" + "a" * 9000), 414, "uri_too_long"),
        (request("POST", PATH, headers=[("X-A", "a" * 9000)]), 431, "headers_too_large"),
        (request("POST", PATH, headers=[("X-A", "a" * 99)] * 500), 431, "headers_too_large"),
        (b"POST %b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n" % PATH.encode(), 501, "not_implemented"),
        (b"POST / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "bad_request"),
        (request("POST", PATH, b"x" * (BODY_BYTES + 1)), 413, "too_large"),
        (request("POST", PATH, b"x" * 5_000_000), 413, "too_large"),
        (chunked(PATH, [b"x" * 1000] * 5), 413, "too_large"),
        (chunked(PATH, [b"x" * 10_000] * 200), 413, "too_large"),
        (request("POST", "/"), 404, "not_found"),
        (request("POST", "/callbacks/tencent"), 404, "not_found"),
        (request("POST", "/callbacks/tencent/demo/key/more"), 404, "not_found"),
        (request("POST", "/callbacks/tencent/" + "a" * 65), 404, "not_found"),
        (request("POST", "/callbacks/TENCENT/demo"), 404, "not_found"),
        (request("POST", "//callbacks/tencent/demo"), 404, "not_found"),
        (request("POST", "/_refused/down"), 404, "not_found"),
        (request("GET", "/"), 404, "not_found"),
        (request("GET", PATH), 405, "method"),
        (request("PUT", PATH, b"{}"), 405, "method"),
        (request("TRACE", PATH), 405, "method"),
    ],
    ids=lambda value: re.sub(r"[^ -~]", ".", value[:40].decode()) if isinstance(value, bytes) else str(value),
)
def test_what_nginx_answers_itself(lab: Lab, raw: bytes, status: int, reason: str) -> None:
    """Every answer nginx makes has the carrier's shape, echoes nothing, and never reaches the receiver."""
    before = lab.upstream.requests

    answer = lab.good().send(raw)

    refused(lab, answer, status=status, reason=reason)
    assert "callbacks/" not in answer.json["errmsg"]
    assert answer.headers.get("allow") == ("POST" if status == 405 else None)
    assert lab.upstream.requests == before


def test_a_stranger_learns_no_more_from_a_malformed_request(lab: Lab) -> None:
    """Whatever the path or method, without a certificate the answer is about the certificate."""
    for raw in (request("GET", "/"), request("POST", "/x"), chunked(PATH, [b"x" * 10_000] * 10)):
        refused(lab, lab.target().send(raw), status=403, reason="no_certificate")


def test_plain_http_on_the_tls_port(lab: Lab) -> None:
    answer = Target(port=lab.port, tls=None).post(PATH, b"{}")

    refused(lab, answer, status=400, reason="plain_http")


def test_old_tls_versions_are_refused(lab: Lab) -> None:
    target = lab.good()
    assert target.tls
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        target.tls.maximum_version = ssl.TLSVersion.TLSv1_1

    with pytest.raises(ssl.SSLError):
        target.post(PATH, b"{}")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_is_resumed(lab: Lab, version: ssl.TLSVersion) -> None:
    """A resumed session presents no certificate, so a revoked client would stay in."""
    target = lab.good()
    assert target.tls
    target.tls.maximum_version = version
    with target.connected() as first:
        first.sendall(request("POST", PATH, b"{}"))
        assert read(first).status == 200
        assert isinstance(first, ssl.SSLSocket)
        session = first.session

    with target.connected(session=session) as second:
        assert isinstance(second, ssl.SSLSocket)
        assert not second.session_reused


def test_a_slow_sender_is_disconnected_without_an_answer(lab: Lab) -> None:
    with lab.good().connected() as connection:
        connection.sendall(request("POST", PATH, b"{}")[:-1])

        with pytest.raises((BadStatusLine, ConnectionError)):
            read(connection)

    assert lab.reported()["reason"] == "timeout"


def test_a_body_that_ends_early_reaches_nobody(lab: Lab) -> None:
    """A connection closed before Content-Length is reached is a refusal, and not a short body for the receiver."""
    before = lab.upstream.requests
    with lab.good().connected() as connection:
        connection.sendall(request("POST", PATH, b"{}")[:-1])

    assert lab.reported()["reason"] == "truncated"
    assert lab.upstream.requests == before


def test_the_receivers_own_answers_pass_unchanged(lab: Lab) -> None:
    """Only its own error pages are replaced by nginx; what the receiver refuses, it refuses in its own words."""
    for status in (400, 403, 404, 413, 503):
        lab.upstream.status = status
        before = len(lab.log_lines())

        answer = lab.good().post(PATH, b"{}")

        assert (answer.status, answer.json["size"]) == (status, 2)
        assert lab.log_lines(before + 1)[-1]["receipt"] == "4711"
    assert not lab.forget_reports()


def test_a_receiver_timeout_to_answer(lab: Lab) -> None:
    lab.upstream.seconds = 2.0

    answer = lab.good().post(PATH, b"{}")

    refused(lab, answer, status=503, reason="unavailable")
    assert answer.headers["retry-after"] == "2"


def test_the_log_never_holds_the_url_key(lab: Lab) -> None:
    key = "f00dfeed" * 4
    before = len(lab.log_lines())
    lab.good().post(f"{PATH}/{key}", b"{}")
    lab.good().send(request("GET", f"{PATH}/{key}"))
    lab.good().post(f"/callbacks/tencent/demo/{key}/x", b"{}")
    lab.target().post(f"{PATH}/{key}", b"{}")

    lines = lab.log_lines(before + 4)
    assert key not in str(lines)
    assert (lines[-4]["carrier"], lines[-4]["app"]) == ("tencent", "demo")


def test_a_strangers_subject_stays_out_of_the_log(lab: Lab) -> None:
    """Its length is up to the stranger; the report that is counted has it, the file that grows has not."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x" * 64)] * 100)
    stranger = client(authority("Somebody else", at=now()), subject, at=now())

    lab.target(stranger).post(PATH, b"{}")

    assert len(lab.reported()["subject"]) > 6400
    assert len(str(lab.log_lines()[-1])) < 1000


def test_keys_and_secrets_are_private(lab: Lab) -> None:
    """The edge key stands in one file, and everything rendered is readable by its owner alone."""
    files = [path for path in lab.home.nginx.iterdir() if path.is_file()]
    holders = {path.name for path in files if EDGE_KEY in path.read_text()}

    assert holders == {"edge.key", "edge-key.conf"}
    assert {oct(path.stat().st_mode & 0o777) for path in files if path != lab.home.edge_key} == {"0o600"}


def test_only_the_bundle_is_taken_from_trust_files(lab: Lab) -> None:
    """A private key left in an anchor file does not travel into what nginx reads."""
    assert (lab.home.nginx / "client-cas.pem").read_bytes() == lab.client_ca.pem
