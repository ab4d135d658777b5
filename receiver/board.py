"""A few bytes of memory that the server and its projector share: how much waits for the disk, who sleeps. No locks."""

import mmap
import os
import struct
from typing import Final

_SIZE: Final = 16
_DEPTH: Final = struct.Struct("=Q")
_IS_WAITING_AT: Final = 8


class Board:
    """Each field has one writer: the depth is the server's, `is_waiting` the projector's."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor: Final = descriptor
        self._memory = mmap.mmap(descriptor, _SIZE)

    @classmethod
    def new(cls) -> "Board":
        """Make a board that a child can be given."""
        descriptor = os.memfd_create("receiver-board", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _SIZE)
        return cls(descriptor)

    def close(self) -> None:
        """Let go of the memory; the other side keeps its own hold."""
        self._memory.close()
        os.close(self.descriptor)

    @property
    def depth(self) -> int:
        """How many entries wait for the disk."""
        return int(_DEPTH.unpack_from(self._memory)[0])

    @depth.setter
    def depth(self, depth: int) -> None:
        _DEPTH.pack_into(self._memory, 0, depth)

    @property
    def is_waiting(self) -> bool:
        """The projector sleeps, and wants to be woken when there is something to fold."""
        return bool(self._memory[_IS_WAITING_AT])

    @is_waiting.setter
    def is_waiting(self, is_waiting: bool) -> None:
        self._memory[_IS_WAITING_AT] = is_waiting
