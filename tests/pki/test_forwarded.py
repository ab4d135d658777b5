"""What is read from nginx's headers: one form, one value, and nothing that could be anybody's own words."""

import base64
from urllib.parse import quote

import pytest
from certificates import NOW_AT, authority, client, nginx_header
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import UntrustedError
from receiver.trust import CarrierTrust, Forwarded, Material, SanPin, Verifier
from receiver.trust.header import MAX_LENGTH, parse

CA = authority()
LEAF = client(CA)
GOOD = nginx_header(LEAF)
PEM = LEAF.pem.decode()


def refused(*certificates: str, verify: str = "SUCCESS") -> str:
    """The code under which this is refused."""
    with pytest.raises(UntrustedError) as caught:
        parse(Forwarded(verify=verify, certificates=certificates))
    return caught.value.code


def test_the_escaped_pem_of_nginx_is_read() -> None:
    """Names, serial and SHA-256 of the certificate nginx verified."""
    leaf = parse(Forwarded(verify="SUCCESS", certificates=(GOOD,)))

    assert leaf.certificate == LEAF.certificate
    assert leaf.sha256 == LEAF.sha256
    assert (leaf.subject, leaf.issuer) == ("CN=callback.tencent.test", "CN=Test client CA")
    assert int(leaf.serial, 16) == LEAF.certificate.serial_number
    assert len(leaf.serial) % 2 == 0


def test_a_plus_sign_is_a_base64_digit() -> None:
    """Unescaped, it survives: this is percent-encoding, not a form."""
    text = next(text for _ in range(200) if "+" in (text := client(authority()).pem.decode()))

    leaf = parse(Forwarded(verify="SUCCESS", certificates=(quote(text, safe="+/="),)))

    assert leaf.certificate == x509.load_pem_x509_certificate(text.encode())


@pytest.mark.parametrize(
    ("verify", "certificates", "code"),
    [
        ("NONE", (), "no_certificate"),
        ("NONE", ("",), "no_certificate"),
        ("", (), "no_certificate"),
        ("", ("",), "no_certificate"),
        ("", (GOOD,), "bad_header"),
        ("success", (GOOD,), "bad_header"),
        ("SUCCESS ", (GOOD,), "bad_header"),
        ("SUCCESS, SUCCESS", (GOOD,), "bad_header"),
        ("SUCCESS", (), "bad_header"),
        ("SUCCESS", (GOOD, GOOD), "bad_header"),
        ("SUCCESS", ("",), "bad_header"),
        ("FAILED:certificate has expired", (GOOD,), "expired"),
        ("FAILED:certificate is not yet valid", (GOOD,), "not_yet_valid"),
        ("FAILED:certificate revoked", (GOOD,), "revoked"),
        ("FAILED:unsuitable certificate purpose", (GOOD,), "wrong_purpose"),
        ("FAILED:EE certificate key too weak", (GOOD,), "weak_key"),
        ("FAILED:unable to verify the first certificate", (GOOD,), "untrusted"),
        ("FAILED:", (GOOD,), "untrusted"),
    ],
)
def test_nginx_must_have_verified_exactly_one_certificate(
    verify: str, certificates: tuple[str, ...], code: str
) -> None:
    """Only the word SUCCESS beside one value is an identity; everything else has its own reason."""
    assert refused(*certificates, verify=verify) == code


SPOOFS = {
    "RFC 9440": f":{base64.b64encode(LEAF.der).decode()}:",
    "base64 of DER": base64.b64encode(LEAF.der).decode(),
    "Traefik: PEM body only": "".join(PEM.splitlines()[1:-1]),
    "Envoy": f'Hash=00;Cert="{GOOD}";Subject="CN=x"',
    "two certificates": quote(PEM + PEM, safe=""),
    "text before": quote(f"subject=CN=x\n{PEM}", safe=""),
    "text after": quote(f"{PEM}x", safe=""),
    "an empty line before": quote(f"\n{PEM}", safe=""),
    "an empty line after": quote(f"{PEM}\n", safe=""),
    "a space before": f" {GOOD}",
    "another label": quote(PEM.replace("CERTIFICATE", "X509 CRL"), safe=""),
    "a trusted certificate": quote(PEM.replace("CERTIFICATE", "TRUSTED CERTIFICATE"), safe=""),
    "escaped twice": quote(GOOD, safe=""),
    "tabs as RFC 7468 forbids": quote(PEM.replace("\n", "\n\t"), safe=""),
    "spaces for line ends": quote(PEM.replace("\n", " "), safe=""),
    "not UTF-8": GOOD + "%ff",
    "a lone percent sign": GOOD + "%",
    "a null": GOOD + "%00",
    "cut short": GOOD[:-40],
    "an empty body": quote("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", safe=""),
    "too long by one": GOOD + "x" * (MAX_LENGTH + 1 - len(GOOD)),
    "padding inside": quote(PEM.replace("\nMII", "\nM==I", 1), safe=""),
}


@pytest.mark.parametrize("form", SPOOFS)
def test_no_other_form_is_read(form: str) -> None:
    """Nginx's escaped PEM, one block, nothing around it (contract, section 7)."""
    assert refused(SPOOFS[form]) == "bad_header"


def test_what_is_no_certificate_inside_is_refused() -> None:
    """Good PEM around something else."""
    for der in (b"\x30\x00", b"hello", LEAF.der[:-1], LEAF.der + b"\0"):
        body = base64.b64encode(der).decode()
        value = quote(f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n", safe="")

        assert refused(value) == "bad_certificate"


def test_a_long_certificate_fits() -> None:
    """Sixty alternative names, as the length limit promises."""
    long = client(authority(), san=[x509.DNSName(f"callback-{number}.tencent.test") for number in range(60)])

    assert parse(Forwarded(verify="SUCCESS", certificates=(nginx_header(long),))).sha256 == long.sha256


def _accepts_or_refuses(forwarded: Forwarded) -> None:
    try:
        parse(forwarded)
    except UntrustedError:
        return


@given(verify=st.text(), certificates=st.lists(st.text(), max_size=3))
def test_no_header_can_do_more_than_be_refused(verify: str, certificates: list[str]) -> None:
    """Whatever the text, the only error is a refusal."""
    _accepts_or_refuses(Forwarded(verify=verify, certificates=tuple(certificates)))


@given(content=st.binary(max_size=2000))
def test_no_content_can_do_more_than_be_refused(content: bytes) -> None:
    """Whatever the bytes inside good PEM."""
    body = base64.b64encode(content).decode()
    value = quote(f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n", safe="")
    _accepts_or_refuses(Forwarded(verify="SUCCESS", certificates=(value,)))


@given(position=st.integers(0, len(LEAF.der) - 1), octet=st.integers(0, 255))
def test_no_changed_octet_can_do_more_than_be_refused(position: int, octet: int) -> None:
    """A real certificate with one octet changed is identified or refused, in spite of a pin that reads its names."""
    der = bytearray(LEAF.der)
    der[position] = octet
    trust = CarrierTrust(material=Material(anchors=[CA.certificate]), pins=(SanPin(san="dns:other"),))
    forwarded = Forwarded(verify="SUCCESS", certificates=(nginx_header(_as_pem(bytes(der))),))

    try:
        peer = Verifier({"tencent": trust}).identify(forwarded, carrier="tencent", now=NOW_AT)
    except UntrustedError:
        return
    assert peer.sha256 == LEAF.sha256


def _as_pem(der: bytes) -> bytes:
    body = base64.encodebytes(der)
    return b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"


def test_names_made_to_break_a_terminal_come_out_escaped() -> None:
    """Control and bidirectional characters of a foreign name never reach a message as they are."""
    stranger = client(authority("\x1b[31mCA\u202e<b>\n"), common_name="x\x1b]0;\x07")
    leaf = parse(Forwarded(verify="SUCCESS", certificates=(nginx_header(stranger),)))

    with pytest.raises(UntrustedError) as caught:
        Material(anchors=[authority().certificate]).verify(leaf, now=NOW_AT)

    assert str(caught.value).isprintable()
