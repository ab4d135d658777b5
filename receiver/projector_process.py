"""The server's hold on its projector: starts it, wakes it, sees it die, restarts it for a rebuild. Folds nothing."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import orjson

from receiver.board import Board
from receiver.errors import StoreError, UsageError

_STOP_SECONDS: Final = 10.0

Progress = Callable[[int, int], None]
"""Told how many rows are folded, and of how many."""


class ProjectorProcess:
    """One child process, and after a rebuild another one."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._board = Board.new()
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._is_rebuilding = False
        self._progress: Progress | None = None
        self._rebuilt: asyncio.Future[dict[str, Any]] | None = None
        self.died: Final[asyncio.Future[None]] = asyncio.get_running_loop().create_future()
        """Ends with a StoreError when the projector ends without being told to."""

    @classmethod
    @asynccontextmanager
    async def running(cls, *arguments: str) -> AsyncIterator[Self]:
        """Have a projector fold until the block ends.

        `arguments` are those of `receiver projector`: the home, and the settings file if it is another one.
        """
        projector = cls([sys.executable, "-m", "receiver", "projector", *arguments])
        try:
            await projector._start()
            yield projector
        finally:
            await projector._stop()
            projector.died.cancel()
            projector._board.close()

    def notify(self, depth: int) -> None:
        """Say how many entries still wait for the disk, after a commit; wakes the projector if it sleeps."""
        self._board.depth = depth
        if self._board.is_waiting and self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(b".")

    async def rebuild(self, on_progress: Progress) -> dict[str, Any]:
        """Have the derived tables computed anew; what was found: `rows`, `differences`, `is_same_rules`.

        Raises:
            UsageError: a rebuild is under way.
            StoreError: the projector failed.
        """
        if self._is_rebuilding:
            raise UsageError("a rebuild is under way already")
        self._is_rebuilding = True
        try:
            self._progress = on_progress
            self._rebuilt = asyncio.get_running_loop().create_future()
            await self._stop()
            await self._start("--rebuild")
            ends: list[asyncio.Future[Any]] = [self._rebuilt, self.died]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not self._rebuilt.done():
                raise StoreError("the projector failed to rebuild the derived tables; its log says why")
            return self._rebuilt.result()
        finally:
            self._is_rebuilding = False

    async def _start(self, *options: str) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            *options,
            f"--board={self._board.descriptor}",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(self._board.descriptor,),
        )
        self._watch = asyncio.create_task(self._listen(self._process))

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 -- asked for
        async for line in process.stdout:
            self._hear(orjson.loads(line))
        status = await process.wait()
        if not self.died.done():
            self.died.set_exception(StoreError(f"the projector ended by itself, with status {status}"))

    def _hear(self, said: dict[str, Any]) -> None:
        match said:
            case {"rebuilding": {"done": int(done), "rows": int(rows)}} if self._progress is not None:
                self._progress(done, rows)
            case {"rebuilt": dict(found)} if self._rebuilt is not None and not self._rebuilt.done():
                self._rebuilt.set_result(found)
            case _:  # a rebuild that nobody asked for, after an upgrade
                pass

    async def _stop(self) -> None:
        process, watch = self._process, self._watch
        if process is None or watch is None:
            return
        self._board.is_waiting = False
        # From here on its end is no death.
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.communicate()
        except TimeoutError:
            process.kill()
            await process.communicate()
