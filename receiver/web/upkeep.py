"""What is done once a second beside the requests: refusals saved, rules taken up, the disk looked at."""

import asyncio
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from receiver.errors import ReceiverError, StoreError
from receiver.model import MICROSECONDS
from receiver.web.auth import FileToken
from receiver.web.desk import Write
from receiver.web.edge import Edge
from receiver.web.refusals import Refusals
from receiver.web.rules import Rules

log = logging.getLogger(__name__)

_PERIOD_SECONDS: Final = 1.0
# What SQLite needs to commit and to checkpoint what is under way.
_LEAST_FREE_BYTES: Final = 8 * 1024 * 1024


@dataclass(slots=True, kw_only=True)
class Upkeep:
    """The work of every second.

    Attributes:
        is_disk_full: too little room is left where the store lies.
    """

    edge: Edge
    rules: Rules
    refusals: Refusals
    write: Write
    file_token: FileToken
    directory: Path
    now_us: Callable[[], int]
    is_disk_full: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Work until cancelled. What the store refuses is tried again a second later."""
        while True:
            await asyncio.sleep(_PERIOD_SECONDS)
            await self.save_refusals()
            await asyncio.to_thread(self._look)
            try:
                await self.rules.refresh(self.edge)
            except ReceiverError as exc:
                log.warning("rules not taken up", extra={"problem": str(exc)})

    async def save_refusals(self) -> None:
        """Count on disk what was refused since the last time; what cannot be saved is saved later."""
        self.refusals.tick()
        counts = self.refusals.take()
        if not counts:
            return
        now = self.now_us() // MICROSECONDS
        try:
            await self.write(lambda state: state.refusals_add(counts, now=now))
        except StoreError as exc:
            self.refusals.put_back(counts)
            log.warning("refusals not saved", extra={"problem": str(exc)})

    def _look(self) -> None:
        self.file_token.reload()
        self.is_disk_full = shutil.disk_usage(self.directory).free < _LEAST_FREE_BYTES
