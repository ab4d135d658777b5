"""What nginx does over its limits, without a receiver, and with a CRL of its own. Each test has an nginx to itself."""

import os
import tempfile
from pathlib import Path

import pytest
from certificates import client, crl, crl_pem, now
from nginx_lab import NGINX, PATH, refused, running
from wire import read, request

pytestmark = [pytest.mark.edge, pytest.mark.skipif(NGINX is None, reason="nginx is not installed")]


def test_limits_answer_503(tmp_path: Path) -> None:
    """Over the rate of a certificate: 503 with Retry-After, and other certificates are not concerned."""
    limits = {"requests_per_second": 1, "requests_burst": 2}
    with tempfile.TemporaryDirectory(prefix="lab-") as run, running(tmp_path, Path(run), limits=limits) as lab:
        eager = lab.good()
        answers = [eager.post(PATH, b"{}") for _ in range(5)]

        assert [answer.status for answer in answers[:3]] == [200, 200, 200]
        refused(lab, answers[4], status=503, reason="rate")
        assert answers[4].headers["retry-after"] == "1"
        assert lab.good().post(PATH, b"{}").status == 200


def test_too_many_connections_answer_503(tmp_path: Path) -> None:
    limits = {"connections_per_address": 1}
    with tempfile.TemporaryDirectory(prefix="lab-") as run, running(tmp_path, Path(run), limits=limits) as lab:
        lab.upstream.seconds = 1.0
        with lab.good().connected() as busy:
            busy.sendall(request("POST", PATH, b"{}"))

            answer = lab.good().post(PATH, b"{}")

            refused(lab, answer, status=503, reason="connections")
            assert read(busy).status == 200


def test_no_receiver(tmp_path: Path) -> None:
    """With nothing behind the socket: 503, to be tried again, and never a 4xx."""
    with tempfile.TemporaryDirectory(prefix="lab-") as run, running(tmp_path, Path(run)) as lab:
        (lab.run / "edge.sock").rename(lab.run / "gone.sock")

        answer = lab.good().post(PATH, b"{}")

        refused(lab, answer, status=503, reason="unavailable")
        assert answer.headers["retry-after"] == "2"


def test_nginx_can_be_given_the_crl(tmp_path: Path) -> None:
    """With nginx.crl = true a revoked client is refused by nginx itself, after a reload."""
    with tempfile.TemporaryDirectory(prefix="lab-") as run, running(tmp_path, Path(run), nginx={"crl": True}) as lab:
        issued = client(lab.client_ca, at=now())
        assert lab.target(issued).post(PATH, b"{}").status == 200
        crls = lab.home.nginx / "client-crls.pem"
        revoked = crl_pem(crl(lab.client_ca, [issued], number=2, at=now()))
        (tmp_path / "new.pem").write_bytes(revoked)
        os.replace(tmp_path / "new.pem", crls)  # noqa: PTH105 -- as an operator's tool does it

        lab.reload()

        refused(lab, lab.target(issued).post(PATH, b"{}"), status=403, reason="revoked")
        assert lab.good().post(PATH, b"{}").status == 200
