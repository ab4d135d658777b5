"""Which CRLs count and whom they revoke (RFC 5280, sections 5 and 6.3.3), in both profiles."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from certificates import DAY, NOW, NOW_AT, Extensions, Issued, authority, client, crl, key_usage, p256
from cryptography import x509

from receiver.errors import UntrustedError
from receiver.trust import Material
from receiver.trust.certificate import read
from receiver.trust.crl import Crl, accept
from receiver.trust.revocation import RevocationState

UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55738.666.1"), b"\x05\x00")
POINT = "http://crl.example/a.crl"


def accepted(
    revocations: x509.CertificateRevocationList, *authorities: Issued, is_strict: bool = True, now: int = NOW_AT
) -> Crl:
    """The CRL as the receiver takes it up."""
    return accept(revocations, [one.certificate for one in authorities], now=now, is_strict=is_strict)


def problem(revocations: x509.CertificateRevocationList, *authorities: Issued, is_strict: bool = True) -> str:
    """Why a CRL is not taken up."""
    with pytest.raises(UntrustedError) as caught:
        accepted(revocations, *authorities, is_strict=is_strict)
    assert caught.value.code == "crl_invalid"
    return str(caught.value)


def verdict(
    leaf: Issued,
    anchors: Sequence[Issued],
    crls: Sequence[x509.CertificateRevocationList],
    intermediates: Sequence[Issued] = (),
) -> str:
    """`checked`, `partial` or `unchecked` for an accepted leaf, else the reason code."""
    material = Material(
        anchors=[one.certificate for one in anchors],
        intermediates=[one.certificate for one in intermediates],
        crls=[accepted(one, *anchors, *intermediates) for one in crls],
    )
    try:
        return material.verify(read(leaf.der), now=NOW_AT).revocation.value
    except UntrustedError as exc:
        return exc.code


def entry(serial: int, *extensions: tuple[x509.ExtensionType, bool], at_days: int = -1) -> x509.RevokedCertificate:
    """One line of a CRL."""
    builder = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW + at_days * DAY)
    for value, is_critical in extensions:
        builder = builder.add_extension(value, critical=is_critical)
    return builder.build()


def point(**fields: object) -> Extensions:
    """A critical issuingDistributionPoint with these fields."""
    usual: dict[str, object] = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    value = x509.IssuingDistributionPoint(**(usual | fields))  # type: ignore[arg-type]  # the library checks them
    return {x509.IssuingDistributionPoint: (value, True)}


def named(*uris: str) -> Extensions:
    """A leaf's cRLDistributionPoints."""
    names = [x509.UniformResourceIdentifier(uri) for uri in uris]
    distribution = x509.DistributionPoint(full_name=names, relative_name=None, reasons=None, crl_issuer=None)
    return {x509.CRLDistributionPoints: (x509.CRLDistributionPoints([distribution]), False)}


def test_a_listed_certificate_is_revoked_and_others_are_not() -> None:
    """The plain case."""
    ca = authority()
    leaf, other = client(ca), client(ca)

    assert verdict(leaf, [ca], [crl(ca, [leaf])]) == "revoked"
    assert verdict(other, [ca], [crl(ca, [leaf])]) == RevocationState.CHECKED


def test_without_a_crl_revocation_is_unchecked() -> None:
    """No CRL is no objection, but it is said."""
    ca = authority()

    assert verdict(client(ca), [ca], []) == RevocationState.UNCHECKED


@pytest.mark.parametrize("at_days", [-9999, 1, 9999])
def test_the_date_of_a_revocation_does_not_matter(at_days: int) -> None:
    """A serial that is listed is revoked, whatever date stands beside it."""
    ca = authority()
    leaf = client(ca)

    assert verdict(leaf, [ca], [crl(ca, [entry(leaf.certificate.serial_number, at_days=at_days)])]) == "revoked"


def test_a_serial_on_another_cas_crl_means_nothing() -> None:
    """Serial numbers are unique for one issuer only."""
    ca, other = authority("CA 1"), authority("CA 2")
    leaf = client(ca)

    assert verdict(leaf, [ca, other], [crl(ca), crl(other, [leaf])]) == RevocationState.CHECKED


def test_of_two_cas_of_one_name_the_signature_tells_whose_crl_it_is() -> None:
    """A CA that changed its key under the same name: each key's CRL is for its own certificates."""
    old, new = authority("CA"), authority("CA")
    serial = 0x1234567890
    of_old, of_new = client(old, serial=serial), client(new, serial=serial)

    assert verdict(of_old, [old, new], [crl(old, [serial]), crl(new)]) == "revoked"
    assert verdict(of_new, [old, new], [crl(old, [serial]), crl(new)]) == RevocationState.CHECKED
    without_aki: Extensions = {x509.AuthorityKeyIdentifier: None}
    assert verdict(of_new, [old, new], [crl(new, [serial], extensions=without_aki)]) == "revoked"


def test_a_revoked_intermediate_refuses_what_it_issued() -> None:
    """Every CRL applies to every certificate its issuer signed, intermediates included."""
    root = authority("Root", path_length=None)
    lower = authority("CA", parent=root)

    assert verdict(client(lower), [root], [crl(root, [lower])], [lower]) == "revoked"
    assert verdict(client(lower), [root], [crl(root)], [lower]) == RevocationState.PARTIAL
    assert verdict(client(lower), [root], [crl(root), crl(lower)], [lower]) == RevocationState.CHECKED


def test_an_intermediate_used_as_anchor_can_be_revoked_by_its_root() -> None:
    """Being trusted directly does not outweigh the CRL of the CA that signed it."""
    root = authority("Root", path_length=None)
    lower = authority("CA", parent=root)

    assert verdict(client(lower), [lower], [crl(root, [lower])], [root]) == "revoked"


def test_a_revoked_intermediate_that_was_issued_again_still_serves() -> None:
    """Superseded by a certificate of the same name and key, the CA's leaves stay good by the new one."""
    root, key = authority("Root", path_length=None), p256()
    old, new = authority("CA", parent=root, key=key), authority("CA", parent=root, key=key)

    assert verdict(client(old), [root], [crl(root, [old])], [old, new]) != "revoked"
    assert verdict(client(old), [root], [crl(root, [old, new])], [old, new]) == "revoked"


def test_beside_a_revoked_intermediate_a_stranger_is_a_stranger() -> None:
    """The reason is that of the certificate at hand, not of another that is refused anyway."""
    root = authority("Root", path_length=None)
    lower = authority("CA", parent=root)

    assert verdict(client(authority("Stranger")), [root], [crl(root, [lower])], [lower]) == "untrusted"


def test_two_crls_of_one_ca_both_count() -> None:
    """What either lists is revoked."""
    ca = authority()
    first, second = client(ca), client(ca)
    crls = [crl(ca, [first]), crl(ca, [second], number=2)]

    assert [verdict(leaf, [ca], crls) for leaf in (first, second)] == ["revoked", "revoked"]


def test_removal_from_the_crl_leaves_a_certificate_unrevoked() -> None:
    """RFC 5280, 6.3.3 (k)."""
    ca = authority()
    leaf = client(ca)
    removal = entry(leaf.certificate.serial_number, (x509.CRLReason(x509.ReasonFlags.remove_from_crl), False))

    assert verdict(leaf, [ca], [crl(ca, [removal])]) == RevocationState.CHECKED


@pytest.mark.parametrize(
    "extension",
    [
        (x509.CRLReason(x509.ReasonFlags.certificate_hold), False),
        (x509.CRLReason(x509.ReasonFlags.key_compromise), True),
        (x509.InvalidityDate(NOW.replace(tzinfo=None)), False),
        (UNKNOWN, False),
    ],
)
def test_what_stands_beside_a_serial_does_not_unrevoke_it(extension: tuple[x509.ExtensionType, bool]) -> None:
    """A hold counts as revocation, and unknown non-critical extensions are ignored."""
    ca = authority()
    leaf = client(ca)

    assert verdict(leaf, [ca], [crl(ca, [entry(leaf.certificate.serial_number, extension)])]) == "revoked"


def test_a_large_crl_is_taken_up() -> None:
    """Ten thousand entries, looked up in a set."""
    ca = authority()

    assert len(accepted(crl(ca, range(1, 10_001)), ca).serials) == 10_000


@pytest.mark.parametrize("is_strict", [True, False])
def test_a_crl_that_cannot_be_trusted_is_refused_by_both_profiles(*, is_strict: bool) -> None:
    """Wrong issuer, wrong signature, no right to sign, from the future, unknown critical extensions."""
    ca, stranger = authority("CA"), authority("Stranger")
    no_right = authority("CA", extensions={x509.KeyUsage: (key_usage("key_cert_sign"), True)})
    unknown: Extensions = {x509.UnrecognizedExtension: (UNKNOWN, True)}
    future = crl(ca, this_update=NOW + timedelta(seconds=1))

    assert "not issued by a configured CA" in problem(crl(stranger), ca, is_strict=is_strict)
    assert "does not verify" in problem(crl(ca, signer=stranger), ca, stranger, is_strict=is_strict)
    assert "cRLSign" in problem(crl(no_right), no_right, is_strict=is_strict)
    assert "future" in problem(future, ca, is_strict=is_strict)
    assert "unknown critical" in problem(crl(ca, extensions=unknown), ca, is_strict=is_strict)
    assert "entry with an unknown critical" in problem(crl(ca, [entry(7, (UNKNOWN, True))]), ca, is_strict=is_strict)


def test_unknown_extensions_that_are_not_critical_are_ignored() -> None:
    """RFC 5280, 5.2."""
    ca = authority()

    assert accepted(crl(ca, extensions={x509.UnrecognizedExtension: (UNKNOWN, False)}), ca).warnings == ()


def test_a_ca_without_key_usage_may_sign_crls() -> None:
    """RFC 5280, 6.3.3 (f): the bit is asked for only where keyUsage is present."""
    ca = authority(extensions={x509.KeyUsage: None})

    assert accepted(crl(ca), ca).serials == frozenset()


@pytest.mark.parametrize(
    "fields",
    [
        {"indirect_crl": True},
        {"only_contains_user_certs": True},
        {"only_contains_ca_certs": True},
        {"only_contains_attribute_certs": True},
        {"only_some_reasons": frozenset([x509.ReasonFlags.key_compromise])},
        {"full_name": [x509.DNSName("crl.example")]},
        {"full_name": [x509.UniformResourceIdentifier(POINT)], "indirect_crl": True},
    ],
)
def test_a_crl_for_a_part_of_its_issuers_certificates_is_refused(fields: dict[str, object]) -> None:
    """It would leave the rest unchecked without saying so."""
    ca = authority()

    assert "not processed" in problem(crl(ca, extensions=point(**fields)), ca, is_strict=False)


def test_a_delta_crl_is_refused() -> None:
    """It says nothing without its base."""
    ca = authority()
    delta: Extensions = {x509.DeltaCRLIndicator: (x509.DeltaCRLIndicator(1), True)}

    assert "delta" in problem(crl(ca, extensions=delta), ca, is_strict=False)


def test_entries_for_other_issuers_are_refused() -> None:
    """CertificateIssuer belongs to indirect CRLs; taken for its own issuer's, such an entry would hit the wrong one."""
    ca = authority()
    foreign = x509.CertificateIssuer([x509.DirectoryName(authority("Other").certificate.subject)])

    assert "certificateIssuer" in problem(crl(ca, [entry(7, (foreign, True))]), ca, is_strict=False)


def test_a_crl_for_a_distribution_point_covers_the_certificates_that_name_it() -> None:
    """RFC 5280, 6.3.3 (b)(2)(i); whoever does not name it is not let in unchecked."""
    ca = authority()
    names = [x509.UniformResourceIdentifier(POINT)]
    limited = crl(ca, extensions=point(full_name=names))

    assert verdict(client(ca, extensions=named(POINT)), [ca], [limited]) == RevocationState.CHECKED
    assert verdict(client(ca, extensions=named("http://crl.example/b.crl")), [ca], [limited]) == "crl_invalid"
    assert verdict(client(ca), [ca], [limited]) == "crl_invalid"
    assert verdict(client(ca), [ca], [limited, crl(ca)]) == RevocationState.CHECKED


def test_the_strict_profile_wants_a_proper_crl_number() -> None:
    """Ours carry one; a foreign CRL without, or with a critical one, is used with a warning in the tolerant profile."""
    ca = authority()
    critical: Extensions = {x509.CRLNumber: (x509.CRLNumber(1), True)}

    assert "no crlNumber" in problem(crl(ca, number=None), ca)
    assert "critical crlNumber" in problem(crl(ca, extensions=critical), ca)
    assert "no crlNumber" in accepted(crl(ca, number=None), ca, is_strict=False).warnings[0]
    assert "critical crlNumber" in accepted(crl(ca, extensions=critical), ca, is_strict=False).warnings[0]


def test_the_strict_profile_wants_each_certificate_listed_once() -> None:
    """A list that repeats itself was not made by a sound issuer; the tolerant profile warns."""
    ca = authority()
    twice = crl(ca, [entry(7), entry(7)])

    assert "twice" in problem(twice, ca)
    assert accepted(twice, ca, is_strict=False).serials == {7}


def test_an_expired_crl_still_revokes() -> None:
    """It keeps refusing what it listed; that it has expired is for people to know."""
    ca = authority()
    leaf = client(ca)
    expired = crl(ca, [leaf], this_update=NOW - 9 * DAY, next_update=NOW - DAY)

    assert verdict(leaf, [ca], [expired]) == "revoked"
