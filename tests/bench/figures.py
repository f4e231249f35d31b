"""Figures of processes and of samples, and how they are printed: a ratio beside whatever it is measured against."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

MIB = 1024 * 1024


@dataclass(frozen=True)
class Spread:
    """Median, 99th percentile and the largest of some samples."""

    median: float
    p99: float
    largest: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Self:
        """Raises ValueError without samples."""
        if not samples:
            raise ValueError("nothing was measured")
        ordered = sorted(samples)
        return cls(statistics.median(ordered), ordered[math.ceil(0.99 * len(ordered)) - 1], ordered[-1])


@dataclass(frozen=True)
class Memory:
    """What a process holds, in MiB: resident, and resident with shared pages divided among their users."""

    rss: float
    pss: float


def memory_in(smaps_rollup: str) -> Memory:
    """The sums in the text of ``/proc/PID/smaps_rollup``."""
    kib = {line.split(":")[0]: int(line.split()[1]) for line in smaps_rollup.splitlines() if line.endswith(" kB")}
    return Memory(kib["Rss"] / 1024, kib["Pss"] / 1024)


def memory(pid: int) -> Memory:
    """What this process holds now."""
    return memory_in(Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii"))


def peak_memory(pid: int) -> float:
    """The most this process ever held resident, or since ``reset_peak``; MiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


def reset_peak(pid: int) -> None:
    """Forget the most it held until now (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def cpu_seconds(pid: int) -> float:
    """Time all threads of this process have spent on a processor, by the scheduler's own clock (nanoseconds)."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The rows in columns, the first to the left and figures to the right."""
    everything = [head, *rows]
    widths = [max(len(row[column]) for row in everything) for column in range(len(head))]
    lines = [
        "  ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in everything)
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def ms(seconds: float) -> str:
    """Seconds as milliseconds."""
    return f"{seconds * 1000:.1f}"


def times(value: float, floor: float) -> str:
    """How often ``floor`` is contained in ``value``; nothing where the floor was too low to be measured."""
    return "" if floor <= 0 else f"{value / floor:.1f}x"
