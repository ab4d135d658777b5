"""Settings: one TOML file, each key also as an environment variable, checked once at start."""

import ipaddress
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from receiver.carriers import PROFILES
from receiver.errors import SettingsError

FILE_NAME: Final = "receiver.toml"
ENV_PREFIX: Final = "RECEIVER_"
ENV_FILE: Final = "RECEIVER_CONFIG"
"""Names another settings file than the home's; `receiver --config` sets it for a command and its children."""
# Read by the front doors, not settings of the receiver.
_ENV_NOT_OURS: Final = frozenset({"RECEIVER_HOME", "RECEIVER_VENV", ENV_FILE})


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be an IANA time zone such as Asia/Shanghai") from None
    return name


def _known_profile(name: str) -> str:
    if name not in PROFILES:
        raise ValueError(f"must be one of: {', '.join(sorted(PROFILES))}")
    return name


def _known_store(url: str) -> str:
    if urlsplit(url).scheme not in {"sqlite", "postgresql"}:
        raise ValueError("must be sqlite:///DIR or postgresql://host/db")
    return url


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _loopback(host: str) -> str:
    if not is_loopback(host):
        raise ValueError("must be a loopback address; whoever comes from elsewhere comes through nginx with TLS")
    return host


# What the file may say for what.
_WIDENED: Final = frozenset({(int, float), (str, type(Path()))})


Port = Annotated[int, Field(ge=1, le=65535)]


class Server(_Section):
    """Where the two sides listen; the Unix sockets between nginx and receiver are placed by whoever starts them.
    `ops_tls` says that nginx speaks TLS in front of the operations side: then cookies travel over TLS only.
    """

    domain: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,253}$")] = "localhost"
    https_port: Port = 8443
    # "*" is every address, IPv4 and IPv6.
    https_host: Annotated[str, Field(pattern=r"^(\*|[0-9A-Fa-f:.]+|[A-Za-z0-9.-]{1,253})$")] = "127.0.0.1"
    ops_host: Annotated[str, AfterValidator(_loopback)] = "127.0.0.1"
    ops_port: Port = 8080
    ops_tls: bool = False


class Store(_Section):
    """Where deliveries are kept. A relative `sqlite:///DIR` lies in the home."""

    url: Annotated[str, AfterValidator(_known_store)] = "sqlite:///store"


class Limits(_Section):
    """Bounds on everything that comes in. Rates are per second, per client certificate."""

    body_bytes: Annotated[int, Field(ge=1024, le=16 * 1024 * 1024)] = 64 * 1024
    queue_deliveries: Annotated[int, Field(ge=1, le=1_000_000)] = 8192
    queue_bytes: Annotated[int, Field(ge=1024 * 1024)] = 64 * 1024 * 1024
    requests_per_second: Annotated[int, Field(ge=1, le=1_000_000)] = 8000
    requests_burst: Annotated[int, Field(ge=0, le=1_000_000)] = 8000
    connections_per_address: Annotated[int, Field(ge=1, le=65535)] = 2048
    # How long a client may pause while it sends, and how long nginx waits for the receiver's answer.
    client_seconds: Annotated[int, Field(ge=1, le=60)] = 10
    answer_seconds: Annotated[int, Field(ge=1, le=300)] = 10
    unknown_kind_per_day: Annotated[int, Field(ge=0)] = 10_000
    quarantine_per_day: Annotated[int, Field(ge=0)] = 10_000
    held_per_day: Annotated[int, Field(ge=0)] = 100_000


class Statistics(_Section):
    """How figures are cut and judged."""

    zone: Annotated[str, AfterValidator(_known_zone)] = "Asia/Shanghai"
    floor: Annotated[float, Field(gt=0, lt=1)] = 0.30
    short_code_seconds: Annotated[int, Field(ge=0, le=3600)] = 3
    short_prompt_seconds: Annotated[int, Field(ge=0, le=3600)] = 10
    lost_after_hours: Annotated[int, Field(ge=1, le=24 * 30)] = 24


class Carrier(_Section):
    """One carrier: which profile decodes it, how strictly its certificates are judged, what undecodable bodies get."""

    profile: Annotated[str, AfterValidator(_known_profile)] = "tencent"
    strictness: Literal["strict", "tolerant"] = "strict"
    undecodable: Literal["reject", "accept"] = "reject"


class Nginx(_Section):
    """What the rendered nginx configuration needs beyond the rest. `crl` gives nginx an `ssl_crl` of its own."""

    binary: str = "nginx"
    user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")] = "www-data"
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    crl: bool = False


class Log(_Section):
    """Log records are JSON lines on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(BaseSettings):
    """Everything that can be set. See `receiver init` for a commented file."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    mode: Literal["development", "production"] = "development"
    ops_token_file: Path | None = None
    server: Server = Server()
    store: Store = Store()
    limits: Limits = Limits()
    statistics: Statistics = Statistics()
    carriers: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")], Carrier] = {"tencent": Carrier()}
    nginx: Nginx = Nginx()
    log: Log = Log()

    @property
    def is_production(self) -> bool:
        """A production home refuses whatever exists only for development."""
        return self.mode == "production"

    @model_validator(mode="before")
    @classmethod
    def _profiles_are_named(cls, content: Any) -> Any:
        """A carrier called like a profile has that one; a misspelt one is not silently a second carrier."""
        for name, carrier in dict(content.get("carriers", {})).items():
            if isinstance(carrier, Mapping) and "profile" not in carrier and name not in PROFILES:
                known = ", ".join(sorted(PROFILES))
                raise ValueError(f"carriers.{name}: a carrier of its own needs a profile, one of: {known}")
        return content

    @model_validator(mode="after")
    def _sides_are_apart(self) -> Self:
        server = self.server
        if server.https_port == server.ops_port:
            raise ValueError(f"server.https_port and server.ops_port are both {server.ops_port}; choose two ports")
        if not self.is_production and not is_loopback(server.https_host):
            raise ValueError(f"server.https_host = {server.https_host!r}: a development home listens on loopback only")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment outranks the file, which comes in as the arguments."""
        del settings_cls, dotenv_settings, file_secret_settings
        return (env_settings, init_settings)


def load(home: Path, *, file: Path | None = None) -> Settings:
    """Read the settings of a home.

    Raises:
        SettingsError: a key that is unknown, of the wrong type or impossible; names key, value and what is allowed.
    """
    path = file or Path(os.environ.get(ENV_FILE) or home / FILE_NAME)
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file; make a home with: receiver init --home {home}") from None
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"{path}: cannot be read: {exc}") from None
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise SettingsError(f"{path}: not TOML: {exc}") from None
    return from_mapping(content, origin=str(path))


def from_mapping(content: Mapping[str, Any], *, origin: str) -> Settings:
    """Check settings already read; `origin` names them in errors.

    Raises:
        SettingsError: as `load`.
    """
    _refuse_unknown_environment()
    try:
        settings = Settings(**content)
    except ValidationError as exc:
        raise SettingsError("; ".join(_line(error, origin) for error in exc.errors())) from None
    _refuse_wrong_types(content, settings, origin)
    return settings


def _refuse_wrong_types(content: Mapping[str, Any], checked: Any, place: str) -> None:
    """The environment is text and has to be converted; the file has types of its own, and they must be right."""
    for key, given in content.items():
        value = checked[key] if isinstance(checked, Mapping) else getattr(checked, key)
        if isinstance(given, Mapping):
            _refuse_wrong_types(given, value, f"{place}: {key}" if isinstance(checked, Settings) else f"{place}.{key}")
        elif type(given) is not type(value) and (type(given), type(value)) not in _WIDENED:
            raise SettingsError(f"{place}.{key} = {given!r}: must be of the type {type(value).__name__}")


def _line(error: Any, origin: str) -> str:
    place = [str(part) for part in error["loc"] if part != "[key]"]
    key = ".".join(place)
    variable = ENV_PREFIX + "__".join(place).upper()
    source = f"environment variable {variable}" if variable in os.environ else origin
    if error["type"] == "extra_forbidden":
        return f"{source}: unknown key {key} = {error['input']!r}; known: {', '.join(_known_keys(place[:-1]))}"
    message = error["msg"].removeprefix("Value error, ")
    if not key:
        return f"{source}: {message}"
    return f"{source}: {key} = {error['input']!r}: {message[:1].lower()}{message[1:]}"


def _known_keys(place: Sequence[str]) -> list[str]:
    model: type[BaseModel] = Settings
    if place:
        model = Carrier if place[0] == "carriers" else type(Settings.model_fields[place[0]].default)
    return sorted(model.model_fields)


def _refuse_unknown_environment() -> None:
    sections = set(Settings.model_fields)
    for name in os.environ:
        if name.startswith(ENV_PREFIX) and name not in _ENV_NOT_OURS:
            section = name.removeprefix(ENV_PREFIX).split("__")[0].lower()
            if section not in sections:
                raise SettingsError(
                    f"environment variable {name}: unknown key {section}; known: {', '.join(sorted(sections))}"
                )


def store_directory(settings: Settings, home: Path) -> Path:
    """The directory of an embedded store.

    Raises:
        SettingsError: the store is not an embedded one.
    """
    url = urlsplit(settings.store.url)
    if url.scheme != "sqlite":
        raise SettingsError(f"store.url = {settings.store.url!r}: only sqlite:///DIR is built in so far")
    return home / url.path.removeprefix("/")
