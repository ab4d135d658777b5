"""Children get their sockets, leave a log, cannot outlive us, and leave nothing behind."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import is_alive, until

from receiver.supervise.child import Child, DiedError, Stopping

QUICK: Stopping = ((signal.SIGTERM, 5.0),)
ROOT = Path(__file__).parents[2]


async def python(
    code: str, log: Path, *, stop: Stopping = QUICK, sockets: dict[str, socket.socket] | None = None
) -> Child:
    return await Child.start("test", [sys.executable, "-c", code], log=log, stop=stop, sockets=sockets)


async def written(path: Path) -> str:
    """What a child has written, once it has written a line."""
    await asyncio.to_thread(until, lambda: path.exists() and path.read_text().endswith("\n"))
    return await asyncio.to_thread(path.read_text)


async def test_sockets_come_as_systemd_gives_them(tmp_path: Path) -> None:
    """Listening sockets are descriptors 3 and up, named in their order, and usable."""
    code = """
import os, socket
print(os.environ["LISTEN_FDS"], os.environ["LISTEN_FDNAMES"], "LISTEN_PID" in os.environ)
for number in (3, 4):
    print(socket.socket(fileno=number).getsockname()[1])
try:
    os.fstat(5)
except OSError:
    print("nothing more")
"""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        child = await python(code, tmp_path / "log", sockets={"edge": one, "ops": two})
        with pytest.raises(DiedError):
            await child.died()

        ports = [str(each.getsockname()[1]) for each in (one, two)]
        assert (tmp_path / "log").read_text().splitlines() == ["2 edge:ops False", *ports, "nothing more"]


async def test_a_child_without_sockets_inherits_no_listen_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LISTEN_FDS", "7")
    child = await python("import os; print(os.environ.get('LISTEN_FDS'))", tmp_path / "log")

    with pytest.raises(DiedError):
        await child.died()

    assert (tmp_path / "log").read_text() == "None\n"


async def test_a_death_says_who_and_how(tmp_path: Path) -> None:
    """The one line of a child's death names it, its status, its log and its last words."""
    child = await python("import sys; print('disk on fire'); sys.exit(3)", tmp_path / "log")

    expected = r"^test ended by itself, with status 3; its log: .*/log; last line: disk on fire$"
    with pytest.raises(DiedError, match=expected):
        await child.died()


async def test_a_killed_child_names_the_signal(tmp_path: Path) -> None:
    child = await python("import os; os.kill(os.getpid(), 9)", tmp_path / "log")

    with pytest.raises(DiedError, match="killed by SIGKILL"):
        await child.died()


async def test_what_cannot_be_started_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DiedError, match="test cannot be started: /nonexistent: No such file or directory"):
        await Child.start("test", ["/nonexistent"], log=tmp_path / "log", stop=QUICK)


async def test_stopping_asks_first(tmp_path: Path) -> None:
    code = "import signal; signal.signal(15, lambda *_: exit(print('bye'))); print('up', flush=True); signal.pause()"
    child = await python(code, tmp_path / "log")
    await written(tmp_path / "log")

    assert await child.stop()
    assert (tmp_path / "log").read_text() == "up\nbye\n"


async def test_whoever_does_not_listen_is_killed(tmp_path: Path) -> None:
    code = "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True); signal.pause(); signal.pause()"
    child = await python(code, tmp_path / "log", stop=((signal.SIGTERM, 0.2),))
    await written(tmp_path / "log")

    assert not await child.stop()


@pytest.mark.parametrize("ending", ["os._exit(0)", "signal.pause()"])
async def test_grandchildren_do_not_stay_behind(tmp_path: Path, ending: str) -> None:
    """Nginx's workers do not notice that their master is gone; whoever stops the master ends them too."""
    code = f"""
import os, signal
if (pid := os.fork()) == 0:
    signal.pause()
print(pid, flush=True)
{ending}
"""
    child = await python(code, tmp_path / "log")
    grandchild = int(await written(tmp_path / "log"))

    await child.stop()

    await asyncio.to_thread(until, lambda: not is_alive(grandchild), seconds=5)


async def test_watching_may_be_given_up_at_any_moment(tmp_path: Path) -> None:
    """A child that dies while we are told to stop is still stopped in order, with its log complete."""
    child = await python("print('last words')", tmp_path / "log")
    for _ in range(20):
        watching = asyncio.create_task(child.died())
        await asyncio.sleep(0.01)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    assert await child.stop()
    assert (tmp_path / "log").read_text() == "last words\n"


def test_children_end_with_a_killed_supervisor(tmp_path: Path) -> None:
    """Not even kill -9 of the parent leaves a child: the kernel tells it."""
    log = tmp_path / "log"
    code = f"""
import asyncio, signal, sys
from pathlib import Path
from receiver.supervise.child import Child

async def main():
    inner = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    await Child.start("test", [sys.executable, "-c", inner], log=Path({str(log)!r}), stop=((signal.SIGTERM, 5.0),))
    await asyncio.sleep(60)

asyncio.run(main())
"""
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    until(lambda: log.exists() and log.read_text().endswith("\n"))
    child = int(log.read_text())
    assert is_alive(child)

    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()

    until(lambda: not is_alive(child))
