"""`receiver certs install-server`: only a pair that clients accept, put into place whole, and no key is ever lost."""

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from certificates import DAY, YEAR, Extensions, Issued, authority, client, now, p256
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.x509.oid import AuthorityInformationAccessOID

from receiver import nginx_files
from receiver.cli.certs import command
from receiver.config import load
from receiver.errors import CertificateError, ReceiverError, UsageError
from receiver.home import Home
from receiver.pki import server_chain, server_place
from receiver.supervise import nginx_reload

ROOT = authority("Public root", path_length=None, at=now())
LOWER = authority("Public CA", parent=ROOT, at=now())
DOMAIN = "callbacks.example.com"


def server(
    issuer: Issued = LOWER,
    *,
    names: Sequence[str] = (DOMAIN,),
    key: rsa.RSAPrivateKey | None = None,
    at: datetime | None = None,
    purpose: x509.ObjectIdentifier = x509.OID_SERVER_AUTH,
) -> Issued:
    """A server certificate that is good unless changed."""
    return client(
        issuer,
        names[0],
        key=key or p256(),
        san=[x509.DNSName(name) for name in names],
        extensions={x509.ExtendedKeyUsage: (x509.ExtendedKeyUsage([purpose]), False)},
        at=at or now(),
    )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A production home that waits for its server certificate."""
    home = Home(tmp_path / "home")
    for directory in (home.root, home.nginx, home.trust / "tencent/anchors"):
        directory.mkdir(mode=0o700, parents=True)
    home.settings.write_text(f'mode = "production"\n[server]\ndomain = "{DOMAIN}"\n')
    home.edge_key.write_text("0123456789abcdef" * 4)
    home.edge_key.chmod(0o600)
    (home.trust / "tencent/anchors/ca.pem").write_bytes(authority(at=now()).pem)
    return home


def install(home: Home, chain: bytes, key: bytes, *more: str) -> Any:
    """Install this pair with `--json`; its object. A refusal comes as the error it is."""
    paths = [home.root.parent / name for name in ("fullchain.pem", "privkey.pem", "root.pem")]
    for path, content in zip(paths, (chain, key, ROOT.pem), strict=True):
        path.write_bytes(content)
    arguments = ["install-server", "--json", "--home", home.root, "--root", paths[2], *more, *paths[:2]]
    result = CliRunner().invoke(command, [str(one) for one in arguments])
    if isinstance(result.exception, ReceiverError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def presented(home: Home) -> tuple[bytes, bytes]:
    """What nginx would read."""
    paths = nginx_files.production_paths(home)
    return paths.server_certificate.read_bytes(), paths.server_key.read_bytes()


def keys_in(home: Home) -> set[bytes]:
    """Every private key under nginx's directory."""
    return {path.read_bytes() for path in home.nginx.rglob("*") if path.is_file() and b"PRIVATE" in path.read_bytes()}


def test_a_good_pair_is_installed_in_order_without_the_root(home: Home) -> None:
    """Whatever the order in the file; private, with a hook for the renewal."""
    leaf = server()
    answer = install(home, ROOT.pem + LOWER.pem + leaf.pem, leaf.key_pem)

    assert presented(home) == (leaf.pem + LOWER.pem, leaf.key_pem)
    assert Path(answer["key"]).stat().st_mode & 0o777 == 0o600
    assert answer["names"] == [DOMAIN]
    assert "install-server --home" in answer["hook"]
    assert "RENEWED_LINEAGE" in answer["hook"]


def test_nginx_reads_what_was_installed(home: Home) -> None:
    """The real program, through the links."""
    leaf = server()
    install(home, leaf.pem + LOWER.pem, leaf.key_pem)
    paths = nginx_files.production_paths(home)

    nginx_reload.trial(home, load(home.root), certificate=paths.server_certificate, key=paths.server_key)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: (server().pem + LOWER.pem, p256_pem()), "the key is not the one"),
        (lambda: chained(server(), b""), "issuer .*Public CA.* is missing"),
        (lambda: chained(server(names=["other.example.com"])), "not for callbacks.example.com"),
        (lambda: chained(server(names=["*.example.com.evil.test"])), "not for callbacks.example.com"),
        (lambda: chained(server(names=["*.com"])), "not for callbacks.example.com"),
        (lambda: chained(server(at=now() - 2 * YEAR)), "expired at"),
        (lambda: chained(server(at=now() + 2 * DAY)), "valid only from"),
        (lambda: chained(server(purpose=x509.OID_CLIENT_AUTH)), "serverAuth"),
        (lambda: chained(server(key=rsa.generate_private_key(65537, 1024))), "1024 bits"),  # noqa: S505 -- refused
        (lambda: (b"", p256_pem()), "holds no certificate"),
        (lambda: (server().pem[:200], p256_pem()), "cut short"),
        (lambda: (server().pem, b"hello"), "no private key"),
        (lambda: (server().pem, encrypted()), "encrypted"),
    ],
)
def test_a_pair_that_clients_would_refuse_changes_nothing(
    home: Home, make: Callable[[], tuple[bytes, bytes]], problem: str
) -> None:
    """One clear line, and what was there is still there."""
    good = server()
    install(home, *chained(good))
    with pytest.raises(CertificateError, match=problem):
        install(home, *make())

    assert presented(home) == (good.pem + LOWER.pem, good.key_pem)


def test_where_a_missing_intermediate_is_to_be_had_is_said(home: Home) -> None:
    """By the address that stands in the certificate."""
    place = x509.UniformResourceIdentifier("http://ca.example/lower.crt")
    access = x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, place)])
    san = [x509.DNSName(DOMAIN)]
    extensions: Extensions = {
        x509.AuthorityInformationAccess: (access, False),
        x509.ExtendedKeyUsage: (x509.ExtendedKeyUsage([x509.OID_SERVER_AUTH]), False),
    }
    leaf = client(LOWER, DOMAIN, san=san, extensions=extensions, at=now())

    with pytest.raises(CertificateError, match=r"from http://ca\.example/lower\.crt"):
        install(home, leaf.pem, leaf.key_pem)


def chained(leaf: Issued, more: bytes = LOWER.pem) -> tuple[bytes, bytes]:
    """A full chain and its key."""
    return leaf.pem + more, leaf.key_pem


def p256_pem() -> bytes:
    """Some other key."""
    return server().key_pem


def encrypted() -> bytes:
    """A key that nginx could not read."""
    return p256().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"words"))


def test_a_wildcard_means_one_label(home: Home) -> None:
    """RFC 6125, 6.4.3."""
    install(home, *chained(server(names=["*.example.com"])))


def test_every_key_that_was_ever_installed_stays(home: Home) -> None:
    """Renewed, renewed, the first again, the same twice."""
    leaves = [server() for _ in range(3)]
    for leaf in (*leaves, leaves[0], leaves[0]):
        install(home, *chained(leaf))

        assert presented(home) == (leaf.pem + LOWER.pem, leaf.key_pem)
    assert keys_in(home) == {leaf.key_pem for leaf in leaves}


@pytest.mark.parametrize("there", [("server.pem", "server.key"), ("server.key",), ("server.pem",)])
def test_files_put_there_by_hand_are_kept(home: Home, there: tuple[str, ...]) -> None:
    """A link takes their place; the key itself lives on under another name."""
    old, new = server(), server()
    for name, content in (("server.pem", old.pem + LOWER.pem), ("server.key", old.key_pem)):
        if name in there:
            (home.nginx / name).write_bytes(content)
    install(home, *chained(new))

    assert presented(home) == (new.pem + LOWER.pem, new.key_pem)
    assert keys_in(home) == {new.key_pem, *([old.key_pem] if "server.key" in there else [])}


@pytest.mark.parametrize("crash_at", range(5))
@pytest.mark.parametrize("is_by_hand", [True, False])
def test_after_a_crash_certificate_and_key_still_belong_together(
    home: Home, monkeypatch: pytest.MonkeyPatch, crash_at: int, *, is_by_hand: bool
) -> None:
    """Between any two changes of a link; and one more try completes it."""
    old, new = server(), server()
    if is_by_hand:
        (home.nginx / "server.pem").write_bytes(old.pem + LOWER.pem)
        (home.nginx / "server.key").write_bytes(old.key_pem)
    else:
        install(home, *chained(old))
    left, point = [crash_at], server_place._point

    def dying(*arguments: Any) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        point(*arguments)

    monkeypatch.setattr(server_place, "_point", dying)
    chain = server_chain.read(*chained(new), roots=[ROOT.certificate])
    paths = nginx_files.production_paths(home)
    try:
        server_place.install(chain, certificate=paths.server_certificate, key=paths.server_key, now=0)
    except KeyboardInterrupt:
        assert crash_at < 4
    monkeypatch.undo()
    assert server_chain.read(*presented(home), roots=()).leaf in (old.certificate, new.certificate)
    install(home, *chained(new))
    assert presented(home) == (new.pem + LOWER.pem, new.key_pem)
    assert keys_in(home) == {old.key_pem, new.key_pem}


def test_when_nginx_refuses_the_pair_before_comes_back(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--reload` is a renewal hook: it must not leave something that a restart would not come up with."""
    old, new = server(), server()
    install(home, *chained(old))
    problem = [ReceiverError("nginx refuses it: no")]

    async def take_up() -> None:
        if problem:
            raise problem.pop()

    monkeypatch.setattr(nginx_reload, "trial", lambda *_, **__: None)
    loop = asyncio.new_event_loop()
    task = loop.create_task(nginx_reload.answer_requests(home, take_up))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        with pytest.raises(CertificateError, match="from before is in its place again"):
            install(home, *chained(new), "--reload")
        assert presented(home) == (old.pem + LOWER.pem, old.key_pem)
        assert install(home, *chained(new), "--reload")["reloaded"] is True
        assert presented(home) == (new.pem + LOWER.pem, new.key_pem)
    finally:
        loop.call_soon_threadsafe(task.cancel)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()


def test_a_development_home_makes_its_own(tmp_path: Path) -> None:
    """Nothing is installed there."""
    home = Home(tmp_path / "home")
    home.root.mkdir()
    home.settings.write_text('mode = "development"\n')

    with pytest.raises(UsageError, match="not a production home"):
        install(home, *chained(server()))


def test_check_looks_at_what_is_installed(home: Home) -> None:
    """Good with the root that was given, critical when the key is another's."""
    leaf = server()
    install(home, *chained(leaf))
    nginx_files.write(home, load(home.root), nginx_files.production_paths(home), is_whole=False)

    answer = CliRunner().invoke(command, ["check", "--json", "--home", str(home.root)])
    assert answer.exit_code == 0, answer.output
    (home.nginx / "server/current/privkey.pem").write_bytes(p256_pem())
    answer = CliRunner().invoke(command, ["check", "--json", "--home", str(home.root)])
    assert answer.exit_code == 2
    assert "the key is not the one" in answer.output
