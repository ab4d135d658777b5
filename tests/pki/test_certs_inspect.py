"""`receiver certs inspect`: what a file is, who would refuse it, and never a key."""

import json
from pathlib import Path
from typing import Any

import pytest
from certificates import DAY, YEAR, Extensions, Issued, authority, client, crl, crl_pem, key_usage, name, now, p256
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, pkcs12
from odd_certificates import pem, version_1

from receiver.cli.certs import command
from receiver.errors import CertificateError

CA = authority(at=now())
LEAF = client(CA, at=now())
WEAK = rsa.generate_private_key(65537, 1024)  # noqa: S505 -- to be refused


def inspected(path: Path, content: bytes, *more: str | Path) -> list[dict[str, Any]]:
    """What `--json` says of a file with this content."""
    path.write_bytes(content)
    result = CliRunner().invoke(command, ["inspect", "--json", str(path), *map(str, more)])
    if isinstance(result.exception, CertificateError):
        raise result.exception
    assert result.exit_code == 0, result.output
    contents: list[dict[str, Any]] = json.loads(result.stdout)["contents"]
    return contents


def test_each_kind_is_told(tmp_path: Path) -> None:
    """PEM or DER, alone or together."""
    path = tmp_path / "file"
    request = x509.CertificateSigningRequestBuilder().subject_name(name("acme")).sign(p256(), hashes.SHA256())

    assert [one["kind"] for one in inspected(path, LEAF.pem + CA.pem)] == ["certificate", "CA certificate"]
    assert [one["kind"] for one in inspected(path, LEAF.der)] == ["certificate"]
    assert [one["kind"] for one in inspected(path, crl_pem(crl(CA, [LEAF], at=now())))] == ["CRL"]
    assert inspected(path, crl(CA, [LEAF], at=now()).public_bytes(Encoding.DER))[0]["revoked"] == 1
    for encoding in (Encoding.PEM, Encoding.DER):
        assert inspected(path, request.public_bytes(encoding))[0]["kind"] == "signing request"
    assert inspected(path, LEAF.key_pem + LEAF.pem)[0] == {
        "kind": "private key",
        "key": "ECDSA, secp256r1",
        "encrypted": False,
    }


def test_a_good_certificate_has_nothing_against_it(tmp_path: Path) -> None:
    """Its facts, and no objection."""
    (row,) = inspected(tmp_path / "file", LEAF.pem)

    assert row["refused_by"] == []
    assert (row["sha256"], row["purposes"]) == (LEAF.sha256, ["clientAuth"])
    assert row["days_left"] in {364, 365}
    assert inspected(tmp_path / "file", CA.pem)[0]["refused_by"] == []
    assert inspected(tmp_path / "file", crl_pem(crl(CA, at=now())))[0]["refused_by"] == []


@pytest.mark.parametrize(
    ("certificate", "who", "why"),
    [
        (client(CA, not_after=now() - DAY, at=now() - YEAR).pem, "nginx and receiver", "expired"),
        (client(CA, not_before=now() + DAY, at=now()).pem, "nginx and receiver", "valid only from"),
        (pem(version_1(LEAF, CA)), "receiver", "version 1"),
        (client(CA, key=WEAK, at=now()).pem, "nginx and receiver", "1024 bits"),
        (client(CA, key=ec.generate_private_key(ec.SECP256K1()), at=now()).pem, "receiver", "secp256k1"),
        (client(CA, key=ec.generate_private_key(ec.SECP192R1()), at=now()).pem, "nginx and receiver", "secp192r1"),
        (client(CA, algorithm=hashes.SHA224(), at=now()).pem, "receiver", "SHA224"),
        (authority(key=ed25519.Ed25519PrivateKey.generate(), at=now()).pem, "receiver", "Ed25519"),
        (authority(parent=authority(path_length=None), at=now()).pem, "nginx", "no root"),
    ],
)
def test_who_refuses_it_and_why(tmp_path: Path, certificate: bytes, who: str, why: str) -> None:
    """By what stands in it, with the one who minds."""
    objections = inspected(tmp_path / "file", certificate)[0]["refused_by"]

    assert any(one["who"] == who and why in one["why"] for one in objections), objections


@pytest.mark.parametrize(
    ("extensions", "who", "why"),
    [
        ({x509.SubjectAlternativeName: None}, "receiver, profile strict", "no subjectAltName"),
        ({x509.AuthorityKeyIdentifier: None}, "receiver, profile strict", "no authorityKeyIdentifier"),
        ({x509.KeyUsage: (key_usage("key_encipherment"), True)}, "nginx and receiver", "digitalSignature"),
        (
            {x509.ExtendedKeyUsage: (x509.ExtendedKeyUsage([x509.OID_SERVER_AUTH]), False)},
            "nginx and receiver",
            "clientAuth",
        ),
    ],
)
def test_what_a_leaf_lacks_is_named(tmp_path: Path, extensions: Extensions, who: str, why: str) -> None:
    """One objection for one fault."""
    (one,) = inspected(tmp_path / "file", client(CA, extensions=extensions, at=now()).pem)[0]["refused_by"]

    assert one["who"] == who
    assert why in one["why"]


def test_a_ca_and_its_crl_are_judged(tmp_path: Path) -> None:
    """cRLSign, keyUsage, dates, crlNumber."""
    path = tmp_path / "file"
    without = authority(extensions={x509.KeyUsage: (key_usage("key_cert_sign"), True)}, at=now())
    loose = authority(extensions={x509.KeyUsage: None}, at=now())

    assert "cRLSign" in inspected(path, without.pem)[0]["refused_by"][0]["why"]
    assert inspected(path, loose.pem)[0]["refused_by"][0]["who"] == "receiver, profile strict"
    expired = inspected(path, crl_pem(crl(CA, next_update=now() - DAY / 2, at=now())))[0]["refused_by"]
    assert [one["who"] for one in expired] == ["nginx with ssl_crl", "receiver, profile strict"]
    assert "crlNumber" in inspected(path, crl_pem(crl(CA, number=None, at=now())))[0]["refused_by"][0]["why"]
    future = crl_pem(crl(CA, this_update=now() + DAY, at=now()))
    assert "future" in inspected(path, future)[0]["refused_by"][0]["why"]


def test_a_key_is_never_shown(tmp_path: Path) -> None:
    """Only its kind, and whether it is encrypted; of an encrypted one not even the kind."""
    path = tmp_path / "file"
    encrypted = LEAF.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"words"))

    assert inspected(path, encrypted)[0]["encrypted"] is True
    assert "not known" in inspected(path, encrypted)[0]["key"]
    path.write_bytes(LEAF.key_pem)
    shown = CliRunner().invoke(command, ["inspect", str(path)]).output
    assert "ECDSA" in shown
    assert not any(line in shown for line in LEAF.key_pem.decode().splitlines()[1:-1])


def test_a_pkcs12_file_wants_its_password(tmp_path: Path) -> None:
    """None, a wrong one, the right one."""
    path, words = tmp_path / "file", tmp_path / "words"
    assert isinstance(LEAF.key, ec.EllipticCurvePrivateKey)
    content = pkcs12.serialize_key_and_certificates(
        b"acme", LEAF.key, LEAF.certificate, [CA.certificate], BestAvailableEncryption(b"secret")
    )
    words.touch(mode=0o600)

    with pytest.raises(CertificateError, match="--password-file"):
        inspected(path, content)
    words.write_bytes(b"wrong\n")
    with pytest.raises(CertificateError, match="password is wrong"):
        inspected(path, content, "--password-file", words)
    words.write_bytes(b"secret\n")
    kinds = [one["kind"] for one in inspected(path, content, "--password-file", words)]
    assert kinds == ["private key", "certificate", "CA certificate"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"hello", "is neither"),
        (LEAF.pem[:300], "cut short"),
        (LEAF.der[:300], "is neither"),
        (LEAF.pem.replace(b"MII", b"!!!"), "damaged"),
        (b"-----BEGIN EC PARAMETERS-----\nBgg=\n-----END EC PARAMETERS-----\n", "nothing that is known"),
        (b"-----BEGIN PRIVATE KEY-----\nBgg=\n-----END PRIVATE KEY-----\n", "damaged"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nBgg=\n-----END CERTIFICATE REQUEST-----\n", "damaged"),
    ],
)
def test_a_file_that_cannot_be_used_gets_one_clear_line(tmp_path: Path, content: bytes, problem: str) -> None:
    """It names the file and what is wrong with it."""
    with pytest.raises(CertificateError, match=problem) as caught:
        inspected(tmp_path / "file", content)
    assert str(caught.value).startswith(str(tmp_path / "file"))
    assert "\n" not in str(caught.value)


def test_names_made_to_break_a_terminal_come_out_escaped_and_short(tmp_path: Path) -> None:
    """One screen, whatever stands in the file."""
    sans = [x509.DNSName(f"{number}.{'a' * 50}.test") for number in range(200)]
    nasty: Issued = client(CA, name("\x1b[2J\u202e<b>x"), san=sans, at=now())
    (tmp_path / "file").write_bytes(nasty.pem)
    shown = CliRunner().invoke(command, ["inspect", str(tmp_path / "file")]).output

    assert all(line.isprintable() for line in shown.splitlines())
    assert len(shown.splitlines()) < 40
