"""From one authority to the next without a gap: add, reissue, remove. The files alone say where it stands."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from receiver.errors import UsageError
from receiver.pki import authority, files, issuing, publish, renewing
from receiver.pki.authority import Authority
from receiver.pki.build import is_development
from receiver.pki.issuing import Issued
from receiver.pki.profiles import Purpose

# Beside the lock that each single change takes.
_LOCK: Final = ".rotation"


class Stage(StrEnum):
    """What is to be done next."""

    NONE = "none"
    ADD = "add"
    REISSUE = "reissue"
    WAIT = "wait"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """Where a rotation stands.

    Attributes:
        new: the authority that issues.
        old: those before it that are still in use.
        missing: carriers that trust an old one and not yet the new one.
        due: valid certificates of an old one for which the new one has issued nothing.
        lasting: valid certificates of an old one that have a successor.
    """

    new: Authority
    old: tuple[Authority, ...]
    missing: tuple[str, ...]
    due: tuple[Issued, ...]
    lasting: tuple[Issued, ...]

    @property
    def stage(self) -> Stage:
        """The next one."""
        if not self.old:
            return Stage.NONE
        if self.missing:
            return Stage.ADD
        if self.due:
            return Stage.REISSUE
        return Stage.WAIT if self.lasting else Stage.REMOVE


def derive(pki: Path, trust: Path | None, purpose: Purpose, *, now: int) -> Rotation:
    """Look where the rotation of a purpose's authority stands; `trust` is None for a PKI without a home.

    Raises:
        CertificateError: there is no authority, or one is damaged.
    """
    new = authority.current(pki, purpose)
    before = authority.find(pki, purpose)[:-1]
    valid = {one.name: _valid(one, now=now) for one in (*before, new)}
    old = [one for one in before if valid[one.name] or (trust and publish.known_by(one, trust))]
    has_new = set(publish.trusted_by(new, trust)) if trust else set()
    trusting = {carrier for one in old for carrier in publish.trusted_by(one, trust)} if trust else set()
    left = [leaf for one in old for leaf in valid[one.name]]
    due = [leaf for leaf in left if not any(_stands_for(other, leaf) for other in valid[new.name])]
    return Rotation(
        new=new,
        old=tuple(old),
        missing=tuple(sorted(trusting - has_new)),
        due=tuple(due),
        lasting=tuple(leaf for leaf in left if leaf not in due),
    )


def add(pki: Path, trust: Path | None, purpose: Purpose, *, now: int, passphrase: bytes | None) -> list[str]:
    """Make the new authority, unless a rotation has begun, and an anchor of every carrier that trusts an old one.

    The answer is the carriers that got it. Doing it again after a crash completes what is missing.

    Raises:
        CertificateError: a file cannot be read or written.
    """
    found = derive(pki, trust, purpose, now=now)
    if found.stage is Stage.NONE and not _is_unused(found.new, pki, trust):
        authority.initialise(
            pki, purpose, now=now, passphrase=passphrase, is_development=is_development(found.new.certificate)
        )
        found = derive(pki, trust, purpose, now=now)
    if trust is None:
        return []
    return [one for one in found.missing if publish.trust_authority(found.new, trust, carrier=one)]


@contextmanager
def alone(pki: Path) -> Iterator[None]:
    """Be the only one that rotates: what is derived from the files holds until it is acted upon.

    Raises:
        CertificateError: another command rotates for too long.
    """
    with files.locked(pki / _LOCK):
        yield


def needs_key(pki: Path, trust: Path | None, purpose: Purpose, *, now: int) -> bool:
    """Would `add` make a new key?

    Raises:
        CertificateError: as `derive`.
    """
    found = derive(pki, trust, purpose, now=now)
    return found.stage is Stage.NONE and not _is_unused(found.new, pki, trust)


def reissue(rotation: Rotation, *, now: int, passphrase: bytes | None) -> list[tuple[Issued, Issued]]:
    """Issue anew under the new authority whatever has its key here; the answer is old and new, pair by pair.

    Raises:
        CertificateError: the new authority's key cannot be used, or a file cannot be written.
    """
    done: list[tuple[Issued, Issued]] = []
    for old in sorted(rotation.due, key=lambda one: -one.not_after):
        if old.key_path and not any(_stands_for(new, old) for _, new in done):
            done.append((old, renewing.renew(old, rotation.new, now=now, passphrase=passphrase)))
    return done


def successors(rotation: Rotation) -> list[Issued]:
    """What stands for those that have a successor, where its key is here.

    Raises:
        CertificateError: a certificate cannot be read.
    """
    issued = [one for one in issuing.issued([rotation.new]) if one.key_path and not one.revoked]
    return [one for one in issued if any(_stands_for(one, old) for old in rotation.lasting)]


def remove(rotation: Rotation, trust: Path) -> list[str]:
    """Take the old authorities out of the trust files; their own directories and keys stay. Returns the carriers.

    Raises:
        UsageError: somebody would be shut out.
        CertificateError: a file cannot be read or written.
    """
    if rotation.missing:
        whom = ", ".join(rotation.missing)
        raise UsageError(f"{whom}: the new CA is no anchor yet; first: receiver certs rotate-ca add")
    if valid := (*rotation.due, *rotation.lasting):
        names = ", ".join(f"{one.carrier or one.names[0]} {one.serial[-8:]}" for one in valid)
        raise UsageError(
            f"valid certificates of the old CA exist: {names}; wait for their end, or revoke them: "
            "receiver certs revoke SERIAL"
        )
    return sorted({carrier for one in rotation.old for carrier in publish.withdraw(one, trust)})


def _valid(one: Authority, *, now: int) -> list[Issued]:
    if one.not_after < now:
        return []
    return [leaf for leaf in issuing.issued([one]) if not leaf.revoked and leaf.not_after >= now]


def _stands_for(new: Issued, old: Issued) -> bool:
    return new.carrier == old.carrier and (new.carrier is not None or set(old.names) <= set(new.names))


def _is_unused(new: Authority, pki: Path, trust: Path | None) -> bool:
    """One that was made in the place of another, and for nothing yet: a second one would be a mistake."""
    is_second = len(authority.find(pki, new.purpose)) > 1
    return is_second and not issuing.issued([new]) and not (trust and publish.trusted_by(new, trust))
