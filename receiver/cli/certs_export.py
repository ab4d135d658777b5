"""`receiver certs export`: what a carrier needs from us, with a page that tells how to use it."""

import json
import time
from pathlib import Path
from typing import Final

import click

from receiver.cli.certs_choice import is_valid, newest
from receiver.cli.certs_place import Place, placed
from receiver.errors import UsageError
from receiver.logs import printable
from receiver.pki import authority, export, issuing
from receiver.pki.findings import instant
from receiver.pki.issuing import Issued
from receiver.pki.profiles import Purpose

_PATH: Final = click.Path(path_type=Path)
_README: Final = """\
Client certificate for voice callbacks: {carrier}

serial    {serial}
SHA-256   {sha256}
expires   {expires}    ask for the next one a month before
address   {url}

certificate.pem   the client certificate
chain.pem         the same, followed by the CA that issued it
{server_line}
The private key is not in this directory. {key_line}

curl:
  curl --cert chain.pem --key client.key{cacert} -H 'Content-Type: application/json' -d @callback.json \\
    {url}

Java: one key store{java_trust}
  openssl pkcs12 -export -in chain.pem -inkey client.key -name {carrier} -out {carrier}.p12
{keytool}  java -Djavax.net.ssl.keyStore={carrier}.p12 -Djavax.net.ssl.keyStoreType=PKCS12 \\
    -Djavax.net.ssl.keyStorePassword=... {trust_options}...

Python:
  requests.post("{url}", json=callback, cert=("chain.pem", "client.key"){verify})
"""


@click.command(
    "export",
    short_help="put together what a carrier needs",
    epilog="Example: receiver certs export acme --p12 acme.p12",
)
@click.argument("carrier")
@click.option("--to", "target", type=_PATH, help="The directory to make.  [default: CARRIER-SERIAL]")
@click.option("--p12", type=_PATH, help="Write a PKCS#12 file with the key instead; its password is shown once.")
@click.option("--compat", "is_compat", is_flag=True, help="PKCS#12 as older Java, macOS and Windows read it (3DES).")
@placed
def export_(  # noqa: PLR0913 -- one argument for each option
    *,
    carrier: str,
    target: Path | None,
    p12: Path | None,
    is_compat: bool,
    home: Path,
    pki: Path | None,
    is_json: bool,
) -> None:
    """Put together what CARRIER needs (its newest certificate, chain, our server's CA, a page that explains them).

    A directory holds public files only. A key made here is handed over as --p12 FILE, the password by another way.
    """
    if is_compat and not p12:
        raise click.UsageError("--compat is a form of --p12")
    if p12 and target:
        raise click.UsageError("give either --to DIR or --p12 FILE")
    place, now = Place.of(home, pki), int(time.time())
    one = newest(issuing.issued(authority.find(place.pki, Purpose.CLIENT)), carrier)
    if not is_valid(one, now=now):
        raise UsageError(f"{one.path}: expired at {instant(one.not_after)}; renew it: receiver certs renew {carrier}")
    if p12:
        password = export.bundle(one, p12, is_compat=is_compat)
        _show(one, p12, password=password, is_json=is_json)
        return
    target = target or Path(f"{one.carrier}-{one.serial[-8:]}")
    servers = [each for each in authority.find(place.pki, Purpose.SERVER) if each.not_after >= now]
    text = _readme(one, _url(place, one), has_server_ca=bool(servers))
    export.directory(one, target, server_authorities=[each.certificate for each in servers], readme=text)
    _show(one, target, password=None, is_json=is_json)


def _url(place: Place, one: Issued) -> str:
    settings = place.settings()
    host, port = (settings.server.domain, settings.server.https_port) if settings else ("HOST", 443)
    return f"https://{host}{'' if port == 443 else f':{port}'}/callbacks/{one.carrier}/APP/KEY"  # noqa: PLR2004 -- https


def _readme(one: Issued, url: str, *, has_server_ca: bool) -> str:
    made_here = "It comes as a PKCS#12 file, its password by another way:\n  openssl pkcs12 -in FILE -nocerts -nodes"
    return _README.format(
        carrier=one.carrier,
        serial=one.serial,
        sha256=one.sha256,
        expires=instant(one.not_after),
        url=url,
        server_line="server-ca.pem     the CA of the server's certificate; trust it, do not pin the certificate\n"
        if has_server_ca
        else "The server's certificate is of a public CA; trust the CA, do not pin the certificate.\n",
        key_line=f"{made_here} -out client.key" if one.key_path else "You made it, and it stays with you: client.key.",
        cacert=" --cacert server-ca.pem" if has_server_ca else "",
        java_trust=" and one trust store" if has_server_ca else "",
        keytool="  keytool -importcert -noprompt -alias server-ca -file server-ca.pem -keystore trust.p12\n"
        if has_server_ca
        else "",
        trust_options="-Djavax.net.ssl.trustStore=trust.p12 " if has_server_ca else "",
        verify=', verify="server-ca.pem"' if has_server_ca else "",
    )


def _show(one: Issued, target: Path, *, password: str | None, is_json: bool) -> None:
    if is_json:
        facts = {"carrier": one.carrier, "serial": one.serial, "not_after": instant(one.not_after)}
        click.echo(json.dumps(facts | {"written": str(target), "password": password}))
        return
    click.echo(printable(f"{target} is written; the certificate expires at {instant(one.not_after)}"))
    if password is not None:
        click.echo(f"password (shown once; send it by another way than the file): {password}")
    else:
        made_here = f"Next: receiver certs export {one.carrier} --p12 FILE, for the key"
        click.echo(made_here if one.key_path else "Send all of it; there is no secret in it.")
