"""What can be read of a damaged outbox comes back once, under its own numbers, whatever was damaged."""

import os
import random
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from agent.cli import app
from agent.cycles import Cursor
from agent.outbox import Outbox
from agent.outbox.pages import rows
from agent.outbox.salvage import salvage
from agent.outbox.streams import checksum
from contracts.errors import SetupError
from tests.support.commits import commit_of, holding, settle
from tests.support.records import record
from tests.support.stores import permit

Number = tuple[str, int]


def opened(path: Path) -> Outbox:
    box = Outbox(path)
    box.open()
    return box


async def lived(path: Path, *, in_wal: bool = False) -> None:
    """An outbox with a past: settled, deleted, sent and moved records, small and large ones, results and permits."""
    box = opened(path)
    try:
        for number in range(1, 61):
            await box.append(record(number, note="x" * (number % 7) * 1500), Cursor("tester", number))
        old = box.stream_id
        await box.mark_sent(50)
        await settle(box, commit_of(old, 20))
        await box.prune(0)
        await settle(box, commit_of(old, 40))
        await settle(box, commit_of(old, 45))
        others = holding(commit_of(old, 45, (51, 60)), 51, *["f" * 16] * 10)
        assert (await box.tell_apart(others)).ask_from is None
        await box._run(lambda connection: connection.execute("PRAGMA user_version").fetchall())
    finally:
        box.close()
    box = opened(path)
    try:
        for number in range(61, 81):
            await box.append(permit(request_id=f"{number:032x}"))
            await box.append(record(number, note="y" * (number % 3) * 3000), Cursor("tester", number))
        if in_wal:
            for name in ("outbox.db", "outbox.db-wal"):
                shutil.copy(path.with_name(name), path.with_name(f"copy-{name}"))
    finally:
        box.close()
    if in_wal:
        path.with_name("copy-outbox.db").rename(path)
        path.with_name("copy-outbox.db-wal").rename(path.with_name("outbox.db-wal"))


def copy_with_wal(path: Path, to: Path) -> None:
    for suffix in ("", "-wal"):
        if os.path.exists(f"{path}{suffix}"):
            shutil.copy(f"{path}{suffix}", f"{to}{suffix}")


def held(path: Path) -> dict[Number, tuple[bytes, bool]]:
    """Everything in a whole outbox: number -> content, and whether it is settled."""
    with closing(sqlite3.connect(path)) as connection:
        return {
            (stream_id, seq): (body, bool(settled))
            for stream_id, seq, body, settled in connection.execute(
                "SELECT stream_id, seq, body, settled_at IS NOT NULL FROM records JOIN streams ON streams.id = stream"
            )
        }


@pytest.fixture
async def whole(tmp_path: Path) -> tuple[Path, dict[Number, tuple[bytes, bool]]]:
    """An undamaged file as it is set aside, and what is in it."""
    path = tmp_path / "whole" / "outbox.db"
    path.parent.mkdir()
    await lived(path)
    return path, held(path)


def test_of_a_whole_file_every_row_is_read(whole: tuple[Path, dict[Number, tuple[bytes, bool]]]) -> None:
    path, expected = whole
    found = {row.columns[4] for row in rows(path) if row.whole and len(row.columns) == 9}
    assert {body for body, _ in expected.values()} <= found


@pytest.mark.parametrize("size", [512, 1024, 4096, 65536])
def test_rows_are_read_as_sqlite_reads_them(tmp_path: Path, size: int) -> None:
    path = tmp_path / "any.db"
    values = [
        (
            None,
            0,
            1,
            -1,
            127,
            -128,
            2**15,
            -(2**23),
            2**31,
            -(2**40),
            2**62,
            0.5,
            -1e300,
            "",
            "ü" * 7,
            b"",
            b"\x00\xff",
        ),
        *(
            (n, 0, 1, n * n, 0, 0, 0, 0, 0, 0, 0, n / 3, 0.25, "text" * n * 50, "k", bytes(n * 211), b"z")
            for n in range(90)
        ),
    ]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size={size}")
        connection.execute("PRAGMA journal_mode=WAL")
        columns = ", ".join(f"c{n}" for n in range(len(values[0])))
        connection.execute(f"CREATE TABLE any ({columns})")
        connection.executemany(f"INSERT INTO any VALUES ({', '.join('?' * len(values[0]))})", values[:50])
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.executemany(f"INSERT INTO any VALUES ({', '.join('?' * len(values[0]))})", values[50:])
        expected = connection.execute("SELECT rowid, * FROM any ORDER BY rowid").fetchall()
        found = {row.rowid: row for row in rows(path) if len(row.columns) == len(values[0])}
    assert [(rowid, *found[rowid].columns) for rowid in sorted(found)] == expected
    assert all(row.whole for row in found.values())


async def test_what_was_not_committed_to_the_wal_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE any (text)")
        connection.execute("INSERT INTO any VALUES ('committed')")
        connection.execute("PRAGMA cache_size=1")
        connection.execute("BEGIN")
        for _ in range(200):
            connection.execute("INSERT INTO any VALUES (?)", ("open" * 500,))
        assert b"openopen" in path.with_name("outbox.db-wal").read_bytes()
        assert [row.columns for row in rows(path) if len(row.columns) == 1] == [("committed",)]
        connection.execute("COMMIT")
        assert len([row for row in rows(path) if len(row.columns) == 1]) == 201


@pytest.mark.parametrize("in_wal", [False, True], ids=["file", "file and wal"])
async def test_from_a_whole_file_everything_comes_back_once(tmp_path: Path, in_wal: bool) -> None:
    aside = tmp_path / "outbox.db.damaged-20261123T031500.000000Z"
    await lived(tmp_path / "outbox.db", in_wal=in_wal)
    for suffix in ("", "-wal"):
        if (tmp_path / f"outbox.db{suffix}").exists():
            (tmp_path / f"outbox.db{suffix}").rename(f"{aside}{suffix}")
    copy = tmp_path / "copy" / "outbox.db"
    copy.parent.mkdir()
    copy_with_wal(aside, copy)
    expected = held(copy)
    box = opened(tmp_path / "outbox.db")
    assert await box.append(record(81)) == 1
    present = box.stream_id
    box.close()

    found = salvage(aside, tmp_path / "outbox.db", {})
    assert found.is_complete
    brought = held(tmp_path / "outbox.db")
    own = {number: brought.pop(number) for number in list(brought) if number[0] == present}
    assert len(own) == 1
    assert expected.items() <= brought.items()
    # Deleted ones may come back from pages that are free for reuse: central has them.
    assert all(settled for number, (_, settled) in brought.items() if number not in expected)
    assert found.kept_as.name == "outbox.db.salvaged-20261123T031500.000000Z"

    again = salvage(found.kept_as, tmp_path / "outbox.db", {})
    assert sum(one.brought for one in again.streams) == 0
    assert held(tmp_path / "outbox.db") == brought | own
    with closing(opened(tmp_path / "outbox.db")) as box:
        assert box.stream_id == present
        assert not box.troubles(), "the file is whole, and nothing waits to be salvaged"
        state = await box.state()
        assert state.unsettled == 1 + sum(not settled for _, settled in expected.values())
        assert {stream.stream_id for stream in state.earlier} == {stream for stream, _ in expected}


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), pages=st.integers(1, 12), how=st.sampled_from(["random", "zero", "cut", "bits"]))
def test_whatever_is_damaged_what_comes_back_is_right_and_comes_once(seed: int, pages: int, how: str) -> None:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(_template(), folder / "damaged.db")
        expected = held(folder / "damaged.db")
        damage(folder / "damaged.db", chance, pages, how)
        opened(folder / "outbox.db").close()
        try:
            found = salvage(folder / "damaged.db", folder / "outbox.db", {})
        except SetupError:
            assert how == "cut"
            return
        brought = held(folder / "outbox.db")
        assert all(body == expected[number][0] for number, (body, _) in brought.items() if number in expected)
        assert all(settled for number, (_, settled) in brought.items() if number not in expected)
        bodies = [body for body, _ in brought.values()]
        assert len(bodies) == len(set(bodies)), "the same fact under two numbers"
        lost = len(expected.keys() - brought.keys())
        named = all(one.stream_id is not None for one in found.streams)
        assert lost <= 4 * 3 * pages or how == "cut" or not named
        if not lost and named:
            assert not any(one.differing for one in found.streams)
        with closing(opened(folder / "outbox.db")) as box:
            assert not box.troubles(), "the present outbox is whole"


def damage(path: Path, chance: random.Random, pages: int, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "cut":
        path.write_bytes(content[: chance.randrange(4096, len(content))])
        return
    for _ in range(pages):
        start = chance.randrange(1, len(content) // 4096) * 4096
        match how:
            case "random":
                content[start : start + 4096] = chance.randbytes(4096)
            case "zero":
                content[start : start + 4096] = bytes(4096)
            case "bits":
                content[start + chance.randrange(4096)] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


_made: list[tuple[tempfile.TemporaryDirectory[str], Path]] = []


def _template() -> Path:
    """One outbox with a past, made once."""
    import asyncio

    if not _made:
        folder = tempfile.TemporaryDirectory()
        path = Path(folder.name) / "outbox.db"
        asyncio.run(lived(path))
        _made.append((folder, path))
    return _made[0][1]


def test_a_stream_whose_name_is_lost_waits_until_it_is_told(
    whole: tuple[Path, dict[Number, tuple[bytes, bool]]], tmp_path: Path
) -> None:
    path, expected = whole
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        names = dict(connection.execute("SELECT id, stream_id FROM streams"))
        connection.execute("UPDATE streams SET stream_id = ''")
        connection.execute("VACUUM")
    aside = tmp_path / "outbox.db.damaged-20261123T031500.000000Z"
    path.rename(aside)
    opened(tmp_path / "outbox.db").close()
    runner = CliRunner()
    first = runner.invoke(app, ["outbox", "salvage", str(aside)])
    assert first.exit_code == 1
    assert "add --stream 1=NAME" in first.output
    assert aside.exists(), "it still waits"
    options = [word for number, name in names.items() for word in ("--stream", f"{number}={name}")]
    second = runner.invoke(app, ["outbox", "salvage", str(aside), *options])
    assert second.exit_code == 0, second.output
    assert held(tmp_path / "outbox.db") == expected
    waiting = sum(not settled for _, settled in expected.values())
    assert f"{waiting} records were not delivered yet" in second.output


def test_a_file_of_which_something_is_missing_goes_on_waiting(
    whole: tuple[Path, dict[Number, tuple[bytes, bool]]], tmp_path: Path
) -> None:
    path, expected = whole
    aside = tmp_path / "outbox.db.damaged-20261123T031500.000000Z"
    number = next(number for number, (body, _) in expected.items() if b'"cycle_key":78' in body)
    aside.write_bytes(path.read_bytes().replace(expected[number][0], b"~" + expected[number][0][1:]))
    opened(tmp_path / "outbox.db").close()
    for _ in range(2):
        result = CliRunner().invoke(app, ["outbox", "salvage", str(aside)])
        assert result.exit_code == 1
        assert f"damaged, and not brought: {number[1]}\n" in result.output
        assert "not all of it is back" in result.output
        assert aside.exists()
    assert held(tmp_path / "outbox.db").keys() == expected.keys() - {number}
    with closing(opened(tmp_path / "outbox.db")) as box:
        assert aside.name in box.troubles()[0]


def test_a_number_that_is_damaged_itself_takes_no_more_than_its_record(
    whole: tuple[Path, dict[Number, tuple[bytes, bool]]], tmp_path: Path
) -> None:
    """One bit makes another number of it, as large as any: what is missing is not written down number by number."""
    path, expected = whole
    stream, seq = next(number for number, (body, _) in expected.items() if b'"cycle_key":70' in body)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE records SET seq = seq + (1 << 56) WHERE body = ?", (expected[stream, seq][0],))
        connection.execute("VACUUM")
    opened(tmp_path / "outbox.db").close()
    found = salvage(path, tmp_path / "outbox.db", {})
    [one] = [one for one in found.streams if one.stream_id == stream]
    assert (one.unreadable, one.lost, one.missing) == ({seq + (1 << 56)}, 1, ((seq, seq),))
    assert held(tmp_path / "outbox.db").keys() == expected.keys() - {(stream, seq)}


def test_what_the_outbox_holds_under_the_same_number_stays(
    whole: tuple[Path, dict[Number, tuple[bytes, bool]]], tmp_path: Path
) -> None:
    path, expected = whole
    number = next(number for number, (body, _) in expected.items() if b'"cycle_key":80' in body)
    shutil.copy(path, tmp_path / "other.db")
    with closing(sqlite3.connect(tmp_path / "other.db", isolation_level=None)) as connection:
        body = connection.execute("SELECT body FROM records ORDER BY rowid DESC").fetchone()[0]
        other = body.replace(b'"cycle_key":80', b'"cycle_key":99')
        assert other != body
        connection.execute(
            "UPDATE records SET body = ?, crc = ? WHERE body = ?", (other, checksum(*number, other), body)
        )
    result = CliRunner().invoke(app, ["outbox", "salvage", str(tmp_path / "other.db"), "--into", str(path)])
    assert result.exit_code == 1
    assert f"the outbox holds other records under {number[1]}" in result.output
    assert held(path) == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.db"], "no such file"),
        (["README.md"], "there is no outbox"),
        (["README.md", "--into", "{outbox}"], "no record of an outbox was found"),
        (["README.md", "--into", "{outbox}", "--stream", "1=x"], "NUMBER=NAME is needed"),
    ],
)
def test_what_cannot_be_salvaged_is_told(arguments: list[str], said: str, tmp_path: Path) -> None:
    opened(tmp_path / "outbox.db").close()
    words = [word.format(outbox=tmp_path / "outbox.db") for word in arguments]
    result = CliRunner().invoke(app, ["outbox", "salvage", *words])
    assert result.exit_code == 2
    assert said in " ".join(result.output.replace("│", " ").split())


def test_a_station_that_runs_is_not_disturbed(
    whole: tuple[Path, dict[Number, tuple[bytes, bool]]], tmp_path: Path
) -> None:
    path, _ = whole
    with closing(opened(tmp_path / "outbox.db")):
        result = CliRunner().invoke(app, ["outbox", "salvage", str(path), "--into", str(tmp_path / "outbox.db")])
    assert result.exit_code == 2
    assert "another agent runs with it" in result.output
    assert os.path.exists(path)
