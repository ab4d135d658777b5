"""What a capture saw, as facts and on the terminal. Foreign text is escaped, numbers of people are masked."""

import base64
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import click
import orjson
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from receiver.carriers import CarrierProfile
from receiver.cli.store_terminal import redacted
from receiver.errors import UndecodableError
from receiver.trust.text import printable

Record = Mapping[str, Any]

_MOST_VALUES: Final = 10
_MOST_REPEATED: Final = 20
_MOST_CERTIFICATES: Final = 20
_EXAMPLE_LENGTH: Final = 600
_MICROSECONDS: Final = 1_000_000
# Whatever a number is written like: a callee's field is shown by its last digits at most.
_CALLEE: Final = re.compile(r'("mobile"\s*:\s*)("(?:[^"\\]|\\.)*"?|[^,}\s]+)')
_SHOWN_DIGITS: Final = 4


def seen(records: Sequence[Record], profile: CarrierProfile) -> dict[str, Any]:
    """Everything about the requests but their certificates."""
    return {
        "kept": len(records),
        "addresses": len({record["address"] for record in records}),
        "tls": _counted(records, lambda one: one["tls"]),
        "cipher": _counted(records, lambda one: one["cipher"]),
        "sni": _counted(records, lambda one: one["sni"] or "(none)"),
        "http": _counted(records, lambda one: one["http"]),
        "method": _counted(records, lambda one: one["method"]),
        "content_type": _counted(records, lambda one: _header(one, "content-type") or "(none)"),
        "callback": _counted(records, lambda one: _kind(one, profile)),
        "with_key": sum(one["has_key"] for one in records),
        "query_names": _counted(records, lambda one: ", ".join(one["query_names"]) or "(no query)"),
        "headers": _headers(records),
        "headers_withheld": sum(one["are_headers_withheld"] for one in records),
        "repeated": _repeated(records),
        "examples": _examples(records, profile),
        "without_certificate": sum(not one["certificate"] for one in records),
    }


def presented(records: Sequence[Record]) -> dict[str, int]:
    """The certificates that came, as PEM, and how often; the commonest of them."""
    found = Counter(record["certificate"] for record in records if record["certificate"])
    return dict(found.most_common(_MOST_CERTIFICATES))


def _counted(records: Sequence[Record], of: Callable[[Record], str]) -> dict[str, int]:
    return dict(Counter(printable(of(record)) for record in records).most_common(_MOST_VALUES))


def _header(record: Record, wanted: str) -> str | None:
    return next((value for name, value in record["headers"] if name.lower() == wanted), None)


def _kind(record: Record, profile: CarrierProfile) -> str:
    try:
        return profile.decode(base64.b64decode(record["body"])).kind
    except UndecodableError as exc:
        return f"undecodable: {exc}"


def _headers(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Each header's name, how many requests had it, and its values where they are harmless."""
    values: dict[str, Counter[str]] = {}
    counts: Counter[str] = Counter()
    for record in records:
        for name, value in record["headers"]:
            shown = printable(name)
            counts[shown] += 1
            if value is not None:
                values.setdefault(shown, Counter())[printable(value)] += 1
    return [
        {"name": name, "requests": count, "values": [value for value, _ in values[name].most_common(_MOST_VALUES)]}
        if name in values
        else {"name": name, "requests": count, "values": None}
        for name, count in counts.most_common(5 * _MOST_VALUES)
    ]


def _repeated(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The bodies that came more than once: how often, and the seconds from one to the next."""
    arrivals: dict[str, list[int]] = {}
    for record in records:
        arrivals.setdefault(record["sha256"], []).append(record["received_us"])
    repeated = [(sha256, sorted(times)) for sha256, times in arrivals.items() if len(times) > 1]
    repeated.sort(key=lambda each: -len(each[1]))
    return [
        {
            "sha256": sha256,
            "times": len(times),
            "seconds_between": [
                round((later - earlier) / _MICROSECONDS, 3) for earlier, later in pairwise(times[: _MOST_REPEATED + 1])
            ],
        }
        for sha256, times in repeated[:_MOST_REPEATED]
    ]


def _examples(records: Sequence[Record], profile: CarrierProfile) -> list[str]:
    """One body of each kind."""
    first: dict[str, str] = {}
    for record in records:
        first.setdefault(_kind(record, profile), record["body"])
    bodies = [base64.b64decode(body) for body in list(first.values())[:_MOST_VALUES]]
    return [printable(_masked(body), limit=_EXAMPLE_LENGTH) for body in bodies]


def _masked(body: bytes) -> str:
    return redacted(_CALLEE.sub(_mask_callee, body.decode("utf-8", "replace")).encode())


def _mask_callee(match: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", match[2])
    end = digits[-_SHOWN_DIGITS:] if len(digits) > 2 * _SHOWN_DIGITS else ""
    return f'{match[1]}"****{end}"'


def show(facts: Mapping[str, Any], *, is_json: bool) -> None:
    """Print the report."""
    if is_json:
        click.echo(orjson.dumps(facts).decode())
        return
    click.echo(f"\ncapture of {facts['carrier']} {facts['app']}, {facts['started_at']} to {facts['ended_at']}")
    click.echo(f"{facts['kept']} requests kept in {facts['file']}; none is counted")
    table = Table(show_header=False, box=box.SIMPLE)
    for name, value in _rows(facts):
        table.add_row(name, Text(value, overflow="fold"))
    if table.row_count:
        Console().print(table)
    for line in _lines(facts):
        click.echo(printable(line, limit=4000))


_ROWS: Final = {
    "tls": "TLS",
    "cipher": "cipher",
    "sni": "server name (SNI)",
    "http": "HTTP",
    "method": "method",
    "content_type": "content type",
    "callback": "callback",
    "query_names": "query string",
    "failed_handshakes": "failed handshakes",
    "not_kept": "not kept",
}


def _rows(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, name in _ROWS.items():
        if facts[key]:
            yield name, ", ".join(f"{value} ({count})" for value, count in facts[key].items())
    if facts["kept"]:
        yield "addresses", str(facts["addresses"])
        yield "with a URL key", str(facts["with_key"])
        yield "without certificate", str(facts["without_certificate"])
    if facts["headers_withheld"]:
        yield "control characters", f"in a header; most headers not shown ({facts['headers_withheld']})"
    for header in facts["headers"]:
        values = "(withheld)" if header["values"] is None else " | ".join(header["values"])
        yield f"header {header['name']}", f"{values} ({header['requests']})"


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    for each in facts["repeated"]:
        spacing = ", ".join(str(seconds) for seconds in each["seconds_between"])
        yield f"sent {each['times']} times, {spacing} s apart: the bytes {each['sha256'][:16]}"
    if facts["kept"] and not facts["repeated"]:
        yield "no body came twice"
    for example in facts["examples"]:
        yield f"example: {example}"
    for judge in facts["cas"]:
        for each in judge["findings"]:
            sides = " and ".join(each["refused_by"])
            yield f"{judge['name']}: {each['subject']}: {each['text']}" + (f" (refused by {sides})" if sides else "")
    for one in facts["certificates"]:
        yield from _certificate_lines(one)
    yield from facts["advice"]


def _certificate_lines(one: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    if "problem" in one:
        yield f"certificate, requests: {one['requests']}, {one['file']}: {one['problem']}"
        return
    signed = "itself" if one["is_self_signed"] else one["issuer"]
    yield f"certificate, requests: {one['requests']}: {one['subject']}"
    yield f"  issued by {signed}; serial {one['serial']}; {one['key']}, signed with {one['signature']}"
    yield f"  valid {one['not_before']} to {one['not_after']}; SHA-256 {one['sha256']}"
    for verdict in one["verdicts"]:
        if verdict["ok"]:
            yield f"  {verdict['ca']}: verifies it ({' <- '.join(verdict['chain'])})"
        else:
            yield f"  {verdict['ca']}: refuses it ({verdict['reason']}): {verdict['detail']}"
    yield "Run next:"
    for command in one["next"]:
        yield f"  {command}"


def advice(facts: Mapping[str, Any]) -> list[str]:
    """What to do where no command follows from a certificate."""
    if not facts["kept"]:
        return [
            f"Nothing came for {facts['url']}: is it the address the carrier was given, and reachable from outside?"
        ]
    lines = []
    if facts["without_certificate"]:
        lines.append(
            f"{facts['without_certificate']} of {facts['kept']} requests came without a certificate; the carrier side "
            "refuses such ones: ask the carrier for mutual TLS"
        )
    if any(not any(verdict["ok"] for verdict in one["verdicts"]) for one in facts["certificates"]):
        lines.append("No CA at hand verifies every certificate: ask the carrier for its CA file, up to the root")
    if facts["certificates"] and not facts["without_certificate"]:
        lines.append("A certificate proves the carrier only if the carrier confirms it: compare its SHA-256 with them")
    return lines
