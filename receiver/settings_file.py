"""The text of a new home's settings file: every key with its default, commented out. Reads and writes nothing."""

import inspect
import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from pydantic import BaseModel

from receiver.config import Settings

_HEAD: Final = """\
# Settings of this home. A key that is commented out has the value shown; take away the "#" to change it.
# Unknown keys and impossible values are refused at start. Each key is also an environment variable, which wins:
# RECEIVER_SERVER__HTTPS_PORT=9443 is https_port of [server].
"""


def commented(*, mode: str, given: Mapping[str, Mapping[str, object]] = MappingProxyType({})) -> str:
    """A settings file that says the mode and what is given by section and key, and shows what else could be said."""
    settings = Settings.model_construct()
    lines = [
        _HEAD,
        f"mode = {json.dumps(mode)}",
        '# ops_token_file = "secrets/more.token"  # one more token, role read',
    ]
    for name in Settings.model_fields:
        value = getattr(settings, name)
        tables = value if isinstance(value, Mapping) else {"": value}
        for key, table in tables.items():
            if isinstance(table, BaseModel):
                lines += _table(f"{name}.{key}" if key else name, table, given.get(name, {}))
    return "\n".join(lines) + "\n"


def _table(name: str, table: BaseModel, given: Mapping[str, object]) -> Iterator[str]:
    yield ""
    for line in (inspect.getdoc(table) or "").splitlines():
        yield f"# {line}".rstrip()
    yield f"[{name}]"
    for key, value in table:
        # JSON's strings, numbers and booleans are TOML's.
        yield f"{key} = {json.dumps(given[key])}" if key in given else f"# {key} = {json.dumps(value)}"
