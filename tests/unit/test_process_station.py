"""A flasher that works for a scanner's unit, as its sample has it: what the record says of each attempt."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.clock import CentralClock
from agent.criteria import StationCriteria
from agent.outbox import Outbox
from agent.settings import load
from agent.supervisor import Supervisor
from contracts.criteria import Outcome
from contracts.measurement import Value
from contracts.record import ProcessRecord
from drivers.base import Driver, Fault
from drivers.process.driver import ProcessDriver
from drivers.process.simulator import ProcessSimulator
from tests.support.drivers import ToldDriver

SAMPLE = Path("drivers/process/sample.yaml")
SERIAL = "WF-KR-241118D-001-0001"


@asynccontextmanager
async def station(tmp_path: Path) -> AsyncIterator[tuple[ToldDriver, ProcessSimulator, Outbox]]:
    """The sample's station, its scanner told what to say, its flasher a simulated tool."""
    quick = ["machines.flasher.retry.pause=0s"]
    simulator = ProcessSimulator("flasher", load(SAMPLE, quick).machines["flasher"].protocol_settings)  # type: ignore[arg-type]
    program = (await simulator.start())["run.program"]
    settings = load(SAMPLE, [*quick, f"machines.flasher.run.program={program}"])
    scanner = ToldDriver()
    drivers: dict[str, Driver] = {
        "flasher": ProcessDriver("flasher", settings.machines["flasher"].protocol_settings),  # type: ignore[arg-type]
        "scanner": scanner,
    }
    outbox = Outbox(tmp_path / "outbox.db")
    outbox.open()
    built: dict[str, Supervisor] = {}
    for name, driver in drivers.items():
        machine = settings.machines[name]
        companions = {wanted.machine: built[wanted.machine].companion for wanted in machine.companions}
        built[name] = Supervisor(
            machine,
            settings,
            StationCriteria(settings, CentralClock()),
            driver,
            outbox,
            "test",
            companions,
            kept=lambda: None,
            clock=CentralClock(),
        )
    running = [asyncio.create_task(supervisor.run()) for supervisor in built.values()]
    try:
        yield scanner, simulator, outbox
    finally:
        for supervisor in built.values():
            supervisor.stop()
        await asyncio.gather(*running)
        outbox.close()
        await simulator.stop()


async def only_record(outbox: Outbox) -> tuple[ProcessRecord, dict[str, Value | None]]:
    async with asyncio.timeout(30):
        while not (rows := await outbox.unsettled(outbox.stream_id, 0, max_rows=1000, max_bytes=10**7)):
            await asyncio.sleep(0.01)
    record = ProcessRecord.model_validate_json(rows[0].body)
    return record, {measured.name: measured.value for measured in record.measurements}


async def test_a_pass_at_the_second_attempt_tells_both(tmp_path: Path) -> None:
    async with station(tmp_path) as (scanner, simulator, outbox):
        await simulator.misbehave(Fault.DROP_LINK)
        scanner.say({"serial_number": SERIAL}, raw=SERIAL.encode())
        record, measured = await only_record(outbox)
        assert (record.outcome, record.serial_number) == (Outcome.PASS, SERIAL)
        assert (measured["flasher.upload_result"], measured["flasher.attempts"]) == ("PASS", 2)
        tries = measured["flasher.tries"]
        assert isinstance(tries, list)
        assert [(row["verdict"], row["exit_code"]) for row in tries] == [("ERROR", -9), ("PASS", 0)]  # type: ignore[index]


@pytest.mark.parametrize(
    ("tool", "outcome"), [("echo no device; exit 1", Outcome.FAIL), ("echo who knows; exit 77", Outcome.ERROR)]
)
async def test_a_failure_is_the_units_and_what_nobody_knows_is_an_error(
    tmp_path: Path, tool: str, outcome: Outcome
) -> None:
    async with station(tmp_path) as (scanner, simulator, outbox):
        simulator.program.write_text(f"#!/bin/sh\n{tool}\n")
        scanner.say({"serial_number": SERIAL}, raw=SERIAL.encode())
        record, measured = await only_record(outbox)
        assert record.outcome is outcome
        assert measured["flasher.attempts"] == 3
        if outcome is Outcome.FAIL:
            assert {defect.code for defect in record.defects} == {"FIRMWARE_UPLOAD_FAIL"}
