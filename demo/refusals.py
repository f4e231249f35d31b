"""One unit refused a permit for each cause that domain.md names, at the machines of the running line."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any

import sqlalchemy as sa

from central.store import Store
from central.store.tables import processes
from contracts.facts import (
    AnyDecision,
    HoldPlaced,
    HoldReleased,
    LotClosed,
    LotCreated,
    ReworkAuthorised,
    UnitScrapped,
)
from contracts.refusals import RefusalCode
from demo import scenario
from demo.line import Answer, LineError, Made, Station
from demo.scenario import Cycle

PATIENCE_S = 20.0
"""What has just happened at one station may take a moment to be known at central."""
R = RefusalCode


def decide(store: Store, kind: type[Any], **about: Any) -> None:
    """A person's decision, now."""
    decision: AnyDecision = kind(author="demo", decided_at=datetime.now(UTC), reason="demonstration", **about)
    store.add_decision(decision)


def open_lot(store: Store, lot_number: str, target_quantity: int = 100) -> None:
    """A manager opens a LOT."""
    decide(store, LotCreated, lot_number=lot_number, product_model="WR-100", target_quantity=target_quantity)


async def refuse_for_every_cause(
    line: dict[str, Station], store: Store, made: list[Made]
) -> Sequence[tuple[RefusalCode, Answer]]:
    """Each cause and the answer that names it. Raises LineError where a machine is answered otherwise."""
    return await _Refusals(line, store, made).run()


class _Refusals:
    def __init__(self, line: dict[str, Station], store: Store, made: list[Made]) -> None:
        self._line = line
        self._store = store
        self._made = made
        self._random = Random(1)  # noqa: S311  # plausible values, no secrets
        # LOTs of the night shift of their own for each run, should the database be kept.
        now = datetime.now(UTC)
        first = 1 + (now.hour * 60 + now.minute) // 2
        lots = [f"WF-KR-{now:%y%m%d}N-{first + number:03d}" for number in range(4)]
        self._lot, self._full, self._closed, self._nowhere = lots
        self._found: list[tuple[RefusalCode, Answer]] = []

    async def run(self) -> Sequence[tuple[RefusalCode, Answer]]:
        for lot, target in ((self._lot, 100), (self._full, 1), (self._closed, 100)):
            open_lot(self._store, lot, target)
        decide(self._store, LotClosed, lot_number=self._closed)
        await self._of_lots()
        await self._of_order()
        await self._of_failures()
        return self._found

    async def _of_lots(self) -> None:
        await self._mark(self._full)
        await self._refused(R.LOT_FULL, "P01-A", lot_number=self._full)
        await self._refused(R.LOT_CLOSED, "P01-A", lot_number=self._closed)
        await self._refused(R.LOT_NOT_FOUND, "P01-A", lot_number=self._nowhere)
        await self._refused(R.SERIAL_NOT_FOUND, "P02-A", serial_number="SN-NOBODY-001")

    async def _of_order(self) -> None:
        unit = await self._mark(self._lot)
        await self._make("P02-A", scenario.assembly(unit, self._random))
        await self._refused(R.PREVIOUS_PROCESS_NOT_COMPLETED, "P04-A", serial_number=unit)
        await self._refused(R.PROCESS_ALREADY_PASSED, "P02-A", serial_number=unit)
        await self._granted("P03-A", unit)
        await self._refused(R.BUSY_ELSEWHERE, "P03-B", serial_number=unit)
        decide(self._store, HoldPlaced, hold_id=f"demo-{unit}", serial_number=unit)
        await self._refused(R.ON_HOLD, "P03-A", serial_number=unit)
        decide(self._store, HoldReleased, hold_id=f"demo-{unit}")
        decide(self._store, UnitScrapped, serial_number=unit)
        await self._refused(R.REWORK_NOT_ALLOWED, "P03-A", serial_number=unit)
        finished = next(one.serial_number for one in self._made if one.process == 8 and one.expected == "PASS")
        await self._refused(R.DUPLICATE_PASS_COMPLETE, "P08-A", serial_number=finished)

    async def _of_failures(self) -> None:
        unit = await self._mark(self._lot)
        await self._make("P02-A", scenario.assembly(unit, self._random))
        await self._fail_three_times(unit)
        await self._refused(R.RETEST_LIMIT_REACHED, "P03-A", serial_number=unit)
        for _ in range(3):
            decide(self._store, ReworkAuthorised, serial_number=unit, return_to="P03_SENSOR_INSPECTION")
        await self._fail_three_times(unit)
        await self._refused(R.REWORK_LIMIT_REACHED, "P03-A", serial_number=unit)
        self._switch_process(2, on=False)
        try:
            await self._refused(R.INVALID_PROCESS_SEQUENCE, "P02-A", serial_number=unit)
        finally:
            self._switch_process(2, on=True)

    def _switch_process(self, number: int, *, on: bool) -> None:
        with self._store.database.writing() as connection:
            connection.execute(sa.update(processes).where(processes.c.process_number == number).values(is_active=on))

    async def _fail_three_times(self, unit: str) -> None:
        for _ in range(3):
            await self._make("P03-A", scenario.sensor(unit, 61.4, expected="FAIL"))

    async def _mark(self, lot: str) -> str:
        one = await self._make("P01-A", scenario.marking(scenario.NUMBER, lot, self._random))
        return one.serial_number

    async def _make(self, station: str, cycle: Cycle) -> Made:
        serial = str(cycle.values.get("serial_number", ""))
        one = await self._line[station].make(cycle, serial)
        self._made.append(one)
        if one.cycle_key is None:
            raise LineError(f"{station} did not make {serial or 'a unit'}: {self._line[station].answers[-1]}")
        return one

    async def _granted(self, station: str, unit: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not (await self._line[station].ask(serial_number=unit)).granted:
                await asyncio.sleep(0.2)

    async def _refused(self, code: RefusalCode, station: str, **about: str) -> None:
        answer = None
        try:
            async with asyncio.timeout(PATIENCE_S):
                while answer is None or answer.code not in (code, str(code.number)):
                    await asyncio.sleep(0.0 if answer is None else 0.2)
                    answer = await self._line[station].ask(**about)
        except TimeoutError:
            raise LineError(f"{station}, {about}: {code} was to be the answer, not {answer}") from None
        self._found.append((code, Answer(station, False, code, *about.values())))
