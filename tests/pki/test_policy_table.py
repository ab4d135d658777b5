"""What each profile makes of every kind of certificate: the library's real behaviour, as the receiver uses it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Address

import pytest
from certificates import DAY, NOW, NOW_AT, Issued, authority, client, key_usage, name, p256
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from receiver.errors import UntrustedError
from receiver.trust import Material, Strictness
from receiver.trust.certificate import read

ACCEPTED = "pass"
CLIENT_AUTH, SERVER_AUTH = x509.OID_CLIENT_AUTH, x509.OID_SERVER_AUTH
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55738.666.1"), b"\x05\x00")


@dataclass(frozen=True)
class Case:
    """A leaf, what it is judged by, and the verdict of each profile: `pass` or a reason code."""

    leaf: bytes
    anchors: list[Issued]
    strict: str
    tolerant: str
    intermediates: list[Issued] = field(default_factory=list)


def issued(strict: str, tolerant: str, *, ca: Issued | None = None, **fields: object) -> Case:
    """A leaf with these fields, under a good CA or the given one."""
    issuer = ca or authority()
    return Case(client(issuer, **fields).der, [issuer], strict, tolerant)  # type: ignore[arg-type]  # fields are checked by `client`


def extended(strict: str, tolerant: str, extension: x509.ExtensionType, *, is_critical: bool = False) -> Case:
    """A leaf with this extension in place of the usual one."""
    return issued(strict, tolerant, extensions={type(extension): (extension, is_critical)})


def without(kind: type[x509.ExtensionType]) -> Case:
    """A leaf without an extension that only the strict profile wants."""
    return issued("bad_certificate", ACCEPTED, extensions={kind: None})


def under(strict: str, tolerant: str, **fields: object) -> Case:
    """A good leaf under a CA with these fields."""
    return issued(strict, tolerant, ca=authority(**fields))  # type: ignore[arg-type]  # fields are checked by `authority`


def san(*names: x509.GeneralName) -> x509.SubjectAlternativeName:
    """A SAN extension."""
    return x509.SubjectAlternativeName(names)


def constrained(strict: str, tolerant: str, *permitted: x509.GeneralName, is_critical: bool = True) -> Case:
    """A good leaf under a CA that may only issue for these names."""
    constraints = x509.NameConstraints(permitted, None)
    return under(strict, tolerant, extensions={x509.NameConstraints: (constraints, is_critical)})


def chained(strict: str, tolerant: str, *, top: int | None, lower: int = 1, **fields: object) -> Case:
    """A good leaf below `lower` intermediates and a root with the path length `top`."""
    chain = [authority("Root", path_length=top)]
    for number in range(lower):
        chain.append(authority(f"Intermediate {number}", parent=chain[-1], path_length=None, **fields))  # type: ignore[arg-type]  # fields are checked by `authority`
    return Case(client(chain[-1]).der, chain[:1], strict, tolerant, chain[1:])


def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    """A new RSA key."""
    return rsa.generate_private_key(65537, bits)


def same_name_other_key() -> Case:
    """A leaf of a CA that only has the name of the trusted one."""
    return Case(client(authority("CA")).der, [authority("CA")], "untrusted", "untrusted")


def self_signed(*, is_pinned: bool) -> Case:
    """A client certificate that signed itself, as its own anchor or a stranger."""
    root = authority("Somebody")
    leaf = client(root, name("Somebody"), key=root.key)
    anchors = [leaf] if is_pinned else [authority()]
    verdict = ACCEPTED if is_pinned else "untrusted"
    return Case(leaf.der, anchors, verdict, verdict)


def without_intermediate() -> Case:
    """A leaf whose intermediate nobody has configured."""
    case = chained("untrusted", "untrusted", top=None)
    return Case(case.leaf, case.anchors, "untrusted", "untrusted")


def intermediate_as_anchor() -> Case:
    """The library accepts a partial chain, nginx does not."""
    case = chained(ACCEPTED, ACCEPTED, top=None)
    return Case(case.leaf, case.intermediates, ACCEPTED, ACCEPTED)


def two_roots_one_expired() -> Case:
    """An expired cross-certificate beside a root in force changes nothing."""
    root, other = authority("Root", path_length=None), authority("Other root", path_length=None)
    crossed = authority("Root", parent=other, key=root.key, not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    return Case(client(root).der, [root, other], ACCEPTED, ACCEPTED, [crossed])


def dsa_leaf() -> Case:
    """The library does not look at the leaf's key at all."""
    return issued("weak_key", "weak_key", key=dsa.generate_private_key(2048))


CASES: dict[str, Callable[[], Case]] = {
    "good P-256 under P-256": lambda: issued(ACCEPTED, ACCEPTED),
    "good RSA-2048 leaf": lambda: issued(ACCEPTED, ACCEPTED, key=rsa_key(2048)),
    "good RSA-2048 CA": lambda: under(ACCEPTED, ACCEPTED, key=rsa_key(2048)),
    "good P-384 CA": lambda: under(ACCEPTED, ACCEPTED, key=ec.generate_private_key(ec.SECP384R1())),
    "Ed25519 leaf key": lambda: issued(ACCEPTED, ACCEPTED, key=ed25519.Ed25519PrivateKey.generate()),
    "UTF-8 names": lambda: issued(ACCEPTED, ACCEPTED, common_name=name("腾讯云 语音", organization_name="腾讯")),
    "ten years": lambda: issued(
        ACCEPTED, ACCEPTED, not_after=NOW + 3650 * DAY, ca=authority(not_after=NOW + 9999 * DAY)
    ),
    "expired": lambda: issued("expired", "expired", not_before=NOW - 9 * DAY, not_after=NOW - DAY),
    "not yet valid": lambda: issued("not_yet_valid", "not_yet_valid", not_before=NOW + DAY),
    "valid from this second": lambda: issued(ACCEPTED, ACCEPTED, not_before=NOW),
    "valid to this second": lambda: issued(ACCEPTED, ACCEPTED, not_after=NOW),
    "ended one second ago": lambda: issued("expired", "expired", not_after=NOW - timedelta(seconds=1)),
    "begins in one second": lambda: issued("not_yet_valid", "not_yet_valid", not_before=NOW + timedelta(seconds=1)),
    "EKU serverAuth only": lambda: extended("wrong_purpose", "wrong_purpose", x509.ExtendedKeyUsage([SERVER_AUTH])),
    "EKU any only": lambda: extended(
        "wrong_purpose",
        "wrong_purpose",
        x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),  # type: ignore[attr-defined]  # the library's stub does not export it
    ),
    "EKU server and client": lambda: extended(ACCEPTED, ACCEPTED, x509.ExtendedKeyUsage([SERVER_AUTH, CLIENT_AUTH])),
    "no EKU": lambda: issued(ACCEPTED, ACCEPTED, extensions={x509.ExtendedKeyUsage: None}),
    "no keyUsage": lambda: issued(ACCEPTED, ACCEPTED, extensions={x509.KeyUsage: None}),
    "keyUsage keyEncipherment only": lambda: extended(
        "wrong_purpose", "wrong_purpose", key_usage("key_encipherment"), is_critical=True
    ),
    "keyUsage keyCertSign": lambda: extended(
        "wrong_purpose", "wrong_purpose", key_usage("digital_signature", "key_cert_sign"), is_critical=True
    ),
    "cA in the leaf": lambda: extended(
        "wrong_purpose", "wrong_purpose", x509.BasicConstraints(ca=True, path_length=None), is_critical=True
    ),
    "CN only": lambda: without(x509.SubjectAlternativeName),
    "no AKI": lambda: without(x509.AuthorityKeyIdentifier),
    "SAN e-mail": lambda: extended(ACCEPTED, ACCEPTED, san(x509.RFC822Name("a@example.com"))),
    "SAN URI": lambda: extended(ACCEPTED, ACCEPTED, san(x509.UniformResourceIdentifier("urn:x:y"))),
    "SAN directory name": lambda: extended(ACCEPTED, ACCEPTED, san(x509.DirectoryName(name("x")))),
    "SAN IP": lambda: extended(ACCEPTED, ACCEPTED, san(x509.IPAddress(IPv4Address("192.0.2.1")))),
    "SAN critical beside a subject": lambda: extended(
        "bad_certificate", ACCEPTED, san(x509.DNSName("a.example")), is_critical=True
    ),
    "empty subject, SAN critical": lambda: issued(
        ACCEPTED,
        ACCEPTED,
        common_name=x509.Name([]),
        extensions={x509.SubjectAlternativeName: (san(x509.DNSName("a.example")), True)},
    ),
    "empty subject, SAN not critical": lambda: issued("bad_certificate", ACCEPTED, common_name=x509.Name([])),
    "unknown critical extension": lambda: extended("bad_certificate", "bad_certificate", UNKNOWN, is_critical=True),
    "unknown extension": lambda: extended(ACCEPTED, ACCEPTED, UNKNOWN),
    "malformed SAN": lambda: issued(
        "bad_certificate",
        "bad_certificate",
        extensions={
            x509.SubjectAlternativeName: (
                x509.UnrecognizedExtension(x509.OID_SUBJECT_ALTERNATIVE_NAME, b"example.com"),
                False,
            )
        },
    ),
    "same-name CA with another key": same_name_other_key,
    "unknown CA": lambda: Case(client(authority("Stranger")).der, [authority()], "untrusted", "untrusted"),
    "self-signed, a stranger": lambda: self_signed(is_pinned=False),
    "self-signed, its own anchor": lambda: self_signed(is_pinned=True),
    "intermediate supplied": lambda: chained(ACCEPTED, ACCEPTED, top=1),
    "intermediate not supplied": without_intermediate,
    "intermediate as only anchor": intermediate_as_anchor,
    "eight intermediates": lambda: chained(ACCEPTED, ACCEPTED, top=None, lower=8),
    "nine intermediates": lambda: chained("untrusted", "untrusted", top=None, lower=9),
    "path length violated": lambda: chained("untrusted", "untrusted", top=0),
    "expired root": lambda: under("expired", "expired", not_before=NOW - 9 * DAY, not_after=NOW - DAY),
    "expired intermediate": lambda: chained(
        "expired", "expired", top=None, not_before=NOW - 9 * DAY, not_after=NOW - DAY
    ),
    "expired cross-certificate beside a good root": two_roots_one_expired,
    "intermediate EKU serverAuth only": lambda: chained(
        "untrusted",
        "untrusted",
        top=None,
        extensions={x509.ExtendedKeyUsage: (x509.ExtendedKeyUsage([SERVER_AUTH]), False)},
    ),
    "intermediate without cA": lambda: chained(
        "untrusted",
        "untrusted",
        top=None,
        extensions={x509.BasicConstraints: (x509.BasicConstraints(ca=False, path_length=None), True)},
    ),
    "intermediate without basicConstraints": lambda: chained(
        "untrusted", "untrusted", top=None, extensions={x509.BasicConstraints: None}
    ),
    "intermediate with an unknown critical extension": lambda: chained(
        "untrusted", "untrusted", top=None, extensions={x509.UnrecognizedExtension: (UNKNOWN, True)}
    ),
    "CA without keyUsage": lambda: under("untrusted", ACCEPTED, extensions={x509.KeyUsage: None}),
    "CA basicConstraints not critical": lambda: under(
        "untrusted",
        ACCEPTED,
        extensions={x509.BasicConstraints: (x509.BasicConstraints(ca=True, path_length=None), False)},
    ),
    # The trap: relaxing the library's rule drops its check, unless the profile brings its own.
    "CA keyUsage without keyCertSign": lambda: under(
        "untrusted", "untrusted", extensions={x509.KeyUsage: (key_usage("crl_sign"), True)}
    ),
    "Ed25519 CA": lambda: under("weak_key", "weak_key", key=ed25519.Ed25519PrivateKey.generate()),
    "RSA-1024 CA": lambda: under("weak_key", "weak_key", key=rsa_key(1024)),
    "SHA-224 signature": lambda: issued("weak_key", "weak_key", algorithm=hashes.SHA224()),
    "RSA-1024 leaf": lambda: issued("weak_key", "weak_key", key=rsa_key(1024)),
    "P-192 leaf": lambda: issued("weak_key", "weak_key", key=ec.generate_private_key(ec.SECP192R1())),
    "secp256k1 leaf": lambda: issued("weak_key", "weak_key", key=ec.generate_private_key(ec.SECP256K1())),
    "DSA leaf": dsa_leaf,
    "DNS name constraint, match": lambda: constrained(ACCEPTED, ACCEPTED, x509.DNSName("tencent.test")),
    "DNS name constraint, mismatch": lambda: constrained("untrusted", "untrusted", x509.DNSName("other.test")),
    "DN name constraint, critical": lambda: constrained(
        "untrusted", "untrusted", x509.DirectoryName(name("callback.tencent.test"))
    ),
    "DN name constraint, not critical": lambda: constrained(
        ACCEPTED, ACCEPTED, x509.DirectoryName(name("nobody")), is_critical=False
    ),
}


@pytest.mark.parametrize("strictness", list(Strictness))
@pytest.mark.parametrize("title", CASES)
def test_each_kind_of_certificate_gets_its_verdict(title: str, strictness: Strictness) -> None:
    """Every row of the table holds, and a refusal says why in words without the library's structures."""
    case = CASES[title]()
    material = Material(
        anchors=[one.certificate for one in case.anchors],
        intermediates=[one.certificate for one in case.intermediates],
        strictness=strictness,
    )

    verdict, detail = ACCEPTED, ""
    try:
        material.verify(read(case.leaf), now=NOW_AT)
    except UntrustedError as exc:
        verdict, detail = exc.code, str(exc)

    assert verdict == getattr(case, strictness.value)
    assert not any(noise in detail for noise in ("<", "PhantomData", "{", "validation failed"))


def test_a_cn_only_certificate_escapes_dns_name_constraints_in_the_tolerant_profile() -> None:
    """Known and documented: nothing is there to constrain, so carriers' CAs must not be trusted for that."""
    constraints = x509.NameConstraints([x509.DNSName("other.test")], None)
    ca = authority(extensions={x509.NameConstraints: (constraints, True)})
    leaf = client(ca, extensions={x509.SubjectAlternativeName: None})
    material = Material(anchors=[ca.certificate], strictness=Strictness.TOLERANT)

    assert len(material.verify(read(leaf.der), now=NOW_AT).chain) == 2


def test_a_chain_names_the_earliest_end_of_validity() -> None:
    """A verdict may be remembered only as long as every certificate of its chain lasts."""
    root = authority(path_length=None, not_after=NOW + 5 * DAY)
    leaf = client(root, key=p256(), not_after=NOW + 9 * DAY)

    verified = Material(anchors=[root.certificate]).verify(read(leaf.der), now=NOW_AT)

    assert verified.not_after == NOW_AT + 5 * 86_400
