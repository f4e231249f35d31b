"""What came in behind the last results, kept beside the outbox so that a changed file can be tried on it.

Two files of JSON lines, ``readings.jsonl`` and the one before it, together no larger than the bound. They are no part
of any promise: written some moments late, left out where a machine is faster than the disk should be used, and not at
all while the disk is nearly full. Results themselves are in the outbox.
"""

import asyncio
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

import structlog
from pydantic import BaseModel, ConfigDict, Field

from contracts.measurement import Value
from contracts.record import ProcessRecord
from drivers.base import Reading

log = structlog.get_logger()

FILE = "readings.jsonl"
MAX_BYTES = 16_000_000
_FREE_BYTES = 64_000_000
"""With less room on the disk nothing is written: it is the outbox's."""
_EVERY_S = 1.0
_MOST_EACH = 200
"""Lines of one writing; of a faster machine the oldest are left out."""


class Judged(BaseModel):
    """What a measurement was, and its verdict, as the record has them."""

    model_config = ConfigDict(frozen=True)

    value: Value | None = None
    unit: str | None = None
    verdict: str | None = None


class Line(BaseModel):
    """One result: what was read for it, and what came of it. Companions' and a scanner's part too, or why there is
    none. ``outcome`` is empty where nothing was judged (``record``)."""

    model_config = ConfigDict(frozen=True, ser_json_bytes="base64", val_json_bytes="base64")

    machine: str
    at: datetime
    reading: Reading
    companions: Mapping[str, Reading | str] = Field(default_factory=dict)
    scanned: Reading | str | None = None
    seq: int | None = None
    serial_number: str | None = None
    outcome: str = ""
    measurements: Mapping[str, Judged] = Field(default_factory=dict)

    @staticmethod
    def of(
        seq: int,
        record: ProcessRecord,
        reading: Reading,
        companions: Mapping[str, Reading | str],
        scanned: Reading | str | None,
    ) -> "Line":
        """The line of a record."""
        verdicts = {one.name: one.verdict.value for one in record.verdicts}
        return Line.model_construct(
            machine=str(record.machine),
            at=record.completed_at,
            reading=reading,
            companions=companions,
            scanned=scanned,
            seq=seq,
            serial_number=record.serial_number,
            outcome=record.outcome.value,
            measurements={
                one.name: Judged.model_construct(value=one.value, unit=one.unit, verdict=verdicts.get(one.name))
                for one in record.measurements
            },
        )


class History:
    """``kept()`` at will; ``run()`` writes, until cancelled."""

    def __init__(self, state_dir: Path, max_bytes: int = MAX_BYTES) -> None:
        self._file = state_dir / FILE
        self._max_bytes = max_bytes
        self._waiting: deque[Callable[[], Line]] = deque(maxlen=_MOST_EACH)
        self._told = ""

    def kept(self, line: Callable[[], Line]) -> None:
        """To be written soon; it is made only then, and not in the event loop."""
        self._waiting.append(line)

    async def run(self) -> None:
        """Write what waits, now and then. A disk that refuses is told once; nothing else depends on it."""
        while True:
            await asyncio.sleep(_EVERY_S)
            await self.write()

    async def write(self) -> None:
        """Write what waits."""
        lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not lines:
            return
        try:
            await asyncio.to_thread(self._write, lines)
        except OSError as error:
            if self._told != str(error):
                log.warning("readings not kept for replay", error=str(error))
                self._told = str(error)

    def _write(self, lines: list[Callable[[], Line]]) -> None:
        if shutil.disk_usage(self._file.parent).free < _FREE_BYTES:
            return
        if self._file.exists() and self._file.stat().st_size > self._max_bytes / 2:
            self._file.replace(before(self._file))
        with self._file.open("ab") as file:
            file.writelines(line().model_dump_json(exclude_defaults=True).encode() + b"\n" for line in lines)


def before(file: Path) -> Path:
    """The file that was written before this one."""
    return file.with_name(f"{file.name}.1")


def lines_of(file: Path) -> Iterator[Line]:
    """The lines of a file, the older file's first. A line that is cut off (a power cut) or foreign is left out."""
    for one in (before(file), file):
        if not one.exists():
            continue
        with one.open("rb") as opened:
            for text in opened:
                try:
                    yield Line.model_validate_json(text)
                except ValueError:
                    log.warning("a line of the recording is not understood", file=str(one))
