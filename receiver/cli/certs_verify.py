"""`receiver certs verify`: judge one client certificate. Exit 0 accepted, 1 refused, 2 wrong usage."""

import json
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from receiver.errors import CertificateError, UntrustedError
from receiver.logs import printable
from receiver.trust import Strictness
from receiver.trust.offline import Accepted, Files, judge

_FILE: Final = click.Path(path_type=Path, exists=True, dir_okay=False, readable=True)
_PROFILE: Final = click.Choice([word.value for word in Strictness])
_EPILOG: Final = "Example: receiver certs verify client.pem --anchors carrier-ca.pem --crl carrier.crl --json"


class _Instant(click.ParamType[int]):
    """RFC 3339 to Unix seconds. A fraction is cut off: certificates know whole seconds (RFC 5280, 4.1.2.5)."""

    name = "RFC3339"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            at = datetime.fromisoformat(str(value).upper())
        except ValueError:
            at = None
        if at is None or at.tzinfo is None:
            self.fail(f"{value!r} is not an instant such as 2026-11-22T10:00:00Z", param, ctx)
        return int(at.timestamp() // 1)


@click.command("verify", epilog=_EPILOG)
@click.argument("leaf", type=_FILE)
@click.option("--anchors", type=_FILE, required=True, help="The trusted CA certificates, in one file.")
@click.option("--intermediate", "intermediates", type=_FILE, multiple=True, help="Further CA certificates.")
@click.option("--crl", "crls", type=_FILE, multiple=True, help="A revocation list; each must be usable.")
@click.option("--at", type=_Instant(), help="The time to judge for.  [default: now]")
@click.option("--profile", type=_PROFILE, default=Strictness.STRICT.value, show_default=True)
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object.")
def verify(  # noqa: PLR0913 -- one argument for each option
    *,
    leaf: Path,
    anchors: Path,
    intermediates: tuple[Path, ...],
    crls: tuple[Path, ...],
    at: int | None,
    profile: str,
    is_json: bool,
) -> None:
    """Judge one client certificate exactly as the receiver does for a callback, pins aside.

    Exits with 0 when it would be accepted, 1 when not, 2 for wrong usage or a missing file.
    """
    now = int(time.time()) if at is None else at
    try:
        files = Files(
            anchors=anchors.read_bytes(),
            intermediates=[path.read_bytes() for path in intermediates],
            crls=[path.read_bytes() for path in crls],
        )
        accepted = judge(leaf.read_bytes(), files, now=now, strictness=Strictness(profile))
    except UntrustedError as exc:
        _show(_refusal(exc, profile, has_crls=bool(crls)), is_json=is_json)
        sys.exit(1)
    except (OSError, CertificateError) as exc:
        raise click.UsageError(printable(str(exc))) from None
    _show(_acceptance(accepted, profile), is_json=is_json)


def _refusal(error: UntrustedError, profile: str, *, has_crls: bool) -> dict[str, Any]:
    verdict = {"ok": False, "reason": error.code, "detail": str(error), "profile": profile}
    return verdict if has_crls else verdict | {"revocation": "unchecked"}


def _acceptance(accepted: Accepted, profile: str) -> dict[str, Any]:
    leaf, verified = accepted.leaf, accepted.verified
    return {
        "ok": True,
        "profile": profile,
        "revocation": verified.revocation.value,
        "subject": leaf.subject,
        "issuer": leaf.issuer,
        "serial": leaf.serial,
        "sha256": leaf.sha256,
        "chain": [certificate.subject.rfc4514_string() for certificate in verified.chain],
        "warnings": list(accepted.warnings),
    }


def _show(verdict: dict[str, Any], *, is_json: bool) -> None:
    if is_json:
        click.echo(json.dumps(verdict))
        return
    if not verdict["ok"]:
        click.echo(printable(f"refused ({verdict['reason']}): {verdict['detail']}"))
        return
    click.echo(printable(f"accepted: {verdict['subject']}, serial {verdict['serial']}"))
    click.echo(printable(f"chain: {' <- '.join(verdict['chain'])}"))
    click.echo(f"revocation: {verdict['revocation']}")
    for warning in verdict["warnings"]:
        click.echo(printable(f"warning: {warning}"))
