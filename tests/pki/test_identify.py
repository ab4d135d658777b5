"""From a forwarded certificate to a peer: pins, blocks, carriers, and how long a verdict is remembered."""

from datetime import timedelta
from ipaddress import IPv4Address

import pytest
from certificates import DAY, NOW, NOW_AT, Issued, authority, client, crl, name, nginx_header
from cryptography import x509
from odd_certificates import pem, version_1

from receiver.errors import UntrustedError, UsageError
from receiver.model import Peer
from receiver.trust import (
    Block,
    CarrierTrust,
    FingerprintBlock,
    FingerprintPin,
    Forwarded,
    Material,
    NamePin,
    Pin,
    SanPin,
    SerialBlock,
    Strictness,
    Verifier,
    block_from,
    block_row,
    pin_from,
    pin_of,
    pin_row,
)
from receiver.trust.certificate import read, serial_text
from receiver.trust.crl import accept
from receiver.trust.policy import CACHE_SECONDS, CACHE_SIZE

CA = authority()
LEAF = client(CA)


def forwarded(certificate: Issued | bytes = LEAF) -> Forwarded:
    """As nginx forwards a certificate it has verified."""
    return Forwarded(verify="SUCCESS", certificates=(nginx_header(certificate),))


def trust(
    *pins: Pin,
    ca: Issued = CA,
    crls: tuple[x509.CertificateRevocationList, ...] = (),
    blocks: tuple[Block, ...] = (),
    accept_unpinned: bool = False,
    strictness: Strictness = Strictness.STRICT,
) -> CarrierTrust:
    """Trust in one CA."""
    anchors = [ca.certificate]
    accepted = [accept(one, anchors, now=NOW_AT, is_strict=True) for one in crls]
    material = Material(anchors=anchors, crls=accepted, strictness=strictness)
    return CarrierTrust(material=material, pins=pins, blocks=blocks, accept_unpinned=accept_unpinned)


def identify(
    certificate: Issued | bytes = LEAF, *, carrier: str = "tencent", now: int = NOW_AT, **trusts: CarrierTrust
) -> Peer:
    """Identify a certificate once."""
    return Verifier(trusts).identify(forwarded(certificate), carrier=carrier, now=now)


def refusal(
    certificate: Issued | bytes = LEAF, *, carrier: str = "tencent", now: int = NOW_AT, **trusts: CarrierTrust
) -> str:
    """The code under which a certificate is refused."""
    with pytest.raises(UntrustedError) as caught:
        identify(certificate, carrier=carrier, now=now, **trusts)
    return caught.value.code


def pinned(certificate: Issued = LEAF) -> Pin:
    """The usual pin: exact issuer and subject."""
    return pin_of(read(certificate.der))


def test_a_pinned_certificate_is_a_peer_with_all_its_facts() -> None:
    """Carrier, names, serial, SHA-256 and end of validity, as they are kept with every delivery."""
    peer = identify(tencent=trust(pinned()))

    assert peer == Peer(
        carrier="tencent",
        subject="CN=callback.tencent.test",
        issuer="CN=Test client CA",
        serial=serial_text(LEAF.certificate.serial_number),
        sha256=LEAF.sha256,
        not_after=int(LEAF.certificate.not_valid_after_utc.timestamp()),
        is_pinned=True,
    )


def test_a_chain_valid_certificate_without_a_pin_is_known_but_not_pinned() -> None:
    """Its deliveries are held; `accept_unpinned` turns that off."""
    assert not identify(tencent=trust()).is_pinned
    assert identify(tencent=trust(accept_unpinned=True)).is_pinned


def test_a_name_pin_wants_exactly_these_names() -> None:
    """Compared as DER: the same text in another encoding, order or case is another name."""
    other = client(CA, name("callback.tencent.test", organization_name="x"))
    upper = client(CA, "CALLBACK.TENCENT.TEST")
    text = x509.NameAttribute(
        x509.NameOID.COMMON_NAME,
        "callback.tencent.test",
        x509.name._ASN1Type.PrintableString,  # no public way
    )
    encoded = client(CA, x509.Name([text]))

    assert encoded.certificate.subject.rfc4514_string() == LEAF.certificate.subject.rfc4514_string()
    for leaf in (other, upper, encoded):
        assert not identify(leaf, tencent=trust(pinned())).is_pinned
    assert identify(client(CA), tencent=trust(pinned())).is_pinned


def test_a_san_pin_wants_one_of_the_names() -> None:
    """DNS names in lower case; URI, address and mail as they are."""
    names: list[x509.GeneralName] = [
        x509.DNSName("A.Tencent.test"),
        x509.UniformResourceIdentifier("urn:x:Y"),
        x509.RFC822Name("a@example.com"),
        x509.IPAddress(IPv4Address("192.0.2.1")),
        x509.DirectoryName(name("x")),
    ]
    leaf = client(CA, san=names)
    meant = ("dns:a.tencent.test", "uri:urn:x:Y", "email:a@example.com", "ip:192.0.2.1")
    others = ("uri:urn:x:y", "dns:tencent.test", "dns:192.0.2.1")

    for san, is_meant in [*((san, True) for san in meant), *((san, False) for san in others)]:
        assert identify(leaf, tencent=trust(SanPin(san=san))).is_pinned is is_meant


def test_pins_choose_among_chain_valid_certificates_only() -> None:
    """A stranger with the pinned names is a stranger."""
    assert refusal(client(authority()), tencent=trust(pinned(), SanPin(san="dns:callback.tencent.test"))) == "untrusted"


def test_a_certificate_of_another_carriers_ca_is_told_so() -> None:
    """Chain-valid for a configured carrier, but not for this one."""
    other = authority("Other CA")

    assert refusal(client(other), tencent=trust(), acme=trust(ca=other)) == "wrong_carrier"
    assert refusal(client(authority("Stranger")), tencent=trust(), acme=trust(ca=other)) == "untrusted"


def test_a_certificate_bound_to_one_carrier_cannot_post_for_another() -> None:
    """Both carriers have certificates of one CA; the pin binds it to its own."""
    for pin in (pinned(), SanPin(san="dns:callback.tencent.test"), FingerprintPin(sha256=LEAF.sha256)):
        assert refusal(carrier="acme", tencent=trust(pin), acme=trust()) == "wrong_carrier"
        assert refusal(carrier="acme", tencent=trust(pin), acme=trust(accept_unpinned=True)) == "wrong_carrier"


def test_a_certificate_pinned_for_two_carriers_may_post_for_both() -> None:
    """Explicitly wanted, so granted."""
    verifier = Verifier({"tencent": trust(pinned()), "acme": trust(pinned())})

    for carrier in ("tencent", "acme"):
        assert verifier.identify(forwarded(), carrier=carrier, now=NOW_AT).is_pinned


def test_an_unknown_carrier_has_no_trust() -> None:
    """Nothing configured, nobody let in."""
    assert refusal(carrier="nobody", tencent=trust()) == "untrusted"


def test_a_block_outweighs_every_pin() -> None:
    """By SHA-256, or by issuer and serial."""
    leaf = read(LEAF.der)
    for block in (FingerprintBlock(sha256=LEAF.sha256), SerialBlock(issuer=leaf.issuer_der, serial=leaf.serial)):
        assert refusal(tencent=trust(pinned(), FingerprintPin(sha256=LEAF.sha256), blocks=(block,))) == "blocked"
        assert identify(client(CA), tencent=trust(pinned(), blocks=(block,))).is_pinned


@pytest.mark.parametrize("strictness", list(Strictness))
def test_a_sha256_pin_admits_what_the_library_cannot_process(strictness: Strictness) -> None:
    """An X.509 version 1 certificate that nginx has verified, marked as not verified here."""
    leaf, pin = _version_1_with_pin()

    peer = identify(leaf, tencent=trust(pin, strictness=strictness))

    assert peer.is_pinned
    assert not peer.is_chain_verified
    assert refusal(leaf, tencent=trust(strictness=strictness)) == "bad_certificate"


def _version_1_with_pin() -> tuple[bytes, FingerprintPin]:
    der = version_1(LEAF, CA)
    return pem(der), FingerprintPin(sha256=read(der).sha256)


def test_a_sha256_pin_of_a_good_certificate_is_not_marked() -> None:
    """The library has verified it all the same."""
    assert identify(tencent=trust(FingerprintPin(sha256=LEAF.sha256))).is_chain_verified


def test_a_sha256_pin_ends() -> None:
    """From `until` on, the certificate is judged like any other."""
    leaf, pin = _version_1_with_pin()
    ending = FingerprintPin(sha256=pin.sha256, until=NOW_AT)

    assert identify(leaf, tencent=trust(ending), now=NOW_AT - 1).is_pinned
    assert refusal(leaf, tencent=trust(ending), now=NOW_AT) == "bad_certificate"


def test_a_sha256_pin_skips_neither_dates_nor_blocks_nor_revocation() -> None:
    """What the pin stands in for is the library's reading, nothing else."""
    leaf, pin = _version_1_with_pin()
    serial = LEAF.certificate.serial_number

    assert refusal(leaf, tencent=trust(pin), now=NOW_AT + 400 * 86_400) == "expired"
    assert refusal(leaf, tencent=trust(pin), now=NOW_AT - 9 * 86_400) == "not_yet_valid"
    assert refusal(leaf, tencent=trust(pin, blocks=(FingerprintBlock(sha256=pin.sha256),))) == "blocked"
    assert refusal(leaf, tencent=trust(pin, crls=(crl(CA, [serial]),))) == "revoked"
    assert refusal(tencent=trust(FingerprintPin(sha256=LEAF.sha256), crls=(crl(CA, [LEAF]),))) == "revoked"


def test_a_verdict_is_remembered_for_a_minute_at_most() -> None:
    """The second request costs a look-up; the pin that is gone in the meantime shows when it is judged again."""
    verifier = Verifier({"tencent": trust(pinned())})
    first = verifier.identify(forwarded(), carrier="tencent", now=NOW_AT)

    assert verifier.identify(forwarded(), carrier="tencent", now=NOW_AT + CACHE_SECONDS - 1) is first
    assert verifier.identify(forwarded(), carrier="tencent", now=NOW_AT + CACHE_SECONDS) is not first


def test_a_verdict_is_not_remembered_beyond_any_certificate_of_its_chain() -> None:
    """Leaf or CA, whichever ends first, to the second: notAfter still counts."""
    end = NOW + timedelta(seconds=10)
    for ca, leaf in [
        (CA, client(CA, not_after=end)),
        ((short := authority("Short CA", not_after=end)), client(short)),
    ]:
        verifier = Verifier({"tencent": trust(pinned(leaf), ca=ca)})
        for second in (0, 10):
            verifier.identify(forwarded(leaf), carrier="tencent", now=NOW_AT + second)

        with pytest.raises(UntrustedError) as caught:
            verifier.identify(forwarded(leaf), carrier="tencent", now=NOW_AT + 11)
        assert caught.value.code == "expired"


def test_a_verdict_is_not_remembered_beyond_a_crl_or_a_pin() -> None:
    """Both may change what is to be said."""
    due = NOW + timedelta(seconds=10)
    for one in (
        trust(pinned(), crls=(crl(CA, next_update=due),)),
        trust(FingerprintPin(sha256=LEAF.sha256, until=NOW_AT + 10), pinned()),
    ):
        verifier = Verifier({"tencent": one})
        first = verifier.identify(forwarded(), carrier="tencent", now=NOW_AT)

        assert verifier.identify(forwarded(), carrier="tencent", now=NOW_AT + 9) is first
        assert verifier.identify(forwarded(), carrier="tencent", now=NOW_AT + 10) is not first


def test_a_clock_that_goes_back_finds_nothing_remembered() -> None:
    """A verdict holds from the time it was made for."""
    leaf = client(CA, not_before=NOW)
    verifier = Verifier({"tencent": trust(pinned(leaf))})
    verifier.identify(forwarded(leaf), carrier="tencent", now=NOW_AT)

    with pytest.raises(UntrustedError) as caught:
        verifier.identify(forwarded(leaf), carrier="tencent", now=NOW_AT - 1)
    assert caught.value.code == "not_yet_valid"


def test_a_verdict_belongs_to_its_carrier_and_its_words() -> None:
    """The same header for another carrier, or without nginx's SUCCESS, is judged anew."""
    verifier = Verifier({"tencent": trust(pinned()), "acme": trust()})
    verifier.identify(forwarded(), carrier="tencent", now=NOW_AT)

    for carrier, verify in (("acme", "SUCCESS"), ("tencent", "FAILED:certificate revoked"), ("tencent", "")):
        again = Forwarded(verify=verify, certificates=forwarded().certificates)
        with pytest.raises(UntrustedError):
            verifier.identify(again, carrier=carrier, now=NOW_AT)


def test_new_trust_forgets_every_verdict() -> None:
    """A revocation or block bites with the next request, not a minute later."""
    verifier = Verifier({"tencent": trust(pinned())})
    verifier.identify(forwarded(), carrier="tencent", now=NOW_AT)

    verifier.replace({"tencent": trust(pinned(), crls=(crl(CA, [LEAF]),))})

    assert verifier.generation == 1
    with pytest.raises(UntrustedError) as caught:
        verifier.identify(forwarded(), carrier="tencent", now=NOW_AT)
    assert caught.value.code == "revoked"


def test_failures_are_not_remembered() -> None:
    """A certificate refused because it begins in a second is let in a second later."""
    leaf = client(CA, not_before=NOW + timedelta(seconds=1))
    verifier = Verifier({"tencent": trust(pinned(leaf))})
    with pytest.raises(UntrustedError):
        verifier.identify(forwarded(leaf), carrier="tencent", now=NOW_AT)

    assert verifier.identify(forwarded(leaf), carrier="tencent", now=NOW_AT + 1).is_pinned


def test_the_memory_is_bounded_and_forgets_the_least_used() -> None:
    """However many certificates come by, 1024 verdicts are kept."""
    verifier = Verifier({"tencent": trust(accept_unpinned=True)})
    first = verifier.identify(forwarded(), carrier="tencent", now=NOW_AT)
    key = CA.key
    headers = [nginx_header(client(CA, key=key)) for _ in range(CACHE_SIZE)]
    for number, header in enumerate(headers):
        verifier.identify(Forwarded(verify="SUCCESS", certificates=(header,)), carrier="tencent", now=NOW_AT)
        if number == CACHE_SIZE // 2:
            assert verifier.identify(forwarded(), carrier="tencent", now=NOW_AT) is first

    assert len(verifier._state.verdicts) == CACHE_SIZE
    assert verifier.identify(forwarded(), carrier="tencent", now=NOW_AT) is first


@pytest.mark.parametrize(
    "pin",
    [
        pinned(client(CA, name("腾讯,=;der=00", organization_name=";der="))),
        SanPin(san="uri:urn:x:y"),
        FingerprintPin(sha256=LEAF.sha256),
        FingerprintPin(sha256=LEAF.sha256, until=7),
    ],
)
def test_a_pin_survives_its_columns(pin: Pin) -> None:
    """The store keeps text and numbers; names come back exactly, with None in the columns a pin does not have."""
    empty = dict.fromkeys(("issuer", "subject", "san", "sha256", "until", "note"))

    assert pin_from(empty | pin_row(pin)) == pin


@pytest.mark.parametrize(
    "block", [FingerprintBlock(sha256=LEAF.sha256), SerialBlock(issuer=read(LEAF.der).issuer_der, serial="0A")]
)
def test_a_block_survives_its_columns(block: Block) -> None:
    """As pins do."""
    assert block_from(dict.fromkeys(("issuer", "serial", "sha256")) | block_row(block)) == block


def test_columns_show_names_a_person_can_read() -> None:
    """The RFC 4514 text stands before the DER."""
    assert str(pin_row(pinned())["subject"]).startswith("CN=callback.tencent.test;der=30")


@pytest.mark.parametrize(
    "row",
    [{}, {"kind": "name", "issuer": "CN=x", "subject": "CN=y"}, {"kind": "sha256"}, {"kind": "other", "san": "x"}],
)
def test_columns_that_make_no_pin_are_refused(row: dict[str, str | int | None]) -> None:
    """Never taken for a pin that means more than was meant."""
    with pytest.raises(UsageError):
        pin_from(row)


@pytest.mark.parametrize("row", [{}, {"sha256": ""}, {"issuer": "CN=x", "serial": "0A"}, {"issuer": "x", "serial": ""}])
def test_columns_that_make_no_block_are_refused(row: dict[str, str | int | None]) -> None:
    """Never taken for a block that means less than was meant."""
    with pytest.raises(UsageError):
        block_from(row)


def test_a_pin_is_made_in_one_of_three_ways() -> None:
    """By names, by one alternative name, by SHA-256 with an end."""
    leaf = read(LEAF.der)

    assert pin_of(leaf, kind="sha256", until=NOW_AT) == FingerprintPin(sha256=LEAF.sha256, until=NOW_AT)
    with pytest.raises(UsageError, match="name, san, sha256"):
        pin_of(leaf, kind="serial")


def test_a_san_pin_must_name_what_the_certificate_has() -> None:
    """A typing error is found when the pin is made, not when callbacks are held."""
    leaf = read(LEAF.der)

    assert pin_of(leaf, kind="san", san="dns:callback.tencent.test") == SanPin(san="dns:callback.tencent.test")
    assert isinstance(pin_of(leaf), NamePin)
    with pytest.raises(UsageError, match=r"dns:callback\.tencent\.test"):
        pin_of(leaf, kind="san", san="dns:callbak.tencent.test")


def test_dates_are_checked_before_anything_is_said_of_other_carriers() -> None:
    """An expired certificate is expired, whoever it belongs to."""
    other = authority("Other CA")
    leaf = client(other, not_before=NOW - 9 * DAY, not_after=NOW - DAY)

    assert refusal(leaf, tencent=trust(), acme=trust(ca=other)) == "expired"
