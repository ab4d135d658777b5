"""`receiver void`: take forged or test deliveries out of the figures, without deleting them."""

from pathlib import Path

import click
import orjson

from receiver.cli.store_terminal import arrivals_between, ask, decide, home_option, json_option
from receiver.errors import UsageError
from receiver.model import Selection


@click.command(epilog="Example: receiver void --app demo --from 2026-11-18T10:00:00+08:00 --reason 'load test'")
@home_option
@click.option("--peer", metavar="SHA256", help="Deliveries of this certificate (hexadecimal).")
@click.option("--app", help="Deliveries for this application.")
@click.option("--carrier", help="Deliveries of this carrier.")
@click.option("--from", "start", metavar="INSTANT", help="That arrived since (RFC 3339 or Unix seconds).")
@click.option("--to", "end", metavar="INSTANT", help="That arrived before.  [default: now]")
@click.option("--reason", required=True, help="Why; kept with the decision.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Only count them.")
@json_option
def command(  # noqa: PLR0913 -- one argument for each option
    *,
    home: Path,
    peer: str | None,
    app: str | None,
    carrier: str | None,
    start: str | None,
    end: str | None,
    reason: str,
    is_dry: bool,
    is_json: bool,
) -> None:
    """Void the deliveries for which everything given holds. They stay in the journal, and count for nothing."""
    if peer is None and app is None and carrier is None:
        raise UsageError("give at least one of --peer, --app and --carrier")
    since, until = arrivals_between(home, start, end)
    selection = Selection(
        carrier=carrier,
        app=app,
        peer_sha256=peer and peer.lower(),
        received_from_us=since,
        received_to_us=until,
    )
    count = ask(home, lambda reader: reader.count_selected(selection))
    seq = None if is_dry else decide(home, "void", selection, reason=reason)
    if is_json:
        click.echo(orjson.dumps({"deliveries": count, "decision": seq}))
    elif is_dry:
        click.echo(f"{count} deliveries would be voided")
    else:
        click.echo(f"decision {seq}: {count} deliveries are voided")
