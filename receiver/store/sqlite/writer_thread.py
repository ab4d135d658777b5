"""The one thread that writes a file: runs the jobs it is given, in order. Knows nothing of what they do."""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeAlias, TypeVar

_T = TypeVar("_T")

Job: TypeAlias = Callable[[], None]
"""Something to run; it settles its own errors and raises none."""


class WriterThread:
    """A thread of its own rather than an executor: a job may post the next one, without a turn of the event loop."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    def post(self, job: Job) -> None:
        """Run a job after all that were posted before. From any thread."""
        self._jobs.put(job)

    async def call(self, function: Callable[[], _T]) -> _T:
        """Run a function after all that was posted before, and give what it gives or raises.

        A caller that is cancelled stops waiting; the function runs all the same.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()

        def job() -> None:
            try:
                result = function()
            except BaseException as exc:  # noqa: BLE001 -- whatever it is belongs to the caller, not to this thread
                loop.call_soon_threadsafe(_fail, future, exc)
            else:
                loop.call_soon_threadsafe(_settle, future, result)

        self.post(job)
        return await future

    def close(self) -> None:
        """Run what was posted, then end. Blocks until then."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def _settle(future: "asyncio.Future[_T]", result: _T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: "asyncio.Future[_T]", exc: BaseException) -> None:
    if not future.done():
        future.set_exception(exc)
