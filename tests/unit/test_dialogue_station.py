"""A hand station as it runs: scanner, screwdriver and operator over real lines, records in a real outbox."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.clock import CentralClock
from agent.criteria import StationCriteria
from agent.dialogue.driver import DialogueDriver
from agent.dialogue.operator import Operator
from agent.interlock import Interlock
from agent.outbox import Outbox
from agent.settings import StationSettings, load
from agent.settings.dialogues import tools_of
from agent.supervisor import Supervisor
from contracts.criteria import Outcome
from contracts.errors import DataError, LinkError, StoreError
from contracts.permit import PermitRecord
from contracts.record import ProcessRecord
from drivers.base import Driver
from drivers.registry import protocols
from drivers.serial.simulator import SerialSimulator

CONFIG = Path("config/stations")
UNIT = "WF-KR-261125D-001-0001"
GOOD: dict[str, Any] = {
    "badge": "OP-1001",
    "serial_number": UNIT,
    "sma_spring_lot": "SPRING-2026112501",
    "busbar_lot": "BUSBAR-2026112401",
    "torque": 1.05,
    "visual_inspection": "OK",
}


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[Outbox]:
    box = Outbox(tmp_path / "outbox.db")
    box.open()
    yield box
    box.close()


async def kept(outbox: Outbox) -> list[ProcessRecord]:
    rows = await outbox.unsettled(outbox.stream_id, 0, max_rows=1000, max_bytes=10**7)
    return [ProcessRecord.model_validate_json(row.body) for row in rows if b'"kind":"permit"' not in row.body]


class Station:
    """The machines of a station's file, made of software, each at a socket; and an agent that is started by run()."""

    def __init__(self, name: str, outbox: Outbox, folder: Path, *overrides: str) -> None:
        self._text = (CONFIG / f"{name}.yaml").read_text(encoding="utf-8")
        self._file = folder / f"{name}.yaml"
        self._overrides, self._outbox = overrides, outbox
        self._url = dict.fromkeys(("scanner", "screwdriver"), "socket://127.0.0.1:1")
        self.simulators: dict[str, SerialSimulator] = {}
        self.drivers: dict[str, Driver] = {}

    def settings(self) -> StationSettings:
        text = self._text
        for name, url in self._url.items():
            text = re.sub(rf"connect: {{port: /dev/serial/by-id/{name}[^}}]*}}", f"connect: {{url: '{url}'}}", text)
        self._file.write_text(text, encoding="utf-8")
        return load(self._file, self._overrides)

    async def __aenter__(self) -> "Station":
        for name, machine in self.settings().machines.items():
            simulator = protocols()[machine.protocol].simulator(name, machine.wire)
            assert isinstance(simulator, SerialSimulator)
            self.simulators[name] = simulator
            self._url[name] = str((await simulator.start())["connect.url"])
        return self

    async def __aexit__(self, *_: object) -> None:
        for simulator in self.simulators.values():
            await simulator.stop()

    @asynccontextmanager
    async def run(self) -> AsyncIterator[dict[str, Supervisor]]:
        """One life of the agent. Leaving it is a kill as far as the dialogue goes: nothing of it is in memory after."""
        settings = self.settings()
        clock = CentralClock()
        interlock = Interlock(settings, self._outbox)
        tasks: list[asyncio.Task[None]] = []
        built: dict[str, Supervisor] = {}
        for name, machine in settings.machines.items():
            driver = protocols()[machine.protocol].driver(name, machine.wire)
            if machine.dialogue is not None:
                driver = DialogueDriver(name, machine.dialogue, machine.serial_form, driver, self._outbox)
            self.drivers[name] = driver
        dialogue = next(driver for driver in self.drivers.values() if isinstance(driver, DialogueDriver))
        for name, machine in settings.machines.items():
            criteria = StationCriteria(settings, clock)
            tool = dialogue if name in tools_of(settings.machines) else None
            built[name] = Supervisor(
                machine, settings, criteria, self.drivers[name], self._outbox, "test", {}, lambda: None, clock,
                interlock=interlock, dialogue=tool,
            )  # fmt: skip
            tasks.append(asyncio.create_task(built[name].run()))
        try:
            yield built
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def operator(self, machine: str = "scanner") -> Operator:
        dialogue = self.settings().machines[machine].dialogue
        assert dialogue is not None

        async def use(tool: str, point: str, value: Any) -> None:
            await self.simulators[tool].cycle({point: value}, None)

        return Operator(machine, dialogue, self.simulators[machine], use)

    async def shown(self, step: str, event: str | None = None) -> Mapping[str, str]:
        """The first text on the scanner's display that asks for this step, after this event."""
        while True:
            shown = await self.simulators["scanner"].shown(10)
            assert shown is not None
            if shown["step"] == step and shown["event"] == (event or shown["event"]):
                return shown

    async def scan(self, *codes: str) -> None:
        for code in codes:
            await self.simulators["scanner"].cycle({"code": code}, None)


async def test_a_unit_is_led_through_and_its_record_is_told_on_the_display(outbox: Outbox, tmp_path: Path) -> None:
    async with Station("P02-A", outbox, tmp_path) as station, station.run(), asyncio.timeout(20):
        done = await station.operator().work(GOOD)
    assert done == {"done": True, "cycle_key": 1, "outcome": "PASS"}
    [record] = await kept(outbox)
    assert (record.outcome, record.serial_number, record.operator) == (Outcome.PASS, UNIT, "1001")
    assert {one.name: one.value for one in record.measurements} == {
        "sma_spring_lot": "SPRING-2026112501",
        "busbar_lot": "BUSBAR-2026112401",
        "torque": 1.05,
        "visual_inspection": "OK",
    }
    assert (record.cycle_key, record.possible_repeat, record.missed_before) == (1, False, 0)
    assert next(one.unit for one in record.measurements if one.name == "torque") == "Nm"


@pytest.mark.parametrize(
    ("station", "answers", "outcome", "defects"),
    [
        ("P02-A", {**GOOD, "torque": 1.3}, "FAIL", {"ASSEMBLY_ERROR"}),
        ("P02-A", {**GOOD, "visual_inspection": "NG", "defect_code": "PART_DEFECT"}, "FAIL", {"PART_DEFECT"}),
        (
            "P05-A",
            {"assembly_time": 58, "cable_connection": "NG", "final_visual_check": "OK"},
            "FAIL",
            {"ASSEMBLY_ERROR"},
        ),
        ("P08-A", {"visual_defects": "none", "packaging_complete": True}, "PASS", set()),
        (
            "P08-A",
            {"visual_defects": "scratch:major:shell,dent:minor:cover", "packaging_complete": True},
            "FAIL",
            {"APPEARANCE_DEFECT"},
        ),
    ],
)  # fmt: skip
async def test_a_unit_is_judged_by_the_criteria_as_every_other(
    outbox: Outbox, tmp_path: Path, station: str, answers: Mapping[str, Any], outcome: str, defects: set[str]
) -> None:
    async with Station(station, outbox, tmp_path) as hands, hands.run(), asyncio.timeout(20):
        done = await hands.operator().work({"badge": "OP-1001", "serial_number": UNIT, **answers})
    assert done["outcome"] == outcome
    [record] = await kept(outbox)
    assert (record.outcome, {defect.code for defect in record.defects}) == (outcome, defects)


async def test_a_rework_is_a_record_with_its_reason(outbox: Outbox, tmp_path: Path) -> None:
    rework = {"result": "REWORK", "return_to": "P02_LMA_ASSEMBLY", "reason": "spring replaced"}
    async with Station("P02-A", outbox, tmp_path) as station, station.run(), asyncio.timeout(20):
        await station.operator().work({"badge": "OP-1001", "serial_number": UNIT, **rework})
    [record] = await kept(outbox)
    assert (record.outcome, record.serial_number) == (Outcome.REWORK, UNIT)
    assert record.rework is not None
    assert (record.rework.return_to, record.rework.reason) == ("P02_LMA_ASSEMBLY", "spring replaced")


async def test_a_station_that_is_killed_goes_on_where_it_stood(outbox: Outbox, tmp_path: Path) -> None:
    """The operator sees the same question again; what was scanned before is not scanned anew, and it is one record."""
    async with Station("P02-A", outbox, tmp_path) as station, asyncio.timeout(30):
        async with station.run():
            await station.shown("badge")
            await station.scan("OP-1001", UNIT, "SPRING-2026112501")
            await station.shown("busbar_lot")
        async with station.run():
            await station.shown("busbar_lot")
            await station.scan("BUSBAR-2026112401")
            await station.shown("torque")
        async with station.run():
            await station.shown("torque")
            shown: Mapping[str, str] | None = None
            while shown is None or shown["step"] != "visual_inspection":  # half heard while the port opens: once more
                await station.simulators["screwdriver"].cycle({"torque": 1.0}, None)
                shown = await station.simulators["scanner"].shown(1)
            await station.scan("LOOKS-GOOD")
            shown = await station.shown("serial_number", "kept")
    assert (shown["outcome"], shown["number"]) == ("PASS", "1")
    [record] = await kept(outbox)
    assert (record.outcome, len(record.measurements)) == (Outcome.PASS, 4)


async def test_a_result_that_was_made_and_not_kept_is_kept_once_after_a_kill(outbox: Outbox, tmp_path: Path) -> None:
    async with Station("P08-A", outbox, tmp_path) as station, asyncio.timeout(30):
        fails = outbox.append

        async def refuses(*_: Any, **__: Any) -> int:
            raise StoreError("disk full")

        outbox.append = refuses  # type: ignore[method-assign]
        async with station.run():
            await station.shown("badge")
            await station.scan("OP-1001", UNIT, "NO-DEFECT", "PACKED")
            await station.shown("", "wait")
        outbox.append = fails  # type: ignore[method-assign]
        for _ in range(2):
            async with station.run():
                await station.shown("serial_number", "kept")
    assert [(one.outcome, one.cycle_key) for one in await kept(outbox)] == [(Outcome.PASS, 1)]


async def test_a_cancelled_unit_is_an_aborted_record_and_no_pass(outbox: Outbox, tmp_path: Path) -> None:
    async with Station("P02-A", outbox, tmp_path) as station, station.run(), asyncio.timeout(20):
        await station.shown("badge")
        await station.scan("OP-1001", UNIT, "SPRING-2026112501", "CANCEL")
        await station.shown("serial_number", "cancelled")
    [record] = await kept(outbox)
    assert (record.outcome, record.serial_number) == (Outcome.ABORTED, UNIT)
    assert "SPRING-2026112501" in [one.value for one in record.measurements]


async def test_a_dialogue_that_takes_too_long_ends_by_itself(outbox: Outbox, tmp_path: Path) -> None:
    overrides = ("machines.scanner.dialogue.step_timeout=300ms",)
    async with Station("P02-A", outbox, tmp_path, *overrides) as station, station.run(), asyncio.timeout(20):
        await station.shown("badge")
        await station.scan("OP-1001", UNIT)
        await station.shown("serial_number", "cancelled")
    [record] = await kept(outbox)
    assert record.outcome is Outcome.ABORTED


async def test_the_unit_is_asked_about_as_soon_as_it_is_scanned(outbox: Outbox, tmp_path: Path) -> None:
    """Without central the rule decides: ``block`` stops it, ``allow_and_flag`` lets it go on; each answer is kept."""
    enabled = "machines.scanner.dialogue.interlock.enabled=true"
    offline = "machines.scanner.dialogue.interlock.offline"
    async with asyncio.timeout(30):
        async with Station("P08-A", outbox, tmp_path, enabled, f"{offline}=block") as station, station.run():
            told = await station.operator().work({**GOOD, "visual_defects": "none", "packaging_complete": True})
            assert told["answer"]["code"] == "CENTRAL_UNREACHABLE"
        async with Station("P08-A", outbox, tmp_path, enabled, f"{offline}=allow_and_flag") as station, station.run():
            done = await station.operator().work({**GOOD, "visual_defects": "none", "packaging_complete": True})
            assert done["answer"]["granted"] == "true"
    rows = await outbox.unsettled(outbox.stream_id, 0, max_rows=10, max_bytes=10**6)
    permits = [PermitRecord.model_validate_json(row.body) for row in rows if b'"kind":"permit"' in row.body]
    assert [permit.granted for permit in permits] == [False, True]
    assert [one.outcome for one in await kept(outbox)] == [Outcome.PASS]


async def test_a_scan_that_the_disk_refuses_is_not_accepted(outbox: Outbox, tmp_path: Path) -> None:
    async with Station("P08-A", outbox, tmp_path) as station, station.run(), asyncio.timeout(20):
        await station.shown("badge")
        keeps = outbox.keep_note

        async def refuses(name: str, value: str) -> None:
            raise StoreError("disk full")

        outbox.keep_note = refuses  # type: ignore[method-assign]
        await station.scan("OP-1001")
        await station.shown("badge", "refused")
        outbox.keep_note = keeps  # type: ignore[method-assign]
        await station.scan("OP-1001")
        await station.shown("serial_number")


async def test_an_operator_who_is_not_understood_says_so(outbox: Outbox, tmp_path: Path) -> None:
    async with Station("P02-A", outbox, tmp_path) as station, station.run(), asyncio.timeout(20):
        with pytest.raises(DataError, match="refuses what is scanned: 형식이 맞지 않습니다: SPRING-1"):
            await station.operator().work({**GOOD, "sma_spring_lot": "SPRING-1"})
        with pytest.raises(DataError, match="asks for busbar_lot"):
            await station.operator().work({name: value for name, value in GOOD.items() if name != "busbar_lot"})


async def test_a_tool_that_speaks_while_the_scanner_is_away_is_kept(outbox: Outbox, tmp_path: Path) -> None:
    """Its value is on disk; that the display cannot be told is the scanner's trouble."""
    async with Station("P02-A", outbox, tmp_path) as station, asyncio.timeout(20):
        async with station.run():
            await station.shown("badge")
            await station.scan("OP-1001", UNIT, "SPRING-2026112501", "BUSBAR-2026112401")
            await station.shown("torque")
            dialogue = station.drivers["scanner"]
            assert isinstance(dialogue, DialogueDriver)

            async def away(_: object) -> None:
                raise LinkError("the scanner is away")

            dialogue._scanner.display = away  # type: ignore[attr-defined]
            while "torque" not in dialogue._state.answers:
                await station.simulators["screwdriver"].cycle({"torque": 1.0}, None)
                await asyncio.sleep(0.05)
        async with station.run():
            await station.shown("visual_inspection")
