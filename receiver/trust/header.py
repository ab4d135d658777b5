"""What nginx forwards, to one certificate: percent-encoded PEM in exactly one header value, and no other form."""

import binascii
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from receiver.errors import UntrustedError
from receiver.trust.certificate import Leaf, read
from receiver.trust.text import printable

MAX_LENGTH: Final = 8190
"""Characters of a header value; what aiohttp lets through by default, and room for some sixty SANs."""

_PEM: Final = re.compile(
    r"-----BEGIN CERTIFICATE-----\r?\n((?:[A-Za-z0-9+/=]+\r?\n)+)-----END CERTIFICATE-----(?:\r?\n)?"
)
# nginx: "FAILED:" and OpenSSL's text for the verification error, X509_verify_cert_error_string(3).
_NGINX_REASONS: Final = {
    "certificate has expired": "expired",
    "certificate is not yet valid": "not_yet_valid",
    "certificate revoked": "revoked",
    "unsuitable certificate purpose": "wrong_purpose",
    "EE certificate key too weak": "weak_key",
    "CA certificate key too weak": "weak_key",
    "CA signature digest algorithm too weak": "weak_key",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarded:
    """What nginx says of the client: its verdict, and every value of the certificate header, as they came.

    `verify` is the one value of its header; whoever builds this refuses a request that has several.
    """

    verify: str
    certificates: tuple[str, ...]


def parse(forwarded: Forwarded) -> Leaf:
    """Take the one certificate nginx has verified.

    Raises:
        UntrustedError: `no_certificate`, `bad_header`, `bad_certificate`, or nginx's own reason for refusing.
    """
    return read(_der(_pem_body(_only_value(forwarded))))


def _only_value(forwarded: Forwarded) -> str:
    if forwarded.verify == "NONE" or (not forwarded.verify and not any(forwarded.certificates)):
        raise UntrustedError("no_certificate", "no client certificate was presented")
    if forwarded.verify.startswith("FAILED:"):
        text = forwarded.verify.removeprefix("FAILED:")
        raise UntrustedError(_NGINX_REASONS.get(text, "untrusted"), f"nginx refused the certificate: {printable(text)}")
    if forwarded.verify != "SUCCESS":
        raise UntrustedError("bad_header", "a certificate was forwarded without nginx's word that it is verified")
    if len(forwarded.certificates) != 1:
        raise UntrustedError(
            "bad_header", f"expected one forwarded certificate, found {len(forwarded.certificates)} values"
        )
    return forwarded.certificates[0]


def _pem_body(value: str) -> str:
    if len(value) > MAX_LENGTH:
        raise UntrustedError("bad_header", f"the forwarded certificate is longer than {MAX_LENGTH} characters")
    try:
        # unquote, not unquote_plus: a plus sign is a base64 digit here.
        text = unquote(value, errors="strict")
    except UnicodeDecodeError:
        raise UntrustedError("bad_header", "the forwarded certificate is not percent-encoded PEM") from None
    match = _PEM.fullmatch(text)
    if not match:
        raise UntrustedError("bad_header", "the forwarded certificate is not exactly one percent-encoded PEM block")
    return match[1]


def _der(body: str) -> bytes:
    try:
        return binascii.a2b_base64("".join(body.split()), strict_mode=True)
    except binascii.Error:
        raise UntrustedError("bad_header", "the forwarded certificate is not base64 inside") from None
