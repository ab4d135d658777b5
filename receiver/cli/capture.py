"""`receiver capture`: a listener of its own that shows what a carrier really sends, and ends by itself."""

import asyncio
import re
import signal
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from receiver.carriers import PROFILES
from receiver.cli import capture_report, capture_trust
from receiver.cli.certs_place import FILE
from receiver.cli.store_terminal import home_option, instant, json_option
from receiver.cli.trust_place import CarrierPlace
from receiver.errors import UsageError
from receiver.nginx_files import production_paths
from receiver.pki import development
from receiver.supervise import capture as listener
from receiver.trust.text import instant_text
from receiver.web.capture import Capture, serving
from receiver.web.capture_file import CaptureFile
from receiver.web.gate import Gate

_DIRECTORY: Final = "capture"
_MOST_RECORDS: Final = 10_000
_MOST_BYTES: Final = 64 * 1024 * 1024
_SPAN: Final = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LONGEST_SECONDS: Final = 7 * 86_400
_APP: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class _Span(click.ParamType[int]):
    """A span of time such as 2h, in seconds."""

    name = "SPAN"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = _SPAN.fullmatch(str(value))
        span = int(found[1]) * _SECONDS[found[2]] if found else 0
        if not 1 <= span <= _LONGEST_SECONDS:
            self.fail(f"{value!r} is not a span of time such as 30m or 2h, of 7d at most", param, ctx)
        return span


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One capture as it was asked for; `stem` is the path that its files' names begin with."""

    place: CarrierPlace
    app: str
    seconds: int
    port: int
    stem: Path

    @property
    def url(self) -> str:
        return f"https://{self.place.settings.server.domain}:{self.port}/callbacks/{self.place.carrier}/{self.app}"

    def file(self, ending: str) -> Path:
        return self.stem.with_name(self.stem.name + ending)


@click.command(epilog="Example: receiver capture --app billing --for 2h --ca TencentQQAuthCA.crt")
@click.option("--app", required=True, metavar="NAME", help="The application whose callbacks are pointed here.")
@click.option("--for", "span", required=True, type=_Span(), metavar="2h", help="How long: 90s, 30m, 2h, 7d at most.")
@click.option("--carrier", default="tencent", show_default=True, help="The carrier, as in the settings.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=8444,
    show_default=True,
    help="Where to listen, on the address of server.https_host; must be free.",
)
@click.option("--ca", "cas", type=FILE, multiple=True, help="A CA file that may verify what comes; give each.")
@json_option
@home_option
def command(  # noqa: PLR0913 -- one argument for each option
    *, home: Path, app: str, span: int, carrier: str, port: int, cas: tuple[Path, ...], is_json: bool
) -> None:
    """See what a carrier really sends: certificate, TLS, headers, retries - before traffic depends on it.

    Opens a listener of its own that asks for a client certificate but requires none, and answers every callback of the
    application with success once it is on disk. It ends after the span, or with Ctrl-C, and prints what came and what
    to run next.

    Nothing of it is counted or enters the journal, whether its certificate verifies or not: the record is a capture
    file, HOME/capture/NAME-TIME.jsonl (mode 0600, one JSON object per request, exact body in base64), beside it each
    certificate as PEM. It holds numbers of people: delete it when it has been read. At most 10000 requests and 64 MiB;
    what comes beyond that is answered with 503.
    """
    place = CarrierPlace.of(home, carrier)
    if not _APP.fullmatch(app):
        raise UsageError(f"{app!r}: an application's name is 1 to 64 letters, digits, _ and -")
    place.check_owner()
    # Read now: a file that cannot be used is to be known before anybody waits for two hours.
    judges = capture_trust.judges(place, cas, now=int(time.time()))
    started_at = int(time.time())
    stem = place.home.root / _DIRECTORY / f"{app}-{datetime.fromtimestamp(started_at, UTC):%Y%m%dT%H%M%SZ}"
    asked = _Asked(place=place, app=app, seconds=span, port=port, stem=stem)
    captured, ended_by = asyncio.run(_captured(asked))
    facts: dict[str, Any] = {
        "carrier": carrier,
        "app": app,
        "url": asked.url,
        "file": str(captured.file.path),
        "started_at": instant_text(started_at),
        "ended_at": instant_text(int(time.time())),
        "ended_by": ended_by,
        "not_kept": dict(captured.not_kept),
        "failed_handshakes": dict(listener.failed_handshakes(asked.file(".nginx.log"))),
    }
    records = captured.file.records
    facts |= capture_report.seen(records, captured.profile)
    found = capture_trust.judged(capture_report.presented(records), place, judges, stem=stem, now=int(time.time()))
    facts |= {"certificates": found, "cas": [judge.facts() for judge in judges]}
    facts["advice"] = capture_report.advice(facts)
    capture_report.show(facts, is_json=is_json)


async def _captured(asked: _Asked) -> tuple[Capture, str]:
    """Run the listener until its time is over or somebody ends it; what came, and which of the two it was."""
    stop = _stop_event()
    settings, carrier = asked.place.settings, asked.place.carrier
    certificate, key = _server_files(asked.place)
    file = CaptureFile(asked.file(".jsonl"), most_records=_MOST_RECORDS, most_bytes=_MOST_BYTES)
    try:
        async with listener.listening(
            settings, port=asked.port, certificate=certificate, key=key, log=asked.file(".nginx.log")
        ) as nginx:
            capture = Capture(
                carrier=carrier,
                app=asked.app,
                profile=PROFILES[settings.carriers[carrier].profile],
                gate=Gate(nginx.uid, nginx.edge_key.encode()),
                file=file,
                on_kept=_progress(Counter()),
            )
            async with serving(capture, nginx.upstream, body_bytes=settings.limits.body_bytes):
                click.echo(f"listening  {asked.url}", err=True)
                click.echo(f"kept in {file.path}, never counted; Ctrl-C ends it and reports", err=True)
                ended_by = await _end(stop, nginx.nginx.died(), seconds=asked.seconds)
    except BaseException:
        if not file.records:
            file.path.unlink(missing_ok=True)
        raise
    finally:
        file.close()
    return capture, ended_by


async def _end(stop: asyncio.Event, died: Any, *, seconds: int) -> str:
    tasks = {asyncio.ensure_future(stop.wait()), asyncio.ensure_future(died)}
    try:
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return "signal" if stop.is_set() else "time"


def _stop_event() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _server_files(place: CarrierPlace) -> tuple[Path, Path]:
    """The certificate and key that the carrier side itself shows.

    Raises:
        UsageError: there are none yet.
    """
    if not place.settings.is_production:
        made = development.ensure(place.home.pki, now=int(time.time()))
        return made.server_cert.absolute(), made.server_key.absolute()
    paths = production_paths(place.home)
    missing = [path for path in (paths.server_certificate, paths.server_key) if not path.is_file()]
    if missing:
        raise UsageError(f"{missing[0]}: there is no server certificate yet; see: receiver certs install-server --help")
    return paths.server_certificate.absolute(), paths.server_key.absolute()


def _progress(seen: Counter[str]) -> Any:
    """Says of each request that it came, on standard error."""

    def say(record: dict[str, Any]) -> None:
        seen[record["sha256"]] += 1
        with suppress(OSError):
            click.echo(" ".join(_words(record, times=seen[record["sha256"]])), err=True)

    return say


def _words(record: dict[str, Any], *, times: int) -> Iterable[str]:
    yield instant(record["received_us"])
    yield record["tls"]
    yield f"certificate {record['verify'].partition(':')[0]}" if record["certificate"] else "no certificate"
    yield f"{len(record['body']) * 3 // 4} bytes"
    if times > 1:
        yield f"(the same bytes, time {times})"
