"""`receiver trust` from outside: what a person types, what lies on disk then, and whom the receiver lets in."""

import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import store_lab as lab
from certificates import DAY, Issued, authority, client, crl, crl_pem, name, nginx_header, now
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from odd_certificates import version_1

from receiver import control
from receiver.cli.trust import command
from receiver.errors import CertificateError, ReceiverError, UntrustedError, UsageError
from receiver.home import Home
from receiver.pki import files, public_roots
from receiver.store.sqlite import offline
from receiver.trust import ACCEPT_UNPINNED, Forwarded, Verifier, block_from, pin_from
from receiver.trust.files import TrustFiles

AT = now()
CA = authority("Carrier CA", at=AT, path_length=None)
LOWER = authority("Lower CA", parent=CA, at=AT)
OTHER = authority("Other CA", at=AT)
LEAF = client(CA, at=AT)
DEVELOPMENT = name("a CA", organization_name="Development only, not for production")


def invoked(home: Home, *arguments: str | Path) -> Result:
    """Run a command line; our own errors are raised."""
    result = CliRunner().invoke(command, [*map(str, arguments), "--home", str(home.root)])
    if isinstance(result.exception, ReceiverError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def run(home: Home, *arguments: str | Path) -> Any:
    """Run a command with `--json`; its object."""
    return json.loads(invoked(home, *arguments, "--json").stdout)


def verdict(home: Home, leaf: Issued | bytes = LEAF, *, carrier: str = "tencent") -> str:
    """What a receiver started now makes of a certificate: `pinned`, `held`, or the reason it refuses it for."""
    at = int(now().timestamp())
    trust_files = TrustFiles(home.trust, {"tencent": "strict"})
    trust_files.load(now=at)
    rows = control.call(home, "pin_list")
    pins = [pin_from(row["columns"]) for row in rows if row["columns"]["kind"] != ACCEPT_UNPINNED]
    blocks = [block_from(row["columns"]) for row in control.call(home, "block_list")]
    is_off = {row["carrier"] for row in rows if row["columns"]["kind"] == ACCEPT_UNPINNED}
    trusts = trust_files.carriers(pins={"tencent": pins}, blocks={"tencent": blocks}, accept_unpinned=is_off)
    forwarded = Forwarded(verify="SUCCESS", certificates=(nginx_header(leaf),))
    try:
        return "pinned" if Verifier(trusts).identify(forwarded, carrier=carrier, now=at).is_pinned else "held"
    except UntrustedError as exc:
        return exc.code


def contents(home: Home) -> dict[str, bytes]:
    """Every trust file."""
    return {str(path.relative_to(home.trust)): path.read_bytes() for path in home.trust.rglob("*.pem")}


def actions(home: Home) -> list[tuple[str, Any]]:
    """The audit: what, and about what."""
    with offline(home.root / "store") as state:
        rows = state._connection.execute("select action, detail from audit order by id").fetchall()
    return [(action, json.loads(detail)) for action, detail in rows]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose machine holds one root public."""
    (tmp_path / "bundle").write_bytes(OTHER.pem)
    monkeypatch.setattr(public_roots, "SYSTEM_BUNDLE", tmp_path / "bundle")
    (tmp_path / "home").mkdir()
    return lab.home(tmp_path / "home")


def saved(tmp_path: Path, *contents_: bytes, stem: str = "ca") -> Path:
    """A file as a carrier handed it out."""
    path = tmp_path / f"{stem}.crt"
    path.write_bytes(b"".join(contents_))
    return path


def test_from_a_ca_file_to_a_pinned_carrier(home: Home, tmp_path: Path) -> None:
    """Installed: held. Pinned: accepted. Blocked: refused. And back again, each change audited."""
    leaf = saved(tmp_path, LEAF.pem, stem="leaf")
    assert verdict(home) == "untrusted"

    added = run(home, "add", "tencent", saved(tmp_path, CA.pem))
    assert [Path(path).name for path in added["installed"]] == [f"carrier-ca-{carrier_digits(CA)}.pem"]
    assert verdict(home) == "held"
    pin = run(home, "pin", "tencent", leaf, "--reason", "their certificate")["pin"]
    assert verdict(home) == "pinned"
    block = run(home, "block", "tencent", leaf)["block"]
    assert verdict(home) == "blocked"
    run(home, "unblock", "tencent", str(block))
    assert verdict(home) == "pinned"
    run(home, "unpin", "tencent", str(pin))
    assert verdict(home) == "held"
    assert "no root CA now" in "".join(run(home, "remove", "tencent", CA.sha256[:12])["lines"])
    assert verdict(home) == "untrusted"
    names = ["trust_install", "pin_add", "block_add", "block_remove", "pin_remove", "trust_remove"]
    assert [action for action, _ in actions(home)] == names
    assert actions(home)[0][1] == {
        "carrier": "tencent",
        "files": [f"tencent/anchors/carrier-ca-{carrier_digits(CA)}.pem"],
    }


def carrier_digits(issued: Issued) -> str:
    """The end of an installed file's name."""
    return issued.sha256[:8]


def test_everything_in_one_file_goes_where_it_belongs(home: Home, tmp_path: Path) -> None:
    """Root, lower CA and CRL, told apart by content, with text between them; twice changes nothing."""
    bundle = saved(tmp_path, b"Bag of things\n", LOWER.pem, crl_pem(crl(CA, [LEAF], at=AT)), b"\n# root\n", CA.pem)
    run(home, "add", "tencent", bundle)
    before = contents(home)
    again = run(home, "add", "tencent", bundle)

    assert sorted(path.split("/")[1] for path in before) == ["anchors", "crls", "intermediates"]
    assert verdict(home) == "revoked"
    assert verdict(home, client(LOWER, at=AT)) == "held"
    assert (again["installed"], contents(home)) == ([], before)
    assert len(actions(home)) == 1


def test_der_is_installed_as_pem(home: Home, tmp_path: Path) -> None:
    """For nginx reads no other form."""
    run(home, "add", "tencent", saved(tmp_path, CA.der))
    run(home, "add", "tencent", saved(tmp_path, crl(CA, [LEAF], at=AT).public_bytes(Encoding.DER)))

    assert verdict(home) == "revoked"
    assert all(content.startswith(b"-----BEGIN") for content in contents(home).values())


def test_several_roots_overlap(home: Home, tmp_path: Path) -> None:
    """A carrier's next CA beside its present one; the old one goes alone."""
    following = authority("Carrier CA 2", at=AT)
    run(home, "add", "tencent", saved(tmp_path, CA.pem))
    run(home, "add", "tencent", saved(tmp_path, following.pem))

    assert (verdict(home), verdict(home, client(following, at=AT))) == ("held", "held")
    run(home, "remove", "tencent", f"carrier-ca-{carrier_digits(CA)}.pem")
    assert (verdict(home), verdict(home, client(following, at=AT))) == ("untrusted", "held")


PKCS7 = b"-----BEGIN PKCS7-----\nMAA=\n-----END PKCS7-----\n"
FUTURE = crl(CA, this_update=AT + DAY, next_update=AT + 9 * DAY)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"hello", "holds no certificate"),
        (b"\x30\x03\x02\x01\x01", "cannot be read"),
        (CA.pem[:-40], "damaged or cut short"),
        (CA.der[:-40], "cannot be read"),
        (b"PK\x03\x04rest", "ZIP archive"),
        (PKCS7, "openssl pkcs7"),
        (CA.pem + CA.key_pem, "private key"),
        (LEAF.pem, "is no CA certificate"),
        (LOWER.pem, "would accept nothing"),
        (authority("Old", not_before=AT - 9 * DAY, not_after=AT - DAY).pem, "would accept nothing"),
        (crl_pem(crl(CA, at=AT)), "not issued by a configured CA"),
        (CA.pem + crl_pem(crl(CA, signer=OTHER, at=AT)), "signature that does not verify"),
        (CA.pem + crl_pem(FUTURE), "dated in the future"),
        (CA.pem + crl_pem(crl(CA, number=None, at=AT)), "no crlNumber"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(home: Home, tmp_path: Path, content: bytes, problem: str) -> None:
    """The file is named, nothing is installed and nothing audited."""
    path = saved(tmp_path, content)

    with pytest.raises(CertificateError, match=problem) as error:
        run(home, "add", "tencent", path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert contents(home) == {}
    assert actions(home) == []


def test_a_refusal_still_explains_what_was_found(home: Home, tmp_path: Path) -> None:
    """On standard output, as an object for scripts; the reason goes to standard error."""
    old = authority("Old", not_before=AT - 9 * DAY, not_after=AT - DAY)
    command_ = [sys.executable, "-m", "receiver", "trust", "add", "tencent", str(saved(tmp_path, old.pem))]
    result = subprocess.run([*command_, "--json", "--home", home.root], capture_output=True, text=True, check=False)
    (found,) = json.loads(result.stdout)["certificates"]

    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("error: ")
    assert (found["nginx"], found["receiver"]) == ("refuses", "refuses")
    assert "expired" in [finding["code"] for finding in found["findings"]]


def test_anyway_installs_what_nobody_would_accept(home: Home, tmp_path: Path) -> None:
    """A version 1 root, say: nginx takes it, and a pin by SHA-256 does the rest."""
    root = x509.load_der_x509_certificate(version_1(CA, CA)).public_bytes(Encoding.PEM)
    path, leaf = saved(tmp_path, root), saved(tmp_path, LEAF.pem, stem="leaf")
    with pytest.raises(CertificateError, match="receiver would accept nothing"):
        run(home, "add", "tencent", path)
    run(home, "add", "tencent", path, "--anyway")

    assert verdict(home) == "untrusted"
    assert "warning" in "".join(run(home, "pin", "tencent", leaf)["lines"])
    assert verdict(home) == "untrusted"
    assert "accepted when nginx has" in "".join(run(home, "pin", "tencent", leaf, "--by", "sha256")["lines"])
    assert verdict(home) == "pinned"


def test_a_dry_run_only_talks(home: Home, tmp_path: Path) -> None:
    result = invoked(home, "add", "tencent", saved(tmp_path, CA.pem), "--dry-run")

    assert "It would mean: whoever has a certificate under" in result.stdout
    assert (contents(home), actions(home)) == ({}, [])


def test_a_public_root_needs_a_pin_that_comes_with_it(home: Home, tmp_path: Path) -> None:
    """The pin is there before the root is; and without holding, no pin would help."""
    public, leaf = saved(tmp_path, OTHER.pem), client(OTHER, at=AT)
    with pytest.raises(CertificateError, match="is public, so anybody can get a certificate"):
        run(home, "add", "tencent", public)
    with pytest.raises(CertificateError, match="anybody could post"):
        run(home, "add", "tencent", public, "--pin-san", "dns:x", "--accept-unpinned", "why not")
    assert (contents(home), actions(home)) == ({}, [])

    run(home, "add", "tencent", public, "--pin", saved(tmp_path, leaf.pem, stem="leaf"))
    assert verdict(home, leaf) == "pinned"
    assert verdict(home, client(OTHER, "mallory", at=AT)) == "held"
    assert [action for action, _ in actions(home)] == ["pin_add", "trust_install"]
    with pytest.raises(UsageError, match="a public root is trusted"):
        run(home, "pin", "tencent", "--accept-unpinned", "why not")


def test_a_name_under_a_public_root_can_be_pinned(home: Home, tmp_path: Path) -> None:
    """Without a certificate at hand; DNS names in whatever case."""
    run(home, "add", "tencent", saved(tmp_path, OTHER.pem), "--pin-san", "dns:Callback.Tencent.Test")

    assert verdict(home, client(OTHER, "renewed", at=AT)) == "pinned"
    assert verdict(home, client(OTHER, san=[x509.DNSName("other.test")], at=AT)) == "held"


def test_a_newer_crl_takes_the_place_of_the_last_one_and_an_older_one_does_not(home: Home, tmp_path: Path) -> None:
    first, second = crl(CA, [LEAF], at=AT - DAY), crl(CA, [LEAF, 7], number=2, at=AT)
    run(home, "add", "tencent", saved(tmp_path, CA.pem, crl_pem(first)))
    run(home, "add", "tencent", saved(tmp_path, crl_pem(second)))

    (path,) = [path for path in contents(home) if "/crls/" in path]
    assert contents(home)[path] == crl_pem(second)
    with pytest.raises(CertificateError, match="is older"):
        run(home, "add", "tencent", saved(tmp_path, crl_pem(first)))
    assert contents(home)[path] == crl_pem(second)


def test_two_cas_of_one_name_keep_their_own_crls(home: Home, tmp_path: Path) -> None:
    """A CA's key decides whose CRL it is, not its name."""
    twin = authority("Carrier CA", at=AT)
    run(home, "add", "tencent", saved(tmp_path, CA.pem, crl_pem(crl(CA, at=AT))))
    run(home, "add", "tencent", saved(tmp_path, twin.pem, crl_pem(crl(twin, [7], at=AT - DAY))))

    assert len([path for path in contents(home) if "/crls/" in path]) == 2


def test_a_removed_ca_takes_its_crl_along(home: Home, tmp_path: Path) -> None:
    """A CRL without its CA would keep the receiver from starting."""
    run(home, "add", "tencent", saved(tmp_path, CA.pem, LOWER.pem, crl_pem(crl(CA, at=AT)), crl_pem(crl(LOWER, at=AT))))
    removed = run(home, "remove", "tencent", LOWER.sha256)["removed"]

    assert sorted(Path(path).parent.name for path in removed) == ["crls", "intermediates"]
    assert verdict(home) == "held"
    run(home, "remove", "tencent", CA.sha256)
    assert contents(home) == {}


def test_a_broken_file_is_shown_and_can_be_removed(home: Home, tmp_path: Path) -> None:
    run(home, "add", "tencent", saved(tmp_path, CA.pem))
    (home.trust / "tencent/anchors/broken.pem").write_bytes(CA.pem[:100])

    (carrier,) = run(home, "list")["carriers"]
    assert "broken.pem" in "".join(carrier["warnings"])
    with pytest.raises(CertificateError, match=r"broken\.pem"):
        run(home, "add", "tencent", saved(tmp_path, LOWER.pem))
    run(home, "remove", "tencent", "broken.pem")
    assert verdict(home) == "held"


@pytest.mark.parametrize("survivors", range(3))
def test_a_crash_between_two_files_leaves_a_set_that_works(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survivors: int
) -> None:
    """After any number of written files a receiver can start, and the same command completes the work."""
    bundle = saved(tmp_path, crl_pem(crl(CA, [LEAF], at=AT)), CA.pem, LOWER.pem)
    write, written = files.replace, list[Path]()

    def replace(path: Path, content: bytes) -> None:
        if len(written) == survivors:
            raise CertificateError("the power is gone")
        written.append(path)
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(files, "replace", replace)
        with pytest.raises(CertificateError, match="the power is gone"):
            run(home, "add", "tencent", bundle)
    assert verdict(home) in {"untrusted", "held"}
    run(home, "add", "tencent", bundle)
    assert verdict(home) == "revoked"


def test_commands_given_at_once_take_turns(home: Home, tmp_path: Path) -> None:
    """Two processes, a CA and its CRL each: all four are there, and a receiver can start."""
    started = []
    for number in range(2):
        ca = authority(f"CA {number}", at=AT)
        bundle = saved(tmp_path, ca.pem, crl_pem(crl(ca, at=AT)), stem=f"ca{number}")
        command_ = [sys.executable, "-m", "receiver", "trust", "add", "tencent", str(bundle), "--home", str(home.root)]
        started.append(subprocess.Popen(command_, stdout=subprocess.DEVNULL))

    assert [process.wait(timeout=60) for process in started] == [0, 0]
    assert len(contents(home)) == 4
    assert len(actions(home)) == 2
    assert verdict(home) == "untrusted"


def test_what_is_not_there_cannot_be_removed(home: Home, tmp_path: Path) -> None:
    run(home, "add", "tencent", saved(tmp_path, CA.pem))

    for which in ("nothing", CA.sha256[:7], "ca", ""):
        with pytest.raises(CertificateError, match="is no trust file"):
            run(home, "remove", "tencent", which)
    assert len(contents(home)) == 1


def test_the_list_shows_everything_in_force(home: Home, tmp_path: Path) -> None:
    """Files, pins, blocks and what a person should look at, for scripts and for people."""
    leaf = saved(tmp_path, LEAF.pem, stem="leaf")
    run(home, "add", "tencent", saved(tmp_path, CA.pem, crl_pem(crl(CA, [7], at=AT - 40 * DAY))))
    run(home, "pin", "tencent", leaf, "--reason", "theirs")
    run(home, "pin", "tencent", "--sha256", LEAF.sha256, "--until", "2100-01-01")
    run(home, "block", "tencent", "--sha256", ":".join(["AB"] * 32), "--reason", "stolen")
    run(home, "pin", "tencent", "--accept-unpinned", "the carrier changes\x1b[2J names")
    (carrier,) = run(home, "list")["carriers"]
    text = invoked(home, "list", "tencent").stdout

    assert [row["what"] for row in carrier["files"]] == ["root CA", "CRL"]
    assert [row["status"] for row in carrier["files"]] == ["valid", "expired"]
    assert [row["kind"] for row in carrier["pins"]] == ["name", "sha256", "any"]
    assert carrier["pins"][0]["subject"] == "CN=callback.tencent.test"
    assert carrier["pins"][1]["until"] == "2100-01-01T00:00:00Z"
    assert [row["sha256"] for row in carrier["blocks"]] == ["ab" * 32]
    assert carrier["is_holding"] is False
    warnings = "".join(carrier["warnings"])
    assert "expired at" in warnings
    assert "nginx does not know every CA yet" in warnings
    assert "ACCEPTED (holding is off)" in text
    assert "\x1b" not in text
    assert r"\u{1b}[2J" in "".join(text.split())


def test_nginx_knows_what_was_rendered_for_it(home: Home, tmp_path: Path) -> None:
    run(home, "add", "tencent", saved(tmp_path, CA.pem))
    home.nginx.mkdir()
    (home.nginx / "client-cas.pem").write_bytes(CA.pem)

    (carrier,) = run(home, "list")["carriers"]
    assert carrier["files"][0]["known_to_nginx"] is True
    assert not [line for line in carrier["warnings"] if "nginx" in line]


def test_holding_is_turned_off_with_a_reason_and_on_again(home: Home, tmp_path: Path) -> None:
    """It is one row among the pins, which `unpin` takes away."""
    run(home, "add", "tencent", saved(tmp_path, CA.pem))
    number = run(home, "pin", "tencent", "--accept-unpinned", "first weeks")["pin"]

    assert verdict(home) == "pinned"
    with pytest.raises(UsageError, match="already"):
        run(home, "pin", "tencent", "--accept-unpinned", "again")
    run(home, "unpin", "tencent", str(number))
    assert verdict(home) == "held"


def test_a_certificate_is_pinned_for_one_carrier_only(home: Home, tmp_path: Path) -> None:
    home.settings.write_text('[carriers.tencent]\n[carriers.acme]\nprofile = "tencent"\n')
    leaf = saved(tmp_path, LEAF.pem)
    first = run(home, "pin", "tencent", leaf)

    assert run(home, "pin", "tencent", leaf)["pin"] is None
    with pytest.raises(UsageError, match=rf"pinned for tencent \(pin {first['pin']}\)"):
        run(home, "pin", "acme", leaf)
    with pytest.raises(UsageError, match="acme has no pin"):
        run(home, "unpin", "acme", str(first["pin"]))


def test_a_block_by_file_outlives_another_signature(home: Home, tmp_path: Path) -> None:
    """Who has an ECDSA signature can make another valid one of it: other bytes, other SHA-256, the same certificate."""
    run(home, "add", "tencent", saved(tmp_path, CA.pem))
    run(home, "block", "tencent", saved(tmp_path, LEAF.pem, stem="leaf"))
    twin = client(CA, at=AT, key=LEAF.key, serial=LEAF.certificate.serial_number)

    assert twin.sha256 != LEAF.sha256
    assert (verdict(home), verdict(home, twin)) == ("blocked", "blocked")


def test_a_block_by_issuer_and_serial(home: Home, tmp_path: Path) -> None:
    ca = saved(tmp_path, CA.pem)
    run(home, "add", "tencent", ca)
    serial = f"{LEAF.certificate.serial_number:x}"
    first = run(home, "block", "tencent", "--serial", serial, "--issuer", ca)["block"]

    assert verdict(home) == "blocked"
    assert run(home, "block", "tencent", "--serial", serial, "--issuer", ca)["block"] == first
    with pytest.raises(UsageError, match="tencent has no block 99"):
        run(home, "unblock", "tencent", "99")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["pin", "tencent"], "give a certificate file, --san or --sha256"),
        (["pin", "nobody", "LEAF"], "no carrier 'nobody'"),
        (["pin", "tencent", "CA"], "a CA certificate, which no carrier presents"),
        (["pin", "tencent", "LEAF", "--san", "dns:other"], "has no subject alternative name"),
        (["pin", "tencent", "--san", "callback.tencent.test"], "must begin with dns:"),
        (["pin", "tencent", "--san", "dns:a", "--sha256", "ab" * 32], "give one of"),
        (["pin", "tencent", "--sha256", "ab"], "64 hexadecimal digits"),
        (["pin", "tencent", "LEAF", "--sha256", "ab" * 32], "is not that of the certificate"),
        (["pin", "tencent", "LEAF", "--until", "2100-01-01"], "for a pin by SHA-256"),
        (["pin", "tencent", "LEAF", "--by", "sha256", "--until", "soon"], "must be a date"),
        (["pin", "tencent", "LEAF", "--by", "sha256", "--until", "2001-01-01"], "has passed already"),
        (["pin", "tencent", "LEAF", "--accept-unpinned", "x"], "give it alone"),
        (["pin", "tencent", "--accept-unpinned", " "], "give the reason"),
        (["pin", "tencent", "NAMELESS"], "subject is empty"),
        (["pin", "tencent", "KEY"], "holds no certificate"),
        (["block", "tencent"], "say which certificate"),
        (["block", "tencent", "--serial", "1"], "say which certificate"),
        (["block", "tencent", "--serial", "xyz", "--issuer", "CA"], "must be hexadecimal"),
        (["add", "tencent", "CA", "--accept-unpinned", ""], "give the reason"),
        (["add", "nobody", "CA"], "no carrier 'nobody'"),
    ],
)
def test_what_cannot_be_meant_is_refused(home: Home, tmp_path: Path, arguments: list[str], problem: str) -> None:
    nameless = client(CA, x509.Name([]), extensions={x509.SubjectAlternativeName: None}, at=AT)
    known = {"CA": CA.pem, "LEAF": LEAF.pem, "NAMELESS": nameless.pem, "KEY": LEAF.key_pem}
    chosen = [str(saved(tmp_path, known[each], stem=each)) if each in known else each for each in arguments]

    with pytest.raises(ReceiverError, match=re.escape(problem)):
        run(home, *chosen)
    assert actions(home) == []


def test_names_made_to_break_a_terminal_come_out_escaped(home: Home, tmp_path: Path) -> None:
    """Control characters, direction marks and line ends, in the preflight, the list and the file's name."""
    evil = authority(name("a\x1b]0;x\x07\u202egood\nline", organization_name="../../etc"), at=AT)
    shown = invoked(home, "add", "tencent", saved(tmp_path, evil.pem)).stdout
    shown += invoked(home, "list").stdout
    refused = authority(name("b\x1b[2J"), not_before=AT - 9 * DAY, not_after=AT - DAY)
    with pytest.raises(CertificateError) as error:
        invoked(home, "add", "tencent", saved(tmp_path, refused.pem))

    assert not set("\x1b\x07\u202e") & set(shown + str(error.value))
    ((path, _),) = contents(home).items()
    assert re.fullmatch(r"tencent/anchors/[a-z0-9-]+\.pem", path)


def test_a_name_of_ten_thousand_characters_is_cut(home: Home, tmp_path: Path) -> None:
    long = authority(name("long", organization_name="x" * 10_000), at=AT)
    shown = invoked(home, "add", "tencent", saved(tmp_path, long.pem, crl_pem(crl(long, at=AT)))).stdout
    shown += invoked(home, "list").stdout

    assert "O=xxx" in shown
    assert len(shown) < 8_000


def test_a_production_home_lets_no_development_certificate_in(home: Home, tmp_path: Path) -> None:
    home.settings.write_text('mode = "production"\n')
    made = authority(DEVELOPMENT, at=AT)
    leaf = client(made, DEVELOPMENT, at=AT)

    with pytest.raises(CertificateError, match="development PKI"):
        run(home, "add", "tencent", saved(tmp_path, made.pem), "--anyway")
    with pytest.raises(UsageError, match="development PKI"):
        run(home, "pin", "tencent", saved(tmp_path, leaf.pem))
    assert (contents(home), actions(home)) == ({}, [])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a home away")
def test_files_are_made_by_the_homes_owner_only(home: Home, tmp_path: Path) -> None:
    """Root's directories would be closed to the receiver."""
    os.chown(home.root, 65534, -1)

    for arguments in (["add", "tencent", saved(tmp_path, CA.pem)], ["remove", "tencent", "x"]):
        with pytest.raises(UsageError, match="belongs to the user 65534"):
            run(home, *arguments)
    assert not home.trust.exists()


def test_a_machine_without_public_roots_says_that_nobody_looked(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(public_roots, "SYSTEM_BUNDLE", tmp_path / "none")

    assert "no list of public roots" in "".join(run(home, "add", "tencent", saved(tmp_path, CA.pem))["lines"])


def test_an_end_that_is_near_is_told_before_it_comes(home: Home, tmp_path: Path) -> None:
    soon = authority("Soon", at=AT, not_after=AT + timedelta(days=20))

    assert "it expires in" in invoked(home, "add", "tencent", saved(tmp_path, soon.pem)).stdout


@pytest.mark.parametrize("name_", sorted(command.commands))
def test_every_command_explains_itself_with_an_example(name_: str) -> None:
    result = CliRunner().invoke(command, [name_, "--help"])

    assert f"Example: receiver trust {name_}" in " ".join(result.output.split())
