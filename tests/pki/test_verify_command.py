"""`receiver certs verify` from outside: exit codes, JSON, and files as people have them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from certificates import DAY, NOW, Issued, authority, client, crl, crl_pem
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from odd_certificates import pem, version_1

from receiver.cli.certs import command

AT = NOW.isoformat()
CA = authority()
LEAF = client(CA)


@dataclass(frozen=True)
class Answer:
    """What the command said."""

    code: int
    verdict: dict[str, Any]
    text: str


@dataclass
class Desk:
    """A directory with files, and the command to judge them with."""

    directory: Path

    def file(self, name: str, content: bytes) -> str:
        """Write a file; its path."""
        path = self.directory / name
        path.write_bytes(content)
        return str(path)

    def verify(  # noqa: PLR0913 -- one for each kind of file, and the time
        self,
        leaf: Issued | bytes = LEAF,
        *,
        anchors: Sequence[Issued] | bytes = (CA,),
        intermediates: Sequence[Issued] = (),
        crls: Sequence[x509.CertificateRevocationList | bytes] = (),
        at: str = AT,
        more: Sequence[str] = (),
    ) -> Answer:
        """Judge with `--json`."""
        trusted = anchors if isinstance(anchors, bytes) else b"".join(one.pem for one in anchors)
        arguments = ["--anchors", self.file("anchors.pem", trusted)]
        for number, one in enumerate(intermediates):
            arguments += ["--intermediate", self.file(f"i{number}.pem", one.pem)]
        for number, revocations in enumerate(crls):
            content = revocations if isinstance(revocations, bytes) else crl_pem(revocations)
            arguments += ["--crl", self.file(f"c{number}.pem", content)]
        path = self.file("leaf.pem", leaf if isinstance(leaf, bytes) else leaf.pem)
        return self.run(path, *arguments, "--at", at, "--json", *more)

    def run(self, *arguments: str) -> Answer:
        """Judge with exactly these arguments."""
        result = CliRunner().invoke(command, ["verify", *arguments])
        verdict = json.loads(result.stdout) if result.stdout.startswith("{") else {}
        return Answer(result.exit_code, verdict, result.output)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """An empty desk."""
    return Desk(tmp_path)


def test_an_accepted_certificate_exits_with_0(desk: Desk) -> None:
    """`ok` true, what was judged, and that nobody asked a CRL."""
    answer = desk.verify()

    assert answer.code == 0
    assert answer.verdict["ok"] is True
    assert answer.verdict["revocation"] == "unchecked"
    assert answer.verdict["sha256"] == LEAF.sha256
    assert answer.verdict["warnings"] == []


def test_a_refused_certificate_exits_with_1_and_a_reason(desk: Desk) -> None:
    """A short code and one sentence."""
    answer = desk.verify(client(authority("Stranger")))

    assert answer.code == 1
    assert answer.verdict["ok"] is False
    assert answer.verdict["reason"] == "untrusted"
    assert "Stranger" in answer.verdict["detail"]
    assert answer.verdict["revocation"] == "unchecked"


def test_wrong_usage_or_a_missing_file_exits_with_2(desk: Desk) -> None:
    """Told apart from a refusal."""
    leaf, anchors = desk.file("leaf.pem", LEAF.pem), desk.file("ca.pem", CA.pem)

    assert desk.run(leaf).code == 2
    assert desk.run(leaf, "--anchors", "missing.pem").code == 2
    assert desk.run("missing.pem", "--anchors", anchors).code == 2
    assert desk.run(leaf, "--anchors", anchors, "--crl", "missing.crl").code == 2
    assert desk.run(leaf, "--anchors", anchors, "--profile", "lax").code == 2
    assert desk.run(leaf, "--anchors", anchors, "--at", "yesterday").code == 2
    assert desk.run(leaf, "--anchors", anchors, "--at", "2026-11-22T10:00:00").code == 2
    assert desk.run(leaf, "--anchors", str(desk.directory)).code == 2
    assert desk.run(leaf, "--anchors", desk.file("empty.pem", b"")).code == 2
    assert desk.run(leaf, "--anchors", desk.file("ca.key", CA.key_pem)).code == 2


def test_a_leaf_that_is_no_certificate_is_refused(desk: Desk) -> None:
    """It would not be accepted."""
    for content in (b"", b"hello", LEAF.pem[:200], LEAF.key_pem):
        answer = desk.verify(content)

        assert (answer.code, answer.verdict["reason"]) == (1, "bad_certificate")


def test_files_may_be_pem_or_der(desk: Desk) -> None:
    """As openssl and browsers export them."""
    anchors = desk.file("ca.crt", CA.der)
    revocations = desk.file("ca.crl", crl(CA).public_bytes(Encoding.DER))
    answer = desk.run(desk.file("leaf.crt", LEAF.der), "--anchors", anchors, "--crl", revocations, "--at", AT, "--json")

    assert answer.code == 0
    assert answer.verdict["revocation"] == "checked"


def test_text_around_pem_does_not_matter(desk: Desk) -> None:
    """`openssl x509 -text` writes it so."""
    assert desk.verify(b"Certificate:\n    Data:\n" + LEAF.pem, anchors=b"# ours\n\n" + CA.pem + b"\n").code == 0


def test_the_first_certificate_of_a_full_chain_file_is_judged(desk: Desk) -> None:
    """And it is said that there are more; they are not taken for intermediates."""
    root = authority("Root", path_length=None)
    lower = authority("CA", parent=root)
    leaf = client(lower)

    assert desk.verify(leaf.pem + lower.pem, anchors=[root]).verdict["reason"] == "untrusted"
    answer = desk.verify(leaf.pem + lower.pem, anchors=[root], intermediates=[lower])
    assert answer.code == 0
    assert "several certificates" in answer.verdict["warnings"][0]
    assert answer.verdict["chain"] == ["CN=callback.tencent.test", "CN=CA", "CN=Root"]


def test_the_profile_decides_about_certificates(desk: Desk) -> None:
    """Common name only: refused by strict, accepted by tolerant."""
    leaf = client(CA, extensions={x509.SubjectAlternativeName: None})

    assert desk.verify(leaf).verdict["reason"] == "bad_certificate"
    assert desk.verify(leaf, more=["--profile", "tolerant"]).code == 0
    assert desk.verify(pem(version_1(LEAF, CA)), more=["--profile", "tolerant"]).code == 1


def test_the_profile_decides_about_crls(desk: Desk) -> None:
    """Without crlNumber or expired: refused by strict, a warning in tolerant, and what it lists is revoked in both."""
    expired = crl(CA, next_update=NOW - timedelta(seconds=1))
    for revocations in (crl(CA, number=None), expired):
        strict = desk.verify(crls=[revocations])
        tolerant = desk.verify(crls=[revocations], more=["--profile", "tolerant"])

        assert (strict.code, strict.verdict["reason"]) == (1, "crl_invalid")
        assert tolerant.code == 0
        assert tolerant.verdict["revocation"] == "checked"
        assert len(tolerant.verdict["warnings"]) == 1
    assert desk.verify(crls=[crl(CA, next_update=NOW)]).code == 0
    listing = crl(CA, [LEAF], next_update=NOW - DAY)
    assert desk.verify(crls=[listing], more=["--profile", "tolerant"]).verdict["reason"] == "revoked"


def test_every_crl_given_must_be_usable(desk: Desk) -> None:
    """Also one that has nothing to do with this certificate, in either profile."""
    stranger = authority("Stranger")
    for bad in (crl(stranger), crl(CA, signer=stranger), crl(CA, this_update=NOW + DAY), b"", b"hello", CA.pem):
        for profile in ("strict", "tolerant"):
            answer = desk.verify(crls=[crl(CA), bad], more=["--profile", profile])

            assert (answer.code, answer.verdict["reason"]) == (1, "crl_invalid")


def test_one_of_two_crls_of_an_issuer_may_not_be_expired(desk: Desk) -> None:
    """`strict` means every CRL given."""
    assert desk.verify(crls=[crl(CA), crl(CA, next_update=NOW - DAY)]).verdict["reason"] == "crl_invalid"


def test_a_crl_reaches_intermediates(desk: Desk) -> None:
    """Every certificate its issuer signed."""
    root = authority("Root", path_length=None)
    lower = authority("CA", parent=root)
    leaf = client(lower)

    def reason(*revocations: x509.CertificateRevocationList) -> str:
        verdict = desk.verify(leaf, anchors=[root], intermediates=[lower], crls=revocations).verdict
        return str(verdict.get("reason") or verdict["revocation"])

    assert reason(crl(root, [lower]), crl(lower)) == "revoked"
    assert reason(crl(root), crl(lower)) == "checked"
    assert reason(crl(root)) == "partial"


@pytest.mark.parametrize(
    ("at", "code"),
    [
        ("2026-11-21T10:00:00Z", 0),
        ("2026-11-21T09:59:59.999Z", 1),
        ("2027-11-22T10:00:00Z", 0),
        ("2027-11-22T10:00:00.999Z", 0),
        ("2027-11-22T10:00:01Z", 1),
        ("2026-11-21T18:00:00+08:00", 0),
        ("2026-11-21t10:00:00z", 0),
    ],
)
def test_time_is_an_argument(desk: Desk, at: str, code: int) -> None:
    """Both ends of the validity belong to it; fractions of a second are cut off."""
    assert desk.verify(at=at).code == code


def test_for_people_it_prints_lines_without_control_characters(desk: Desk) -> None:
    """A verdict to read, whatever stands in the names."""
    nasty = authority("\x1b[2J\u202eCA")
    path, anchors = desk.file("leaf.pem", client(nasty).pem), desk.file("ca.pem", nasty.pem)

    accepted = desk.run(path, "--anchors", anchors, "--at", AT)
    refused = desk.run(path, "--anchors", desk.file("other.pem", CA.pem), "--at", AT)

    assert accepted.text.startswith("accepted: CN=callback.tencent.test")
    assert refused.text.startswith("refused (untrusted): ")
    assert all(line.isprintable() for line in (accepted.text + refused.text).splitlines())
