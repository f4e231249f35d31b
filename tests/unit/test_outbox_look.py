"""What an outbox holds is shown as it is, while its station writes on, and nothing is changed by looking."""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from agent.cli import app
from agent.cycles import Cursor
from agent.outbox import Limits, Outbox
from agent.outbox.look import State, look
from tests.support.commits import commit_of, settle
from tests.support.records import record
from tests.support.stores import permit


def asked(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["outbox", *map(str, words)])


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[tuple[Outbox, Path]]:
    """A station's outbox in use: 1 and 2 settled, 2 disputed, 3 parked, 4 (a permit) and 5 waiting."""
    path = tmp_path / "outbox.db"
    box = Outbox(path)
    box.open()
    for number in (1, 2, 3):
        await box.append(record(number), Cursor("tester", number))
    await box.append(permit())
    await box.append(record(5, temperature=70))
    await settle(box, commit_of(box.stream_id, 2))
    await box.settle(box.stream_id, [(2, 2)], [(2, 2)])
    await box.park(box.stream_id, 3, "300000 bytes: larger than a message may be")
    yield box, path
    box.close()


async def test_every_state_is_told_while_the_station_runs(running: tuple[Outbox, Path]) -> None:
    box, path = running
    with look(path) as seen:
        assert seen.counts() == {State.WAITING: 2, State.SETTLED: 1, State.PARKED: 1, State.DISPUTED: 1}
        assert [(held.seq, held.state.value) for held in seen.records()] == [
            (1, "settled"),
            (2, "disputed"),
            (3, "parked"),
            (4, "waiting"),
            (5, "waiting"),
        ]
    assert await box.append(record(6)) == 6


async def test_a_copy_during_which_the_wal_begins_anew_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, loop = tmp_path / "outbox.db", asyncio.get_running_loop()
    box = Outbox(path, Limits(reserve=80_000))
    box.open()
    await box.append(record(1))
    copyfile, copied = shutil.copyfile, list[str]()

    async def goes_on() -> None:
        for number in range(2, 40):
            await box.append(record(number, note="x" * 9_000))

    def copies(source: Path, to: Path) -> None:
        copyfile(source, to)
        copied.append(source.name)
        if copied == ["outbox.db"]:
            asyncio.run_coroutine_threadsafe(goes_on(), loop).result()

    def looks() -> list[int]:
        with look(path) as seen:
            return [held.seq for held in seen.records()]

    monkeypatch.setattr(shutil, "copyfile", copies)
    assert await asyncio.to_thread(looks) == list(range(1, 40))
    assert copied == ["outbox.db", "outbox.db-wal"] * 2
    box.close()


async def test_list_shows_unit_outcome_and_why(running: tuple[Outbox, Path]) -> None:
    _, path = running
    told = asked("list", path)
    assert told.exit_code == 0
    lines = told.stdout.splitlines()
    assert lines[0] == "2 waiting, 1 settled, 1 parked, 1 disputed"
    rows = {line.split()[1]: line for line in lines[2:]}
    assert "larger than a message may be" in rows["3"]
    assert "granted" in rows["4"]
    assert "WF-KR-261123D-001-0005" in rows["5"]
    assert "FAIL" in rows["5"]
    assert len(asked("list", path, "--last", "1").stdout.splitlines()) == 3
    assert len(asked("list", path, "--machine", "other").stdout.splitlines()) == 2
    assert asked("list", path, "--state", "lost").exit_code == 2


async def test_export_gives_what_is_sent_line_by_line(running: tuple[Outbox, Path]) -> None:
    box, path = running
    lines = [json.loads(line) for line in asked("export", path, "--state", "waiting").stdout.splitlines()]
    sent = await box.unsettled(box.stream_id, 0, max_rows=10, max_bytes=10**6)
    assert [line["seq"] for line in lines] == [row.seq for row in sent] == [4, 5]
    assert [line["record"] for line in lines] == [json.loads(row.body) for row in sent]


async def test_show_gives_one_record_and_says_when_there_is_none(running: tuple[Outbox, Path]) -> None:
    box, path = running
    shown = json.loads(asked("show", path, "3").stdout)
    assert (shown["stream_id"], shown["state"]) == (box.stream_id, "parked")
    assert shown["record"]["serial_number"] == "WF-KR-261123D-001-0003"
    none = asked("show", path, "99")
    assert none.exit_code == 1
    assert "no record 99" in none.stderr


async def test_parked_records_are_taken_up_again_when_the_station_is_stopped(running: tuple[Outbox, Path]) -> None:
    box, path = running
    refused = asked("retry", path)
    assert refused.exit_code == 2
    assert "must be stopped" in refused.stderr
    box.close()
    assert asked("retry", path, "--seq", "4").stdout.startswith("0 parked")
    assert asked("retry", path).stdout.startswith("1 parked")
    with look(path) as seen:
        assert seen.counts()[State.PARKED] == 0
        assert seen.counts()[State.WAITING] == 3


async def test_what_is_damaged_is_shown_as_such_and_stays_parked(running: tuple[Outbox, Path]) -> None:
    box, path = running
    box.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE records SET body = ? WHERE seq = 3", (b"\xff[no record",))
    assert "damaged" in asked("list", path, "--state", "parked").stdout
    line = json.loads(asked("export", path, "--state", "parked").stdout)
    assert "record" not in line
    assert line["body"] == "/1tubyByZWNvcmQ="
    left = asked("retry", path)
    assert left.exit_code == 1
    assert "stays parked" in left.stdout


def test_what_is_no_outbox_is_told(tmp_path: Path) -> None:
    missing = asked("list", tmp_path / "none.db")
    assert missing.exit_code == 2
    assert "there is no outbox" in missing.stderr
    wrong = tmp_path / "wrong.db"
    wrong.write_bytes(b"no database at all" * 100)
    told = asked("list", wrong)
    assert told.exit_code == 2
    assert "outbox salvage" in told.stderr
