"""Certificate work on a running product: what is changed is taken up, and proven with a real handshake."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import certs_terminal
import pytest
from click.testing import CliRunner
from nginx_lab import NGINX
from product import PATH, Product, encoded, report, running
from wire import Target, tls

from receiver.cli.certs import command
from receiver.errors import CertificateError

pytestmark = [pytest.mark.edge, pytest.mark.skipif(NGINX is None, reason="nginx is not installed")]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A product of its own, whose CA may change."""
    with running(tmp_path_factory.mktemp("live") / "home") as product:
        yield product


def run(live: Product, *arguments: str) -> Any:
    """Run a command with `--json` on the home that runs; its object."""
    return certs_terminal.run(*arguments, "--home", live.home)


def posted(live: Product, certificate: Path) -> int:
    """The status a callback gets under this certificate."""
    files = (certificate, certificate.with_suffix(".key"))
    target = Target(port=live.carrier().port, tls=tls(Path(live.ready["server_ca"]), files))
    return target.post(PATH, encoded(report())).status


def test_reload_proves_both_handshakes(live: Product) -> None:
    """Refused without a certificate, let in with one, by nginx and by the receiver's files."""
    answer = run(live, "reload")

    assert answer["probed"] is True
    assert "refused with 403" in answer["lines"][0]
    assert "nginx lets it in; the receiver verifies it for tencent" in answer["lines"][1]


def test_reload_says_when_a_certificate_is_not_let_in(live: Product, tmp_path: Path) -> None:
    """One that nginx does not know."""
    other = CliRunner().invoke(command, ["init-ca", "--no-passphrase", "--pki", str(tmp_path)])
    assert other.exit_code == 0
    issued = json.loads(CliRunner().invoke(command, ["issue-client", "acme", "--json", "--pki", str(tmp_path)]).stdout)

    with pytest.raises(CertificateError, match=r"nginx refuses .* with 403 untrusted"):
        run(live, "reload", "--cert", issued["certificate"], "--key", issued["key"])


def test_a_ca_is_rotated_without_one_refused_callback(live: Product) -> None:
    """Old and new certificates at every stage, through real nginx, until the old one is revoked."""
    old = Path(live.ready["client_cert"])
    seen = [posted(live, old)]
    for stage in ("add", "reissue"):
        run(live, "rotate-ca", stage, "--no-passphrase")
        run(live, "reload")
        seen.append(posted(live, old))
    (new,) = (live.home / "pki").glob("client-*-2/issued/*.pem")
    seen.append(posted(live, new))
    assert seen == [200] * 4

    run(live, "revoke", str(old))
    run(live, "rotate-ca", "remove")
    run(live, "reload")
    assert (posted(live, old), posted(live, new)) == (403, 200)
    assert run(live, "rotate-ca")["stage"] == "none"
    assert CliRunner().invoke(command, ["check", "--home", str(live.home)]).exit_code == 0
