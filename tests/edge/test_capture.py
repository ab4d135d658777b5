"""`receiver capture` with a real nginx: what a carrier sends is shown and kept apart, whoever it is."""

import base64
import json
import shlex
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from certificates import DAY, Issued, authority, client, now
from cryptography.hazmat.primitives.asymmetric import rsa
from nginx_lab import NGINX
from product import PATH, ROOT, Product, encoded, report
from waiting import until
from wire import Target, free_port, tls

pytestmark = [pytest.mark.edge, pytest.mark.skipif(NGINX is None, reason="nginx is not installed")]
pytest_plugins = ["product_fixture"]

KNOWN = "13812345678"


@dataclass(frozen=True, slots=True)
class Capture:
    """A running capture in a home."""

    home: Path
    port: int
    process: "subprocess.Popen[str]"
    directory: Path

    def client(self, issued: Issued | None = None) -> Target:
        """A client with this certificate, or with none."""
        (server_ca,) = (self.home / "pki").glob("server-*/ca.pem")
        files = issued.write(self.directory, issued.sha256[:16]) if issued else None
        return Target(port=self.port, tls=tls(server_ca, files))

    def ended(self) -> dict[str, Any]:
        """End it as Ctrl-C would; its report."""
        self.process.send_signal(signal.SIGINT)
        return self.report()

    def report(self) -> dict[str, Any]:
        """Wait for its end; its report."""
        output, errors = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, errors
        facts: dict[str, Any] = json.loads(output)
        return facts


@contextmanager
def capturing(home: Path, directory: Path, *options: str, span: str = "60s", is_json: bool = True) -> Iterator[Capture]:
    port, errors = free_port(), directory / "capture.err"
    command = [sys.executable, "-m", "receiver", "capture", "--app", "demo", "--for", span, f"--port={port}"]
    command += ["--home", str(home), *options, *(["--json"] if is_json else [])]
    with (
        errors.open("w") as file,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True, cwd=ROOT) as process,
    ):
        try:
            until(lambda: "listening" in errors.read_text() or process.poll() is not None)
            assert process.poll() is None, errors.read_text()
            yield Capture(home, port, process, directory)
        finally:
            if process.poll() is None:
                process.terminate()
                process.communicate(timeout=30)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    subprocess.run([sys.executable, "-m", "receiver", "init", "--home", str(made)], check=True, capture_output=True)
    return made


def receiver(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "receiver", *words], capture_output=True, text=True, check=False, cwd=ROOT
    )


def test_without_a_certificate_everything_is_kept_and_described(home: Path, tmp_path: Path) -> None:
    body = encoded(report(mobile=KNOWN))
    with capturing(home, tmp_path) as capture:
        headers = [("Content-Type", "text/plain"), ("User-Agent", "carrier/1"), ("X-Token", "s3cret"), ("Via", "a")]
        answer = capture.client().post(f"{PATH}/thekey?x=1", body, headers=headers)
        facts = capture.ended()

    assert (answer.status, answer.json) == (200, {"result": 0, "errmsg": "OK"})
    assert (facts["kept"], facts["without_certificate"], facts["certificates"]) == (1, 1, [])
    assert facts["tls"] == {"TLSv1.3": 1}
    assert facts["http"] == {"HTTP/1.1": 1}
    assert facts["sni"] == {"localhost": 1}
    assert facts["content_type"] == {"text/plain": 1}
    assert facts["callback"] == {"voiceprompt_callback": 1}
    assert (facts["with_key"], facts["query_names"]) == (1, {"x": 1})
    shown = {each["name"]: each["values"] for each in facts["headers"]}
    assert shown == {
        "Host": ["localhost"],
        "Content-Type": ["text/plain"],
        "User-Agent": ["carrier/1"],
        "X-Token": None,
        "Via": None,
    }
    assert "mutual TLS" in facts["advice"][0]
    text = json.dumps(facts)
    assert KNOWN not in text
    assert "thekey" not in text
    kept = Path(facts["file"]).read_text()
    (record,) = [json.loads(line) for line in kept.splitlines()]
    assert base64.b64decode(record["body"]) == body
    assert "s3cret" not in kept
    assert not any(b"thekey" in path.read_bytes() for path in Path(facts["file"]).parent.iterdir())


def test_files_are_for_their_owner_only(home: Path, tmp_path: Path) -> None:
    with capturing(home, tmp_path) as capture:
        capture.client(client(authority(at=now()), at=now())).post(PATH, encoded(report()))
        facts = capture.ended()

    directory = Path(facts["file"]).parent
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    modes = {path.suffix: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert modes == {".jsonl": 0o600, ".pem": 0o600, ".log": 0o600}


def test_a_self_signed_certificate_is_described_and_refused_by_the_ca_file(home: Path, tmp_path: Path) -> None:
    own = authority("\x1b[31mme\u202e", at=now())
    ca, _ = authority("Carrier CA", at=now()).write(tmp_path, "carrier-ca")
    with capturing(home, tmp_path, "--ca", str(ca)) as capture:
        answer = capture.client(own).post(PATH, encoded(report()))
        facts = capture.ended()

    assert answer.status == 200
    (found,) = facts["certificates"]
    assert found["is_self_signed"]
    assert found["sha256"] == own.sha256
    assert found["subject"].isprintable()
    assert "\\u{1b}" in found["subject"] or "\\1b" in found["subject"].lower()
    verdict = next(each for each in found["verdicts"] if each["ca"] == str(ca))
    assert not verdict["ok"]
    assert verdict["detail"]
    assert found["next"][0].startswith("receiver certs verify")
    assert any("CA file" in line for line in facts["advice"])


def test_a_good_certificate_comes_with_the_lines_that_let_it_in(home: Path, tmp_path: Path) -> None:
    """The very lines it prints work, and the receiver then takes the certificate for the carrier's."""
    carrier_ca = authority("Carrier CA", at=now(), path_length=None)
    own = client(carrier_ca, "callback.carrier", at=now())
    ca, _ = carrier_ca.write(tmp_path, "carrier-ca")
    with capturing(home, tmp_path, "--ca", str(ca)) as capture:
        capture.client(own).post(PATH, encoded(report()))
        facts = capture.ended()

    (found,) = facts["certificates"]
    verdicts = {each["ca"]: each["ok"] for each in found["verdicts"]}
    assert verdicts == {str(ca): True, "installed": False}
    assert [line.split()[:3] for line in found["next"]] == [["receiver", "trust", "add"], ["receiver", "trust", "pin"]]
    for line in found["next"]:
        result = receiver(*shlex.split(line)[1:])
        assert result.returncode == 0, result.stderr
    listed = json.loads(receiver("trust", "list", "--home", str(home), "--json").stdout)
    assert "callback.carrier" in json.dumps(listed)
    assert own.certificate.subject.rfc4514_string() in json.dumps(listed)


@pytest.mark.parametrize(
    ("flaw", "reason"),
    [({"not_before": -10, "not_after": -1}, "expired"), ({"not_before": 1, "not_after": 9}, "not_yet_valid")],
)
def test_what_nginx_would_refuse_even_unasked_is_kept_too(
    home: Path, tmp_path: Path, flaw: dict[str, int], reason: str
) -> None:
    """An expired certificate under an unknown CA is nginx's error 495, before any location; it must be seen."""
    carrier_ca = authority("Carrier CA", at=now() - 30 * DAY)
    ca, _ = carrier_ca.write(tmp_path, "carrier-ca")
    dates: dict[str, Any] = {key: now() + timedelta(days=days) for key, days in flaw.items()}
    body = encoded(report())
    with capturing(home, tmp_path, "--ca", str(ca)) as capture:
        answer = capture.client(client(carrier_ca, at=now(), **dates)).post(PATH, body)
        facts = capture.ended()

    assert (answer.status, answer.json["result"]) == (200, 0)
    verdict = next(each for each in facts["certificates"][0]["verdicts"] if each["ca"] == str(ca))
    assert verdict["reason"] == reason
    assert facts["sni"] == {"localhost": 1}
    record = json.loads(Path(facts["file"]).read_text())
    assert (record["method"], base64.b64decode(record["body"])) == ("POST", body)


def test_a_key_that_is_too_short_is_told(home: Path, tmp_path: Path) -> None:
    """OpenSSL on Debian refuses it at security level 2; a capture shows it all the same."""
    carrier_ca = authority("Carrier CA", at=now())
    ca, _ = carrier_ca.write(tmp_path, "carrier-ca")
    weak = client(carrier_ca, key=rsa.generate_private_key(65537, 1024), at=now())  # noqa: S505 -- on purpose
    with capturing(home, tmp_path, "--ca", str(ca)) as capture:
        target = capture.client()
        assert target.tls
        target.tls.set_ciphers("DEFAULT:@SECLEVEL=0")
        target.tls.load_cert_chain(*weak.write(tmp_path, "weak"))
        answer = target.post(PATH, encoded(report()))
        facts = capture.ended()

    assert answer.status == 200
    verdict = next(each for each in facts["certificates"][0]["verdicts"] if each["ca"] == str(ca))
    assert verdict["reason"] == "weak_key"


def test_a_server_name_cannot_smuggle_headers(home: Path, tmp_path: Path) -> None:
    """An SNI is bytes of the client's choice, line ends included."""
    with capturing(home, tmp_path) as capture:
        target = f"localhost:{capture.port}"
        command = [
            "openssl",
            "s_client",
            "-connect",
            target,
            "-quiet",
            "-servername",
            "a\r\nContent-Length: 0\r\nX-I: 1",
        ]
        sent = (
            b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}" % PATH.encode()
        )
        result = subprocess.run(command, input=sent, capture_output=True, check=False, timeout=30)
        facts = capture.ended()

    assert b" 200 OK" in result.stdout
    assert facts["sni"] == {"(withheld: control characters)": 1}
    assert "X-I" not in {each["name"] for each in facts["headers"]}
    assert base64.b64decode(json.loads(Path(facts["file"]).read_text())["body"]) == b"{}"


def test_retries_are_counted_with_their_spacing(home: Path, tmp_path: Path) -> None:
    body = encoded(report())
    with capturing(home, tmp_path) as capture:
        anybody = capture.client()
        anybody.post(PATH, body)
        time.sleep(0.5)
        anybody.post(PATH, body)
        anybody.post(PATH, b"no json \x1b")
        facts = capture.ended()

    (repeated,) = facts["repeated"]
    assert repeated["times"] == 2
    assert 0.4 < repeated["seconds_between"][0] < 5
    assert facts["kept"] == 3
    assert any(kind.startswith("undecodable") for kind in facts["callback"])


@pytest.mark.parametrize("is_expired", [False, True])
def test_control_characters_in_a_header_lose_no_callback(home: Path, tmp_path: Path, *, is_expired: bool) -> None:
    """Whatever the header: the carrier is answered, its bytes are kept, and nothing reaches the terminal raw."""
    own = client(authority(at=now()), at=now() - (400 * DAY if is_expired else 0 * DAY))
    body = encoded(report())
    with capturing(home, tmp_path) as capture:
        headers = [("Content-Type", "application/json"), ("X-Odd", "a\x1b[31m"), ("User-Agent", "b\x7f")]
        answer = capture.client(own).post(PATH, body, headers=headers)
        facts = capture.ended()

    assert (answer.status, answer.json["result"]) == (200, 0)
    assert (facts["kept"], facts["headers_withheld"], facts["not_kept"]) == (1, 1, {})
    assert facts["content_type"] == {"application/json": 1}
    assert "X-Odd" not in {each["name"] for each in facts["headers"]}
    assert base64.b64decode(json.loads(Path(facts["file"]).read_text())["body"]) == body
    shown = (tmp_path / "capture.err").read_text()
    assert "Traceback" not in shown
    assert "\x1b" not in shown


def test_it_ends_by_itself(home: Path, tmp_path: Path) -> None:
    with capturing(home, tmp_path, span="1s") as capture:
        facts = capture.report()

    assert (facts["ended_by"], facts["kept"]) == ("time", 0)
    assert "Nothing came" in facts["advice"][0]


def test_what_is_not_for_the_application_is_refused_and_told(home: Path, tmp_path: Path) -> None:
    with capturing(home, tmp_path) as capture:
        statuses = [
            capture.client().post("/callbacks/tencent/other", b"{}").status,
            capture.client().post("/", b"{}").status,
            capture.client().post(PATH, b"x" * 70_000).status,
        ]
        # The names by which nginx forwards are not the client's to use.
        spoofed = capture.client().post(PATH, b"{}", headers=[("X-Edge-Key", "0" * 64), ("X-Capture-SNI", "bank")])
        facts = capture.ended()

    assert statuses == [404, 404, 413]
    assert spoofed.status == 200
    assert facts["not_kept"] == {"another address": 2}
    assert (facts["kept"], facts["sni"]) == (1, {"localhost": 1})


def test_old_tls_is_refused_and_told(home: Path, tmp_path: Path) -> None:
    with capturing(home, tmp_path) as capture:
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(ssl.SSLError):
            Target(port=capture.port, tls=old).post(PATH, b"{}")
        facts = capture.ended()

    assert facts["failed_handshakes"] == {"unsupported protocol": 1}


def test_beside_a_running_home_nothing_is_counted(product: Product, tmp_path: Path) -> None:
    """The carrier's own certificate, which is installed and verifies: even so it is a capture, no delivery."""
    before = product.rows("select count(*) from journal")
    own = client(product.client_ca(), at=now())
    with capturing(product.home, tmp_path, is_json=False) as capture:
        assert capture.client(own).post(PATH, encoded(report(mobile=KNOWN))).status == 200
        capture.process.send_signal(signal.SIGINT)
        output, _ = capture.process.communicate(timeout=30)

    assert capture.process.returncode == 0
    assert "installed: verifies it" in output
    assert "receiver trust pin tencent" in output
    assert KNOWN not in output
    assert product.rows("select count(*) from journal") == before
    assert product.carrier().post(PATH, encoded(report())).status == 200


def test_a_port_that_is_taken_is_told_and_leaves_no_file(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = receiver("capture", "--home", str(home), "--app", "demo", "--for", "1m", "--port", str(port))

    assert (result.returncode, result.stderr) == (1, f"error: port {port} is in use; choose another with --port\n")
    assert not list(home.glob("capture/*"))


def test_wrong_options_are_one_line(home: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("nothing")
    for options in (
        ("--for", "8d"),
        ("--for", "1h", "--app", "../x"),
        ("--for", "1h", "--ca", str(broken)),
        ("--for", "1h", "--carrier", "nobody"),
    ):
        result = receiver("capture", "--home", str(home), "--app", "demo", *options)
        assert result.returncode != 0
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
    assert not list(home.glob("capture/*"))
