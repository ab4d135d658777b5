"""Our own authorities: what they make, what they never do, and what a crash or a second process leaves behind."""

import json
import multiprocessing
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import NOW_AT, client, name, p256
from certificates import authority as foreign_authority
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from receiver.errors import CertificateError
from receiver.pki import authority, files, issuing, publish
from receiver.pki.authority import Authority
from receiver.pki.profiles import Purpose
from receiver.trust import Strictness
from receiver.trust.offline import Files, judge

DAY = 86_400
PASSPHRASE = b"correct horse battery staple"


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    """The umask under which keys are left readable by everybody, if nobody takes care."""
    old = os.umask(0o022)
    yield
    os.umask(old)


def make(pki: Path, purpose: Purpose = Purpose.CLIENT, *, passphrase: bytes | None = None) -> Authority:
    """An authority."""
    return authority.initialise(pki, purpose, now=NOW_AT, passphrase=passphrase)


def mode(path: Path) -> int:
    """The permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def request(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, *, is_forged: bool = False) -> bytes:
    """A signing request full of wishes that are not granted."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(name("evil", organization_name="Bank"))
    ca = x509.BasicConstraints(ca=True, path_length=None)
    san = x509.SubjectAlternativeName([x509.DNSName("bank.example")])
    csr = builder.add_extension(ca, critical=True).add_extension(san, critical=False).sign(key, hashes.SHA256())
    der = csr.public_bytes(Encoding.DER)
    return der[:-4] + b"\0\0\0\0" if is_forged else der


def test_an_authority_is_made_by_its_profile(tmp_path: Path) -> None:
    """P-256, path length 0, keyCertSign and cRLSign, a dated name, an SKI, ten years, dated back."""
    ca = make(tmp_path / "pki").certificate
    usage = ca.extensions.get_extension_for_class(x509.KeyUsage)
    constraints = ca.extensions.get_extension_for_class(x509.BasicConstraints)

    assert isinstance(key := ca.public_key(), ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert usage.value.crl_sign
    assert any(isinstance(extension.value, x509.SubjectKeyIdentifier) for extension in ca.extensions)
    assert ca.subject.rfc4514_string() == "CN=Voice callback client CA 20261122"
    assert ca.not_valid_before_utc.timestamp() < NOW_AT
    assert ca.not_valid_after_utc.timestamp() == NOW_AT + 3650 * DAY


def test_there_is_an_empty_crl_from_the_first_minute(tmp_path: Path) -> None:
    """With crlNumber and AKI, dated back, for thirty days."""
    ca = make(tmp_path / "pki")
    crl = x509.load_pem_x509_crl(ca.crl_path.read_bytes())

    assert len(crl) == 0
    assert authority.crl_facts(ca).number == 1
    assert any(isinstance(extension.value, x509.AuthorityKeyIdentifier) for extension in crl.extensions)
    assert crl.last_update_utc.timestamp() < NOW_AT
    assert authority.crl_facts(ca).next_update == NOW_AT + 30 * DAY


def test_keys_are_private_and_certificates_are_not(tmp_path: Path) -> None:
    """0600 and 0700, under a umask that would leave them open."""
    ca = make(tmp_path / "pki")
    issued = issuing.issue_client(ca, "tencent", now=NOW_AT, passphrase=None)
    assert issued.key_path

    assert [mode(path) for path in (ca.key_path, issued.key_path)] == [0o600, 0o600]
    assert [mode(path) for path in (ca.path, ca.crl_path, issued.path)] == [0o644, 0o644, 0o644]
    assert [mode(path) for path in (tmp_path / "pki", ca.directory, ca.issued_directory)] == [0o700, 0o700, 0o700]


def test_a_narrow_umask_leaves_public_files_readable(tmp_path: Path) -> None:
    """Nginx and the receiver must read them."""
    os.umask(0o077)

    assert mode(make(tmp_path / "pki").crl_path) == 0o644


def test_a_second_authority_of_one_day_gets_a_name_of_its_own(tmp_path: Path) -> None:
    """One name for two keys would confuse every verifier; nothing of the first is touched."""
    first = make(tmp_path / "pki")
    before = first.key_path.read_bytes()
    second = make(tmp_path / "pki")

    assert second.certificate.subject != first.certificate.subject
    assert first.key_path.read_bytes() == before
    assert authority.current(tmp_path / "pki", Purpose.CLIENT).name == second.name


def test_a_client_certificate_is_accepted_by_the_strict_profile(tmp_path: Path) -> None:
    """clientAuth, digitalSignature, SKI, AKI and a SAN that names the carrier; OpenSSL agrees."""
    ca = make(tmp_path / "pki")
    issued = issuing.issue_client(ca, "tencent", now=NOW_AT, passphrase=None)
    files_of_ca = Files(anchors=ca.path.read_bytes(), crls=[ca.crl_path.read_bytes()])

    accepted = judge(issued.path.read_bytes(), files_of_ca, now=NOW_AT, strictness=Strictness.STRICT)

    assert accepted.warnings == ()
    assert issued.carrier == "tencent"
    assert issued.not_after == NOW_AT + 397 * DAY
    arguments = ["-purpose", "sslclient", "-x509_strict", "-crl_check", "-attime", str(NOW_AT)]
    trusted = ["-CAfile", str(ca.path), "-CRLfile", str(ca.crl_path), str(issued.path)]
    assert subprocess.run(["openssl", "verify", *arguments, *trusted], check=False).returncode == 0


def test_a_server_certificate_carries_its_names(tmp_path: Path) -> None:
    """Host names and addresses as SAN, serverAuth only."""
    ca = make(tmp_path / "pki", Purpose.SERVER)
    names = ["Callbacks.example.com", "192.0.2.1", "::1", "*.example.com"]
    issued = issuing.issue_server(ca, names, now=NOW_AT, passphrase=None)
    usage = issued.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value

    assert issued.names == ["callbacks.example.com", "192.0.2.1", "::1", "*.example.com"]
    assert list(usage) == [x509.OID_SERVER_AUTH]
    assert issued.carrier is None


@pytest.mark.parametrize("bad", ["", "a b", "-x.example", "x..example", "x_y.example", "a" * 64 + ".example", "../x"])
def test_a_server_name_must_be_one(tmp_path: Path, bad: str) -> None:
    """Also because it becomes a file name."""
    ca = make(tmp_path / "pki", Purpose.SERVER)

    with pytest.raises(CertificateError):
        issuing.issue_server(ca, [bad], now=NOW_AT, passphrase=None)
    assert list(ca.issued_directory.iterdir()) == []


def test_only_the_public_key_is_taken_from_a_request(tmp_path: Path) -> None:
    """Whatever subject or extension the request asks for, our profile stands."""
    ca, key = make(tmp_path / "pki"), p256()
    issued = issuing.issue_client(ca, "acme", now=NOW_AT, passphrase=None, request=request(key))
    extensions = issued.certificate.extensions

    assert issued.certificate.public_key() == key.public_key()
    assert issued.certificate.subject.rfc4514_string() == "CN=acme voice callbacks"
    assert issued.names == ["urn:x-voice-carrier:acme"]
    assert not any(isinstance(extension.value, x509.BasicConstraints) for extension in extensions)
    assert issued.key_path is None


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"hello",
        request(p256())[:-9],
        request(p256(), is_forged=True),
        request(rsa.generate_private_key(65537, 1024)),  # noqa: S505 -- weak on purpose
        request(ec.generate_private_key(ec.SECP256K1())),
        foreign_authority().pem,
    ],
)
def test_a_bad_request_is_refused(tmp_path: Path, bad: bytes) -> None:
    """Unreadable, not signed by its own key, or with a weak one: one line, and nothing issued."""
    ca = make(tmp_path / "pki")

    with pytest.raises(CertificateError, match=r"^signing request: [^\n]*$"):
        issuing.issue_client(ca, "acme", now=NOW_AT, passphrase=None, request=bad)
    assert issuing.issued([ca]) == []


def test_an_encrypted_key_wants_its_passphrase(tmp_path: Path) -> None:
    """Missing, wrong and superfluous passphrases are told apart in one line each."""
    locked, plain = make(tmp_path / "a", passphrase=PASSPHRASE), make(tmp_path / "b")

    assert b"ENCRYPTED" in locked.key_path.read_bytes()
    assert issuing.issue_client(locked, "acme", now=NOW_AT, passphrase=PASSPHRASE).carrier == "acme"
    for ca, passphrase, problem in (
        (locked, None, "give its passphrase"),
        (locked, b"wrong horse battery staple", "passphrase is wrong"),
        (plain, PASSPHRASE, "is not encrypted"),
    ):
        with pytest.raises(CertificateError, match=problem):
            issuing.issue_client(ca, "acme", now=NOW_AT, passphrase=passphrase)


def test_a_ca_key_that_is_elsewhere_is_said_to_be(tmp_path: Path) -> None:
    """The CA may live on another machine; lists still work without its key."""
    ca = make(tmp_path / "pki")
    ca.key_path.unlink()

    with pytest.raises(CertificateError, match="not on this machine"):
        issuing.issue_client(ca, "acme", now=NOW_AT, passphrase=None)
    assert issuing.issued(authority.find(tmp_path / "pki")) == []


def test_a_key_that_is_not_the_cas_is_refused(tmp_path: Path) -> None:
    """Two authorities' files mixed up would issue what nobody can verify."""
    ca, other = make(tmp_path / "pki"), make(tmp_path / "pki")
    ca.key_path.write_bytes(other.key_path.read_bytes())

    with pytest.raises(CertificateError, match="is not the key of"):
        issuing.issue_client(ca, "acme", now=NOW_AT, passphrase=None)


def test_a_revoked_certificate_is_on_the_next_crl(tmp_path: Path) -> None:
    """With date and reason; the number grows with every CRL; once revoked stays revoked, with its first date."""
    ca = make(tmp_path / "pki")
    first, second = (issuing.issue_client(ca, "acme", now=NOW_AT, passphrase=None) for _ in range(2))
    issuing.revoke(first, reason="keyCompromise", now=NOW_AT + 5, passphrase=None)
    issuing.revoke(first, reason="superseded", now=NOW_AT + 9, passphrase=None)
    crl = x509.load_pem_x509_crl(ca.crl_path.read_bytes())
    (entry,) = crl

    assert entry.serial_number == first.certificate.serial_number
    assert entry.revocation_date_utc.timestamp() == NOW_AT + 5
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.key_compromise
    assert authority.crl_facts(ca).number == 3
    assert {one.path: bool(one.revoked) for one in issuing.issued([ca])} == {first.path: True, second.path: False}


def test_a_crl_is_written_anew_with_the_next_number(tmp_path: Path) -> None:
    """And a strictly newer time in seconds: nginx from 1.27.4 on takes the old one for unchanged otherwise."""
    ca, times = make(tmp_path / "pki"), []
    for round_ in range(3):
        times.append(int(ca.crl_path.stat().st_mtime))
        authority.refresh_crl(ca, now=NOW_AT + round_, passphrase=None)

    assert authority.crl_facts(ca).number == 4
    assert times == sorted(set(times))


def test_after_a_crash_before_the_crl_the_next_one_revokes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The register is written first; a number is never used twice."""
    ca = make(tmp_path / "pki")
    one = issuing.issue_client(ca, "acme", now=NOW_AT, passphrase=None)
    real = files.replace

    def crash(path: Path, content: bytes, *, mode: int = files.PUBLIC_MODE) -> None:
        if path == ca.crl_path:
            raise CertificateError("the power went")
        real(path, content, mode=mode)

    with monkeypatch.context() as patch:
        patch.setattr(files, "replace", crash)
        with pytest.raises(CertificateError, match="power"):
            issuing.revoke(one, reason="unspecified", now=NOW_AT, passphrase=None)
    assert authority.crl_facts(ca).number == 1
    authority.refresh_crl(ca, now=NOW_AT, passphrase=None)

    assert authority.crl_facts(ca).number == 3
    assert authority.crl_facts(ca).revoked == 1


def test_a_crash_while_an_authority_is_made_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it, or nothing that looks like one."""

    def crash(*_: object, **__: object) -> None:
        raise CertificateError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(files, "replace", crash)
        with pytest.raises(CertificateError, match="disk full"):
            make(tmp_path / "pki")

    assert authority.find(tmp_path / "pki") == []
    assert [path.name for path in (tmp_path / "pki").iterdir()] == [".lock"]


def test_a_damaged_register_is_never_made_anew(tmp_path: Path) -> None:
    """A new one would un-revoke."""
    ca = make(tmp_path / "pki")
    for content in (b"", b"{}", b'{"crl_number": 1, "revoked": [{}]}'):
        (ca.directory / "register.json").write_bytes(content)

        with pytest.raises(CertificateError, match="restore it from a backup"):
            authority.refresh_crl(ca, now=NOW_AT, passphrase=None)
        assert (ca.directory / "register.json").read_bytes() == content


def test_a_new_file_never_overwrites(tmp_path: Path) -> None:
    """Neither a file nor what a link points to."""
    key = tmp_path / "a.key"
    key.write_bytes(b"precious")
    (tmp_path / "link.key").symlink_to(tmp_path / "nowhere")

    for path in (key, tmp_path / "link.key"):
        with pytest.raises(CertificateError, match="never overwritten"):
            files.write_new(path, b"new", mode=files.KEY_MODE)
    assert key.read_bytes() == b"precious"
    assert not (tmp_path / "nowhere").exists()


def test_a_failed_replacement_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And leaves nothing beside it."""
    target = tmp_path / "crl.pem"
    target.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CertificateError, match="No space left"):
        files.replace(target, b"new")

    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def _issue_and_revoke(pki: Path) -> None:
    ca = authority.current(pki, Purpose.CLIENT)
    for _ in range(5):
        one = issuing.issue_client(ca, "acme", now=NOW_AT, passphrase=None)
        issuing.revoke(one, reason="unspecified", now=NOW_AT, passphrase=None)


def test_two_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    """Every certificate issued, every revocation kept, no CRL number used twice."""
    ca = make(tmp_path / "pki")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_issue_and_revoke, args=(tmp_path / "pki",)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    assert len(issuing.issued([ca])) == 20
    assert authority.crl_facts(ca).revoked == 20
    assert json.loads((ca.directory / "register.json").read_bytes())["crl_number"] == 21


def test_a_lock_that_stays_taken_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever."""
    monkeypatch.setattr(files, "_LOCK_SECONDS", 0.05)

    with (
        files.locked(tmp_path),
        pytest.raises(CertificateError, match="another certs command"),
        files.locked(tmp_path),
    ):
        pytest.fail("both hold the lock")


def test_a_crl_reaches_every_carrier_that_trusts_its_ca(tmp_path: Path) -> None:
    """In place of the last one, whatever its file is called; carriers with another CA get nothing."""
    ca, other, trust = make(tmp_path / "pki"), make(tmp_path / "pki"), tmp_path / "trust"
    assert publish.trust_authority(ca, trust, carrier="acme")
    assert not publish.trust_authority(ca, trust, carrier="acme")
    publish.trust_authority(other, trust, carrier="tencent")
    publish.trust_authority(ca, trust, carrier="zeta")
    (trust / "zeta/crls" / f"{ca.name}.pem").rename(trust / "zeta/crls/own-name.pem")
    authority.refresh_crl(ca, now=NOW_AT, passphrase=None)

    assert publish.publish_crl(ca, trust) == ["acme", "zeta"]
    assert [path.name for path in (trust / "zeta/crls").iterdir()] == ["own-name.pem"]
    for path in (trust / "acme/crls" / f"{ca.name}.pem", trust / "zeta/crls/own-name.pem"):
        assert path.read_bytes() == ca.crl_path.read_bytes()


def test_a_damaged_certificate_file_is_named(tmp_path: Path) -> None:
    """One line: which file, and what is wrong with it."""
    ca = make(tmp_path / "pki")
    (ca.issued_directory / "broken.pem").write_bytes(client(foreign_authority()).pem[:99])

    with pytest.raises(CertificateError, match=r"broken\.pem: not a certificate"):
        issuing.issued([ca])
