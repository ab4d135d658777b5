"""The development home's PKI: there when needed, renewed in time, and recognisable as what it is."""

import time
from pathlib import Path

import pytest
from certificates import NOW_AT, Issued
from certificates import authority as foreign_authority
from cryptography import x509

from receiver.errors import CertificateError
from receiver.pki import authority
from receiver.pki.authority import load_certificate
from receiver.pki.development import DevelopmentCredentials, ensure, is_development
from receiver.pki.profiles import Purpose
from receiver.trust import Strictness
from receiver.trust.offline import Files, judge

DAY = 86_400


def contents(pki: Path) -> dict[Path, bytes]:
    """Every file of a directory."""
    return {path: path.read_bytes() for path in pki.rglob("*") if path.is_file()}


def judged(made: DevelopmentCredentials, *, now: int) -> bool:
    """Would the receiver accept the client certificate, by the files that are there?"""
    files = Files(anchors=made.client_ca.read_bytes(), crls=[made.client_crl.read_bytes()])
    return not judge(made.client_cert.read_bytes(), files, now=now, strictness=Strictness.STRICT).warnings


def test_everything_a_development_home_needs_is_made(tmp_path: Path) -> None:
    """Server and client side under two CAs, each key with its certificate, all of it marked."""
    made = ensure(tmp_path / "pki", now=NOW_AT)

    assert made.server_ca != made.client_ca
    for certificate, key in ((made.server_cert, made.server_key), (made.client_cert, made.client_key)):
        pair = Issued.load(certificate, key)
        assert pair.certificate.public_key() == pair.key.public_key()
    for path in (made.server_cert, made.server_ca, made.client_cert, made.client_ca):
        assert is_development(load_certificate(path))
    assert not is_development(foreign_authority().certificate)
    assert judged(made, now=NOW_AT)


def test_the_server_certificate_is_for_loopback(tmp_path: Path) -> None:
    """By name and by both addresses."""
    made = ensure(tmp_path / "pki", now=NOW_AT)
    names = load_certificate(made.server_cert).extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert {str(name.value) for name in names} == {"localhost", "127.0.0.1", "::1"}


def test_a_second_start_changes_nothing_and_is_fast(tmp_path: Path) -> None:
    """Idempotent to the byte, well under 0.3 s."""
    first = ensure(tmp_path / "pki", now=NOW_AT)
    before, begun = contents(tmp_path / "pki"), time.perf_counter()

    assert ensure(tmp_path / "pki", now=NOW_AT + 60) == first
    assert time.perf_counter() - begun < 0.3
    assert contents(tmp_path / "pki") == before


def test_what_ends_within_thirty_days_is_renewed_beside_the_old(tmp_path: Path) -> None:
    """New file names, a new CRL; every old key stays as it was."""
    first = ensure(tmp_path / "pki", now=NOW_AT)
    before = contents(tmp_path / "pki")
    later = NOW_AT + 368 * DAY
    second = ensure(tmp_path / "pki", now=later)

    assert second.client_cert != first.client_cert
    assert second.server_cert != first.server_cert
    assert (second.client_ca, second.server_ca) == (first.client_ca, first.server_ca)
    assert {path: path.read_bytes() for path in before if path.suffix == ".key"} == {
        path: content for path, content in before.items() if path.suffix == ".key"
    }
    assert judged(second, now=later + 29 * DAY)


def test_a_ca_that_ends_gets_a_successor(tmp_path: Path) -> None:
    """Ten years on, everything is made anew beside the old."""
    first = ensure(tmp_path / "pki", now=NOW_AT)
    later = NOW_AT + 3640 * DAY
    second = ensure(tmp_path / "pki", now=later)

    assert second.client_ca != first.client_ca
    assert first.client_ca.exists()
    assert judged(second, now=later)


def test_what_is_missing_is_made_again(tmp_path: Path) -> None:
    """A lost key makes its certificate useless; a lost CRL is written anew."""
    first = ensure(tmp_path / "pki", now=NOW_AT)
    first.client_key.unlink()
    first.client_crl.unlink()
    second = ensure(tmp_path / "pki", now=NOW_AT)

    assert second.client_cert != first.client_cert
    assert judged(second, now=NOW_AT)


def test_each_carrier_gets_a_certificate_of_its_own(tmp_path: Path) -> None:
    """One is not taken for another's."""
    made = {
        carrier: ensure(tmp_path / "pki", carrier=carrier, now=NOW_AT).client_cert for carrier in ("tencent", "acme")
    }

    assert made["tencent"] != made["acme"]
    assert ensure(tmp_path / "pki", now=NOW_AT).client_cert == made["tencent"]


def test_a_real_pki_is_not_used_for_development(tmp_path: Path) -> None:
    """A CA without the mark means somebody relies on it."""
    authority.initialise(tmp_path / "pki", Purpose.SERVER, now=NOW_AT, passphrase=None)

    with pytest.raises(CertificateError, match="not a development CA"):
        ensure(tmp_path / "pki", now=NOW_AT)
