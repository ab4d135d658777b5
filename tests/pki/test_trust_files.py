"""Trust files taken up while running: whole, atomically, and never worse than before."""

import logging
import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from certificates import DAY, NOW, NOW_AT, Issued, authority, client, crl, crl_pem, nginx_header

from receiver.errors import CertificateError, UntrustedError
from receiver.trust import CarrierTrust, Forwarded, Verifier, pin_of
from receiver.trust.certificate import read
from receiver.trust.files import TrustFiles

CA, OTHER = authority("CA"), authority("Other CA")
LEAF = client(CA)


class Shelf:
    """A trust directory for one carrier."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for kind in ("anchors", "intermediates", "crls"):
            (root / "tencent" / kind).mkdir(parents=True)
        self.put("anchors/ca.pem", CA.pem)
        self.files = TrustFiles(root, {"tencent": "strict"})

    def put(self, name: str, content: bytes) -> None:
        """Put a file in place, atomically."""
        path = self.root / "tencent" / name
        (temporary := path.with_suffix(".new")).write_bytes(content)
        temporary.replace(path)

    def verdict(self, leaf: Issued = LEAF, *, now: int = NOW_AT) -> str:
        """`pass`, or the reason code, by the files in force."""
        verifier = Verifier(self.files.carriers())
        try:
            verifier.identify(
                Forwarded(verify="SUCCESS", certificates=(nginx_header(leaf),)), carrier="tencent", now=now
            )
        except UntrustedError as exc:
            return exc.code
        return "pass"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """A loaded trust directory with one anchor."""
    shelf = Shelf(tmp_path / "trust")
    shelf.files.load(now=NOW_AT)
    return shelf


def test_nothing_changed_means_nothing_new(shelf: Shelf) -> None:
    """Looking costs a few stats, and changes no generation."""
    generation = shelf.files.generation

    assert not shelf.files.reload_if_changed(now=NOW_AT)
    assert shelf.files.generation == generation
    assert shelf.files.warnings(now=NOW_AT) == []


def test_a_new_anchor_and_a_new_crl_are_taken_up(shelf: Shelf) -> None:
    """Without a restart; two anchors serve at once."""
    shelf.put("anchors/other.pem", OTHER.pem)
    assert shelf.files.reload_if_changed(now=NOW_AT)
    assert [shelf.verdict(), shelf.verdict(client(OTHER))] == ["pass", "pass"]

    shelf.put("crls/ca.pem", crl_pem(crl(CA, [LEAF])))
    assert shelf.files.reload_if_changed(now=NOW_AT)
    assert [shelf.verdict(), shelf.verdict(client(OTHER))] == ["revoked", "pass"]

    (shelf.root / "tencent/anchors/other.pem").unlink()
    assert shelf.files.reload_if_changed(now=NOW_AT)
    assert shelf.verdict(client(OTHER)) == "untrusted"


def test_the_same_certificate_twice_is_the_same_once(shelf: Shelf) -> None:
    """In one file or two, as anchor and as intermediate."""
    shelf.put("anchors/again.pem", CA.pem + CA.pem)
    shelf.put("intermediates/ca.pem", CA.pem)

    assert shelf.files.reload_if_changed(now=NOW_AT)
    assert shelf.verdict() == "pass"


def test_a_replaced_file_is_noticed_by_its_inode(shelf: Shelf) -> None:
    """Same name, size and time, down to the nanosecond."""
    path = shelf.root / "tencent/anchors/ca.pem"
    status = path.stat()
    shelf.put("anchors/ca.pem", CA.pem)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert shelf.files.reload_if_changed(now=NOW_AT)


BROKEN = {
    "empty": b"",
    "truncated": CA.pem[: len(CA.pem) // 2],
    "a good one and a truncated one": CA.pem + OTHER.pem[:-20],
    "not base64": CA.pem.replace(b"\nM", b"\n*", 1),
    "not a certificate": b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
    "a key": CA.key_pem,
    "text": b"hello",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_new_file_keeps_the_last_good_set_and_says_so(
    shelf: Shelf, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One clear line that names the file, logged once; mended, everything is taken up."""
    shelf.put("crls/ca.pem", crl_pem(crl(CA, [LEAF])))
    shelf.files.reload_if_changed(now=NOW_AT)
    generation = shelf.files.generation
    shelf.put("anchors/new.pem", BROKEN[kind])

    with caplog.at_level(logging.WARNING):
        assert not any(shelf.files.reload_if_changed(now=NOW_AT + second) for second in range(0, 300, 10))

    assert shelf.files.generation == generation
    assert shelf.verdict() == "revoked"
    (warning,) = shelf.files.warnings(now=NOW_AT)
    assert "anchors/new.pem" in warning
    assert "last good" in warning
    assert "\n" not in warning
    assert len(caplog.records) == 1
    shelf.put("anchors/new.pem", OTHER.pem)
    assert shelf.files.reload_if_changed(now=NOW_AT + 300)
    assert shelf.verdict(client(OTHER)) == "pass"
    assert shelf.files.warnings(now=NOW_AT) == []


@pytest.mark.parametrize(
    "revocations",
    [
        crl_pem(crl(OTHER)),
        crl_pem(crl(CA, signer=OTHER)),
        crl_pem(crl(CA, number=None)),
        crl_pem(crl(CA, this_update=NOW + DAY)),
        crl_pem(crl(CA, [LEAF]))[:-60],
        CA.pem,
    ],
)
def test_a_crl_that_cannot_be_used_keeps_the_last_good_one(shelf: Shelf, revocations: bytes) -> None:
    """Whoever was revoked stays revoked."""
    shelf.put("crls/ca.pem", crl_pem(crl(CA, [LEAF])))
    shelf.files.reload_if_changed(now=NOW_AT)
    shelf.put("crls/ca.pem", revocations)

    assert not shelf.files.reload_if_changed(now=NOW_AT)
    assert shelf.verdict() == "revoked"
    assert "crls/ca.pem" in shelf.files.warnings(now=NOW_AT)[0]


def test_a_crl_from_the_future_is_taken_up_when_its_time_comes(shelf: Shelf) -> None:
    """Nothing needs to touch the file again."""
    shelf.put("crls/ca.pem", crl_pem(crl(CA, [LEAF], this_update=NOW + timedelta(seconds=90))))

    assert not shelf.files.reload_if_changed(now=NOW_AT)
    assert not shelf.files.reload_if_changed(now=NOW_AT + 89)
    assert shelf.files.reload_if_changed(now=NOW_AT + 180)
    assert shelf.verdict(now=NOW_AT + 180) == "revoked"


def test_an_expired_crl_is_a_warning_and_goes_on_refusing(shelf: Shelf) -> None:
    """Also after a restart: a missed timer must neither shut everyone out nor let the revoked back in."""
    shelf.put("crls/ca.pem", crl_pem(crl(CA, [LEAF], next_update=NOW + DAY)))
    later = NOW_AT + 2 * 86_400
    shelf.files.load(now=later)

    assert shelf.verdict(now=later) == "revoked"
    assert shelf.verdict(client(CA), now=later) == "pass"
    assert "expired" in shelf.files.warnings(now=later)[0]


def test_a_newer_crl_ends_the_warning_about_the_old_one(shelf: Shelf) -> None:
    """Both still count, but nobody needs to be woken."""
    shelf.put("crls/old.pem", crl_pem(crl(CA, [LEAF], next_update=NOW + DAY)))
    shelf.put("crls/new.pem", crl_pem(crl(CA, number=2, next_update=NOW + 9 * DAY)))
    shelf.files.load(now=NOW_AT)

    assert shelf.files.warnings(now=NOW_AT + 2 * 86_400) == []
    assert shelf.verdict() == "revoked"


def test_a_tolerant_carrier_may_have_a_crl_without_number(tmp_path: Path) -> None:
    """Used, with a warning that names the carrier."""
    shelf = Shelf(tmp_path)
    shelf.put("crls/ca.pem", crl_pem(crl(CA, [LEAF], number=None)))
    shelf.files = TrustFiles(tmp_path, {"tencent": "tolerant"})
    shelf.files.load(now=NOW_AT)

    assert shelf.verdict() == "revoked"
    assert shelf.files.warnings(now=NOW_AT)[0].startswith("tencent: the CRL")


def test_broken_files_at_the_start_are_an_error(tmp_path: Path) -> None:
    """There is no last good set, and starting without a CRL would let the revoked in."""
    shelf = Shelf(tmp_path)
    shelf.put("crls/ca.pem", b"-----BEGIN X509 CRL-----\n")

    with pytest.raises(CertificateError, match=r"crls/ca\.pem: the PEM is damaged"):
        shelf.files.load(now=NOW_AT)


def test_one_carriers_broken_file_does_not_stop_another(tmp_path: Path) -> None:
    """Each carrier's files are taken up on their own."""
    shelf = Shelf(tmp_path)
    shutil.copytree(tmp_path / "tencent", tmp_path / "acme")
    shelf.files = TrustFiles(tmp_path, {"acme": "strict", "tencent": "strict"})
    shelf.files.load(now=NOW_AT)
    (tmp_path / "acme/anchors/new.pem").write_bytes(b"broken")
    shelf.put("anchors/new.pem", OTHER.pem)

    assert shelf.files.reload_if_changed(now=NOW_AT)
    assert shelf.verdict(client(OTHER)) == "pass"


def test_a_carrier_without_files_trusts_nobody_and_says_so(tmp_path: Path) -> None:
    """A missing directory is an empty one."""
    files = TrustFiles(tmp_path / "missing", {"tencent": "strict"})
    files.load(now=NOW_AT)

    assert "no trust anchor" in files.warnings(now=NOW_AT)[0]
    assert files.carriers()["tencent"].material.anchors == ()


def test_a_file_in_place_of_a_directory_does_not_look_empty(shelf: Shelf) -> None:
    """What cannot be listed keeps the last good set, too."""
    shutil.rmtree(shelf.root / "tencent/anchors")
    (shelf.root / "tencent/anchors").write_bytes(b"")

    assert not shelf.files.reload_if_changed(now=NOW_AT)
    assert shelf.verdict() == "pass"
    assert "anchors" in shelf.files.warnings(now=NOW_AT)[0]


def test_pins_and_blocks_come_in_beside_the_files(shelf: Shelf) -> None:
    """They are the store's; each carrier gets its own."""
    pin = pin_of(read(LEAF.der))

    trusts: dict[str, CarrierTrust] = shelf.files.carriers(pins={"tencent": [pin], "acme": []})

    assert trusts["tencent"].pins == (pin,)
    assert not trusts["tencent"].accept_unpinned
    assert shelf.files.carriers(accept_unpinned={"tencent"})["tencent"].accept_unpinned


def test_a_refused_ca_is_not_taken_up_while_running(shelf: Shelf) -> None:
    """Put there by hand beside a running receiver, it changes nothing and is said."""
    shelf.files = TrustFiles(shelf.root, {"tencent": "strict"}, is_refused=lambda one: one == OTHER.certificate)
    shelf.files.load(now=NOW_AT)
    shelf.put("anchors/other.pem", OTHER.pem)

    assert not shelf.files.reload_if_changed(now=NOW_AT)
    assert any("other.pem: a CA of a development PKI" in line for line in shelf.files.warnings(now=NOW_AT))
    assert shelf.verdict() == "pass"
    assert shelf.verdict(client(OTHER)) == "untrusted"
