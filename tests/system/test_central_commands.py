"""What an administrator types, beside a central and a station that run."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from central.cli import app
from central.store import Arrival, Store
from contracts.record import digest
from tests.support.brokers import RunningBroker, iotcore_broker
from tests.support.line import central, fill, opened, station, until
from tests.support.processes import Process
from tests.support.records import record

RECORDS = 30


@dataclass
class Running:
    """A central with a station that has delivered everything."""

    store: Store
    broker: RunningBroker
    central: Process
    agent: Process
    stream_id: str

    @property
    def url(self) -> str:
        return str(self.store.database.url)

    async def type(self, *words: str) -> tuple[int, str]:
        """A command's exit code and what it printed."""
        return await typed(self.url, self.broker.url, *words)

    async def json(self, *words: str) -> Any:
        code, said = await self.type(*words, "--json")
        assert code == 0
        return json.loads(said)


async def typed(database_url: str, broker_url: str, *words: str) -> tuple[int, str]:
    """A command's exit code and what it printed, in a thread of its own."""
    environment = {"DATABASE_URL": database_url, "BROKER_URL": broker_url}
    result = await asyncio.to_thread(CliRunner().invoke, app, words, env=environment)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output.strip()


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    folder = tmp_path / "P03-A"
    # Numbers 8 and 9 of the machine were never read.
    numbers = [number for number in range(1, RECORDS + 3) if number not in (8, 9)]
    kept = [record(number).model_copy(update={"missed_before": 2 if number == 10 else 0}) for number in numbers]
    stream_id = await fill(folder, kept)
    async with (
        opened(f"sqlite:///{tmp_path}/central.db") as store,
        iotcore_broker() as broker,
        central(str(store.database.url), broker.url) as ingestor,
        station("P03-A", folder, broker.url) as agent,
    ):
        await until(lambda: delivered(store), ingestor, agent)
        yield Running(store, broker, ingestor, agent, stream_id)


async def delivered(store: Store, count: int = RECORDS) -> bool:
    return (await asyncio.to_thread(store.counts)).records == count


async def test_every_ledger_is_shown(running: Running) -> None:
    code, said = await running.type("streams")
    [header, line] = [line for line in said.splitlines() if line.strip()]
    assert code == 0
    assert header.split() == [
        "station", "stream", "state", "committed", "missing", "last", "oldest", "backlog", "clock", "birth",
    ]  # fmt: skip
    assert line.split()[:4] == ["P03-A", running.stream_id[:8], "online", str(RECORDS)]
    [ledger] = await running.json("streams", "--station", "P03-A")
    assert (ledger["stream_id"], ledger["committed_seq"], ledger["backlog"]) == (running.stream_id, RECORDS, 0)
    assert (ledger["last_seq"], ledger["oldest_available"], ledger["missing"]) == (RECORDS, 1, [])
    assert await running.type("streams", "--station", "P99-Z") == (0, "P99-Z has not been heard of")


async def test_a_replay_brings_back_what_central_lost(running: Running) -> None:
    before = running.store.canonical_rows()
    with running.store.database.writing() as connection:
        for table in ("facts", "process_data"):
            connection.execute(sa.text(f"DELETE FROM {table} WHERE seq IN (11, 12, 29)"))
    code, said = await running.type("replay", "P03-A", "--from", "10")
    assert code == 0, said
    assert "asked for 21, came 21: stored 3 that central lacked, 18 were there already" in said
    assert running.store.canonical_rows() == before
    code, said = await running.type("replay", "P03-A")
    assert (code, f"stored 0 that central lacked, {RECORDS} were there already" in said) == (0, True)


async def test_a_replay_that_cannot_be_says_why(running: Running) -> None:
    code, said = await running.type("replay", "P03-X")
    assert (code, "known stations: P03-A" in said) == (2, True)
    code, said = await running.type("replay", "P03-A", "--from", str(RECORDS + 1))
    assert (code, f"it has 1-{RECORDS}" in said) == (2, True)
    await running.agent.stop()

    async def offline() -> bool:
        [ledger] = await asyncio.to_thread(running.store.streams)
        return not ledger.online

    await until(offline)
    code, said = await running.type("replay", "P03-A")
    assert (code, "offline" in said) == (2, True)


async def test_a_replay_that_nobody_takes_in_gives_up_and_says_so(running: Running) -> None:
    await running.central.stop()
    code, said = await running.type("replay", "P03-A", "--from", "20", "--patience", "1")
    assert (code, "seq 20-30 did not come and is not asked for any longer: does an ingestor run" in said) == (1, True)
    assert running.store.streams()[0].asked == ()


async def test_counters_are_reconciled_shift_by_shift(running: Running) -> None:
    code, said = await running.type("reconcile", "--since", "2026-11-23", "--until", "2026-11-23")
    assert code == 1, said
    row = next(line for line in said.splitlines() if line.split()[:2] == ["P03-A", "tester"])
    assert row.split()[2:] == ["2026-11-23", "D", "1-32", "32", "30", "30", "2", "0", "0", "0"]
    assert "before number 10" in said
    assert "8-9 never read by the station" in said
    assert said.splitlines()[-1] == "stored 30, committed 30, never read 2, not here 0, doubled 0, restarts 0"
    code, said = await running.type("reconcile", "--since", "2026-11-20", "--until", "2026-11-20")
    assert (code, said) == (0, "stored 0, committed 0, never read 0, not here 0, doubled 0, restarts 0")
    code, said = await running.type("reconcile", "--since", "soon")
    assert (code, "2026-11-25T14:00" in said) == (2, True)


async def test_alarms_are_shown_until_someone_has_looked(running: Running) -> None:
    assert await running.type("alarms") == (0, "no alarms")
    other = record(99)
    running.store.ingest([Arrival(running.stream_id, "gimcheon", "KR01", "P03-A", [(1, other, digest(other))])])
    code, said = await running.type("alarms")
    assert (code, "other content under a known number" in said, "seq 1" in said) == (0, True, True)
    [alarm] = await running.json("alarms")
    code, said = await running.type("alarms", "--acknowledge", str(alarm["id"]))
    assert (code, said.splitlines()) == (0, ["1 of 1 acknowledged", "no alarms"])
    assert len(await running.json("alarms", "--all")) == 1


@pytest.mark.parametrize(
    "words", [["streams"], ["replay", "P03-A"], ["reconcile"], ["alarms"], ["ingest"], ["user", "list"]]
)
async def test_a_database_that_cannot_be_reached_is_one_line_without_a_password(words: list[str]) -> None:
    url = "postgresql://neurohub:hush@127.0.0.1:1/neurohub"
    code, said = await typed(url, "mqtt://127.0.0.1:1", *words)
    assert (code, len(said.splitlines()), "refused" in said, "hush" in said) == (2, 1, True, False)


async def test_a_second_ingestor_on_sqlite_is_refused(running: Running) -> None:
    async with central(running.url, running.broker.url) as second:
        assert await second.ended(timeout_s=60) == 2
    assert "several side by side need PostgreSQL" in second.output[-1]
    code, said = await running.type("ingest", "--instance", "a b")
    assert (code, "--instance" in said) == (2, True)


async def test_criteria_are_tried_on_what_is_stored_and_verdicts_are_proved(running: Running, tmp_path: Path) -> None:
    file = tmp_path / "P03.yaml"
    file.write_text(
        "process: P03_SENSOR_INSPECTION\ncriteria:\n  temperature: {nominal: 58, tolerance: 1, unit: degC}\n",
        encoding="utf-8",
    )
    code, said = await running.type("criteria", "try", str(file), "--process", "P03", "--days", "3660")
    assert code == 0
    assert f"PASS -> FAIL: {RECORDS}" in said
    assert f"first-pass yield of {RECORDS} units: 100.0% -> 0.0%" in said
    assert (await running.json("criteria", "try", str(file), "--days", "3660"))["changed"] == RECORDS
    code, said = await running.type("criteria", "try", str(file), "--process", "P04")
    assert (code, "not of P04" in said) == (2, True)

    code, said = await running.type("verify", "--since", "2026-01-01", "--until", "2036-01-01")
    assert (code, said) == (0, f"{RECORDS} records: {RECORDS} equal byte for byte, 0 different")
    with running.store.database.writing() as connection:
        changed = "UPDATE process_data SET record = replace(record, '60.0', '99.0') WHERE seq = 3"
        connection.execute(sa.text(changed))
    code, said = await running.type("verify", "--since", "2026-01-01", "--process", "P03", "--until", "2036-01-01")
    assert (code, "1 different" in said, "99.0 is not in 60 +/- 1 degC" in said) == (1, True, True)
