"""Who may come: every kind of stranger, every forged identity, through the real nginx into the real receiver.

Nobody of them leaves a call, a delivery or a quarantined body behind, and each is told why and counted.
"""

import json
import socket
import time
from datetime import timedelta
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import quote

import pytest
from certificates import Extensions, Issued, authority, client, crl, crl_pem, now
from cryptography import x509
from product import PATH, Product, encoded, report, running
from refusals import OK, nothing_counted, said
from waiting import until
from wire import Answer, read, request

from receiver import control
from receiver.home import Home
from receiver.trust import FingerprintBlock, block_row

pytest_plugins = ["product_fixture"]
pytestmark = pytest.mark.edge

DAY = timedelta(days=1)


def stranger(kind: str, product: Product) -> Issued | None:
    """A client certificate that is wrong in this way; None is none."""
    ca, at = product.client_ca(), now()
    server_only: Extensions = {x509.ExtendedKeyUsage: (x509.ExtendedKeyUsage([x509.OID_SERVER_AUTH]), False)}
    match kind:
        case "no_certificate":
            return None
        case "untrusted":
            return client(authority("Somebody else's CA", at=at), at=at)
        case "expired":
            return client(ca, not_before=at - 9 * DAY, not_after=at - DAY)
        case "not_yet_valid":
            return client(ca, not_before=at + DAY, not_after=at + 9 * DAY)
        case "wrong_purpose":
            return client(ca, at=at, extensions=server_only)
        case _:
            raise LookupError(kind)


@pytest.mark.parametrize("kind", ["no_certificate", "untrusted", "expired", "not_yet_valid", "wrong_purpose"])
def test_a_stranger_is_told_why_and_nothing_is_kept(product: Product, kind: str) -> None:
    with nothing_counted(product, kind):
        answer = product.anybody(stranger(kind, product)).post(PATH, encoded(report()))

    assert kind in said(answer, status=403, reason=kind)


def test_a_revoked_certificate_is_refused_without_a_restart(product: Product) -> None:
    """A CRL that appears among the trust files bites within seconds, also on connections that are open."""
    issued = client(product.client_ca(), "leaving.tencent.test", at=now())
    target = product.anybody(issued)
    with target.connected() as kept_open:
        kept_open.sendall(request("POST", PATH, encoded(report())))
        assert read(kept_open).status == 200
        revocations = crl(product.client_ca(), [issued], number=1000, at=now())
        (product.home / "trust" / "tencent" / "crls" / "test.pem").write_bytes(crl_pem(revocations))
        until(lambda: target.post(PATH, encoded(report())).status == 403)

        with nothing_counted(product, "revoked"):
            kept_open.sendall(request("POST", PATH, encoded(report())))
            answer = read(kept_open)

    assert "revoked" in said(answer, status=403, reason="revoked")


def test_a_blocked_certificate_is_refused_without_a_restart(product: Product) -> None:
    issued = client(product.client_ca(), "blocked.tencent.test", at=now())
    columns = block_row(FingerprintBlock(sha256=issued.sha256))
    control.call(
        Home(product.home), "block_add", carrier="tencent", columns=columns, reason="test", created_at=int(time.time())
    )
    until(lambda: product.anybody(issued).post(PATH, encoded(report())).status == 403)

    with nothing_counted(product, "blocked"):
        answer = product.anybody(issued).post(PATH, encoded(report()))

    assert "blocked" in said(answer, status=403, reason="blocked")


def test_a_carriers_certificate_posts_for_that_carrier_only(tmp_path: Path) -> None:
    """Both carriers are welcome, each under its own name: a certificate bound to one cannot post for the other."""
    other_ca = authority("The other carrier's CA", at=now())
    anchors = tmp_path / "home" / "trust" / "other" / "anchors"
    anchors.mkdir(parents=True)
    (anchors / "ca.pem").write_bytes(other_ca.pem)
    with running(tmp_path / "home", settings='[carriers.tencent]\n[carriers.other]\nprofile = "tencent"\n') as product:
        other = product.anybody(client(other_ca, "callback.other.test", at=now()))
        assert other.post("/callbacks/other/demo", encoded(report())).status == 200

        with nothing_counted(product, "wrong_carrier"):
            answers = [
                other.post(PATH, encoded(report())),
                product.carrier().post("/callbacks/other/demo", encoded(report())),
            ]

        for answer in answers:
            said(answer, status=403, reason="wrong_carrier")


FORGED = [
    ("X-SSL-Client-Verify", "SUCCESS"),
    ("X-SSL-Client-Cert", "{certificate}"),
    ("X-Edge-Key", "{key}"),
    ("X_SSL_Client_Verify", "SUCCESS"),
    ("X_SSL_Client_Cert", "{certificate}"),
    ("X_Edge_Key", "{key}"),
    ("Client-Cert", ":{certificate}:"),
    ("X-Forwarded-Client-Cert", "Cert={certificate}"),
    ("X-Forwarded-Tls-Client-Cert", "{certificate}"),
    ("Ssl-Client-Cert", "{certificate}"),
]


def forged_headers(product: Product) -> list[tuple[str, str]]:
    """Everything a forger could know, the true edge key among it, each header twice."""
    values = {
        "certificate": quote((product.home / product.ready["client_cert"]).read_bytes(), safe=""),
        "key": (product.home / "nginx" / "edge.key").read_text().strip(),
    }
    return [(name, value.format(**values)) for name, value in FORGED for _ in range(2)]


@pytest.mark.parametrize("kind", ["no_certificate", "untrusted"])
def test_forged_identity_headers_let_nobody_in(product: Product, kind: str) -> None:
    """Not even the carrier's own certificate and the edge key help as headers; only TLS tells who somebody is."""
    headers = forged_headers(product)
    assert sum(len(value) for _, value in headers) > 8000

    with nothing_counted(product, kind):
        answers = [
            product.anybody(stranger(kind, product)).post(PATH, encoded(report()), headers=[header])
            for header in headers
        ]

    assert {answer.status for answer in answers} == {403}


def test_forged_identity_headers_change_nothing_for_the_carrier(product: Product) -> None:
    """A genuine client that also sends forged headers is itself, and nobody else."""
    other = quote(stranger("untrusted", product).pem, safe="")  # type: ignore[union-attr]  # not None for this kind
    forged = [
        ("X-SSL-Client-Verify", "FAILED:forged"),
        ("X-SSL-Client-Cert", other),
        ("X_SSL_Client_Cert", other),
        ("X-Edge-Key", "0" * 64),
        ("X-TLS-Protocol", "SSLv3"),
    ]

    answer = product.carrier().post(PATH, encoded(report()), headers=forged)

    assert (answer.status, answer.body) == (200, OK)
    seq = int(answer.headers["x-receiver-receipt"])
    kept = product.ask(f"/api/v1/callbacks?after={seq - 1}&limit=1").json["callbacks"][0]
    assert "tencent" in kept["peer"]["subject"]
    assert "SSLv3" not in json.dumps(kept)


@pytest.mark.parametrize("with_key", [False, True], ids=["without the edge key", "with a wrong edge key"])
def test_a_genuine_certificate_straight_at_the_socket_is_refused(product: Product, *, with_key: bool) -> None:
    """A request that has not passed nginx can never be accepted, whatever it carries."""
    headers = [
        ("X-SSL-Client-Verify", "SUCCESS"),
        ("X-SSL-Client-Cert", quote((product.home / product.ready["client_cert"]).read_bytes(), safe="")),
    ]
    headers += [("X-Edge-Key", "0" * 64)] if with_key else []

    with nothing_counted(product, None):
        answer = straight(product, request("POST", PATH, encoded(report()), headers=headers))

    assert answer.status == 403
    assert answer.json["result"] != 0


def straight(product: Product, raw: bytes) -> Answer:
    """Speak to the receiver's own socket, past nginx."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(product.run_directory / "edge.sock"))
        connection.sendall(raw)
        response = HTTPResponse(connection)
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(status=response.status, headers=headers, body=response.read())


def test_the_sockets_are_closed_to_others(product: Product) -> None:
    """Owner and nginx's group reach the receiver's sockets; control is the owner's alone."""
    modes = {path.name: path.stat().st_mode & 0o777 for path in product.run_directory.glob("*.sock")}

    assert modes == {"edge.sock": 0o660, "audit.sock": 0o660, "control.sock": 0o600}
    assert product.run_directory.stat().st_mode & 0o007 == 0


def test_a_token_opens_nothing_on_the_carrier_side(product: Product) -> None:
    token = (product.home / "secrets" / "read.token").read_text().strip()

    with nothing_counted(product, "no_certificate"):
        answer = product.anybody().post(PATH, encoded(report()), headers=[("Authorization", f"Bearer {token}")])

    assert answer.status == 403


def test_the_operations_side_wants_a_token(product: Product) -> None:
    for secret, status in (("", 401), ("wrong", 401), (None, 200)):
        assert product.ask("/api/v1/summary", token=secret).status == status
    for path in ("/healthz", "/readyz"):
        assert product.ask(path, token="").status == 200
