"""`receiver certs rotate-ca`: at no stage, and after no crash, is anybody shut out who should be let in."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import name, nginx_header, now, p256
from certs_terminal import run
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from receiver import control
from receiver.cli.certs import command
from receiver.cli.certs_place import Place
from receiver.cli.init import development_home
from receiver.errors import CertificateError, UntrustedError, UsageError
from receiver.home import Home
from receiver.pki import authority, files, issuing, rotation
from receiver.pki.profiles import Purpose
from receiver.trust import Forwarded, Verifier, pin_from
from receiver.trust.files import TrustFiles

AT = int(now().timestamp())


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands go by the clock, so each test begins now: modules may have been imported long before."""
    monkeypatch.setattr(sys.modules[__name__], "AT", int(now().timestamp()))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A development home."""
    home, umask = Home(tmp_path / "home"), os.umask(0o022)
    development_home(home, now=AT)
    yield home
    os.umask(umask)


def the_leaf(home: Home) -> Path:
    """The client certificate of the newest CA that has issued one."""
    issued = [issuing.issued([one]) for one in authority.find(home.pki, Purpose.CLIENT)]
    return next(leaves[-1].path for leaves in reversed(issued) if leaves)


def identified(home: Home, certificate: Path) -> bool:
    """Is this certificate a pinned peer by the home's own files and store?"""
    trust = TrustFiles(home.trust, {"tencent": "strict"})
    trust.load(now=AT + 1)
    pins = [pin_from(row["columns"]) for row in control.call(home, "pin_list")]
    forwarded = Forwarded(verify="SUCCESS", certificates=(nginx_header(certificate.read_bytes()),))
    verifier = Verifier(trust.carriers(pins={"tencent": pins}))
    return verifier.identify(forwarded, carrier="tencent", now=AT + 1).is_pinned


def rotate(home: Home, *stage: str) -> Any:
    """A stage, or the state."""
    return run("rotate-ca", *stage, "--no-passphrase", "--home", home.root)


def test_the_whole_way_without_a_gap(home: Home) -> None:
    """Add, reissue, remove: old and new are let in as long as both exist, and no key is ever touched."""
    old = the_leaf(home)
    keys = {path: path.read_bytes() for path in home.pki.rglob("*.key")}
    assert rotate(home)["stage"] == "none"

    added = rotate(home, "add")
    assert (added["stage"], len(added["due"]), added["old"]) == ("reissue", 1, [old.parents[1].name])
    assert identified(home, old)
    reissued = rotate(home, "reissue")
    new = the_leaf(home)
    assert (reissued["stage"], new.parents[1].name) == ("wait", added["new"])
    assert identified(home, old)
    assert identified(home, new)
    with pytest.raises(UsageError, match="valid certificates of the old CA exist: tencent"):
        rotate(home, "remove")
    run("revoke", old, "--home", home.root)
    assert rotate(home)["stage"] == "remove"
    assert rotate(home, "remove")["stage"] == "none"
    assert identified(home, new)
    with pytest.raises(UntrustedError):
        identified(home, old)
    assert len(list((home.trust / "tencent/anchors").iterdir())) == 1
    assert len(list((home.trust / "tencent/crls").iterdir())) == 1
    assert keys.items() < {path: path.read_bytes() for path in home.pki.rglob("*.key")}.items()


def test_two_keys_never_share_a_name(home: Home) -> None:
    """Also when both are made on one day."""
    rotate(home, "add")
    first, second = authority.find(home.pki, Purpose.CLIENT)

    assert first.certificate.subject != second.certificate.subject
    assert first.name != second.name


def test_each_stage_may_be_repeated(home: Home) -> None:
    """Nothing is made twice."""
    for stage in ("add", "add", "reissue", "reissue", "add"):
        rotate(home, stage)

    assert len(authority.find(home.pki, Purpose.CLIENT)) == 2
    assert len(issuing.issued(authority.find(home.pki, Purpose.CLIENT))) == 2


def test_a_new_ca_wants_a_passphrase_or_the_word_that_it_has_none(home: Home) -> None:
    """Only when a key is made: what completes a rotation needs neither."""
    assert CliRunner().invoke(command, ["rotate-ca", "add", "--home", str(home.root)]).exit_code == 2
    rotate(home, "add")
    assert CliRunner().invoke(command, ["rotate-ca", "add", "--home", str(home.root)]).exit_code == 0


def test_stages_come_in_their_order(home: Home) -> None:
    """Reissuing before adding is refused; removing nothing removes nothing."""
    with pytest.raises(UsageError, match="rotate-ca add"):
        rotate(home, "reissue")
    assert rotate(home, "remove")["lines"] == ["Nothing of an old CA is in use."]
    assert len(list((home.trust / "tencent/anchors").iterdir())) == 1


@pytest.mark.parametrize("crash_at", range(12))
def test_a_crash_while_adding_is_completed_by_doing_it_again(
    home: Home, monkeypatch: pytest.MonkeyPatch, crash_at: int
) -> None:
    """Wherever it stopped, the old certificate's CA and CRL are there, and one more try gives one new CA."""
    old = the_leaf(home)
    _crash(monkeypatch, crash_at)
    CliRunner().invoke(command, ["rotate-ca", "add", "--no-passphrase", "--home", str(home.root)])
    monkeypatch.undo()

    assert (home.trust / "tencent/anchors" / f"{authority.find(home.pki, Purpose.CLIENT)[0].name}.pem").exists()
    assert rotate(home, "add")["stage"] == "reissue"
    assert identified(home, old)
    assert len(authority.find(home.pki, Purpose.CLIENT)) == 2


@pytest.mark.parametrize("crash_at", range(4))
def test_a_crash_while_removing_is_completed_by_doing_it_again(
    home: Home, monkeypatch: pytest.MonkeyPatch, crash_at: int
) -> None:
    """A CRL that was left behind is taken away too; what it revoked is at no time let in."""
    old = the_leaf(home)
    rotate(home, "add")
    rotate(home, "reissue")
    new = the_leaf(home)
    run("revoke", old, "--home", home.root)
    _crash(monkeypatch, crash_at)
    CliRunner().invoke(command, ["rotate-ca", "remove", "--home", str(home.root)])
    monkeypatch.undo()

    with pytest.raises((UntrustedError, CertificateError)):
        identified(home, old)
    assert rotate(home, "remove")["stage"] == "none"
    assert identified(home, new)
    assert len(list((home.trust / "tencent/crls").iterdir())) == 1


def _crash(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Die after so many changes to files."""
    left = [after]

    def counted(function: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return function(*arguments, **named)

        return call

    for name_ in ("write_new", "replace", "make_directory", "sync_directory"):
        monkeypatch.setattr(files, name_, counted(getattr(files, name_)))
    monkeypatch.setattr(Path, "unlink", counted(Path.unlink))


def test_two_that_add_at_once_make_one_ca(home: Home) -> None:
    """The second finds what the first has done."""
    line = [sys.executable, "-m", "receiver", "certs", "rotate-ca", "add", "--no-passphrase", "--home", str(home.root)]
    both = [subprocess.Popen(line, stdout=subprocess.DEVNULL) for _ in range(2)]

    assert [one.wait(timeout=60) for one in both] == [0, 0]
    assert len(authority.find(home.pki, Purpose.CLIENT)) == 2


def test_a_crash_between_issuing_and_pinning_is_mended(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its pin the new certificate's callbacks would be held."""
    rotate(home, "add")
    monkeypatch.setattr(Place, "take_up", lambda *_, **__: 1 / 0)
    CliRunner().invoke(command, ["rotate-ca", "reissue", "--home", str(home.root)])
    monkeypatch.undo()
    assert not identified(home, the_leaf(home))

    rotate(home, "reissue")
    assert identified(home, the_leaf(home))
    assert len(issuing.issued(authority.find(home.pki, Purpose.CLIENT))) == 2


def test_a_bundle_keeps_what_else_is_in_it(home: Home) -> None:
    """Only the old CA leaves a file that holds several."""
    anchors = home.trust / "tencent/anchors" / f"{authority.current(home.pki, Purpose.CLIENT).name}.pem"
    rotate(home, "add")
    other = authority.current(home.pki, Purpose.SERVER).path.read_bytes()
    anchors.write_bytes(anchors.read_bytes() + other)
    rotate(home, "reissue")
    for one in issuing.issued(authority.find(home.pki, Purpose.CLIENT)[:1]):
        run("revoke", one.serial, "--home", home.root)
    rotate(home, "remove")

    assert x509.load_pem_x509_certificates(anchors.read_bytes()) == x509.load_pem_x509_certificates(other)


def test_a_carrier_with_its_own_key_is_asked_for_a_request(tmp_path: Path) -> None:
    """It is not reissued behind the carrier's back; its request ends the wait."""
    pki, request = tmp_path / "pki", tmp_path / "acme.csr"
    authority.initialise(pki, Purpose.CLIENT, now=AT, passphrase=None)
    builder = x509.CertificateSigningRequestBuilder().subject_name(name("acme"))
    request.write_bytes(builder.sign(p256(), hashes.SHA256()).public_bytes(Encoding.PEM))
    run("issue-client", "acme", "--csr", request, "--pki", pki)

    run("rotate-ca", "add", "--no-passphrase", "--pki", pki)
    answer = run("rotate-ca", "reissue", "--pki", pki)
    assert (answer["stage"], len(answer["due"])) == ("reissue", 1)
    assert any("receiver certs renew acme --csr FILE" in line for line in answer["next"])
    run("renew", "acme", "--csr", request, "--pki", pki)
    assert run("rotate-ca", "--pki", pki)["stage"] == "wait"
    with pytest.raises(UsageError, match="valid certificates"):
        run("rotate-ca", "remove", "--pki", pki)


def test_expired_certificates_hold_nothing_up(home: Home) -> None:
    """Only valid ones would be missed."""
    rotate(home, "add")
    rotate(home, "reissue")
    later = AT + 398 * 86_400

    assert rotation.derive(home.pki, home.trust, Purpose.CLIENT, now=AT).stage is rotation.Stage.WAIT
    assert rotation.derive(home.pki, home.trust, Purpose.CLIENT, now=later).stage is rotation.Stage.REMOVE


def test_a_server_ca_rotates_with_its_certificates(home: Home) -> None:
    """Carriers must trust the new one before anything is presented under it."""
    added = run("rotate-ca", "add", "--purpose", "server", "--no-passphrase", "--home", home.root)
    assert added["stage"] == "reissue"
    assert "every carrier" in added["next"][0]

    run("rotate-ca", "reissue", "--purpose", "server", "--home", home.root)
    (new,) = issuing.issued([authority.current(home.pki, Purpose.SERVER)])
    assert new.authority.name == added["new"]


def test_without_a_ca_there_is_nothing_to_rotate(tmp_path: Path) -> None:
    """One line that says how to begin."""
    with pytest.raises(CertificateError, match="receiver certs init-ca"):
        run("rotate-ca", "--pki", tmp_path / "none")


def test_for_people_it_says_where_it_stands_and_what_comes_next(home: Home) -> None:
    """State, certificates, next command."""
    rotate(home, "add")
    text = CliRunner().invoke(command, ["rotate-ca", "--home", str(home.root)]).output

    assert all(
        word in text for word in ("still in use", "to be reissued", "receiver certs reload", "rotate-ca reissue")
    )


def test_a_start_in_the_middle_of_a_rotation_keeps_both(home: Home) -> None:
    """`scripts/run` completes a development home at every start; the CA before stays an anchor until it is removed."""
    old = the_leaf(home)
    rotate(home, "add")

    development_home(home, now=AT)

    assert identified(home, old)
    assert len(list((home.trust / "tencent" / "anchors").glob("*.pem"))) == 2
