"""Commands that write: the same whether the store is served or not, heard from the right users only, and audited."""

import asyncio
import os
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
import store_lab as lab
from click.testing import CliRunner, Result

from receiver import config, control
from receiver.cli import held, quarantine, rebuild, void
from receiver.errors import ReceiverError, StoreLockedError, UsageError
from receiver.home import Home
from receiver.journal import Journal, JournalLimits
from receiver.model import MICROSECONDS
from receiver.projector_process import ProjectorProcess
from receiver.store.sqlite import SqliteReader, SqliteStore, StoreFiles, locked, offline, open_store

LIMITS = JournalLimits(entries=10_000, bytes=10**8)


def directory_of(home: Home) -> Path:
    """Where the store of a home lies."""
    return config.store_directory(config.load(home.root), home.root)


@asynccontextmanager
async def serving(home: Home) -> AsyncIterator[SqliteStore]:
    """Whatever takes commands while a receiver serves."""
    run = home.root / "sockets"
    run.mkdir(exist_ok=True)
    home.run_file.write_text(f"{run}\n", "utf-8")
    async with (
        open_store(directory_of(home), quotas=lab.AMPLE) as store,
        ProjectorProcess.running("--home", str(home.root)) as folding,
        Journal.running(store.append, post=store.post, limits=LIMITS, on_commit=folding.notify) as journal,
        control.listening(control.serving(store, journal, folding), path=run / "control.sock"),
    ):
        yield store
    home.run_file.unlink()


@asynccontextmanager
async def maybe_serving(home: Home, *, is_served: bool) -> AsyncIterator[None]:
    """A store that is served, or is not."""
    if not is_served:
        yield
        return
    async with serving(home):
        yield


async def call(home: Home, command: str, **arguments: Any) -> Any:
    """Give a command as a terminal does, beside the event loop."""
    return await asyncio.to_thread(control.call, home, command, **arguments)


async def run(command: Any, *arguments: str | Path) -> Result:
    """Run a command line beside the event loop; our own errors are raised."""
    result = await asyncio.to_thread(CliRunner().invoke, command, [str(each) for each in arguments])
    if isinstance(result.exception, ReceiverError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def audited(home: Home) -> list[tuple[str, str, Any]]:
    """The audit: who, what, about what."""
    with lab.journal(directory_of(home)) as db:
        rows = db._connection.execute("select actor, action, detail from audit order by id").fetchall()
    return [(actor, action, orjson.loads(detail)) for actor, action, detail in rows]


@pytest.mark.parametrize("is_served", [True, False])
async def test_a_command_does_the_same_served_or_not(tmp_path: Path, *, is_served: bool) -> None:
    """Through the socket and without a server: the same state, the same results, the same audit without secrets."""
    home = lab.home(tmp_path)
    async with maybe_serving(home, is_served=is_served):
        token = {"name": "ops", "token_hash": "ab", "roles": ["read"], "apps": ["demo"]}
        await call(home, "token_create", **token, created_at=1, expires_at=None)
        tokens = await call(home, "token_list")
        seq = await call(home, "decide", kind="void", selection={"app": "demo", "carrier": None}, reason="test")
        with pytest.raises(UsageError, match="there is no token of the name nobody"):
            await call(home, "token_revoke", name="nobody")

    assert tokens == [{"name": "ops", "roles": ["read"], "apps": ["demo"], "created_at": 1, "expires_at": None}]
    assert seq == 1
    actor = f"uid {os.geteuid()}"
    assert audited(home) == [
        (
            actor,
            "token_create",
            {"name": "ops", "roles": ["read"], "apps": ["demo"], "created_at": 1, "expires_at": None},
        ),
        (actor, "decide", {"kind": "void", "selection": {"app": "demo", "carrier": None}, "reason": "test"}),
    ]


@pytest.mark.parametrize("is_served", [True, False])
@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("no_such_command", {}),
        ("token_create", {"name": "a"}),
        (
            "token_create",
            {"name": "a", "token_hash": "b", "roles": ["king"], "apps": [], "created_at": 1, "expires_at": None},
        ),
        ("quarantine_dismiss", {"ids": [1]}),
        ("decide", {"kind": "void", "selection": {}, "reason": "everything"}),
        ("decide", {"kind": "burn", "selection": {"app": "demo"}, "reason": ""}),
        ("decide", {"kind": "void", "selection": {"colour": "red"}, "reason": ""}),
    ],
)
async def test_a_wrong_command_is_one_clear_line(
    tmp_path: Path,
    *,
    is_served: bool,
    command: str,
    arguments: dict[str, Any],
) -> None:
    """What cannot be carried out is refused, changes nothing and is not audited."""
    home = lab.home(tmp_path)
    async with maybe_serving(home, is_served=is_served):
        with pytest.raises(UsageError) as refused:
            await call(home, command, **arguments)
        assert await call(home, "token_list") == []

    assert "\n" not in str(refused.value)
    assert audited(home) == []


async def test_the_socket_is_its_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket is closed to other users, and a peer of another user is refused whatever it says."""
    home = lab.home(tmp_path)
    async with serving(home):
        mode = stat.S_IMODE(control.socket_path(home).stat().st_mode)
        monkeypatch.setattr(control, "_peer_uid", lambda _: os.geteuid() + 12345)
        with pytest.raises(UsageError, match="own user and root only"):
            await call(home, "token_list")

    assert mode == 0o600


@pytest.mark.parametrize(
    "line", [b"\n", b"[]\n", b"{}\n", b'{"command":"token_list"}\n', b"x" * 2_000_000 + b"\n", b""]
)
async def test_garbage_on_the_socket_harms_nobody(tmp_path: Path, line: bytes) -> None:
    """Whatever is written to the socket, the next command is carried out."""
    home = lab.home(tmp_path)
    async with serving(home):
        reader, writer = await asyncio.open_unix_connection(str(control.socket_path(home)))
        writer.write(line)
        writer.write_eof()
        with suppress(ConnectionError):  # a line without end is cut off
            await asyncio.wait_for(reader.read(), timeout=5)
        writer.close()

        assert await call(home, "token_list") == []


async def test_a_store_in_use_by_another_command_says_so(tmp_path: Path) -> None:
    """When the lock is held and no server answers, the refusal names the process."""
    home = lab.home(tmp_path)
    with offline(directory_of(home)), pytest.raises(StoreLockedError, match=str(os.getpid())):
        await call(home, "token_list")


async def test_a_server_that_dies_leaves_no_doubt(tmp_path: Path) -> None:
    """A command whose server ends before the answer says that it is not known to be done."""
    home = lab.home(tmp_path)
    files = StoreFiles(directory_of(home))
    files.make()
    home.run_file.write_text(str(tmp_path), "utf-8")
    with locked(files.lock), dying_server(tmp_path / "control.sock") as server:
        answering = asyncio.create_task(asyncio.to_thread(die_on_request, server))
        with pytest.raises(ReceiverError, match="ended before it had carried the command out"):
            await call(home, "token_list")
        await answering


@contextmanager
def dying_server(path: Path) -> Iterator[socket.socket]:
    """Something that listens."""
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(path))
        server.listen()
        yield server


def die_on_request(server: socket.socket) -> None:
    """Take one request, and never answer it."""
    connection, _ = server.accept()
    with closing(connection):
        connection.recv(4096)


@pytest.mark.parametrize("is_served", [True, False])
async def test_quarantine_commands(tmp_path: Path, *, is_served: bool) -> None:
    """Bodies are listed, shown without numbers, exported exactly, and dismissed."""
    home, body = lab.home(tmp_path), b'{"mobile":"13812345678", "\x1b[31m\xff'
    lab.keep(directory_of(home), [lab.undecodable(body), lab.undecodable(body), lab.undecodable(b"other")])
    option = ("--home", tmp_path)
    async with maybe_serving(home, is_served=is_served):
        if not is_served:
            lab.fold(directory_of(home))
        listed = orjson.loads((await run(quarantine.command, "list", *option, "--json")).output)
        shown = (await run(quarantine.command, "show", "1", *option)).output
        exported = await run(quarantine.command, "export", "1", tmp_path / "body.bin", *option)
        with pytest.raises(UsageError, match="File exists"):
            await run(quarantine.command, "export", "2", tmp_path / "body.bin", *option)
        await run(quarantine.command, "dismiss", "1", *option)
        left = (await run(quarantine.command, "list", *option)).output
        with pytest.raises(UsageError, match="no new body 1"):
            await run(quarantine.command, "dismiss", "1", *option)
        with pytest.raises(UsageError, match="no body 9"):
            await run(quarantine.command, "show", "9", *option)

    assert [(row["id"], row["hits"]) for row in listed["quarantine"]] == [(1, 2), (2, 1)]
    assert "138****5678" in shown
    assert not any(text in shown + exported.output for text in ("13812345678", "\x1b"))
    assert (tmp_path / "body.bin").read_bytes() == body
    assert stat.S_IMODE((tmp_path / "body.bin").stat().st_mode) == 0o600
    assert "other" not in left  # bodies are not listed, only what is known of them
    assert left.count("demo") == 1


@pytest.mark.parametrize("is_served", [True, False])
async def test_held_commands(tmp_path: Path, *, is_served: bool) -> None:
    """Held deliveries are listed until they are released or discarded, by cursor or by what they have in common."""
    home = lab.home(tmp_path)
    strange = {"peer": lab.peer(sha256="ee" * 32, subject="CN=\x1b]0;evil", is_pinned=False)}
    entries = [
        lab.held(lab.report("1")),
        lab.held(lab.report("2")),
        lab.held(lab.report("3"), **strange),
        lab.delivery(),
    ]
    lab.keep(directory_of(home), entries)
    option = ("--home", tmp_path)
    async with maybe_serving(home, is_served=is_served):
        if not is_served:
            lab.fold(directory_of(home))
        table = (await run(held.command, "list", *option)).output
        listed = [orjson.loads((await run(held.command, "list", *option, "--json")).output)["held"]]
        released = await run(held.command, "release", "1", *option, "--reason", "ours")
        discarded = await run(held.command, "discard", "--peer", "EE" * 32, *option, "--json")
        listed.append(orjson.loads((await run(held.command, "list", *option, "--json")).output)["held"])
        for arguments, problem in (((), "give journal cursors"), (("4",), "no held delivery matches")):
            with pytest.raises(UsageError, match=problem):
                await run(held.command, "release", *arguments, *option)

    assert "\x1b" not in table
    assert [[row["cursor"] for row in rows] for rows in listed] == [[1, 2, 3], [2]]
    assert released.output == "decision 5: 1 deliveries are released\n"
    assert orjson.loads(discarded.output) == {"deliveries": 1, "decision": 6}


@pytest.mark.parametrize("is_served", [True, False])
async def test_void_command(tmp_path: Path, *, is_served: bool) -> None:
    """A void says how many deliveries it takes out, takes exactly those, and a dry run takes none."""
    home = lab.home(tmp_path)
    arrivals = [lab.NOW - 100, lab.NOW - 50, lab.NOW]
    lab.keep(directory_of(home), [lab.delivery(received_us=at * MICROSECONDS) for at in arrivals])
    option = ("--home", tmp_path, "--reason", "load test")
    async with maybe_serving(home, is_served=is_served):
        if not is_served:
            lab.fold(directory_of(home))
        chosen = ("--app", "demo", "--from", "2026-11-18T09:58:00+08:00", "--to", str(lab.NOW))
        dry = await run(void.command, *chosen, *option, "--dry-run")
        done = await run(void.command, *chosen, *option)
        for arguments, problem in (
            ((), "at least one of --peer"),
            (("--app", "demo", "--to", "1"), "--to needs a --from"),
            (("--app", "demo", "--from", "yesterday"), "--from must be"),
            (("--app", "demo", "--from", "9", "--to", "8"), "--from must lie before --to"),
        ):
            with pytest.raises(UsageError, match=problem):
                await run(void.command, *arguments, *option)
    async with SqliteReader.open(StoreFiles(directory_of(home))) as reader:
        rows = await reader.callbacks(after=0, limit=9)

    assert dry.output == "2 deliveries would be voided\n"
    assert done.output == "decision 4: 2 deliveries are voided\n"
    assert [row.standing for row in rows] == ["voided", "voided", "counted"]


@pytest.mark.parametrize("is_served", [True, False])
async def test_rebuild_command(tmp_path: Path, *, is_served: bool) -> None:
    """A rebuild ends with a line that compares the old tables with the new ones."""
    home = lab.home(tmp_path)
    lab.keep(directory_of(home), [lab.delivery(), lab.delivery(lab.failure("2"))])
    lab.fold(directory_of(home))
    async with maybe_serving(home, is_served=is_served):
        for_people = await run(rebuild.command, "--home", tmp_path)
        for_scripts = await run(rebuild.command, "--home", tmp_path, "--json")

    assert for_people.output.startswith("2 journal rows in ")
    assert for_people.output.endswith(": equal\n")
    found = orjson.loads(for_scripts.output)
    assert (found["rows"], found["is_equal"], found["differences"]) == (2, True, [])


def test_errors_are_one_line_and_a_status(tmp_path: Path) -> None:
    """Without a store the commands say so on standard error, with a non-zero status and without a traceback."""
    home = lab.home(tmp_path)
    for arguments in (["rebuild"], ["quarantine", "list"], ["held", "list"]):
        command = [sys.executable, "-m", "receiver", *arguments, "--home", str(home.root)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)

        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [held.command, quarantine.command, rebuild.command, void.command])
def test_help_has_an_example(command: Any) -> None:
    """Every command, and every command in a group, shows an example."""
    for each in (command, *getattr(command, "commands", {}).values()):
        assert "Example: receiver " in CliRunner().invoke(each, ["--help"]).output.replace("\n  ", " ")
