"""Rendering: settings and trust files in, nginx configuration out, and nothing that could break out of its quotes."""

import re
import subprocess
from pathlib import Path

import pytest
from certificates import authority, crl, crl_pem, now
from nginx_lab import NGINX
from wire import free_port

from receiver.config import Settings, from_mapping
from receiver.errors import SettingsError, UsageError
from receiver.home import Home
from receiver.nginx_files import EdgePaths, production_paths, replace_file, write


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with everything that rendering needs."""
    home = Home(tmp_path / "home")
    for folder in ("anchors", "intermediates", "crls"):
        (home.trust / "tencent" / folder).mkdir(parents=True)
    home.nginx.mkdir()
    home.edge_key.write_text("ab" * 32 + "\n")
    ca = authority(at=now())
    (home.trust / "tencent" / "anchors" / "ca.pem").write_bytes(ca.pem)
    return home


def settings(**sections: object) -> Settings:
    return from_mapping(sections, origin="the test")


def paths(home: Home, **changes: Path) -> EdgePaths:
    usual = {
        "conf": home.nginx,
        "run": Path("/tmp/receiver-test"),  # noqa: S108 -- a name that is only written down
        "access_log": home.log / "access.log",
        "server_certificate": home.pki / "server.pem",
        "server_key": home.pki / "server.key",
    }
    return EdgePaths(**(usual | changes))


def rendered(home: Home, chosen: Settings) -> str:
    return write(home, chosen, paths(home), is_whole=True).with_name("site.conf").read_text()


@pytest.mark.parametrize(
    ("host", "listen"),
    [
        ("127.0.0.1", ["127.0.0.1:8443"]),
        ("::1", ["[::1]:8443"]),
        ("*", ["8443", "[::]:8443"]),
    ],
)
def test_addresses(home: Home, host: str, listen: list[str]) -> None:
    site = rendered(home, settings(mode="production", server={"https_host": host}))

    assert re.findall(r"^ *listen (\S+) ssl default_server", site, re.MULTILINE) == listen


def test_limits_come_from_the_settings(home: Home) -> None:
    limits = {"body_bytes": 12345, "requests_per_second": 77, "requests_burst": 88, "connections_per_address": 99}

    site = rendered(home, settings(limits=limits))

    for expected in (
        "rate=77r/s;",
        "limit_req zone=receiver_certificate burst=88 nodelay;",
        "limit_conn receiver_address 99;",
        "client_max_body_size 12345;",
        "client_body_buffer_size 12345;",
    ):
        assert expected in site


def test_the_default_limits_allow_the_design_load(home: Home) -> None:
    """5,000 callbacks a second, all of a carrier's under one certificate (contract, section 8)."""
    rate = re.search(r"rate=(\d+)r/s", rendered(home, settings()))

    assert rate
    assert int(rate[1]) >= 5000


@pytest.mark.parametrize("character", ['"', "$", "\\", "\n"])
def test_paths_that_nginx_cannot_hold_are_refused(home: Home, character: str) -> None:
    """`$` starts a variable even in quotes, so such a home is refused instead of served from elsewhere."""
    with pytest.raises(SettingsError, match="nginx cannot use a path with the character"):
        write(home, settings(), paths(home, access_log=Path(f"/var/a{character}b/access.log")), is_whole=True)


def test_every_carriers_anchors_are_taken_once(home: Home) -> None:
    other = authority("Another CA", at=now())
    folder = home.trust / "huawei" / "anchors"
    folder.mkdir(parents=True)
    known = (home.trust / "tencent" / "anchors" / "ca.pem").read_bytes()
    (folder / "both.pem").write_bytes(b"a comment\n" + other.pem + known.replace(b"\n", b"\r\n"))

    write(home, settings(), paths(home), is_whole=True)

    assert sorted((home.nginx / "client-cas.pem").read_bytes().split(b"-----BEGIN")) == sorted(
        (known + other.pem).split(b"-----BEGIN")
    )


def test_a_private_key_in_a_trust_file_does_not_travel(home: Home) -> None:
    ca = authority("Careless CA", at=now())
    (home.trust / "tencent" / "anchors" / "careless.pem").write_bytes(ca.key_pem + ca.pem)

    write(home, settings(), paths(home), is_whole=True)

    assert "PRIVATE" not in (home.nginx / "client-cas.pem").read_text()


def test_intermediates_serve_clients_that_send_only_their_leaf(home: Home) -> None:
    assert "ssl_trusted_certificate" not in rendered(home, settings())
    ca = authority("Intermediate", parent=authority("Root", at=now()), at=now())
    (home.trust / "tencent" / "intermediates" / "i.pem").write_bytes(ca.pem)

    assert "ssl_trusted_certificate" in rendered(home, settings())
    assert (home.nginx / "client-intermediates.pem").read_bytes() == ca.pem


def test_nginx_gets_crls_only_by_choice(home: Home) -> None:
    """One missed timer would shut everybody out while `nginx -t` passes."""
    (home.trust / "tencent" / "crls" / "ca.pem").write_bytes(crl_pem(crl(authority(at=now()), at=now())))

    assert "ssl_crl" not in rendered(home, settings())
    assert "ssl_crl" in rendered(home, settings(nginx={"crl": True}))


def test_what_is_missing_is_named(home: Home) -> None:
    with pytest.raises(SettingsError, match=r"nginx\.crl = true: there is no CRL"):
        write(home, settings(nginx={"crl": True}), paths(home), is_whole=True)
    home.edge_key.write_text("short")
    with pytest.raises(UsageError, match=r"edge\.key: must be 64 hexadecimal digits"):
        write(home, settings(), paths(home), is_whole=True)
    home.edge_key.unlink()
    with pytest.raises(UsageError, match=r"edge\.key: cannot be read"):
        write(home, settings(), paths(home), is_whole=True)
    (home.trust / "tencent" / "anchors" / "ca.pem").unlink()
    with pytest.raises(UsageError, match="no carrier's CA is installed"):
        write(home, settings(), paths(home), is_whole=True)


def test_a_replaced_file_is_strictly_newer(tmp_path: Path) -> None:
    """Nginx from 1.27.4 on tells by inode and whole seconds whether a CRL has changed."""
    path = tmp_path / "x.pem"
    seconds = []
    for number in range(3):
        replace_file(path, f"{number}")
        seconds.append(int(path.stat().st_mtime))

    assert seconds == sorted(set(seconds))
    assert path.read_text() == "2"
    assert [each.name for each in tmp_path.iterdir()] == ["x.pem"]


@pytest.mark.edge
@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
def test_a_production_site_satisfies_nginx(home: Home, tmp_path: Path) -> None:
    """The site goes into a main file that is not ours, beside other sites, and nginx accepts it."""
    server = authority("server", at=now())
    server.write(home.nginx, "server")
    production = settings(
        mode="production", server={"domain": "cb.example.com", "https_host": "*", "https_port": 18443}
    )
    place = production_paths(home)
    there = EdgePaths(
        conf=place.conf,
        run=place.run,
        access_log=tmp_path / "access.log",
        server_certificate=place.server_certificate,
        server_key=place.server_key,
    )
    site = write(home, production, there, is_whole=False)
    main = tmp_path / "nginx.conf"
    main.write_text(f"""
pid {tmp_path}/pid; events {{}}
http {{
    client_body_temp_path {tmp_path}/1; proxy_temp_path {tmp_path}/2; fastcgi_temp_path {tmp_path}/3;
    scgi_temp_path {tmp_path}/4; uwsgi_temp_path {tmp_path}/5;
    map $host $somebody_elses {{ default 1; }}
    include "{site}";
    server {{ listen 127.0.0.1:{free_port()}; return 404; }}
}}
""")

    checked = subprocess.run(
        [str(NGINX), "-t", "-q", "-e", "stderr", "-c", str(main)], capture_output=True, check=False
    )

    assert (checked.returncode, checked.stderr) == (0, b"")
    assert not (home.nginx / "nginx.conf").exists()
