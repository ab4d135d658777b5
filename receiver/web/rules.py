"""What the carrier side goes by, taken up while running: trust files, pins and blocks, declared applications."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from receiver.errors import UsageError
from receiver.logs import printable
from receiver.model import MICROSECONDS
from receiver.store.interface import AppRow, BlockRow, PinRow, Reader
from receiver.trust import ACCEPT_UNPINNED, Block, Pin, Verifier, block_from, pin_from
from receiver.trust.files import TrustFiles
from receiver.web.edge import Edge
from receiver.web.targets import Declared

log = logging.getLogger(__name__)


def declared(rows: Sequence[AppRow], *, is_required: bool) -> Declared:
    """The declared applications as the carrier side looks them up."""
    return Declared({(row.carrier, row.name): row.key_hashes for row in rows}, is_required)


class Rules:
    """Keeps a verifier and the carrier side in step with files and store; each change is taken up as a whole."""

    def __init__(
        self, reader: Reader, files: TrustFiles, verifier: Verifier, *, is_production: bool, now_us: Callable[[], int]
    ) -> None:
        self._reader = reader
        self._files = files
        self._verifier = verifier
        self._is_production = is_production
        self._now_us = now_us
        self._lock = asyncio.Lock()
        self._seen: tuple[int, list[PinRow], list[BlockRow]] | None = None

    async def refresh(self, edge: Edge) -> None:
        """Take up what has changed.

        Raises:
            StoreError: pins, blocks and applications cannot be read; what was in force stays.
            UsageError: a block cannot be used; likewise.
        """
        async with self._lock:
            await asyncio.to_thread(self._files.reload_if_changed, now=self._now_us() // MICROSECONDS)
            edge.declared = declared(await self._reader.apps(), is_required=self._is_production)
            seen = (self._files.generation, await self._reader.pins(), await self._reader.blocks())
            if seen != self._seen:
                _, pins, blocks = seen
                carriers = list(self._files.carriers())
                self._verifier.replace(
                    self._files.carriers(
                        pins=_pins(pins), blocks=_blocks(blocks, carriers), accept_unpinned=set(_not_holding(pins))
                    )
                )
                self._seen = seen

    def warnings(self) -> list[str]:
        """What a person should know about the rules in force, one line each."""
        reasons = _not_holding(self._seen[1]) if self._seen else {}
        return [
            f"{carrier}: holding is off, every certificate of its CAs is accepted as the carrier's: {printable(reason)}"
            for carrier, reason in reasons.items()
        ]


def _not_holding(rows: Sequence[PinRow]) -> Mapping[str, str]:
    """The carriers whose deliveries under no pin are not held, and why."""
    return {row.carrier: row.reason for row in rows if row.columns.get("kind") == ACCEPT_UNPINNED}


def _pins(rows: Sequence[PinRow]) -> Mapping[str, Sequence[Pin]]:
    pins: defaultdict[str, list[Pin]] = defaultdict(list)
    for row in rows:
        if row.columns.get("kind") == ACCEPT_UNPINNED:
            continue
        try:
            pins[row.carrier].append(pin_from(row.columns))
        except UsageError as exc:
            # Fails closed: what this pin would have admitted is held.
            log.exception("a pin cannot be used", extra={"pin": row.id, "problem": str(exc)})
    return pins


def _blocks(rows: Sequence[BlockRow], carriers: Sequence[str]) -> Mapping[str, Sequence[Block]]:
    """The blocks of each carrier; one without a carrier holds for all of them.

    Raises:
        UsageError: a block cannot be used. It is not passed over, for it would let somebody in.
    """
    blocks: defaultdict[str, list[Block]] = defaultdict(list)
    for row in rows:
        for carrier in [row.carrier] if row.carrier else carriers:
            blocks[carrier].append(block_from(row.columns))
    return blocks
