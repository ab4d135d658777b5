"""Trust files of a home, per carrier, taken up while running: a broken new file keeps the last good set and says so."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from cryptography import x509

from receiver.errors import CertificateError, UntrustedError
from receiver.trust import pem
from receiver.trust.crl import Crl, accept
from receiver.trust.material import Material
from receiver.trust.pins import Block, Pin
from receiver.trust.policy import CarrierTrust
from receiver.trust.profiles import Strictness
from receiver.trust.text import instant_text

log = logging.getLogger(__name__)

_ANCHORS: Final = "anchors"
_INTERMEDIATES: Final = "intermediates"
_CRLS: Final = "crls"
_KINDS: Final = (_ANCHORS, _INTERMEDIATES, _CRLS)
_RETRY_SECONDS: Final = 60

_T = TypeVar("_T")
_Stamp: TypeAlias = tuple[tuple[str, int, int, int], ...]
"""Name, modification time in nanoseconds, size and inode of every file: what tells that something changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    material: Material
    stamp: _Stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class _Broken:
    """A state of the files that could not be taken up. It is tried again: a CRL from the future comes of age."""

    problem: str
    stamp: _Stamp
    tried_at: int


class TrustFiles:
    """`DIRECTORY/CARRIER/{anchors,intermediates,crls}/*.pem` of the configured carriers.

    `is_refused` tells the CAs that a production home does not let in.
    """

    def __init__(
        self,
        directory: Path,
        strictness: Mapping[str, str],
        *,
        is_refused: Callable[[x509.Certificate], bool] | None = None,
    ) -> None:
        self.generation = 0
        self._directory = directory
        self._is_refused = is_refused
        self._strictness = {carrier: Strictness(word) for carrier, word in strictness.items()}
        self._loaded: dict[str, _Loaded] = {}
        self._broken: dict[str, _Broken] = {}

    def load(self, *, now: int) -> None:
        """Read everything for the first time; there is no last good set yet to fall back on.

        Raises:
            CertificateError: a file that cannot be used; which one, and why.
        """
        self._loaded = {
            carrier: self._read(carrier, strictness, now=now) for carrier, strictness in self._strictness.items()
        }
        self._broken.clear()
        self.generation += 1

    def reload_if_changed(self, *, now: int) -> bool:
        """Take up what has changed, carrier by carrier; True when `carriers` gives something new."""
        changed = [carrier for carrier in self._strictness if self._take_up(carrier, now=now)]
        if changed:
            self.generation += 1
            log.info("trust files taken up", extra={"carriers": changed, "generation": self.generation})
        return bool(changed)

    def carriers(
        self,
        *,
        pins: Mapping[str, Sequence[Pin]] | None = None,
        blocks: Mapping[str, Sequence[Block]] | None = None,
        accept_unpinned: Collection[str] = (),
    ) -> dict[str, CarrierTrust]:
        """The files in force, with the pins and blocks of each carrier."""
        return {
            carrier: CarrierTrust(
                material=loaded.material,
                pins=tuple((pins or {}).get(carrier, ())),
                blocks=tuple((blocks or {}).get(carrier, ())),
                accept_unpinned=carrier in accept_unpinned,
            )
            for carrier, loaded in self._loaded.items()
        }

    def warnings(self, *, now: int) -> list[str]:
        """What a person should look at, one line each."""
        lines = [broken.problem for broken in self._broken.values()]
        for carrier, loaded in self._loaded.items():
            if not loaded.material.anchors:
                lines.append(f"{carrier}: no trust anchor, so no certificate is accepted")
            lines += [f"{carrier}: {line}" for line in crl_warnings(loaded.material.crls, now=now)]
        return lines

    def _take_up(self, carrier: str, *, now: int) -> bool:
        directory, broken = self._directory / carrier, self._broken.get(carrier)
        stamp: _Stamp = ()
        try:
            stamp = _stamp(directory)
            if stamp == self._loaded[carrier].stamp:
                self._broken.pop(carrier, None)
                return False
            if broken and broken.stamp == stamp and now < broken.tried_at + _RETRY_SECONDS:
                return False
            loaded = self._read(carrier, self._strictness[carrier], now=now)
        except CertificateError as exc:
            self._keep(carrier, f"{exc}; the last good trust files of {carrier} stay in force", stamp=stamp, now=now)
            return False
        self._loaded[carrier] = loaded
        self._broken.pop(carrier, None)
        return True

    def _read(self, carrier: str, strictness: Strictness, *, now: int) -> _Loaded:
        return _read(self._directory / carrier, strictness, now=now, is_refused=self._is_refused)

    def _keep(self, carrier: str, problem: str, *, stamp: _Stamp, now: int) -> None:
        known = self._broken.get(carrier)
        self._broken[carrier] = _Broken(problem=problem, stamp=stamp, tried_at=now)
        if not known or known.problem != problem:
            log.warning("trust files not taken up", extra={"carrier": carrier, "problem": problem})


def crl_warnings(crls: Sequence[Crl], *, now: int) -> list[str]:
    """What is wrong with CRLs that are in use. Of several by one issuer, the one that lasts longest counts."""
    newest = {crl.issuer: crl for crl in sorted(crls, key=lambda one: one.next_update)}
    lines = [
        f"the CRL of {crl.issuer_text} expired at {instant_text(crl.next_update)}; what it lists stays revoked"
        for crl in newest.values()
        if crl.next_update < now
    ]
    return lines + [line for crl in crls for line in crl.warnings]


def _read(
    directory: Path, strictness: Strictness, *, now: int, is_refused: Callable[[x509.Certificate], bool] | None
) -> _Loaded:
    # The stamp first: a file that changes while it is read is found changed the next time.
    stamp = _stamp(directory)
    anchors = _parsed(directory / _ANCHORS, pem.certificates)
    intermediates = _parsed(directory / _INTERMEDIATES, pem.certificates)
    for path, certificate in (*anchors, *intermediates):
        if is_refused and is_refused(certificate):
            raise CertificateError(f"{path}: a CA of a development PKI, and this is a production home")
    authorities = [certificate for _, certificate in (*anchors, *intermediates)]
    crls = []
    for path, crl in _parsed(directory / _CRLS, pem.crls):
        try:
            crls.append(accept(crl, authorities, now=now, is_strict=strictness is Strictness.STRICT))
        except UntrustedError as exc:
            raise CertificateError(f"{path}: {exc}") from None
    return _Loaded(
        material=Material(
            anchors=[certificate for _, certificate in anchors],
            intermediates=[certificate for _, certificate in intermediates],
            crls=crls,
            strictness=strictness,
        ),
        stamp=stamp,
    )


def _parsed(directory: Path, parse: Callable[[bytes], Sequence[_T]]) -> list[tuple[Path, _T]]:
    found = []
    for path in _files(directory):
        try:
            found += [(path, one) for one in parse(path.read_bytes())]
        except CertificateError as exc:
            raise CertificateError(f"{path}: {exc}") from None
        except OSError as exc:
            raise CertificateError(f"{path}: cannot be read: {exc.strerror}") from None
    return found


def _stamp(directory: Path) -> _Stamp:
    rows = []
    for kind in _KINDS:
        for path in _files(directory / kind):
            try:
                status = path.stat()
            except FileNotFoundError:
                # Renamed or removed between the two looks; the next look decides.
                continue
            rows.append((f"{kind}/{path.name}", status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(rows)


def _files(directory: Path) -> list[Path]:
    """A directory that is not there is empty; one that cannot be read is an error, lest it look empty."""
    try:
        return sorted(path for path in directory.iterdir() if path.suffix == ".pem")
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise CertificateError(f"{directory}: cannot be read: {exc.strerror}") from None
