"""A full disk and a full outbox: results are refused, what is delivered is noted, copies go before anything else."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.cycles import Cursor
from agent.outbox import Limits, Outbox, Pruned
from contracts.errors import StoreError
from tests.support.commits import commit_of, settle
from tests.support.disks import small_disk
from tests.support.records import record

SMALL = Limits(max_size=100_000_000, reserve=300_000)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    with small_disk(tmp_path / "disk", megabytes=2) as place:
        yield place


def fill_up(disk: Path) -> Path:
    """Somebody else takes all the room there is."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return ballast


def opened(disk: Path, limits: Limits = SMALL) -> Outbox:
    box = Outbox(disk / "outbox.db", limits)
    box.open()
    return box


async def until_refused(box: Outbox, first: int, *, can_wait: bool = True) -> int:
    """Keep results until the disk takes no more. The number of the one that was refused."""
    for number in range(first, 10_000):
        try:
            await box.append(record(number), Cursor("tester", number), can_wait=can_wait)
        except StoreError:
            return number
    raise AssertionError("never refused")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def commit(box: Outbox, up_to: int) -> int:
    return await settle(box, commit_of(box.stream_id, up_to))


async def test_on_a_full_disk_results_are_refused_and_deliveries_still_noted(disk: Path) -> None:
    heard = 0

    def hear() -> None:
        nonlocal heard
        heard += 1

    with closing(opened(disk)) as box, capture_logs() as logs:
        box.heard = hear
        await box.append(record(1))
        ballast = fill_up(disk)
        number = await until_refused(box, 2)
        for _ in range(5):
            with pytest.raises(StoreError, match="full"):
                await box.append(record(number), Cursor("tester", number))
        # What has been kept can be sent, marked and settled meanwhile.
        kept = box.last_seq
        assert kept == number - 1
        await box.mark_sent(kept)
        await box.keep_cursor(Cursor("scanner", "A"))
        assert await commit(box, kept) == kept
        assert "is full" in box.troubles()[0]
        assert [line["event"] for line in logs] == ["no room for results, machines are not acknowledged"]
        await until(lambda: heard == 1)
        ballast.unlink()
        assert await box.append(record(number), Cursor("tester", number)) == kept + 1
        assert not box.troubles()
        await until(lambda: heard == 2)
        assert [line["event"] for line in logs[1:]] == ["room for results again"]
    with closing(opened(disk)) as box:
        assert (await box.state()).unsettled == 1
        assert await box.cursor("tester") == Cursor("tester", number)


async def test_copies_go_before_results_are_refused(disk: Path) -> None:
    with closing(opened(disk)) as box:
        for number in range(1, 601):
            await box.append(record(number))
        await commit(box, 590)
        fill_up(disk)
        number = await until_refused(box, 601)
        waiting = number - 591
        assert (await box.state()).unsettled == waiting
        pruned = await box.prune(30 * 86400.0)
        assert pruned.aged == 0
        assert pruned.early > 300
        assert (await box.state()).unsettled == waiting, "what central has not is never deleted"
        # Room inside the file is room.
        assert await box.append(record(number)) == number
        assert not box.troubles()


async def test_a_machine_that_cannot_wait_is_kept_in_the_reserve(disk: Path) -> None:
    with closing(opened(disk)) as box:
        fill_up(disk)
        number = await until_refused(box, 1)
        last = await until_refused(box, number, can_wait=False)
        assert last - number > 50
        assert box.troubles(), "that it was kept does not mean that there is room"
        with pytest.raises(StoreError):
            await box.append(record(last))


async def test_a_disk_that_was_full_before_the_start_is_waited_for(disk: Path) -> None:
    with closing(opened(disk)) as box:
        for number in range(1, 100):
            await box.append(record(number), Cursor("tester", number))
    ballast = fill_up(disk)
    with closing(opened(disk)) as box:  # the reserve lets it in
        await until_refused(box, 100)
        assert await commit(box, 99) == 99
    ballast.unlink()
    (disk / "outbox.db").rename(disk / "other.db")
    (disk / "outbox.db.reserve").unlink(missing_ok=True)
    fill_up(disk)
    box = Outbox(disk / "outbox.db", SMALL)
    with pytest.raises(StoreError):
        box.open()
    (disk / "ballast").unlink()
    box.open()
    assert await box.append(record(1)) == 1
    box.close()


async def test_the_outbox_ends_at_its_size_and_goes_on_when_something_is_delivered(tmp_path: Path) -> None:
    limits = Limits(max_size=1_000_000, reserve=200_000)
    with closing(opened(tmp_path, limits)) as box, capture_logs() as logs:
        number = await until_refused(box, 1)
        assert "outbox.max_size" in box.troubles()[0]
        assert [line["event"] for line in logs] == ["no room for results, machines are not acknowledged"]
        assert await box.prune(30 * 86400.0) == Pruned(), "nothing is delivered: nothing may go"
        await commit(box, 100)
        assert (await box.prune(30 * 86400.0)).early == 100
        assert await box.append(record(number)) == number
        assert not box.troubles()
        # However long it goes on: what is delivered makes room for what comes.
        for _ in range(5):
            number = await until_refused(box, number + 1)
            await commit(box, box.last_seq)
            await box.prune(30 * 86400.0)
        assert (tmp_path / "outbox.db").stat().st_size <= limits.max_size


async def test_results_of_machines_that_cannot_wait_end_at_its_size_too(tmp_path: Path) -> None:
    limits = Limits(max_size=1_000_000, reserve=250_000)
    with closing(opened(tmp_path, limits)) as box, capture_logs() as logs:
        number = await until_refused(box, 1)
        last = await until_refused(box, number, can_wait=False)
        assert last - number > 50, "they have half of the reserve"
        # Many at once, of both kinds, as they come at the end of a shift.
        both = (box.append(record(last + n), can_wait=n % 2 == 0) for n in range(200))
        assert all(isinstance(end, StoreError) for end in await asyncio.gather(*both, return_exceptions=True))
        assert await commit(box, last - 1) == last - 1, "the other half is for what is delivered"
        assert (tmp_path / "outbox.db").stat().st_size <= limits.max_size
        assert [line["event"] for line in logs] == ["no room for results, machines are not acknowledged"]
        assert "outbox.max_size" in box.troubles()[0]
        await box.prune(30 * 86400.0)
        assert await box.append(record(last)) == last
        assert not box.troubles()
        assert [line["event"] for line in logs[1:]] == ["room for results again"]


async def test_pruning_leaves_room_for_results_in_between(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as box:
        await asyncio.gather(*(box.append(record(number)) for number in range(1, 2001)))
        await commit(box, 2000)
        order: list[str] = []

        async def prune() -> None:
            assert (await box.prune(0)).aged == 2000
            order.append("pruned")

        async def append() -> None:
            await box.append(record(2001))
            order.append("kept")

        await asyncio.gather(prune(), append())
        assert order == ["kept", "pruned"]


async def test_a_write_that_failed_once_is_kept_by_the_reserve_alone_when_it_is_no_result(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as box:
        refusals = [sqlite3.OperationalError("database or disk is full")]
        refusals[0].sqlite_errorcode = sqlite3.SQLITE_FULL

        def note(connection: sqlite3.Connection) -> str:
            if refusals:
                raise refusals.pop()
            return "noted"

        assert await box._run(note) == "noted"
        assert not (tmp_path / "outbox.db.reserve").exists()
