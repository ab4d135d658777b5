"""What the preflight says of a CA, against what OpenSSL and the receiver's own verification then do under that CA."""

import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest
from certificates import DAY, NOW, NOW_AT, Extensions, Issued, authority, client, crl, key_usage, name
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from odd_certificates import version_1

from receiver.errors import UntrustedError
from receiver.pki.preflight import Examined, Role, Side, among, examine
from receiver.pki.public_roots import PublicRoots
from receiver.trust import Material, Strictness
from receiver.trust.certificate import quietly, read

OPENSSL = shutil.which("openssl")
ANY_USAGE = x509.ObjectIdentifier("2.5.29.37.0")
ROOT = authority("Root", path_length=None)


def usages(*oids: x509.ObjectIdentifier) -> Extensions:
    """An extendedKeyUsage for a CA."""
    return {x509.ExtendedKeyUsage: (x509.ExtendedKeyUsage(oids), False)}


def basic(*, ca: bool, critical: bool = True) -> Extensions:
    """A basicConstraints for a CA."""
    return {x509.BasicConstraints: (x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical)}


def constrained(*, critical: bool) -> Extensions:
    """A nameConstraints about subjects."""
    permitted = [x509.DirectoryName(name("callback.tencent.test"))]
    return {x509.NameConstraints: (x509.NameConstraints(permitted, None), critical)}


def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    """An RSA key of any size."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\0")
CAS: dict[str, Callable[[], Issued]] = {
    "good": authority,
    "rsa": lambda: authority(key=rsa_key(2048)),
    "p521": lambda: authority(key=ec.generate_private_key(ec.SECP521R1())),
    "client_only": lambda: authority(extensions=usages(x509.OID_CLIENT_AUTH)),
    "client_and_server": lambda: authority(extensions=usages(x509.OID_CLIENT_AUTH, x509.OID_SERVER_AUTH)),
    "old_signature_of_a_root": lambda: authority(algorithm=hashes.SHA224()),
    "no_crl_sign": lambda: authority(extensions={x509.KeyUsage: (key_usage("key_cert_sign"), True)}),
    "no_key_usage": lambda: authority(extensions={x509.KeyUsage: None}),
    "constraints_not_critical": lambda: authority(extensions=basic(ca=True, critical=False)),
    "no_cert_sign": lambda: authority(extensions={x509.KeyUsage: (key_usage("digital_signature"), True)}),
    "no_basic_constraints": lambda: authority(extensions={x509.BasicConstraints: None}),
    "leaf": lambda: authority(extensions=basic(ca=False)),
    "server_only": lambda: authority(extensions=usages(x509.OID_SERVER_AUTH)),
    "any_purpose": lambda: authority(extensions=usages(ANY_USAGE)),
    "expired": lambda: authority(not_before=NOW - 20 * DAY, not_after=NOW - DAY),
    "future": lambda: authority(not_before=NOW + DAY),
    "short_rsa": lambda: authority(key=rsa_key(1024)),
    "p192": lambda: authority(key=ec.generate_private_key(ec.SECP192R1())),
    "p224": lambda: authority(key=ec.generate_private_key(ec.SECP224R1())),
    "other_curve": lambda: authority(key=ec.generate_private_key(ec.SECP256K1())),
    "ed25519": lambda: authority(key=ed25519.Ed25519PrivateKey.generate()),
    "name_constraints": lambda: authority(extensions=constrained(critical=True)),
    "loose_name_constraints": lambda: authority(extensions=constrained(critical=False)),
    "unknown_extension": lambda: authority(extensions={x509.UnrecognizedExtension: (UNKNOWN, True)}),
    "intermediate": lambda: authority("Lower", parent=ROOT),
    "old_signature_of_an_intermediate": lambda: authority("Lower", parent=ROOT, algorithm=hashes.SHA224()),
    "intermediate_for_servers": lambda: authority("Lower", parent=ROOT, extensions=usages(x509.OID_SERVER_AUTH)),
}


@cache
def made(kind: str) -> Issued:
    """The CA of this kind; keys are slow to make."""
    return CAS[kind]()


def is_taken_by_receiver(ca: Issued, strictness: Strictness) -> bool:
    """Does the receiver's own verification accept a good certificate under this CA?"""
    is_root = ca.certificate.subject == ca.certificate.issuer
    material = Material(
        anchors=[ca.certificate if is_root else ROOT.certificate],
        intermediates=[] if is_root else [ca.certificate],
        strictness=strictness,
    )
    with quietly():
        try:
            material.verify(read(client(ca).der), now=NOW_AT)
        except UntrustedError:
            return False
    return True


def is_taken_by_openssl(ca: Issued, directory: Path) -> bool:
    """Does OpenSSL at nginx's security level accept it?"""
    assert OPENSSL
    is_root = ca.certificate.subject == ca.certificate.issuer
    for stem, content in (("root", ca if is_root else ROOT), ("lower", ca), ("leaf", client(ca))):
        (directory / stem).write_bytes(content.pem)
    command = [OPENSSL, "verify", "-auth_level", "2", "-purpose", "sslclient", "-attime", str(NOW_AT)]
    lower = [] if is_root else ["-untrusted", str(directory / "lower")]
    files = ["-CAfile", str(directory / "root"), *lower, str(directory / "leaf")]
    return subprocess.run([*command, *files], check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize("strictness", Strictness)
@pytest.mark.parametrize("kind", CAS)
def test_the_preflight_foretells_the_receiver(kind: str, strictness: Strictness) -> None:
    """It refuses under a CA exactly what the preflight says it will."""
    found = examine(made(kind).certificate, strictness=strictness, now=NOW_AT)

    assert found.is_refused_by(Side.RECEIVER) is not is_taken_by_receiver(made(kind), strictness), found.findings


@pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")
@pytest.mark.parametrize("kind", CAS)
def test_the_preflight_foretells_nginx(kind: str, tmp_path: Path) -> None:
    """OpenSSL at security level 2 refuses exactly what the preflight says nginx will."""
    found = examine(made(kind).certificate, strictness=Strictness.TOLERANT, now=NOW_AT)

    assert found.is_refused_by(Side.NGINX) is not is_taken_by_openssl(made(kind), tmp_path), found.findings


def codes(certificate: x509.Certificate, strictness: Strictness = Strictness.STRICT) -> set[str]:
    """What was found."""
    return {finding.code for finding in examine(certificate, strictness=strictness, now=NOW_AT).findings}


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("good", {"also_servers"}),
        ("client_only", set()),
        ("client_and_server", {"also_servers"}),
        ("old_signature_of_a_root", {"old_signature", "also_servers"}),
        ("short_rsa", {"short_key", "also_servers"}),
        ("expired", {"expired", "also_servers"}),
        ("leaf", {"not_a_ca", "also_servers"}),
        ("no_crl_sign", {"no_crl_sign", "also_servers"}),
    ],
)
def test_what_is_wrong_has_a_name(kind: str, found: set[str]) -> None:
    assert codes(made(kind).certificate) == found


def test_an_end_that_is_near_is_said() -> None:
    """Sixty days before, so that the carrier's next CA can be installed beside it."""
    assert "expires_soon" in codes(authority(not_after=NOW + timedelta(days=59)).certificate)
    assert "expires_soon" not in codes(authority(not_after=NOW + timedelta(days=61)).certificate)


def test_a_version_1_root_is_an_anchor_that_only_a_fingerprint_helps() -> None:
    root = x509.load_der_x509_certificate(version_1(ROOT, ROOT))
    found = examine(root, strictness=Strictness.TOLERANT, now=NOW_AT)

    assert found.role is Role.ANCHOR
    assert found.has("version_1")
    assert not found.is_refused_by(Side.NGINX)


@pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")
def test_a_root_that_signed_itself_with_sha_1_is_an_anchor(tmp_path: Path) -> None:
    """The library checks no such signature; nginx and receiver do not need it either."""
    assert OPENSSL
    command = [OPENSSL, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha1", "-subj", "/CN=Old CA", "-days", "9"]
    extension = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    files = ["-keyout", str(tmp_path / "k"), "-out", str(tmp_path / "c")]
    subprocess.run([*command, *extension, *files], check=True, capture_output=True)
    root = Issued.load(tmp_path / "c", tmp_path / "k")
    at = int(root.certificate.not_valid_before_utc.timestamp())
    found = examine(root.certificate, strictness=Strictness.STRICT, now=at)

    assert found.role is Role.ANCHOR
    assert found.has("old_signature")
    assert not any(found.is_refused_by(side) for side in Side)


def test_a_new_key_certified_by_the_old_one_is_no_root() -> None:
    """The same name twice, but not its own signature: nginx needs the old root beneath it."""
    old = authority("Same name", path_length=None)
    new = authority("Same name", parent=old)

    assert examine(new.certificate, strictness=Strictness.STRICT, now=NOW_AT).role is Role.INTERMEDIATE


def placed(one: Issued, *others: Issued, has_crl: bool = False, is_checking: bool = False) -> Examined:
    """A CA beside others."""
    found = examine(one.certificate, strictness=Strictness.STRICT, now=NOW_AT)
    crls = [crl(one)] if has_crl else []
    authorities = [other.certificate for other in (one, *others)]
    return among(found, authorities, crls, is_nginx_checking_crls=is_checking)


def test_a_lower_ca_needs_its_root() -> None:
    """OpenSSL builds no chain that ends in an intermediate, though the library would."""
    lower = made("intermediate")

    assert placed(lower).is_refused_by(Side.NGINX)
    assert placed(lower).has("no_root")
    assert not placed(lower, ROOT).has("no_root")


def test_without_a_crl_nobody_can_be_revoked() -> None:
    """A warning; but when nginx checks CRLs it refuses everybody."""
    ca = made("good")

    assert placed(ca).has("no_crl")
    assert not placed(ca).is_refused_by(Side.NGINX)
    assert placed(ca, is_checking=True).is_refused_by(Side.NGINX)
    assert not placed(ca, has_crl=True, is_checking=True).has("no_crl")


def test_a_public_root_is_known_by_key_by_name_and_by_what_it_signed(tmp_path: Path) -> None:
    """And a list that is not there, or holds nothing readable, knows nobody."""
    bundle = tmp_path / "bundle.pem"
    broken = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"
    bundle.write_bytes(authority("Other").pem + broken + ROOT.pem)
    roots = PublicRoots.load(bundle)

    assert roots.has(ROOT.certificate)
    assert roots.has(authority("Another name", key=ROOT.key).certificate)
    assert roots.has(authority("Root").certificate)
    assert roots.has(made("intermediate").certificate)
    assert not roots.has(made("good").certificate)
    assert not PublicRoots.load(tmp_path / "none")
    assert not PublicRoots.load(tmp_path / "none").has(ROOT.certificate)
