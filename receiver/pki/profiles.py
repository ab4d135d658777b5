"""Certificate profiles: the data in `certs/*.toml`, checked when read. Signs nothing."""

import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from receiver.errors import CertificateError

_PACKAGE: Final = Path(__file__).parents[1]
_SHIPPED: Final = _PACKAGE / "_shipped" / "certs"
_IN_REPOSITORY: Final = _PACKAGE.parent / "certs"

Days = Annotated[int, Field(ge=1, le=36500)]
Minutes = Annotated[int, Field(ge=0, le=24 * 60)]


class Purpose(StrEnum):
    """Whom an authority's certificates speak for. One authority never does both."""

    CLIENT = "client"
    SERVER = "server"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


_T = TypeVar("_T", bound=_Section)


class CrlProfile(_Section):
    """How long a CRL lasts. It is dated back, because one from the future refuses everybody."""

    days: Days
    backdate_minutes: Minutes


class AuthorityProfile(_Section):
    """A certificate authority. `{date}` in the name keeps the names of two keys apart."""

    common_name: str
    days: Days
    backdate_minutes: Minutes
    path_length: Annotated[int, Field(ge=0, le=8)]
    key_usage: tuple[Literal["key_cert_sign", "crl_sign", "digital_signature"], ...]
    crl: CrlProfile


class LeafProfile(_Section):
    """An end-entity certificate. Names may hold `{carrier}` or `{name}`."""

    common_name: str
    days: Days
    backdate_minutes: Minutes
    key_usage: tuple[Literal["digital_signature", "key_encipherment", "key_agreement"], ...]
    extended_key_usage: tuple[Literal["client_auth", "server_auth"], ...]
    subject_alternative_names: tuple[str, ...] = ()


def authority_profile(purpose: Purpose) -> AuthorityProfile:
    """The profile of an authority.

    Raises:
        CertificateError: its file cannot be used.
    """
    return _read(f"{purpose}-ca.toml", AuthorityProfile)


def leaf_profile(purpose: Purpose) -> LeafProfile:
    """The profile of what an authority issues.

    Raises:
        CertificateError: its file cannot be used.
    """
    return _read(f"{purpose}.toml", LeafProfile)


def _read(name: str, kind: type[_T]) -> _T:
    path = (_SHIPPED if _SHIPPED.is_dir() else _IN_REPOSITORY) / name
    try:
        return kind.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as exc:
        raise CertificateError(f"{path}: the certificate profile cannot be read: {exc.strerror}") from None
    except tomllib.TOMLDecodeError as exc:
        raise CertificateError(f"{path}: not TOML: {exc}") from None
    except ValidationError as exc:
        error = exc.errors()[0]
        key = ".".join(str(part) for part in error["loc"])
        raise CertificateError(f"{path}: {key}: {error['msg']}") from None
