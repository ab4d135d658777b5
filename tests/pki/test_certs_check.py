"""`receiver certs check`: what it finds, and the status a monitor reads."""

import json
import os
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from certificates import DAY, Issued, authority, crl, crl_pem, now
from click.testing import CliRunner

from receiver import nginx_files
from receiver.cli.certs import command
from receiver.cli.init import development_home
from receiver.config import load
from receiver.home import Home
from receiver.pki import authority as authorities
from receiver.pki import check_authorities, findings, issuing
from receiver.pki.findings import Level, Margins
from receiver.pki.profiles import Purpose

AT = int(now().timestamp())


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands go by the clock, so each test begins now: modules may have been imported long before."""
    monkeypatch.setattr(sys.modules[__name__], "AT", int(now().timestamp()))


SECONDS_A_DAY = 86_400


def checked(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    """The exit status, and what `--json` says."""
    result = CliRunner().invoke(command, ["check", "--json", *map(str, arguments)])
    return result.exit_code, json.loads(result.stdout)


def bad(answer: dict[str, Any]) -> list[str]:
    """The findings that are not all well, as lines."""
    rows = [row for row in answer["findings"] if row["level"] != "ok"]
    return [f"{row['level']}: {row['about']}: {row['text']} -> {row['step']}" for row in rows]


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    """A client CA with one certificate and its key."""
    made = authorities.initialise(tmp_path / "pki", Purpose.CLIENT, now=AT, passphrase=None)
    issuing.issue_client(made, "acme", now=AT, passphrase=None)
    return tmp_path / "pki"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A development home."""
    home, umask = Home(tmp_path / "home"), os.umask(0o022)
    development_home(home, now=AT)
    yield home
    os.umask(umask)


def the_ca(pki: Path) -> authorities.Authority:
    return authorities.current(pki, Purpose.CLIENT)


def test_all_well_exits_with_0(pki: Path, home: Home) -> None:
    """A line for each thing that was looked at."""
    status, answer = checked("--pki", pki)

    assert (status, answer["status"], bad(answer)) == (0, "ok", [])
    about = " ".join(row["about"] for row in answer["findings"])
    assert all(word in about for word in ("client CA", "CRL of", "client certificate acme", "clock"))
    status, answer = checked("--home", home.root)
    assert (status, bad(answer)) == (0, [])
    about = " ".join(row["about"] for row in answer["findings"])
    assert all(word in about for word in ("of tencent", "client-cas.pem", "server certificate localhost"))


def test_what_ends_soon_is_a_warning_then_critical(pki: Path) -> None:
    """By the margins given, with the command that mends it."""
    status, answer = checked("--pki", pki, "--warn", "398d")
    assert status == 1
    assert ["receiver certs renew" in line and "client certificate acme" in line for line in bad(answer)] == [True]

    assert checked("--pki", pki, "--warn", "398d", "--crit", "398d")[0] == 2
    assert checked("--pki", pki, "--warn", "396d", "--crit", "1h")[0] == 0
    status, answer = checked("--pki", pki, "--warn", "3651d")
    assert any("rotate-ca" in line for line in bad(answer))


def test_nothing_to_check_and_wrong_usage_exit_with_3(tmp_path: Path) -> None:
    """A monitor takes 2 for critical, so wrong usage is not 2 here."""
    assert checked("--pki", tmp_path / "none") == (3, checked("--pki", tmp_path / "none")[1])
    runner = CliRunner()
    assert runner.invoke(command, ["check", "--warn", "soon"]).exit_code == 3
    assert runner.invoke(command, ["check", "--no-such-option"]).exit_code == 3
    (tmp_path / "receiver.toml").write_text("mode = 3\n")
    status, answer = checked("--home", tmp_path)
    assert status == 3
    assert "mode" in answer["findings"][0]["text"]


@pytest.mark.parametrize(
    ("days", "level"),
    [(0, "ok"), (22.4, "ok"), (22.6, "warning"), (26.9, "warning"), (27.1, "critical"), (31, "critical")],
)
def test_a_crl_is_judged_by_its_own_life(pki: Path, days: float, level: str) -> None:
    """A quarter of 30 days and an hour is a warning, a tenth critical."""
    at = AT + int(days * SECONDS_A_DAY)
    (found,) = (
        one for one in check_authorities.check(pki, now=at, margins=Margins()) if one.about.startswith("CRL of")
    )

    assert found.level == level
    assert bool(found.step) == (level != "ok")


def test_a_crl_that_cannot_be_used_is_critical(pki: Path) -> None:
    """Missing, empty, somebody else's, from the future, or silent about what was revoked."""
    ca = the_ca(pki)
    good = ca.crl_path.read_bytes()
    own = Issued.load(ca.path, ca.key_path)
    stranger = authority(ca.certificate.subject, at=now())
    for content in (
        b"",
        good[:80],
        ca.path.read_bytes(),
        crl_pem(crl(stranger, at=now())),
        crl_pem(crl(own, this_update=now() + DAY, at=now())),
        crl_pem(crl(own, next_update=now() - timedelta(hours=1), at=now())),
    ):
        ca.crl_path.write_bytes(content)
        status, answer = checked("--pki", pki)
        assert status == 2, content
        assert any("CRL of" in line for line in bad(answer))
    ca.crl_path.unlink()
    assert checked("--pki", pki)[0] == 2
    ca.crl_path.write_bytes(good)
    (leaf,) = issuing.issued([ca])
    issuing.revoke(leaf, reason="superseded", now=AT, passphrase=None)
    ca.crl_path.write_bytes(good)
    assert "does not list 1" in bad(checked("--pki", pki)[1])[0]


def test_a_key_must_be_the_certificates_own(pki: Path) -> None:
    """For the CA and for what it issued."""
    ca = the_ca(pki)
    (leaf,) = issuing.issued([ca])
    assert leaf.key_path
    for path, other in ((leaf.key_path, ca.key_path), (ca.key_path, leaf.key_path)):
        kept = path.read_bytes()
        path.write_bytes(other.read_bytes())
        status, answer = checked("--pki", pki)
        path.write_bytes(kept)
        assert status == 2
        assert "is not the key of" in bad(answer)[0]
    leaf.key_path.write_bytes(b"hello")
    assert "not a private key" in bad(checked("--pki", pki)[1])[0]


def test_private_files_are_private(pki: Path) -> None:
    """A key others may read is critical, and the line says what to type."""
    ca = the_ca(pki)
    ca.key_path.chmod(0o640)
    status, answer = checked("--pki", pki)

    assert status == 2
    assert bad(answer) == [f"critical: {ca.key_path}: has mode 0640, so others may use it -> chmod 600 {ca.key_path}"]
    ca.key_path.chmod(0o600)
    ca.directory.chmod(0o755)
    assert f"chmod 700 {ca.directory}" in bad(checked("--pki", pki)[1])[0]


def test_a_damaged_ca_does_not_hide_the_others(pki: Path) -> None:
    """One line for the broken one; the rest is checked."""
    second = authorities.initialise(pki, Purpose.CLIENT, now=AT, passphrase=None)
    second.path.write_bytes(b"")
    status, answer = checked("--pki", pki)

    assert status == 2
    assert len(bad(answer)) == 1
    assert any("certificate acme" in row["about"] for row in answer["findings"])


def test_an_old_certificate_that_was_replaced_may_end(pki: Path) -> None:
    """Nothing is due when a later one of the carrier has taken over."""
    issuing.issue_client(the_ca(pki), "acme", now=AT + 380 * SECONDS_A_DAY, passphrase=None)
    found = check_authorities.check(pki, now=AT + 395 * SECONDS_A_DAY, margins=Margins())

    leaves = [one for one in found if one.about.startswith("client certificate")]
    assert [one.level for one in leaves] == [Level.OK, Level.OK]
    assert "takes over" in leaves[0].text


def test_a_clock_that_went_back_is_noticed(pki: Path) -> None:
    """Files made tomorrow cannot be."""
    assert check_authorities.clock(pki, now=AT).level is Level.OK
    assert check_authorities.clock(pki, now=AT - SECONDS_A_DAY).level is Level.CRITICAL


def test_a_revocation_that_did_not_reach_the_trust_files_is_critical(home: Home) -> None:
    """The receiver goes by HOME/trust, not by HOME/pki."""
    ca = authorities.current(home.pki, Purpose.CLIENT)
    (leaf,) = issuing.issued([ca])
    issuing.revoke(leaf, reason="keyCompromise", now=AT, passphrase=None)

    status, answer = checked("--home", home.root)
    assert status == 2
    assert any("still let in" in line and "receiver certs crl" in line for line in bad(answer))
    CliRunner().invoke(command, ["crl", "--home", str(home.root)])
    assert not any("still let in" in line for line in bad(checked("--home", home.root)[1]))


def test_trust_files_are_covered(home: Home) -> None:
    """An anchor of ours without its CRL, a CA that is no anchor, no anchor at all, a broken file."""
    trust = home.trust / "tencent"
    name = f"{the_ca(home.pki).name}.pem"
    revocations, anchor = trust / "crls" / name, trust / "anchors" / name
    kept = revocations.read_bytes()
    revocations.unlink()
    assert any("there is none" in line for line in bad(checked("--home", home.root)[1]))
    revocations.write_bytes(b"hello")
    status, answer = checked("--home", home.root)
    assert (status, name in bad(answer)[0]) == (2, True)
    revocations.write_bytes(kept)
    anchor.write_bytes(authority(at=now()).pem)
    revocations.unlink()
    assert any("that CA is no anchor" in line for line in bad(checked("--home", home.root)[1]))
    anchor.unlink()
    assert any("nobody is let in" in line for line in bad(checked("--home", home.root)[1]))


def test_a_foreign_ca_without_a_crl_is_all_right_unless_nginx_wants_one(home: Home) -> None:
    """A carrier that publishes none must not keep a monitor red."""
    (home.trust / "tencent/anchors/foreign.pem").write_bytes(authority("Foreign CA", at=now()).pem)
    assert checked("--home", home.root)[0] == 0

    with home.settings.open("a") as file:
        file.write("\n")
    text = home.settings.read_text().replace("# crl = false", "crl = true")
    home.settings.write_text(text)
    status, answer = checked("--home", home.root)
    assert (status, "Foreign CA" in bad(answer)[0]) == (2, True)


def test_nginx_reads_the_same_anchors(home: Home) -> None:
    """The rendered bundle equals the trust files, whatever their order."""
    settings = load(home.root)
    nginx_files.write(home, settings, nginx_files.production_paths(home), is_whole=False)
    status, answer = checked("--home", home.root)
    assert status == 0
    assert any("holds the 1 anchors" in row["text"] for row in answer["findings"])

    (home.trust / "tencent/anchors/foreign.pem").write_bytes(authority("Foreign CA", at=now()).pem)
    status, answer = checked("--home", home.root)
    assert (status, "lacks 1 anchors" in bad(answer)[0], "receiver nginx" in bad(answer)[0]) == (2, True, True)


def test_a_production_home_serves_its_own_certificate_and_trusts_no_development_ca(home: Home) -> None:
    """What a development home may have is critical there."""
    home.settings.write_text('mode = "production"\n')
    lines = "\n".join(bad(checked("--home", home.root)[1]))

    assert "development CA in a production home" in lines
    assert "install-server" in lines


def test_for_people_it_is_one_line_for_each_finding(pki: Path) -> None:
    """And foreign text cannot break the terminal."""
    nasty = authority("\x1b[2J\u202eCA", at=now())
    result = CliRunner().invoke(command, ["check", "--pki", str(pki)])
    assert result.exit_code == 0
    assert result.stdout.rstrip().endswith("findings")
    home = pki.parent / "home"
    (home / "trust/tencent/anchors").mkdir(parents=True, mode=0o700)
    home.chmod(0o700)
    (home / "receiver.toml").write_text('mode = "development"\n')
    (home / "trust/tencent/anchors/a.pem").write_bytes(nasty.pem)

    shown = CliRunner().invoke(command, ["check", "--home", str(home)])
    assert all(line.isprintable() for line in shown.output.splitlines())
    assert "critical" not in shown.output
    assert len(shown.output.splitlines()) == len(checked("--home", home)[1]["findings"]) + 5


def test_levels_add_up_to_the_worst() -> None:
    """Critical before unknown: what is known to be bad is not hidden by what is not known."""
    rows = [findings.Finding(level=level, about="x", text="y") for level in Level]

    assert findings.worst(rows) is Level.CRITICAL
    assert findings.worst(rows[3:]) is Level.UNKNOWN
    assert findings.worst([]) is Level.UNKNOWN
    assert findings.sorted_by_level(rows)[0].level is Level.CRITICAL


def test_what_may_not_be_read_is_unknown(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither well nor critical: this user cannot tell."""
    read, hidden = Path.read_bytes, home.trust / "tencent/crls" / f"{the_ca(home.pki).name}.pem"

    def refusing(path: Path) -> bytes:
        if path == hidden:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refusing)
    status, answer = checked("--home", home.root)
    assert (status, bad(answer)[0].startswith("unknown: trust of tencent")) == (3, True)
