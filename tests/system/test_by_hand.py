"""What a person types: the README's commands as they stand there, and machines that are told their results by hand."""

import asyncio
import json
import re
import shlex
import sqlite3
import subprocess
import sys
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

from tests.support.agents import CONFIG, agent, kept
from tests.support.brokers import free_port
from tests.support.processes import ROOT, Process

README = (ROOT / "README.md").read_text(encoding="utf-8")
GOOD = {"serial_number": "SN-241118-001", "temperature": 60.1, "tof_i2c": True, "judgement": 1}


def told(machine: str = "tester", **content: Any) -> str:
    return json.dumps({"machine": machine, **content})


def simulate(station: str) -> Process:
    return Process([sys.executable, "-m", "agent", "simulate", CONFIG / f"{station}.yaml"], listens=True)


def overrides_of(hello: dict[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in hello["set"].items()]


# -- the README ------------------------------------------------------------------------------------------------------


def commands_by_hand() -> list[list[str]]:
    """The words of each command of the README's section "The same by hand", comments and ``&`` left out."""
    [block] = re.findall(r"## The same by hand\n+```sh\n(.*?)```", README, re.DOTALL)
    return [shlex.split(line, comments=True) for line in block.replace(" &\n", "\n").splitlines()]


async def test_the_readmes_commands_lead_a_result_into_the_database(tmp_path: Path) -> None:
    """With a free port and a folder of the test's own in the places of those written there."""
    port = free_port()
    places = {
        ".venv/bin": str(Path(sys.executable).parent),
        "1883": str(port),
        "neurohub.db": str(tmp_path / "neurohub.db"),
        "/tmp/P03-A": str(tmp_path / "P03-A"),
    }

    def here(word: str) -> str:
        return re.sub("|".join(map(re.escape, places)), lambda found: places[found[0]], word)

    commands = [[here(word) for word in words] for words in commands_by_hand()]
    broker, export, migrate, central, check, simulator, run = commands
    assert export[0] == "export"
    env = dict(setting.split("=", 1) for setting in export[1:])

    async with AsyncExitStack() as running:
        await running.enter_async_context(Process(broker))
        async with Process(migrate, env=env) as process:
            assert await process.ended(timeout_s=30) == 0, process.output
        ingesting = await running.enter_async_context(Process(central, env=env))
        await ingesting.line("broker connected")
        async with Process(check) as process:
            assert await process.ended(timeout_s=30) == 0, process.output
        tester = await running.enter_async_context(Process(simulator, listens=True))
        reached = (await tester.json(lambda line: "set" in line))["set"]
        assert run[-1].endswith("=...")
        run = [*run[:-1], f"machines.tester.connect.port={reached['machines.tester.connect.port']}"]
        station = await running.enter_async_context(Process([*run, "--set", f"broker.url={env['BROKER_URL']}"]))
        await tester.tell(told(values=GOOD))
        await tester.json(lambda line: line.get("done") is True)
        async with asyncio.timeout(30):
            while not (results := results_in(tmp_path / "neurohub.db")):
                await asyncio.sleep(0.05)
        assert results == ["PASS"]
        assert await station.stop() == 0
        assert await ingesting.stop() == 0


def results_in(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as opened:
        return [result for (result,) in opened.execute("SELECT result FROM process_data")]


def test_what_the_readme_names_is_there() -> None:
    """Every folder, file and make target; and it stays a page that one reads."""
    for name in re.findall(r"^\| `([^`]+)` \|", README, re.MULTILINE):
        assert (ROOT / name).exists(), name
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"\bmake ([a-z-]+)", README)) <= set(targets)
    for lock in re.findall(r"requirements/\w+\.lock", README):
        assert (ROOT / lock).exists()
    usage = subprocess.run([ROOT / "tools" / "setup"], capture_output=True, text=True, check=False).stderr
    for extra in re.findall(r"`tools/setup (\w+) /opt/neurohub`", README):
        assert re.search(rf"\b{extra}\b.* \[FOLDER\]", usage)
        assert f"requirements/{extra}.lock" in README
    assert "pip install" not in README, "a lock alone has no command of ours"
    assert len(README.splitlines()) <= 100


# -- machines made of software ---------------------------------------------------------------------------------------


async def test_a_simulated_machine_answers_when_its_result_is_kept(tmp_path: Path) -> None:
    """It counts by itself, one result after the other, and says which line an answer is for."""
    async with simulate("P03-A") as tester:
        hello = await tester.json(lambda line: "set" in line)
        assert hello["station"] == "P03-A"
        for number in (1, 2):
            await tester.tell(told(values={**GOOD, "temperature": 60 + number}, id=f"line {number}"))
        async with agent(CONFIG / "P03-A.yaml", tmp_path, overrides_of(hello)) as station:
            for number in (1, 2):
                done = await tester.json(lambda line, number=number: line.get("id") == f"line {number}")  # type: ignore[misc]
                assert done == {"machine": "tester", "done": True, "cycle_key": number, "id": f"line {number}"}
            assert await station.stop() == 0
    assert [(record["cycle_key"], record["outcome"]) for record in kept(tmp_path)] == [(1, "PASS"), (2, "FAIL")]


async def test_a_line_it_cannot_use_is_answered_and_stops_nothing() -> None:
    wrong = [
        "temperature = 60.1",
        "[]",
        "{}",
        told("oven", values=GOOD),
        told(values={"temperature": "warm"}),
        told(values={"pressure": 1}),
        told(values={"temperature": [60.1]}),
        told(fault="explode"),
    ]
    async with simulate("P03-A") as tester:
        await tester.json(lambda line: "set" in line)
        for line in wrong:
            before = len(tester.output)
            await tester.tell(line)
            answer = await tester.json(since=before)
            assert answer.get("error"), line
        await tester.end_of_input()
        assert await tester.ended() == 0


async def test_a_simulation_ends_on_sigterm() -> None:
    async with simulate("P07-A") as machines:
        hello = await machines.json(lambda line: "set" in line)
        assert {key.split(".")[1] for key in hello["set"]} == {"scanner", "printer", "verifier"}
        assert await machines.stop() == 0
