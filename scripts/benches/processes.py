"""How much processor time each part of a running program uses, as Linux counts it."""

import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat behind the name, which ends with the last bracket: proc(5).
_PARENT, _USER_TICKS, _SYSTEM_TICKS = 1, 11, 12


@dataclass(frozen=True, slots=True)
class Process:
    """One process as it is now."""

    pid: int
    parent: int
    command: tuple[str, ...]
    cpu_seconds: float

    @property
    def role(self) -> str:
        """What it is for, in a word or two."""
        if self.command[0].startswith("nginx: "):
            return "nginx"
        for word, role in (("projector", "projector"), ("serve", "receiver"), ("benches.answering", "answering only")):
            if word in self.command:
                return role
        return "supervisor" if "run" in self.command else Path(self.command[0]).name


def family(root: int) -> list[Process]:
    """A process and all its descendants."""
    everyone = [process for entry in _PROC.iterdir() if entry.name.isdecimal() and (process := _read(entry))]
    found = [process for process in everyone if process.pid == root]
    for ancestor in found:
        found += [process for process in everyone if process.parent == ancestor.pid]
    return found


def cpu_by_role(roots: Mapping[str, int]) -> dict[str, float]:
    """Processor seconds so far, by role."""
    used: dict[str, float] = defaultdict(float)
    for root in roots.values():
        for process in family(root):
            used[process.role] += process.cpu_seconds
    return dict(used)


def busy_seconds() -> float:
    """Processor seconds that the whole machine has spent on anything, stolen ones included: proc(5), /proc/stat."""
    user, nice, system, _idle, _wait, interrupts, soft_interrupts, stolen, *_ = map(
        int, (_PROC / "stat").read_text().splitlines()[0].split()[1:]
    )
    return (user + nice + system + interrupts + soft_interrupts + stolen) / _TICKS_PER_SECOND


def _read(entry: Path) -> Process | None:
    try:
        stat = (entry / "stat").read_text()
        command = (entry / "cmdline").read_bytes()
    except OSError:
        return None  # it ended meanwhile
    fields = stat.rpartition(")")[2].split()
    return Process(
        pid=int(entry.name),
        parent=int(fields[_PARENT]),
        command=tuple(command.decode(errors="replace").rstrip("\0").split("\0")),
        cpu_seconds=(int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])) / _TICKS_PER_SECOND,
    )
