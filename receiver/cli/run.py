"""`receiver run`: a whole development home in the foreground; what `scripts/run` starts."""

import asyncio
import json
import os
import secrets
import shlex
import signal
import sys
import time
import uuid
from hashlib import sha256
from pathlib import Path
from typing import Final

import click

from receiver import config, control, supervise
from receiver.cli import init
from receiver.home import Home
from receiver.model import Role
from receiver.simulate import demo
from receiver.supervise import Credentials, Plan, Running

_PATH: Final = click.Path(path_type=Path, file_okay=False)
_PORT: Final = click.IntRange(1, 65535)
_PATIENCE_SECONDS: Final = 2.0
# A killed run's receiver drains, its nginx waits for busy connections.
_PATIENCE_AFTER_KILL_SECONDS: Final = 15.0
_SIGN_IN_SECONDS: Final = 600
# What a demonstration goes on receiving: a call every ten seconds, for longer than anybody looks.
_TRICKLE: Final = ("simulate", "--calls", "50000", "--rate", "0.1", "--connections", "2")


@click.command(epilog="Example: scripts/run --home var --https-port 8443 --ops-port 8080")
@click.option("--home", type=_PATH, envvar="RECEIVER_HOME", help="All state.  [default: var, or var-demo with --demo]")
@click.option("--https-port", type=_PORT, help="Carrier side, mutual TLS.  [default: 8443]")
@click.option("--ops-port", type=_PORT, help="Dashboard and API, on loopback.  [default: 8080]")
@click.option("--demo", "is_demo", is_flag=True, help="Show a simulated week, in a home of its own.")
def command(*, home: Path | None, https_port: int | None, ops_port: int | None, is_demo: bool) -> None:
    """Run a development home: the receiver behind nginx with mutual TLS. Makes what is missing; Ctrl-C ends it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Until there is something to stop in order, being told to stop is no failure.
        signal.signal(number, lambda *_: sys.exit(0))
    for name, port in (("HTTPS", https_port), ("OPS", ops_port)):
        if port is not None:
            # The children read the same settings, and the environment outranks the file.
            os.environ[f"RECEIVER_SERVER__{name}_PORT"] = str(port)
    place = Home((home or Path("var-demo" if is_demo else "var")).resolve())
    init.make_home(place, mode="development")
    with supervise.locked(place):
        _run(place, is_demo=is_demo)


def _run(home: Home, *, is_demo: bool) -> None:
    now = int(time.time())
    # The name of the sockets' directory outlives only a run that was killed.
    patience = _PATIENCE_AFTER_KILL_SECONDS if home.run_file.exists() else _PATIENCE_SECONDS
    made = init.development_home(home, now=now, patience_seconds=patience)
    if is_demo:
        demo.fill(home, now=now)
    credentials = Credentials(
        server_cert=made.server_cert,
        server_key=made.server_key,
        server_ca=made.server_ca,
        client_cert=made.client_cert,
        client_key=made.client_key,
    )

    async def announce(running: Running) -> None:
        code = await asyncio.to_thread(_sign_in_code, home)
        _say(_block(running, home=home, code=code, is_demo=is_demo))

    plan = Plan(
        home=home,
        settings=config.load(home.root),
        credentials=credentials,
        on_ready=announce,
        patience_seconds=patience,
        companion=_TRICKLE if is_demo else (),
    )
    asyncio.run(supervise.run(plan))


def _say(text: str) -> None:
    """Print; a reader that has gone away (`| head -1`) is no reason to stop receiving."""
    try:
        click.echo(text)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _sign_in_code(home: Home) -> str:
    code, now = secrets.token_urlsafe(16), int(time.time())
    control.call(
        home,
        "signin_code_create",
        code_hash=sha256(code.encode()).hexdigest(),
        name="development",
        roles=[Role.READ],
        apps=[],
        now=now,
        expires_at=now + _SIGN_IN_SECONDS,
    )
    return code


def _block(running: Running, *, home: Home, code: str, is_demo: bool) -> str:
    curl = [
        "curl",
        "--cacert",
        str(running.server_ca),
        "--cert",
        str(running.client_cert),
        "--key",
        str(running.client_key),
        "--json",
        _example(int(time.time())),
        running.callbacks_url,
    ]
    simulated = "  (everything in this home is simulated)" if is_demo else ""
    return f"""\
ready  {running.callbacks_url}  {running.ops_url}{simulated}

Post a callback, as the carrier would:

  {shlex.join(curl)}

Look at it (this address works once, for ten minutes):

  {running.ops_url}/signin?code={code}

State and logs are in {home.root}; Ctrl-C stops everything.
"""


def _example(now: int) -> str:
    """A notification call that was answered after 14 seconds and ended just now."""
    report = {
        "result": "0",
        "accept_time": str(now - 12),
        "call_from": "075583763333",
        "callid": str(uuid.uuid1(node=secrets.randbits(48))),
        "end_calltime": str(now - 2),
        "fee": "1",
        "mobile": "13800138000",
        "nationcode": "86",
        "start_calltime": str(now - 26),
    }
    return json.dumps({"voiceprompt_callback": report}, separators=(",", ":"))
