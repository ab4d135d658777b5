"""`receiver certs` from outside: what a person types, sees, and finds on disk."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import name, nginx_header, now, p256
from certs_terminal import run, shown
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from receiver import control
from receiver.cli.certs import command
from receiver.cli.init import development_home
from receiver.errors import CertificateError, ReceiverError, UsageError
from receiver.home import Home
from receiver.trust import Forwarded, Verifier, pin_from
from receiver.trust.files import TrustFiles

WORDS = "correct horse battery staple"


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    """A PKI with a client CA and a server CA."""
    for purpose in ("client", "server"):
        run("init-ca", "--purpose", purpose, "--no-passphrase", "--pki", tmp_path / "pki")
    return tmp_path / "pki"


def csr(path: Path) -> Path:
    """A carrier's signing request."""
    request = x509.CertificateSigningRequestBuilder().subject_name(name("acme")).sign(p256(), hashes.SHA256())
    path.write_bytes(request.public_bytes(Encoding.PEM))
    return path


def test_a_ca_wants_a_passphrase_or_the_word_that_it_has_none(tmp_path: Path) -> None:
    """Never an unencrypted key by oversight."""
    runner, (good, short) = CliRunner(), (tmp_path / "good", tmp_path / "short")
    good.write_text(f"{WORDS}\nnot part of it\n")
    short.write_text("secret\n")
    for path in (good, short):
        path.chmod(0o600)

    assert runner.invoke(command, ["init-ca", "--pki", str(tmp_path / "a")]).exit_code == 2
    both = ["init-ca", "--pki", str(tmp_path / "a"), "--no-passphrase", "--passphrase-file", str(good)]
    assert runner.invoke(command, both).exit_code == 2
    with pytest.raises(CertificateError, match="fewer than 12"):
        run("init-ca", "--passphrase-file", short, "--pki", tmp_path / "a")
    assert not (tmp_path / "a").exists() or list((tmp_path / "a").iterdir()) == []
    made = run("init-ca", "--passphrase-file", good, "--pki", tmp_path / "a")
    assert b"ENCRYPTED" in Path(made["key"]).read_bytes()
    assert run("issue-client", "acme", "--passphrase-file", good, "--pki", tmp_path / "a")["carrier"] == "acme"


def test_a_second_ca_is_not_made_by_accident(pki: Path) -> None:
    """The first one's files stay as they are."""
    before = {path: path.read_bytes() for path in pki.rglob("*.*") if path.is_file()}

    with pytest.raises(CertificateError, match="there is a client CA already"):
        run("init-ca", "--no-passphrase", "--pki", pki)
    assert {path: path.read_bytes() for path in pki.rglob("*.*") if path.is_file()} == before


def test_the_way_of_a_certificate(pki: Path, tmp_path: Path) -> None:
    """Requested, issued, verified, listed, revoked, refused."""
    issued = run("issue-client", "acme", "--csr", csr(tmp_path / "acme.csr"), "--pki", pki)
    (ca,) = run("list", "--pki", pki)["authorities"][:1]
    revocations = str(Path(ca["certificate"]).with_name("crl.pem"))
    judge = ["verify", issued["certificate"], "--anchors", ca["certificate"], "--crl", revocations]

    assert issued["key"] is None
    assert run(*judge)["revocation"] == "checked"
    (row,) = run("list", "--pki", pki)["certificates"]
    assert (row["carrier"], row["status"], row["sha256"]) == ("acme", "valid", issued["sha256"])
    revoked = run("revoke", "acme", "--reason", "key-compromise", "--pki", pki)
    assert (revoked["reason"], revoked["still_valid"]) == ("keyCompromise", [])
    assert CliRunner().invoke(command, judge).exit_code == 1
    assert run("list", "--pki", pki)["certificates"][0]["status"] == "revoked"
    assert [one["number"] for one in run("crl", "--pki", pki, "--purpose", "client")["crls"]] == [3]


def test_a_passphrase_file_is_a_secret_with_a_first_line(pki: Path, tmp_path: Path) -> None:
    """One that others can read is warned about, an empty one refused."""
    words = tmp_path / "words"
    words.write_text("\n")
    words.chmod(0o644)

    result = CliRunner().invoke(command, ["crl", "--pki", str(pki), "--passphrase-file", str(words)])
    assert "chmod 600" in result.stderr
    assert isinstance(result.exception, UsageError)
    assert "first line is empty" in str(result.exception)


def test_what_is_revoked_can_be_named_in_every_usual_way(pki: Path) -> None:
    """Serial in any spelling or its last digits, SHA-256, file, carrier; ambiguity is refused."""
    issued = [run("issue-client", "acme", "--pki", pki) for _ in range(5)]
    with pytest.raises(UsageError, match="several"):
        run("revoke", "acme", "--pki", pki)
    colons = ":".join(f"{int(issued[0]['serial'], 16):040X}"[i : i + 2] for i in range(0, 40, 2))

    for one, which in zip(
        issued, (colons, issued[1]["serial"][-8:], issued[2]["sha256"], issued[3]["certificate"], "acme"), strict=True
    ):
        assert run("revoke", which, "--pki", pki)["serial"] == one["serial"]
    with pytest.raises(UsageError, match="no certificate issued here"):
        run("revoke", "acme", "--pki", pki)


def test_revoking_says_which_others_are_still_valid(pki: Path) -> None:
    """A carrier with two certificates is not shut out by revoking one."""
    first, second = (run("issue-client", "acme", "--pki", pki) for _ in range(2))
    run("issue-client", "other", "--pki", pki)

    assert run("revoke", first["serial"], "--pki", pki)["still_valid"] == [second["serial"]]
    assert "another valid certificate" in shown("revoke", first["serial"], "--pki", pki)


def test_output_for_people_says_what_expires_and_what_comes_next(tmp_path: Path) -> None:
    """One table, one date, one next step."""
    pki = tmp_path / "pki"
    assert "init-ca" in shown("list", "--pki", pki)
    made = shown("init-ca", "--no-passphrase", "--pki", pki)
    issued = shown("issue-client", "acme", "--pki", pki)
    listing = shown("list", "--pki", pki)

    assert "It will expire on" in made
    assert "Next: receiver certs issue-client" in made
    assert "receiver trust pin acme" in issued
    assert all(word in listing for word in ("client CA", "CRL", "acme", "valid", "days"))
    assert "next update" in shown("crl", "--pki", pki)


def test_a_server_certificate_is_issued_for_the_names_given(pki: Path) -> None:
    """Or for the home's own domain."""
    issued = run("issue-server", "callbacks.example.com", "192.0.2.1", "--rsa", "2048", "--pki", pki)

    assert issued["names"] == ["callbacks.example.com", "192.0.2.1"]
    assert Path(issued["key"]).exists()
    with pytest.raises(CertificateError, match="at least one host name"):
        run("issue-server", "--pki", pki)


@pytest.mark.parametrize("carrier", ["", "Ten cent", "../x", "-x", "a" * 33])
def test_a_carriers_name_is_checked(pki: Path, carrier: str) -> None:
    """It becomes part of names and files."""
    with pytest.raises(UsageError, match="carrier's name"):
        run("issue-client", "--pki", pki, "--", carrier)


def test_errors_are_one_line_and_a_status(tmp_path: Path) -> None:
    """Through the installed command: no traceback, nothing on standard output."""
    result = subprocess.run(
        [sys.executable, "-m", "receiver", "certs", "issue-client", "acme", "--pki", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "receiver certs init-ca" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("name_", sorted(command.commands))
def test_every_command_explains_itself_with_an_example(name_: str) -> None:
    """`--help` ends in something to copy."""
    assert "Example: receiver certs" in " ".join(shown(name_, "--help").split())


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A development home; making one narrows the process's umask."""
    home, umask = Home(tmp_path / "home"), os.umask(0o022)
    development_home(home, now=int(now().timestamp()))
    yield home
    os.umask(umask)


def identified(home: Home, certificate: str) -> bool:
    """Is this certificate a pinned peer by the home's own files and store?"""
    at = int(now().timestamp())
    files = TrustFiles(home.trust, {"tencent": "strict"})
    files.load(now=at)
    pins = [pin_from(row["columns"]) for row in control.call(home, "pin_list")]
    forwarded = Forwarded(verify="SUCCESS", certificates=(nginx_header(Path(certificate).read_bytes()),))
    verifier = Verifier(files.carriers(pins={"tencent": pins}))
    return verifier.identify(forwarded, carrier="tencent", now=at).is_pinned


def test_in_a_home_a_new_certificate_is_accepted_at_once(home: Home) -> None:
    """Its CA is an anchor, and its names are pinned, once."""
    pins = len(control.call(home, "pin_list"))
    for _ in range(2):
        issued = run("issue-client", "tencent", "--home", home.root)

        assert identified(home, issued["certificate"])
    assert len(control.call(home, "pin_list")) == pins


def test_a_new_carrier_gets_our_ca_as_its_anchor(home: Home) -> None:
    """Anchor, CRL and pin with the first certificate; what nginx must be told is said."""
    with home.settings.open("a") as file:
        file.write('\n[carriers.acme]\nprofile = "tencent"\n')

    assert "tell nginx" in shown("issue-client", "acme", "--home", home.root)
    assert len(list((home.trust / "acme/anchors").iterdir())) == 1
    assert len(list((home.trust / "acme/crls").iterdir())) == 1
    assert [row["carrier"] for row in control.call(home, "pin_list")] == ["tencent", "acme"]


def test_in_a_home_a_revocation_reaches_the_receivers_trust_files(home: Home) -> None:
    """Revoking writes the CRL and puts it where it bites."""
    issued = run("issue-client", "tencent", "--home", home.root)

    assert run("revoke", issued["serial"], "--home", home.root)["crl_given_to"] == ["tencent"]
    with pytest.raises(ReceiverError, match="revoked"):
        identified(home, issued["certificate"])
    assert len(list((home.trust / "tencent/crls").iterdir())) == 1


def test_a_home_knows_its_carriers(home: Home) -> None:
    """A certificate for nobody is a typing error."""
    with pytest.raises(UsageError, match="no carrier acme"):
        run("issue-client", "acme", "--home", home.root)


def test_a_production_home_issues_nothing_for_a_carrier_with_its_own_ca(tmp_path: Path) -> None:
    """It points to what is to be done instead."""
    home = Home(tmp_path / "home")
    home.root.mkdir()
    home.settings.write_text('mode = "production"\n')
    run("init-ca", "--no-passphrase", "--home", home.root)

    with pytest.raises(UsageError, match="receiver trust add tencent FILE"):
        run("issue-client", "tencent", "--home", home.root)
    assert run("list", "--home", home.root)["certificates"] == []
