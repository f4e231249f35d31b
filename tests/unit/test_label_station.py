"""The label station as it runs: scanner, printer and verifier over real lines, records and permits in a real outbox."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.clock import CentralClock
from agent.companion import Companion
from agent.criteria import StationCriteria
from agent.dialogue.driver import DialogueDriver
from agent.dialogue.operator import Operator
from agent.interlock import ROUTE_NOTE, Interlock
from agent.outbox import Outbox
from agent.settings import load
from agent.supervisor import Supervisor
from contracts.criteria import Outcome
from contracts.digest import RouteDigest, UnitDigest
from contracts.errors import DataError, StoreError
from contracts.record import ProcessRecord
from contracts.route_model import LotStatus, UnitStatus
from drivers.label.simulator import LabelSimulator
from drivers.registry import protocols
from drivers.serial.simulator import SerialSimulator

LOT = "WF-KR-261125D-001"
GOOD, FAILED, TRIED = (f"{LOT}-000{number}" for number in (1, 2, 3))
TEXT = Path("config/stations/P07-A.yaml").read_text(encoding="utf-8")
PASSED = (1, 2, 3, 4, 5, 6)


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[Outbox]:
    """One whose station knows, by the LOT's last digest, a good unit, a failed one, and one labelled here before."""
    box = Outbox(tmp_path / "outbox.db")
    box.open()
    units = {
        GOOD: UnitDigest(status=UnitStatus.IN_PROGRESS, passed=PASSED),
        FAILED: UnitDigest(status=UnitStatus.FAILED, passed=(1, 2), failure="SENSOR_TEMP_FAIL", final=True),
        TRIED: UnitDigest(status=UnitStatus.IN_PROGRESS, passed=PASSED, attempts={7: 1}),
    }
    digest = RouteDigest(
        lot_number=LOT,
        status=LotStatus.IN_PROGRESS,
        target_quantity=100,
        product_model="WR-100",
        epoch="test",
        revision=1,
        units=units,
        at=datetime.now(UTC),
    )
    await box.keep_note(ROUTE_NOTE + LOT, digest.encoded().decode())
    yield box
    box.close()


class Line:
    """What is at the station."""

    def __init__(self, scanner: SerialSimulator, printer: LabelSimulator, verifier: SerialSimulator) -> None:
        self.scanner, self.printer, self.verifier = scanner, printer, verifier
        self.operator: Operator | None = None
        self._count = self._asked = 0

    def reads(self, serial_number: str, grade: str = "A") -> list[asyncio.Task[None]]:
        """The verifier reads every label that comes out. Its readings, to be awaited."""
        reads: list[asyncio.Task[None]] = []

        def printed(_: str) -> None:
            read = {"code": serial_number, "grade": grade}
            reads.append(asyncio.create_task(self.verifier.cycle(read, None)))

        self.printer.on_printed = printed
        return reads

    async def works(
        self, serial_number: str, *, asks: bool = True, grade: str = "A", **values: Any
    ) -> Mapping[str, Any]:
        """The scanner asks about the unit and starts it; the verifier reads whatever comes out. The answer."""
        self._count += 1
        answer: Mapping[str, Any] | None = None if asks else {}
        while answer is None:  # half heard while the port opens: asked once more
            self._asked += 1
            answer = await self.scanner.ask({"ask": self._asked, "code": serial_number}, 1)
        reads = self.reads(serial_number, grade)
        result = {"n": self._count, "code": serial_number, "label": None, "result": None, "reason": None, **values}
        await self.scanner.cycle(result, self._count)
        await asyncio.gather(*reads)
        return answer


@asynccontextmanager
async def running(
    outbox: Outbox, folder: Path, change: Mapping[str, str] | None = None, text: str = TEXT
) -> AsyncIterator[Line]:
    text = text.replace("enabled: false", "enabled: true").replace("timeout: 10s}", "timeout: 1s}")
    text = text.replace("protocol: label\n", "protocol: label\n    poll: 100ms\n")
    for old, new in (change or {}).items():
        assert old in text
        text = text.replace(old, new)
    reached: dict[str, Mapping[str, str | int]] = {}
    file = folder / "P07-A.yaml"

    def settings() -> Any:
        written = re.sub("transport: tcp, host: [^}]*", _tcp(reached.get("printer")), text)
        for name in ("scanner", "verifier"):
            url = reached.get(name, {}).get("connect.url", "socket://127.0.0.1:1")
            port = rf"connect: {{port: /dev/serial/by-id/{name}[^}}]*}}"
            written = re.sub(port, f"connect: {{url: '{url}'}}", written)
        file.write_text(written, encoding="utf-8")
        return load(file)

    simulators: dict[str, Any] = {}
    for name, machine in settings().machines.items():
        simulators[name] = protocols()[machine.protocol].simulator(name, machine.wire)
        reached[name] = await simulators[name].start()
    station = settings()
    clock, interlock = CentralClock(), Interlock(station, outbox)
    await interlock.open()
    built: dict[str, Supervisor] = {}
    for name in ("printer", "verifier", "scanner"):
        machine = station.machines[name]
        driver = protocols()[machine.protocol].driver(name, machine.wire)
        if machine.dialogue is not None:
            driver = DialogueDriver(name, machine.dialogue, machine.serial_form, driver, outbox)
        companions: dict[str, Companion] = {one.machine: built[one.machine].companion for one in machine.companions}
        built[name] = Supervisor(
            machine, station, StationCriteria(station, clock), driver, outbox, "test", companions, lambda: None, clock,
            interlock=interlock,
        )  # fmt: skip
    tasks = [asyncio.create_task(supervisor.run()) for supervisor in built.values()]
    line = Line(simulators["scanner"], simulators["printer"], simulators["verifier"])
    dialogue = station.machines["scanner"].dialogue
    if dialogue is not None:
        line.operator = Operator("scanner", dialogue, line.scanner, _no_tool)
    try:
        async with asyncio.timeout(30):
            for supervisor in built.values():
                await supervisor.companion._open.wait()
            yield line
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for simulator in simulators.values():
            await simulator.stop()


async def _no_tool(*_: Any) -> None:
    raise AssertionError("no step is told from a tool")


def _tcp(reached: Mapping[str, str | int] | None) -> str:
    port = 9100 if reached is None else reached["connect.port"]
    return f"transport: tcp, host: 127.0.0.1, port: {port}"


async def kept(outbox: Outbox) -> list[ProcessRecord]:
    rows = await outbox.unsettled(outbox.stream_id, 0, max_rows=1000, max_bytes=10**7)
    return [ProcessRecord.model_validate_json(row.body) for row in rows if b'"kind":"permit"' not in row.body]


def measured(record: ProcessRecord) -> dict[str, Any]:
    return {one.name: one.value for one in record.measurements if one.value is not None}


async def test_a_permitted_unit_gets_its_label_and_the_record_names_printer_job_and_grade(
    outbox: Outbox, tmp_path: Path
) -> None:
    async with running(outbox, tmp_path) as line:
        await line.works(GOOD)
        [label] = line.printer.printed
    assert GOOD in label
    assert f"LOT {LOT}" in label
    [record] = await kept(outbox)
    assert (record.outcome, record.reject_label) == (Outcome.PASS, False)
    found = measured(record)
    assert found["printer.printer"] == "NEUROHUB-SIM-200dpi V1.0.0Z"
    assert re.fullmatch(r"\d{8}T\d{6}Z-1", found["printer.job"])
    assert (found["printer.label"], found["verifier.code"], found["verifier.grade"]) == ("unit", GOOD, "A")


async def test_a_failed_unit_gets_a_reject_label_and_no_other(outbox: Outbox, tmp_path: Path) -> None:
    """Nobody at the scanner says that it failed: the permit does. The record is no PASS of the process."""
    async with running(outbox, tmp_path) as line:
        answer = await line.works(FAILED)
        [label] = line.printer.printed
    assert answer["granted"] == "true"
    assert "REJECT" in label
    assert "^BX" not in label, "nothing that a scanner takes for a good unit's label"
    [record] = await kept(outbox)
    assert record.reject_label
    assert measured(record)["printer.label"] == "reject"


async def test_a_failed_unit_gets_no_label_where_there_is_none_for_it(outbox: Outbox, tmp_path: Path) -> None:
    reject = TEXT[TEXT.index("    reject_template: |") : TEXT.index("    points:\n      printed:")]
    async with running(outbox, tmp_path, {reject: ""}) as line:
        await line.works(FAILED)
        assert line.printer.printed == []
    [record] = await kept(outbox)
    assert (record.outcome, record.reject_label) == (Outcome.ERROR, True)
    problem = next(one.problem for one in record.measurements if one.name == "printer.printed")
    assert "no reject_template" in str(problem)


async def test_a_label_is_printed_again_only_for_a_reason(outbox: Outbox, tmp_path: Path) -> None:
    async with running(outbox, tmp_path) as line:
        await line.works(TRIED)
        assert line.printer.printed == []
        await line.works(TRIED, reason="smudged")
        assert len(line.printer.printed) == 1
    without, with_reason = await kept(outbox)
    assert without.outcome is Outcome.ERROR
    assert "labelled here before (attempt 2), and no reason is given (point reason)" in without.problems[0]
    assert with_reason.outcome is Outcome.PASS
    assert measured(with_reason)["reason"] == "smudged"


async def test_a_label_that_has_passed_is_printed_again_by_a_rework_that_prints_nothing_itself(
    outbox: Outbox, tmp_path: Path
) -> None:
    rework = {"result": "REWORK", "return_to": "P07_LABEL_PRINTING", "reason": "torn off"}
    async with running(outbox, tmp_path) as line:
        await line.works(GOOD, asks=False, **rework)
        await line.works(GOOD, asks=False, result="REWORK", return_to="P07_LABEL_PRINTING")
        assert line.printer.printed == []
    asked, unfounded = await kept(outbox)
    assert asked.outcome is Outcome.REWORK
    assert asked.rework is not None
    assert asked.rework.reason == "torn off"
    assert unfounded.outcome is Outcome.ERROR, "a rework without a reason is none"


async def test_nothing_is_printed_without_a_permit(outbox: Outbox, tmp_path: Path) -> None:
    async with running(outbox, tmp_path) as line:
        await line.works(GOOD, asks=False)
        assert line.printer.printed == []
        await line.works(GOOD)
        await line.works(FAILED, asks=False)
        assert len(line.printer.printed) == 1, "and a permit is for one unit, once"
    assert [record.outcome for record in await kept(outbox)] == [Outcome.ERROR, Outcome.PASS, Outcome.ERROR]


async def test_a_label_that_cannot_be_read_back_fails(outbox: Outbox, tmp_path: Path) -> None:
    async with running(outbox, tmp_path) as line:
        await line.works(GOOD, grade="F")
    [record] = await kept(outbox)
    assert record.outcome is Outcome.FAIL
    assert [defect.code for defect in record.defects] == ["LABEL_PRINT_FAIL"]


async def test_a_label_that_may_be_there_twice_is_told(outbox: Outbox, tmp_path: Path) -> None:
    """The station ends when the label is out and its record is not kept: the scanner begins again, and so does it."""
    appends = outbox.append
    is_out = asyncio.Event()

    async def refuses(record: Any, *more: Any, **others: Any) -> int:
        if isinstance(record, ProcessRecord):
            is_out.set()
            raise StoreError("disk full")
        return await appends(record, *more, **others)

    outbox.append = refuses  # type: ignore[method-assign]
    async with running(outbox, tmp_path) as line:
        begun = asyncio.create_task(line.works(GOOD))
        await is_out.wait()
        assert len(line.printer.printed) == 1
        begun.cancel()
        await asyncio.gather(begun, return_exceptions=True)
    outbox.append = appends  # type: ignore[method-assign]
    async with running(outbox, tmp_path) as line:
        await line.works(GOOD, asks=False)  # its permit stands
        assert len(line.printer.printed) == 1
        await line.works(GOOD, reason="smudged")
    first, second = await kept(outbox)
    assert (first.outcome, measured(first)["printed_again"]) == (Outcome.PASS, True)
    assert "printed_again" not in measured(second)


LED = re.findall(r"```yaml\n(.*?)```", Path("docs/hand-stations.md").read_text(encoding="utf-8"), re.DOTALL)[2]
SHOWN = '"{event};{message};{step};{number};{serial_number};{outcome};{code};{text_en}\\r\\n"'


async def test_an_operator_is_led_to_a_label_and_asked_why_it_is_printed_again(outbox: Outbox, tmp_path: Path) -> None:
    """The label station of docs/hand-stations.md."""
    change = {'"{text_ko}\\r\\n"': SHOWN, "offline: block": "offline: allow_and_flag"}
    async with running(outbox, tmp_path, change, LED) as line:
        assert line.operator is not None
        reads = line.reads(GOOD)
        done = await line.operator.work({"serial_number": GOOD})
        assert done["outcome"] == "PASS"
        reads += line.reads(TRIED)
        with pytest.raises(DataError, match="asks for reprint_reason"):
            await line.operator.work({"serial_number": TRIED})
        assert len(line.printer.printed) == 1, "nothing is printed before the reason is known"
        done = await line.operator.work({"serial_number": TRIED, "reprint_reason": "not readable"})
        assert done["outcome"] == "PASS"
        reads += line.reads(FAILED)
        await line.operator.work({"serial_number": FAILED})
        await asyncio.gather(*reads)
        kinds = ["REJECT" in label for label in line.printer.printed]
    first, again, failed = await kept(outbox)
    assert kinds == [False, False, True]
    assert "reprint_reason" not in measured(first)
    assert (measured(again)["reprint_reason"], measured(again)["permit.serial_number"]) == ("not readable", TRIED)
    assert [record.reject_label for record in (first, again, failed)] == [False, False, True]


async def test_an_operator_reprints_a_label_that_has_passed_by_a_rework(outbox: Outbox, tmp_path: Path) -> None:
    change = {'"{text_ko}\\r\\n"': SHOWN}
    rework = {"result": "REWORK", "reason": "torn off"}
    async with running(outbox, tmp_path, change, LED) as line:
        assert line.operator is not None
        await line.operator.work({"serial_number": GOOD, **rework})
        assert line.printer.printed == []
    [record] = await kept(outbox)
    assert record.rework is not None
    assert (record.rework.return_to, record.rework.reason) == ("P07_LABEL_PRINTING", "torn off")
