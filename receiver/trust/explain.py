"""Why the library refused a certificate, as a short code and one sentence. Decides nothing: it runs after the verdict.

The library tells what is wrong, but not always which certificate, and prints its own structures. So the common causes
are looked for in the certificates themselves, and its text is the last resort.
"""

import re
from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.x509.verification import VerificationError

from receiver.errors import UntrustedError
from receiver.trust.certificate import READING_ERRORS, Leaf, reading_problem, seconds
from receiver.trust.profiles import NOT_FOR_SIGNING, SIGNS_CERTIFICATES
from receiver.trust.text import instant_text, name_text, printable

_ABOUT_LEAF: Final = re.compile(r" \(encountered processing <Certificate\(.*", re.DOTALL)
_NOISE: Final = re.compile(
    r"validation failed: |candidates exhausted: |fatal error: |invalid extension: "
    r"|Python extension validator failed: ValueError: "
)
_SAN: Final = x509.OID_SUBJECT_ALTERNATIVE_NAME.dotted_string
_AKI: Final = x509.OID_AUTHORITY_KEY_IDENTIFIER.dotted_string
_KEY_USAGE: Final = x509.OID_KEY_USAGE.dotted_string
_BASIC: Final = x509.OID_BASIC_CONSTRAINTS.dotted_string
_EXTENSIONS: Final = {
    _SAN: "subjectAltName",
    _AKI: "authorityKeyIdentifier",
    _KEY_USAGE: "keyUsage",
    _BASIC: "basicConstraints",
    x509.OID_EXTENDED_KEY_USAGE.dotted_string: "extendedKeyUsage",
    x509.OID_NAME_CONSTRAINTS.dotted_string: "nameConstraints",
}
_TOLERATED: Final = " (the profile tolerant accepts that)"
# Text of the library (or of profiles.py) to our code and sentence; the first that is found counts.
_LEAF_CAUSES: Final = (
    ("must be an X509v3 certificate", "bad_certificate", "it is X.509 version 1; only a SHA-256 pin can admit it"),
    ("required EKU not found", "wrong_purpose", "its extendedKeyUsage does not name clientAuth"),
    (NOT_FOR_SIGNING, "wrong_purpose", "its keyUsage lacks digitalSignature"),
    (SIGNS_CERTIFICATES, "wrong_purpose", "it is a CA certificate (keyCertSign)"),
    ("keyCertSign", "wrong_purpose", "it is a CA certificate (keyCertSign)"),
    ("basicConstraints.cA", "wrong_purpose", "it is a CA certificate (cA)"),
    (f"{_SAN}: Certificate is missing", "bad_certificate", f"it has no subjectAltName{_TOLERATED}"),
    (f"{_AKI}: Certificate is missing", "bad_certificate", f"it has no authorityKeyIdentifier{_TOLERATED}"),
    ("MUST NOT be critical when subject is nonempty", "bad_certificate", f"its subjectAltName is critical{_TOLERATED}"),
    ("Forbidden signature algorithm", "weak_key", "it is signed with an algorithm that is not accepted"),
)
_CHAIN_CAUSES: Final = (
    (f"{_KEY_USAGE}: Certificate is missing", "untrusted", f"an issuing CA has no keyUsage{_TOLERATED}"),
    (f"{_BASIC}: Certificate extension has incorrect", "untrusted", f"basicConstraints is not critical{_TOLERATED}"),
    ("RSA key is too weak", "weak_key", "an issuing CA's RSA key has fewer than 2048 bits"),
    ("Forbidden public key algorithm", "weak_key", "an issuing CA's key is of a kind that is not accepted"),
    ("Forbidden signature algorithm", "weak_key", "a signature in the chain uses an algorithm that is not accepted"),
    ("signature does not match", "untrusted", "no configured CA of its issuer's name has signed it"),
    ("exceeds max depth", "untrusted", "the chain is longer than allowed"),
    ("maximum signature check limit", "untrusted", "the configured CAs give too many possible chains"),
)


def explain(error: Exception, leaf: Leaf, authorities: Sequence[x509.Certificate], *, now: int) -> UntrustedError:
    """Turn the library's refusal into ours."""
    if not isinstance(error, VerificationError):
        return UntrustedError("bad_certificate", f"a certificate cannot be processed: {reading_problem(error)}")
    if problem := _unreadable_extension(leaf):
        return problem
    text = str(error)
    if _ABOUT_LEAF.search(text):
        return _leaf_problem(_ABOUT_LEAF.sub("", text))
    return _no_issuer(leaf, authorities) or _issuer_dates(leaf, authorities, now=now) or _chain_problem(text)


def _unreadable_extension(leaf: Leaf) -> UntrustedError | None:
    try:
        _ = leaf.certificate.extensions
    except READING_ERRORS as exc:
        return UntrustedError("bad_certificate", f"the certificate's extensions cannot be read: {reading_problem(exc)}")
    return None


def _leaf_problem(text: str) -> UntrustedError:
    for found, code, sentence in _LEAF_CAUSES:
        if found in text:
            return UntrustedError(code, f"the certificate is refused: {sentence}")
    return UntrustedError("bad_certificate", f"the certificate is refused: {_cleaned(text)}")


def _no_issuer(leaf: Leaf, authorities: Sequence[x509.Certificate]) -> UntrustedError | None:
    if any(authority.subject.public_bytes() == leaf.issuer_der for authority in authorities):
        return None
    issuer = name_text(leaf.certificate.issuer)
    return UntrustedError("untrusted", f"the certificate's issuer {issuer} is not a configured CA")


def _issuer_dates(leaf: Leaf, authorities: Sequence[x509.Certificate], *, now: int) -> UntrustedError | None:
    """All CAs that may have issued the certificate, up to the anchors, are looked at; one in force is enough."""
    wanted, seen = [leaf.issuer_der], set[bytes]()
    while wanted:
        name = wanted.pop()
        seen.add(name)
        named = [authority for authority in authorities if authority.subject.public_bytes() == name]
        if named and not any(_is_in_force(authority, now=now) for authority in named):
            authority = max(named, key=lambda one: one.not_valid_after_utc)
            return _outside_validity(authority, now=now)
        wanted += {one.issuer.public_bytes() for one in named} - seen
    return None


def _is_in_force(certificate: x509.Certificate, *, now: int) -> bool:
    return seconds(certificate.not_valid_before_utc) <= now <= seconds(certificate.not_valid_after_utc)


def _outside_validity(authority: x509.Certificate, *, now: int) -> UntrustedError:
    who = f"the issuing CA {name_text(authority.subject)}"
    not_after = seconds(authority.not_valid_after_utc)
    if now > not_after:
        return UntrustedError("expired", f"{who} expired at {instant_text(not_after)}")
    not_before = seconds(authority.not_valid_before_utc)
    return UntrustedError("not_yet_valid", f"{who} is valid only from {instant_text(not_before)}")


def _chain_problem(text: str) -> UntrustedError:
    for found, code, sentence in _CHAIN_CAUSES:
        if found in text:
            return UntrustedError(code, f"no trusted chain: {sentence}")
    return UntrustedError("untrusted", f"no trusted chain: {_cleaned(text)}")


def _cleaned(text: str) -> str:
    sentence = _NOISE.sub("", text)
    for oid, name in _EXTENSIONS.items():
        sentence = sentence.replace(oid, name)
    return printable(sentence)
