"""RFC 5280 beyond the table: path lengths, self-issued certificates, loops, encodings, version 1."""

import time
from collections.abc import Sequence

import pytest
from certificates import DAY, NOW, NOW_AT, Issued, authority, client, name, p256
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from odd_certificates import (
    changed,
    generalized_time,
    tlv,
    utc_time,
    version_1,
    with_extension_twice,
    with_other_inner_algorithm,
    with_validity,
)

from receiver.errors import UntrustedError
from receiver.trust import Material, Strictness
from receiver.trust.certificate import read

LONGEST_SECONDS = 2.0


def verdict(
    leaf: Issued | bytes,
    anchors: Sequence[Issued],
    intermediates: Sequence[Issued] = (),
    *,
    now: int = NOW_AT,
    strictness: Strictness = Strictness.STRICT,
) -> str:
    """`pass`, or the reason code of the refusal."""
    material = Material(
        anchors=[one.certificate for one in anchors],
        intermediates=[one.certificate for one in intermediates],
        strictness=strictness,
    )
    try:
        material.verify(read(leaf if isinstance(leaf, bytes) else leaf.der), now=now)
    except UntrustedError as exc:
        return exc.code
    return "pass"


def self_issued(parent: Issued, *, path_length: int | None = None) -> Issued:
    """The same CA with a new key, certified by its old one (RFC 4210, 4.4: new with old)."""
    return authority(parent.certificate.subject, parent=parent, path_length=path_length)


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([0], "pass"),
        ([1, 0], "pass"),
        ([1, 2], "pass"),  # a lower CA may claim more than it can use
        ([0, 0], "untrusted"),
        ([1, 0, 0], "untrusted"),
        ([None, 1, 0, 0], "untrusted"),
        ([2, None, None], "pass"),
        ([1, None, None], "untrusted"),
    ],
)
def test_a_path_length_counts_the_intermediates_below(lengths: list[int | None], expected: str) -> None:
    """RFC 5280, 4.2.1.9: the number of non-self-issued intermediate certificates that may follow."""
    chain = [authority("Root", path_length=None)]
    for number, length in enumerate(lengths):
        chain.append(authority(f"CA {number}", parent=chain[-1], path_length=length))

    assert verdict(client(chain[-1]), chain[:1], chain[1:]) == expected


def test_a_root_that_changed_its_key_still_issues_directly() -> None:
    """A self-issued certificate is not counted against path length 0 (RFC 5280, 4.2.1.9)."""
    old = authority("Root", path_length=0)
    new = self_issued(old, path_length=0)

    assert verdict(client(new), [old], [new]) == "pass"


def test_a_self_issued_certificate_between_intermediates_is_not_counted() -> None:
    """root, CA' (1), CA' again (1), CA'' (0), leaf: the second CA' does not use up the first one's path length."""
    root = authority("Root", path_length=None)
    first = authority("CA'", parent=root, path_length=1)
    again = self_issued(first, path_length=1)
    last = authority("CA''", parent=again, path_length=0)

    assert verdict(client(last), [root], [first, again, last]) == "pass"


def test_two_key_changes_in_a_row_are_not_counted() -> None:
    """Every self-issued certificate is free, however many keys a CA has had."""
    root = authority("Root", path_length=0)
    second = self_issued(root, path_length=0)
    third = self_issued(second, path_length=0)

    assert verdict(client(third), [root], [third, second]) == "pass"


def test_other_intermediates_are_counted_across_a_self_issued_one() -> None:
    """Path length 0 above a self-issued certificate still forbids another CA below it."""
    root = authority("Root", path_length=0)
    again = self_issued(root, path_length=None)
    below = authority("CA", parent=again, path_length=None)

    assert verdict(client(below), [root], [again, below]) == "untrusted"


def test_a_self_issued_certificate_must_be_signed_by_its_ca() -> None:
    """The name alone makes nobody the same CA."""
    root = authority("Root", path_length=0)
    forged = self_issued(authority("Root", path_length=0))

    assert verdict(client(forged), [root], [forged]) == "untrusted"


def test_a_self_issued_certificate_must_be_a_ca_in_force() -> None:
    """Expired, or no CA at all, it joins nothing."""
    root = authority("Root", path_length=0)
    expired = authority("Root", parent=root, not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    no_ca = authority(
        "Root",
        parent=root,
        extensions={x509.BasicConstraints: (x509.BasicConstraints(ca=False, path_length=None), True)},
    )

    assert verdict(client(expired), [root], [expired]) != "pass"
    assert verdict(client(no_ca), [root], [no_ca]) == "untrusted"


def test_name_constraints_hold_across_a_self_issued_certificate() -> None:
    """What the root forbids stays forbidden below the CA's new key."""
    constraints = x509.NameConstraints(None, [x509.DNSName("tencent.test")])
    root = authority("Root", path_length=0, extensions={x509.NameConstraints: (constraints, True)})
    again = self_issued(root, path_length=0)

    assert verdict(client(again), [root], [again]) == "untrusted"


def test_two_cas_that_sign_each_other_lead_nowhere() -> None:
    """A loop without an anchor is refused, whether the two have one name or two."""
    root = authority("Root", path_length=None)
    for names in (("A", "B"), ("A", "A")):
        keys = p256(), p256()
        seeds = [authority(one, key=key, path_length=None) for one, key in zip(names, keys, strict=True)]
        loop = [
            authority(seeds[turn].certificate.subject, parent=seeds[1 - turn], key=keys[turn], path_length=None)
            for turn in (0, 1)
        ]

        assert verdict(client(loop[0]), [root], loop) == "untrusted"


def test_a_way_out_of_cross_signatures_is_found() -> None:
    """leaf, A1, and A, B, C certified by one another: the chain ends at the root A."""
    keys = {letter: p256() for letter in "ABC"}
    roots = {letter: authority(letter, key=key, path_length=None) for letter, key in keys.items()}
    crossed = [
        authority(one, parent=roots[by], key=keys[one], path_length=None) for one in "ABC" for by in "ABC" if one != by
    ]
    issuing = authority("A1", parent=roots["A"], path_length=None)

    assert verdict(client(issuing), [roots["A"]], [issuing, *crossed]) == "pass"


def pathological(kind: str) -> tuple[Issued, list[Issued], list[Issued]]:
    """A leaf, anchors and intermediates that offer very many chains, none of them good."""
    root = authority("Root", path_length=None)
    if kind == "one key, one name":
        key = p256()
        seed = authority("Loop", key=key, path_length=None)
        return client(seed), [root], [authority("Loop", parent=seed, key=key, path_length=None) for _ in range(100)]
    if kind == "many self-issued keys":
        keys = [p256() for _ in range(12)]
        seeds = [authority("Loop", key=key, path_length=None) for key in keys]
        pool = [
            authority("Loop", parent=above, key=key, path_length=None)
            for above in seeds
            for key in keys
            if key is not above.key
        ]
        return client(seeds[0]), [root], pool
    if kind == "slow keys in layers":
        layers = [[ec.generate_private_key(ec.SECP384R1()) for _ in range(4)] for _ in range(6)]
        pool, above = [], [authority("Layer 0", key=key, path_length=None) for key in layers[0]]
        for number, layer in enumerate(layers[1:], 1):
            pool += [
                authority(f"Layer {number}", parent=parent, key=key, path_length=None)
                for parent in above
                for key in layer
            ]
            above = [authority(f"Layer {number}", key=key, path_length=None) for key in layer]
        return client(above[0]), [root], pool
    names = [x509.DNSName(f"t{number}.test") for number in range(513)]
    constraints = x509.NameConstraints([*names, x509.DNSName("test")], [x509.DNSName(f"x{n}.test") for n in range(513)])
    constrained = authority("Root", path_length=None, extensions={x509.NameConstraints: (constraints, True)})
    return client(constrained, san=[*names, x509.DNSName("elsewhere.example")]), [constrained], []


@pytest.mark.parametrize(
    "kind", ["one key, one name", "many self-issued keys", "slow keys in layers", "many names, many constraints"]
)
def test_a_refusal_comes_in_bounded_time(kind: str) -> None:
    """However many chains the configured CAs offer, a verdict takes no longer than a person notices."""
    leaf, anchors, intermediates = pathological(kind)

    begun = time.perf_counter()
    result = verdict(leaf, anchors, intermediates)

    assert result == "untrusted"
    assert time.perf_counter() - begun < LONGEST_SECONDS


@pytest.mark.parametrize(
    ("not_after", "expected"),
    [
        (utc_time("271122100000Z"), "pass"),
        # RFC 5280, 4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050 on, both with seconds and in Zulu.
        (generalized_time("20271122100000Z"), "bad_certificate"),
        (generalized_time("20511122100000Z"), "pass"),
        (utc_time("2711221000Z"), "bad_certificate"),
        (utc_time("271122100000+0000"), "bad_certificate"),
        (generalized_time("20511122100000.5Z"), "bad_certificate"),
        (utc_time("271322100000Z"), "bad_certificate"),
    ],
)
def test_validity_is_encoded_as_rfc_5280_demands(not_after: bytes, expected: str) -> None:
    """A time in another form than the RFC's refuses the certificate, and never stops the receiver."""
    ca = authority(not_after=NOW + 9999 * DAY)
    leaf = with_validity(client(ca), ca, utc_time("261121100000Z"), not_after)

    assert verdict(leaf, [ca]) == expected


@pytest.mark.parametrize("strictness", list(Strictness))
def test_version_1_is_refused_by_both_profiles(strictness: Strictness) -> None:
    """Only a SHA-256 pin admits it."""
    ca = authority()

    assert verdict(version_1(client(ca), ca), [ca], strictness=strictness) == "bad_certificate"


def test_two_extensions_of_one_kind_are_refused() -> None:
    """RFC 5280, 4.2: no more than one instance of an extension."""
    ca = authority()

    assert verdict(with_extension_twice(client(ca), ca), [ca]) == "bad_certificate"


def test_the_two_signature_algorithms_must_be_the_same() -> None:
    """RFC 5280, 4.1.1.2."""
    ca = authority()

    assert verdict(with_other_inner_algorithm(client(ca), ca), [ca]) != "pass"


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_a_serial_number_is_positive() -> None:
    """RFC 5280, 4.1.2.2: zero is no serial number."""
    ca = authority()
    zero = changed(client(ca), ca, lambda fields: [fields[0], tlv(0x02, b"\0"), *fields[2:]])

    assert verdict(zero, [ca]) == "bad_certificate"


def test_an_issuer_that_is_not_yet_in_force_is_told_so() -> None:
    """Not taken for an unknown one."""
    ca = authority(not_before=NOW + DAY)

    assert verdict(client(ca), [ca]) == "not_yet_valid"


def test_an_empty_issuer_is_refused() -> None:
    """RFC 5280, 4.1.2.4: the issuer field has a non-empty name."""
    nameless = authority(x509.Name([]))

    assert verdict(client(nameless, name("x")), [nameless]) != "pass"


def test_no_anchor_means_nobody() -> None:
    """A carrier without trust files trusts no certificate."""
    assert verdict(client(authority()), []) == "untrusted"
