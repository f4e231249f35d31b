"""A tool run for a unit: what its exit means, when it is tried again, what is taken from its words."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import LinkError, SetupError
from contracts.measurement import Scalar
from drivers.base import Fault, Reading
from drivers.process.driver import ProcessDriver
from drivers.process.settings import ProcessSettings
from drivers.process.simulator import ProcessSimulator

JOB: Mapping[str, Scalar] = {"serial_number": "SN-1", "product_model": "WR-100", "date": "2026-11-24"}
EXAMPLE = "tool v2\nwriting 1024 bytes\nchecksum 9f86d081\n1024 bytes verified\n"
POINTS: dict[str, Any] = {
    "result": {"run": "verdict"},
    "exit": {"run": "exit_code"},
    "attempts": {"run": "attempts"},
    "duration": {"run": "duration", "unit": "s"},
    "said": {"run": "output"},
    "verdicts": {"run": "attempt_verdicts"},
    "exits": {"run": "attempt_exit_codes"},
    "times": {"run": "attempt_durations"},
    "checksum": {"pattern": "checksum ([0-9a-f]{8})", "when_failed": "none"},
    "verified": {"pattern": r"(\d+) bytes verified", "type": "int"},
}


def settings(program: str = "/bin/true", **more: Any) -> ProcessSettings:
    run = {"program": program, "arguments": ["--unit", "{serial_number}", "image-{product_model}.hex", "{attempt}"]}
    return ProcessSettings.model_validate(
        {
            "verdict": {"pass": [0], "fail": [1, 2]},
            "message": {"format": "whole", "example": EXAMPLE},
            "points": POINTS,
            **more,
            "run": {**run, "time_limit": "20s", **more.get("run", {})},
        }
    )


@asynccontextmanager
async def flasher(**more: Any) -> AsyncIterator[tuple[ProcessDriver, ProcessSimulator]]:
    simulator = ProcessSimulator("flasher", settings(**more))
    program = str((await simulator.start())["run.program"])
    more["run"] = {**more.get("run", {}), "program": program}
    driver = ProcessDriver("flasher", settings(**more))
    try:
        await driver.open()
        yield driver, simulator
    finally:
        await driver.close()
        await simulator.stop()


def becomes(driver: ProcessDriver, script: str) -> None:
    """Put another tool in the place of the simulated one."""
    Path(driver._settings.run.program).write_text(f"#!/bin/sh\n{script}\n")


def said(reading: Reading, point: str) -> object:
    found = reading.values[point]
    return found.problem if found.problem is not None else found.value


async def test_a_tool_that_did_its_work_passes_with_what_it_printed() -> None:
    async with flasher() as (driver, simulator):
        await simulator.cycle({"checksum": "0123abcd", "verified": 2048}, None)
        reading = await driver.perform(JOB)
        assert (said(reading, "result"), said(reading, "exit"), said(reading, "attempts")) == ("PASS", 0, 1)
        assert (said(reading, "checksum"), said(reading, "verified")) == ("0123abcd", 2048)
        assert reading.values["duration"].value == reading.values["times"].value[0]  # type: ignore[index]
        assert str(said(reading, "said")).endswith("2048 bytes verified")
        assert simulator.runs == [["--unit", "SN-1", "image-WR-100.hex", "1"]]
        assert b"-- attempt 1: exit code 0" in (reading.raw or b"")


async def test_each_attempt_is_told_and_the_last_one_counts() -> None:
    async with flasher(retry={"attempts": 3, "pause": "0s"}) as (driver, simulator):
        await simulator.cycle({"result": "FAIL"}, None)
        reading = await driver.perform(JOB)
        assert (said(reading, "result"), said(reading, "attempts")) == ("FAIL", 3)
        assert (said(reading, "verdicts"), said(reading, "exits")) == (["FAIL"] * 3, [1] * 3)
        assert [run[3] for run in simulator.runs] == ["1", "2", "3"]


async def test_a_crash_is_no_verdict_and_is_tried_again() -> None:
    async with flasher(retry={"attempts": 3, "pause": "0s"}) as (driver, simulator):
        await simulator.misbehave(Fault.DROP_LINK)
        reading = await driver.perform(JOB)
        assert (said(reading, "result"), said(reading, "verdicts")) == ("PASS", ["ERROR", "PASS"])
        assert said(reading, "exits") == [-9, 0]
        assert said(reading, "verified") == 1024
        assert b"-- attempt 1: ended by SIGKILL" in (reading.raw or b"")


async def test_a_crash_at_the_last_attempt_gives_no_value_of_its_half_output() -> None:
    async with flasher() as (driver, simulator):
        await simulator.misbehave(Fault.DROP_LINK)
        reading = await driver.perform(JOB)
        assert str(said(reading, "result")).endswith("/tool: ended by SIGKILL")
        assert said(reading, "checksum") == said(reading, "verified") == "ended by SIGKILL"


@pytest.mark.parametrize(("hang", "verdict"), [("error", "ERROR"), ("fail", "FAIL")])
async def test_a_hang_is_what_the_yaml_says(hang: str, verdict: str) -> None:
    more: dict[str, Any] = {"verdict": {"pass": [0], "fail": [1], "hang": hang}, "run": {"time_limit": "500ms"}}
    async with flasher(**more) as (driver, simulator):
        await simulator.misbehave(Fault.ANSWER_LATE)
        reading = await driver.perform(JOB)
        assert said(reading, "verdicts") == [verdict]
        told = str(said(reading, "result"))
        assert told == "FAIL" if hang == "fail" else told.endswith("ended, for it was not done after 0.5 s")
        assert said(reading, "checksum") == ("none" if hang == "fail" else "ended, for it was not done after 0.5 s")


async def test_an_exit_code_nobody_listed_is_no_verdict() -> None:
    async with flasher() as (driver, simulator):
        await simulator.cycle({"exit": 77}, None)
        reading = await driver.perform(JOB)
        assert str(said(reading, "result")).endswith("exit code 77 means neither pass nor fail; list it under verdict")
        assert said(reading, "exit") == 77


async def test_only_the_listed_exit_codes_are_tried_again() -> None:
    async with flasher(retry={"attempts": 3, "pause": "0s", "exit_codes": [2]}) as (driver, simulator):
        for code, attempts in ((1, 1), (2, 3)):
            await simulator.cycle({"exit": code}, None)
            assert said(await driver.perform(JOB), "attempts") == attempts


async def test_a_tool_that_fails_and_prints_no_value_has_the_one_for_that() -> None:
    async with flasher() as (driver, _):
        becomes(driver, "echo no device\nexit 1")
        reading = await driver.perform(JOB)
        assert (said(reading, "result"), said(reading, "checksum")) == ("FAIL", "none")
        assert said(reading, "verified") == r"nothing matches '(\\d+) bytes verified'"
        assert said(reading, "said") == "no device"


async def test_noise_before_the_output_is_not_in_the_way_of_a_line_of_its_own_kind() -> None:
    kinds = {
        "sum": {"match": "^checksum", "message": {"format": "whole", "example": "checksum 9f86d081"}},
        "end": {"match": "verified$", "message": {"format": "whole", "example": "1024 bytes verified"}},
    }
    points = {
        **POINTS,
        "checksum": {"kind": "sum", "pattern": "checksum (.*)"},
        "verified": {"kind": "end", "pattern": r"(\d+)", "type": "int"},
    }
    async with flasher(message={}, kinds=kinds, points=points) as (driver, simulator):
        await simulator.misbehave(Fault.NOISE)
        reading = await driver.perform(JOB)
        assert (said(reading, "checksum"), said(reading, "verified")) == ("9f86d081", 1024)


async def test_a_progress_bar_and_bytes_of_no_meaning_make_no_trouble() -> None:
    async with flasher(message={"format": "whole", "encoding": "latin-1"}, points=POINTS) as (driver, _):
        becomes(driver, "printf '10%%\\r20%%\\r\\377 7 bytes verified\\r\\nchecksum 01234567'")
        reading = await driver.perform(JOB)
        assert (said(reading, "verified"), said(reading, "checksum")) == (7, "01234567")
        assert said(reading, "said") == "10%\n20%\n\N{REPLACEMENT CHARACTER} 7 bytes verified\nchecksum 01234567"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("../../etc/passwd", "holds no / and no control character"),
        ("SN\n1", "holds no / and no control character"),
        ("-rf", "would be taken for an option"),
    ],
)
async def test_a_barcode_cannot_become_more_than_an_argument(value: str, told: str) -> None:
    async with flasher() as (driver, simulator):
        reading = await driver.perform({**JOB, "serial_number": value})
        assert told in str(said(reading, "result"))
        assert simulator.runs == []


async def test_a_job_without_what_the_arguments_name_runs_nothing() -> None:
    async with flasher() as (driver, simulator):
        reading = await driver.perform({"serial_number": "SN-1"})
        problem = "machine flasher: not run: the arguments name product_model, and this job has none"
        assert said(reading, "result") == said(reading, "verified") == problem
        assert simulator.runs == []


async def test_a_job_that_is_given_up_leaves_the_tool_to_the_next_one() -> None:
    async with flasher() as (driver, simulator):
        await simulator.misbehave(Fault.ANSWER_LATE)
        working = asyncio.create_task(driver.perform(JOB))
        while not simulator.runs:
            await asyncio.sleep(0.005)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        assert said(await driver.perform(JOB), "result") == "PASS"


async def test_a_driver_keeps_the_promises_of_every_driver() -> None:
    async with flasher() as (driver, _):
        with pytest.raises(RuntimeError):
            await driver.open()
        waiting = asyncio.create_task(driver.next_event())
        await asyncio.sleep(0)
        await driver.close()
        await driver.close()
        with pytest.raises(LinkError):
            await waiting
        with pytest.raises(LinkError):
            await driver.perform(JOB)
        await driver.open()
        assert said(await driver.perform(JOB), "result") == "PASS"


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ({"program": "/no/such/flasher"}, "machine flasher: program /no/such/flasher is not there: install the tool"),
        ({"program": "/etc/passwd"}, "may not be run by this user"),
        ({"directory": "/no/such/folder"}, "folder /no/such/folder is not there: correct run.directory"),
    ],
)
async def test_a_tool_that_is_not_there_is_set_up_wrongly(run: Mapping[str, str], told: str) -> None:
    driver = ProcessDriver("flasher", settings(run=run))
    with pytest.raises(SetupError, match=told):
        await driver.open()
    await driver.close()


async def test_what_a_simulated_tool_cannot_do_is_refused() -> None:
    async with flasher() as (_, simulator):
        with pytest.raises(ValueError, match="no fault of this machine"):
            await simulator.misbehave(Fault.TEAR)
        with pytest.raises(ValueError, match="attempts cannot be set to 3"):
            await simulator.cycle({"attempts": 3}, None)


async def test_a_tool_of_which_nobody_knows_how_it_ended_is_not_started_again() -> None:
    """Two flashers would write to one device."""
    async with flasher(retry={"attempts": 3, "pause": "0s"}) as (driver, _):
        becomes(driver, "kill -9 $PPID; exec sleep 60")
        reading = await driver.perform(JOB)
        assert said(reading, "attempts") == 1
        assert "nobody knows how it ended" in str(said(reading, "result"))
