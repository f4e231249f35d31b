"""An outbox file that is damaged, was copied, or is not where it was: nothing of it is lost, and it is told."""

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.cycles import Cursor
from agent.outbox import Outbox
from agent.outbox import file as outbox_file
from contracts.errors import SetupError, StoreError
from tests.support.records import record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


def opened(path: Path) -> Outbox:
    box = Outbox(path)
    box.open()
    return box


async def filled(path: Path, count: int, *, note: str = "") -> str:
    """An outbox with records of the tester, closed. Its stream."""
    box = opened(path)
    try:
        for number in range(1, count + 1):
            await box.append(record(number, note=note), Cursor("tester", number), Cursor("scanner", f"S{number}"))
        return box.stream_id
    finally:
        box.close()


def scribble(path: Path) -> None:
    """Pages in the middle of the file read as something else."""
    with path.open("r+b") as file:
        file.seek(4096 * 8)
        file.write(os.urandom(4096 * 4))


def behead(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"not a database at all")


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 + 100)


def lose_a_row(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM records WHERE seq = 7")


def lose_the_stream(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM streams")


def content(path: Path) -> bytes:
    return path.read_bytes()


DAMAGES = [scribble, behead, cut_short, lose_a_row, lose_the_stream]


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_file_is_set_aside_whole_and_a_new_stream_begins(
    path: Path, damage: Callable[[Path], None]
) -> None:
    old = await filled(path, 40)
    damage(path)
    damaged = content(path)
    with capture_logs() as logs:
        box = opened(path)
    try:
        [aside] = path.parent.glob("outbox.db.damaged-*")
        assert aside.read_bytes() == damaged
        [told] = [line for line in logs if line["log_level"] == "error"]
        assert told["event"] == "outbox damaged: set aside, a new stream begins"
        assert told["file"] == str(aside)
        assert box.stream_id != old
        assert await box.append(record(41)) == 1
        assert f"neurohub-agent outbox salvage {aside}" in box.troubles()[0]
    finally:
        box.close()
    with closing(opened(path)) as again:
        assert len(again.troubles()) == 1, "told at every start, until it is salvaged"
        assert (await again.state()).last_seq == 1


async def in_two_parts(path: Path) -> tuple[Path, bytes]:
    """An image of an outbox in use, damaged in its file, with newer records in its -wal; and that -wal."""
    await filled(path, 200)
    box = opened(path)
    image = path.parent / "image"
    image.mkdir()
    try:
        for number in range(201, 211):
            await box.append(record(number), Cursor("tester", number))
        for name in ("outbox.db", "outbox.db-wal"):
            shutil.copy(path.with_name(name), image / name)
    finally:
        box.close()
    scribble(image / "outbox.db")
    return image, (image / "outbox.db-wal").read_bytes()


async def test_what_is_not_yet_in_the_file_is_set_aside_with_it(path: Path) -> None:
    image, wal = await in_two_parts(path)
    with closing(opened(image / "outbox.db")) as renewed:
        [aside] = image.glob("outbox.db.damaged-*Z")
        assert (image / f"{aside.name}-wal").read_bytes() == wal
        assert await renewed.append(record(30)) == 1


async def test_a_file_that_has_become_empty_does_not_take_its_wal_along(path: Path) -> None:
    image, wal = await in_two_parts(path)
    os.truncate(image / "outbox.db", 0)  # SQLite would delete the -wal
    opened(image / "outbox.db").close()
    [aside] = image.glob("outbox.db.damaged-*Z-wal")
    assert aside.read_bytes() == wal
    with closing(opened(image / "outbox.db")) as box:
        assert len(box.troubles()) == 1


async def test_a_wal_whose_file_is_gone_is_kept(path: Path) -> None:
    image, wal = await in_two_parts(path)
    (image / "outbox.db").unlink()
    with closing(opened(image / "outbox.db")) as box:
        assert len(box.troubles()) == 1
    [aside] = image.glob("outbox.db.damaged-*Z-wal")
    assert aside.read_bytes() == wal


async def test_the_machines_last_cycles_go_along_where_their_records_can_be_read(path: Path) -> None:
    await filled(path, 40)
    lose_a_row(path)
    with closing(opened(path)) as box:
        # The tester still holds cycle 40, and must not be recorded twice; the scanner's stand in others' records.
        assert await box.cursor("tester") == Cursor("tester", 40)
        assert await box.cursor("scanner") == Cursor("scanner", "S40")


async def test_a_cycle_whose_record_is_lost_is_recorded_again(path: Path) -> None:
    await filled(path, 40)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM records WHERE seq = 40")
        connection.execute("UPDATE streams SET last_seq = 40")
    with closing(opened(path)) as box:
        assert await box.cursor("tester") is None
        assert await box.cursor("scanner") == Cursor("scanner", "S40")


async def test_cycles_that_are_damaged_themselves_are_left_behind(path: Path) -> None:
    await filled(path, 40)
    lose_a_row(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL', '') WHERE type = 'table'")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(
            "INSERT INTO cursors (machine, key_type, cycle_key, epoch)"
            " VALUES ('a', 'int', 'seven', 0), ('b', 'int', '7', NULL), (NULL, 1, 2, 3)"
        )
        connection.execute("UPDATE records SET body = NULL WHERE seq = 40")
    with closing(opened(path)) as box:
        assert len(box.troubles()) == 1
        assert await box.cursor("scanner") == Cursor("scanner", "S40")
        assert [await box.cursor(name) for name in ("tester", "a", "b")] == [None, None, None]


@pytest.mark.parametrize("code", [sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_IOERR_READ])  # the latter: a bad sector
async def test_a_file_that_turns_out_damaged_while_it_is_used_is_set_aside_and_the_line_goes_on(
    path: Path, code: int
) -> None:
    old = await filled(path, 40)
    box = opened(path)
    heard: list[str] = []
    box.heard = lambda: heard.append(box.stream_id)
    try:

        def find_it(connection: sqlite3.Connection) -> None:
            if not heard and box.stream_id == old:
                error = sqlite3.DatabaseError("found while it is read")
                error.sqlite_errorcode = code
                raise error

        with capture_logs() as logs:
            await box._run(find_it)
        assert [line["event"] for line in logs] == ["outbox damaged: set aside, a new stream begins"]
        assert await box.append(record(41), Cursor("tester", 41)) == 1
        assert heard == [box.stream_id] != [old]
        assert await box.cursor("scanner") == Cursor("scanner", "S40")
        assert len(box.troubles()) == 1
    finally:
        box.close()
    assert len(list(path.parent.glob("outbox.db.damaged-*"))) == 1


async def test_a_disk_that_refuses_the_next_file_too_is_asked_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(path, 3)
    box = opened(path)
    link = os.link
    refusals = [OSError(28, "No space left on device")] * 2

    def refusing(*paths: str) -> None:
        if refusals:
            raise refusals.pop()
        link(*paths)

    monkeypatch.setattr(os, "link", refusing)

    def find_it(connection: sqlite3.Connection) -> None:
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    try:
        with pytest.raises(StoreError):
            await box._run(find_it)
        # Nothing was set aside yet, and what is on the disk is whole.
        assert await box.append(record(4)) == 4
    finally:
        box.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
async def test_a_disk_that_refuses_the_folder_may_take_it_later(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refusing(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refusing)

    with pytest.raises(StoreError, match=os.strerror(number)):
        opened(path)


def interrupted(monkeypatch: pytest.MonkeyPatch, at: int) -> Iterator[None]:
    """The file operations of setting aside, the last one allowed being number ``at``."""
    done = 0

    def guarded(operation: Callable[..., object]) -> Callable[..., object]:
        def run(*arguments: object, **named: object) -> object:
            nonlocal done
            if done == at:
                raise KeyboardInterrupt
            done += 1
            return operation(*arguments, **named)

        return run

    with monkeypatch.context() as patch:
        for holder, name in ((os, "link"), (Path, "unlink"), (Path, "rename"), (os, "fsync")):
            patch.setattr(holder, name, guarded(getattr(holder, name)))
        yield


async def test_setting_aside_can_be_interrupted_anywhere(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, _ = await in_two_parts(path)
    steps = 0
    while True:
        folder = path.parent / f"step-{steps}"
        shutil.copytree(image, folder)
        reached_its_end = False
        with pytest.MonkeyPatch.context() as patch:
            for _ in interrupted(patch, steps):
                try:
                    opened(folder / "outbox.db").close()
                    reached_its_end = True
                except KeyboardInterrupt:
                    pass
        with closing(opened(folder / "outbox.db")) as renewed:
            state = await renewed.state()
            assert (state.last_seq, await renewed.append(record(30))) == (0, 1)
        kept = b"".join(file.read_bytes() for file in folder.glob("*damaged-*"))
        assert all(b'"cycle_key":%d' % number in kept for number in range(201, 211)), f"step {steps}"
        if reached_its_end:
            break
        steps += 1
    assert steps > 6


async def test_a_copy_begins_a_stream_of_its_own_and_what_it_holds_keeps_its_numbers(path: Path) -> None:
    old = await filled(path, 3)
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    with capture_logs() as logs, closing(opened(copy)) as box:
        assert box.stream_id != old
        assert await box.append(record(4)) == 1
        held = (await box.state()).earlier
        assert [(stream.stream_id, stream.last_seq) for stream in held] == [(old, 3)]
    assert [line["event"] for line in logs] == ["outbox was copied here: a new stream begins"]
    with closing(opened(path)) as box:
        assert box.stream_id == old
        assert await box.append(record(4)) == 4
    os.rename(path, path.with_name("moved.db"))
    with closing(opened(path.with_name("moved.db"))) as box:
        assert box.stream_id == old, "moved is not copied"


async def test_another_agent_is_kept_out_also_of_a_file_that_is_none(path: Path) -> None:
    with closing(opened(path)) as _, pytest.raises(SetupError, match="another agent runs with it"):
        opened(path)


async def test_a_file_of_an_older_version_is_taken_over(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = outbox_file.connect(path)
    outbox_file.migrations.apply(outbox_file.Database(connection), stop_before="keep_streams_that_have_ended")
    for stream, stream_id in ((1, "a" * 32), (2, "b" * 32)):
        connection.execute(
            "INSERT INTO streams (id, stream_id, minted_at, last_seq, sent) VALUES (?, ?, '2026-11-01', 0, 2)",
            (stream, stream_id),
        )
        for seq in (2, 3):  # the first is deleted already
            connection.execute(
                "INSERT INTO records (stream, seq, machine, created_at, body) VALUES (?, ?, 'tester', 'x', ?)",
                (stream, seq, b"{}"),
            )
    connection.close()
    with closing(opened(path)) as box:
        state = await box.state()
        assert (state.stream_id, state.last_seq, state.unsettled) == ("b" * 32, 3, 4)
        assert [(held.stream_id, held.last_seq, held.oldest_available) for held in state.earlier] == [("a" * 32, 3, 2)]
    with closing(opened(path)) as box:
        assert not box.troubles()
