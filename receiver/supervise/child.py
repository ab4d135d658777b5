"""One child process: started so that it cannot outlive us, watched, stopped. Knows nothing of what it does."""

import asyncio
import ctypes
import fcntl
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeAlias

from receiver.errors import ReceiverError
from receiver.supervise.log_file import LogFile

# From prctl(2).
_PR_SET_PDEATHSIG: Final = 1
# From sd_listen_fds(3).
_LISTEN_FDS_START: Final = 3
_CHUNK_BYTES: Final = 65536
_LAST_WORDS_SECONDS: Final = 2.0
_LIBC: Final = ctypes.CDLL(None, use_errno=True)

Stopping: TypeAlias = Sequence[tuple[signal.Signals, float]]
"""The signals that ask a child to end, each with the seconds it then has."""


class DiedError(ReceiverError):
    """A child ended though nobody asked it to."""

    reason = "died"


class Child:
    """A running child. `name` is for people."""

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        output: asyncio.StreamReader,
        *,
        log: LogFile,
        stop: Stopping,
    ) -> None:
        self.name = name
        self._process = process
        self._log = log
        self._stop = stop
        self._copied = asyncio.create_task(self._copy(output))
        self._is_swept = False

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        stop: Stopping,
        sockets: Mapping[str, socket.socket] | None = None,
    ) -> "Child":
        """Start a program with listening sockets (sd_listen_fds(3)), its output going to a log.

        The first signal of `stop` also reaches it when we die without a word.

        Raises:
            DiedError: it cannot be started.
        """
        passed = list((sockets or {}).values())
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LISTEN_")}
        if sockets:
            environment |= {"LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": ":".join(sockets)}
        log_file = LogFile(log)
        # Not a pipe of asyncio's: for that a process has not ended until all that inherited the pipe have.
        output, its_output = os.pipe()
        try:
            with _high_copies(passed) as descriptors:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=its_output,
                    stderr=asyncio.subprocess.STDOUT,
                    env=environment,
                    # A group of its own: the terminal's Ctrl-C comes to us alone, and nginx's orphans can be found.
                    start_new_session=True,
                    pass_fds=range(_LISTEN_FDS_START, _LISTEN_FDS_START + len(passed)),
                    preexec_fn=_in_child(descriptors, stop[0][0]),
                )
        except OSError as exc:
            os.close(output)
            log_file.close()
            raise DiedError(f"{name} cannot be started: {command[0]}: {exc.strerror}") from None
        finally:
            os.close(its_output)
        return cls(name, process, await _reader(output), log=log_file, stop=stop)

    async def died(self) -> None:
        """Wait for its end, which is nobody's wish.

        Raises:
            DiedError: always, in the end; with what is known about it.
        """
        status = await self._process.wait()
        await self._sweep()
        last = f"; last line: {self._log.last[-1]}" if self._log.last else ""
        raise DiedError(f"{self.name} ended by itself, {_how(status)}; its log: {self._log.path}{last}")

    async def stop(self) -> bool:
        """Ask it to end, then kill it; the answer is whether it ended without that."""
        has_ended = False
        for number, seconds in self._stop:
            self.signal(number)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), seconds)
                has_ended = True
                break
        await self._sweep()
        return has_ended

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still there."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def _sweep(self) -> None:
        """End what is left of its group (nginx's workers do not notice that their master was killed), and its log."""
        if not self._is_swept:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._is_swept = True
        await self._process.wait()
        # Bounded and uncancelled: whoever waits here may be told to stop, and a stranger may hold the pipe.
        await asyncio.wait({self._copied}, timeout=_LAST_WORDS_SECONDS)

    async def _copy(self, output: asyncio.StreamReader) -> None:
        while chunk := await output.read(_CHUNK_BYTES):
            self._log.write(chunk)
        self._log.close()


async def _reader(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader


@contextmanager
def _high_copies(sockets: Sequence[socket.socket]) -> Iterator[list[int]]:
    """The sockets under numbers that the child does not need, while every number that it does need is taken here.

    Else the pipe through which subprocess reports a failed exec could get one of those, and the child overwrite it.
    """
    first_free = _LISTEN_FDS_START + len(sockets)
    copies = [fcntl.fcntl(each.fileno(), fcntl.F_DUPFD_CLOEXEC, first_free) for each in sockets]
    taken = [os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)]
    while taken[-1] < first_free:
        taken.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    try:
        yield copies
    finally:
        for descriptor in (*copies, *taken):
            os.close(descriptor)


def _in_child(descriptors: Sequence[int], last_signal: signal.Signals) -> Callable[[], None]:
    parent = os.getpid()

    def prepare() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, last_signal)
        if os.getppid() != parent:
            os._exit(1)
        for number, descriptor in enumerate(descriptors, start=_LISTEN_FDS_START):
            os.dup2(descriptor, number)

    return prepare


def _how(status: int) -> str:
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"with status {status}"
