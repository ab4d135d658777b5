"""`receiver certs renew` and `receiver certs export`: the next certificate, and what a carrier is handed."""

import subprocess
import sys
from pathlib import Path

import pytest
from certificates import name, now, p256
from certs_terminal import run, shown
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

from receiver.errors import CertificateError, UsageError
from receiver.pki import authority, issuing
from receiver.pki.profiles import Purpose

AT = int(now().timestamp())


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands go by the clock, so each test begins now: modules may have been imported long before."""
    monkeypatch.setattr(sys.modules[__name__], "AT", int(now().timestamp()))


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    """A PKI with both CAs and one certificate with its key."""
    for purpose in Purpose:
        authority.initialise(tmp_path / "pki", purpose, now=AT, passphrase=None)
    run("issue-client", "acme", "--pki", tmp_path / "pki")
    return tmp_path / "pki"


def csr(path: Path, key: ec.EllipticCurvePrivateKey | None = None) -> Path:
    """A carrier's signing request."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(name("acme"))
    path.write_bytes(builder.sign(key or p256(), hashes.SHA256()).public_bytes(Encoding.PEM))
    return path


def keys_in(pki: Path) -> dict[Path, bytes]:
    """Every private key."""
    return {path: path.read_bytes() for path in pki.rglob("*.key")}


def test_renewing_makes_a_new_key_beside_the_old_one(pki: Path) -> None:
    """Both stay valid, both are printed, no key is touched."""
    before = keys_in(pki)
    answer = run("renew", "acme", "--pki", pki)

    old, new = (Path(answer[which]["key"]) for which in ("old", "new"))
    assert old.read_bytes() != new.read_bytes()
    assert before.items() < keys_in(pki).items()
    assert [row["status"] for row in run("list", "--pki", pki)["certificates"]] == ["valid", "valid"]
    text = shown("renew", "acme", "--pki", pki)
    assert f"old: {new.with_suffix('.pem')}" in text
    assert all(word in text for word in ("new: ", "stays valid until", "its key"))


def test_the_old_one_is_revoked_only_on_request(pki: Path) -> None:
    """And the CRL lists exactly it."""
    answer = run("renew", "acme", "--revoke-old", "--pki", pki)

    rows = {row["serial"]: row["status"] for row in run("list", "--pki", pki)["certificates"]}
    assert rows == {answer["old"]["serial"]: "revoked", answer["new"]["serial"]: "valid"}
    assert answer["old"]["revoked"] is True
    with pytest.raises(UsageError, match="is revoked"):
        run("renew", answer["old"]["serial"], "--pki", pki)


def test_where_the_carrier_made_the_key_it_makes_the_next(pki: Path, tmp_path: Path) -> None:
    """A new request is asked for, and the same key again is said."""
    key = p256()
    run("issue-client", "beta", "--csr", csr(tmp_path / "1.csr", key), "--pki", pki)

    with pytest.raises(UsageError, match="--csr FILE"):
        run("renew", "beta", "--pki", pki)
    assert "same key" in " ".join(run("renew", "beta", "--csr", csr(tmp_path / "2.csr", key), "--pki", pki)["lines"])
    answer = run("renew", "beta", "--csr", csr(tmp_path / "3.csr"), "--pki", pki)
    assert answer["new"]["key"] is None
    assert "same key" not in " ".join(answer["lines"])


def test_a_server_certificate_keeps_names_and_kind_of_key(pki: Path) -> None:
    """Whoever needed RSA needs it still."""
    run("issue-server", "a.example.com", "192.0.2.1", "--rsa", "2048", "--pki", pki)
    answer = run("renew", "a.example.com", "--pki", pki)

    issued = issuing.issued(authority.find(pki, Purpose.SERVER))
    (new,) = (one for one in issued if one.serial == answer["new"]["serial"])
    assert new.names == ["a.example.com", "192.0.2.1"]
    assert getattr(new.certificate.public_key(), "key_size", 0) == 2048
    with pytest.raises(UsageError, match="no certificate issued here"):
        run("renew", "b.example.com", "--pki", pki)


def test_nothing_is_issued_when_the_old_one_could_not_be_revoked(pki: Path) -> None:
    """The CA's key is asked for first."""
    ca = authority.current(pki, Purpose.CLIENT)
    ca.key_path.rename(ca.key_path.with_suffix(".away"))

    with pytest.raises(CertificateError, match="not on this machine"):
        run("renew", "acme", "--revoke-old", "--pki", pki)
    assert len(run("list", "--pki", pki)["certificates"]) == 1


def test_an_exported_directory_holds_what_a_carrier_needs_and_no_key(pki: Path, tmp_path: Path) -> None:
    """Certificate, chain, server CA, a page with lines that work."""
    target = tmp_path / "out"
    run("export", "acme", "--to", target, "--pki", pki)

    assert {path.name for path in target.iterdir()} == {"certificate.pem", "chain.pem", "server-ca.pem", "README.txt"}
    assert not any(b"PRIVATE" in path.read_bytes() for path in target.iterdir())
    assert len(x509.load_pem_x509_certificates((target / "chain.pem").read_bytes())) == 2
    text = (target / "README.txt").read_text()
    assert all(word in text for word in ("curl --cert", "keytool", "requests.post", "expires", "/callbacks/acme/"))
    assert "{" not in text
    with pytest.raises(CertificateError, match="exists already"):
        run("export", "acme", "--to", target, "--pki", pki)


def test_the_page_makes_a_key_store_as_it_says(pki: Path, tmp_path: Path) -> None:
    """The openssl line of README.txt, with the key in its place."""
    key, target = p256(), tmp_path / "out"
    run("issue-client", "beta", "--csr", csr(tmp_path / "b.csr", key), "--pki", pki)
    run("export", "beta", "--to", target, "--pki", pki)
    text = (target / "README.txt").read_text()
    (line,) = [line for line in text.splitlines() if "openssl pkcs12 -export" in line]
    from_pki = run("issue-client", "gamma", "--pki", pki)
    run("export", "gamma", "--to", tmp_path / "gamma", "--pki", pki)
    (tmp_path / "gamma/client.key").write_bytes(Path(from_pki["key"]).read_bytes())

    command_line = [*line.replace("beta", "gamma").split(), "-passout", "pass:x"]
    subprocess.run(command_line, cwd=tmp_path / "gamma", check=True, capture_output=True)
    assert pkcs12.load_pkcs12((tmp_path / "gamma/gamma.p12").read_bytes(), b"x").key
    assert "stays with you" in text
    assert "stays with you" not in (tmp_path / "gamma/README.txt").read_text()


@pytest.mark.parametrize("form", [[], ["--compat"]])
def test_a_pkcs12_file_opens_with_the_password_shown_once(pki: Path, tmp_path: Path, form: list[str]) -> None:
    """Private from the first moment, with key and chain, in the modern form unless asked; OpenSSL reads both."""
    target = tmp_path / "acme.p12"
    password = run("export", "acme", "--p12", target, *form, "--pki", pki)["password"]

    assert target.stat().st_mode & 0o777 == 0o600
    opened = pkcs12.load_pkcs12(target.read_bytes(), password.encode())
    assert opened.key
    assert opened.cert
    assert opened.key.public_key() == opened.cert.certificate.public_key()
    assert len(opened.additional_certs) == 1
    info = ["openssl", "pkcs12", "-in", str(target), "-passin", f"pass:{password}", "-info", "-noout"]
    told = subprocess.run(info, check=True, capture_output=True, text=True).stderr
    assert ("PBES2" in told, "3-KeyTripleDES" in told or "3DES" in told) == (not form, bool(form))
    with pytest.raises(CertificateError, match="never overwritten"):
        run("export", "acme", "--p12", target, "--pki", pki)
    assert run("export", "acme", "--p12", tmp_path / "2.p12", "--pki", pki)["password"] != password


def test_a_key_made_elsewhere_cannot_be_exported(pki: Path, tmp_path: Path) -> None:
    """Nor is anything written."""
    run("issue-client", "beta", "--csr", csr(tmp_path / "b.csr"), "--pki", pki)

    with pytest.raises(CertificateError, match="made elsewhere"):
        run("export", "beta", "--p12", tmp_path / "beta.p12", "--pki", pki)
    assert not (tmp_path / "beta.p12").exists()
    with pytest.raises(UsageError, match="no certificate issued here"):
        run("export", "nobody", "--pki", pki)


def test_the_newest_certificate_is_exported(pki: Path, tmp_path: Path) -> None:
    """Not the one that ends first."""
    later_at = int(now().timestamp()) + 60
    later = issuing.issue_client(authority.current(pki, Purpose.CLIENT), "acme", now=later_at, passphrase=None)

    assert run("export", "acme", "--to", tmp_path / "out", "--pki", pki)["serial"] == later.serial
