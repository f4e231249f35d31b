"""The outbox: what is kept, in which order, and what survives."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.cycles import Cursor
from agent.outbox import Apart, Outbox, Pruned, Settled
from contracts.envelope import HeldStream, successor
from contracts.errors import SetupError, StoreError
from contracts.record import ProcessRecord, digest
from tests.support.commits import commit_of, holding, settle
from tests.support.records import record


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[Outbox]:
    box = Outbox(tmp_path / "outbox.db")
    box.open()
    yield box
    box.close()


async def waiting(outbox: Outbox) -> list[int]:
    return [row.seq for row in await outbox.unsettled(outbox.stream_id, 0, max_rows=1000, max_bytes=10**7)]


async def test_numbers_rise_without_gaps_also_when_many_write_at_once(outbox: Outbox) -> None:
    seqs = await asyncio.gather(*(outbox.append(record(n)) for n in range(1, 301)))
    assert sorted(seqs) == list(range(1, 301))
    rows = await outbox.unsettled(outbox.stream_id, 0, max_rows=1000, max_bytes=10**7)
    assert [row.seq for row in rows] == list(range(1, 301))
    assert ProcessRecord.model_validate_json(rows[0].body).station == "P03-A"


async def test_a_record_and_its_cursor_are_kept_together(outbox: Outbox) -> None:
    await outbox.append(record(5), Cursor("tester", 5))
    assert await outbox.cursor("tester") == Cursor("tester", 5)
    assert await outbox.cursor("other") is None
    await outbox.keep_cursor(Cursor("tester", "A", 3))
    assert await outbox.cursor("tester") == Cursor("tester", "A", 3)


async def test_another_life_continues_where_the_last_ended(tmp_path: Path) -> None:
    first = Outbox(tmp_path / "outbox.db")
    first.open()
    stream = (await first.state()).stream_id
    await first.append(record(1), Cursor("tester", 1))
    first.close()
    second = Outbox(tmp_path / "outbox.db")
    second.open()
    assert (await second.state()).stream_id == stream
    assert await second.append(record(2)) == 2
    assert await second.cursor("tester") == Cursor("tester", 1)
    second.close()


async def test_only_what_central_has_is_settled(outbox: Outbox) -> None:
    stream = (await outbox.state()).stream_id
    for number in range(1, 8):
        await outbox.append(record(number))
    await settle(outbox, commit_of(stream, 2, (5, 6)))
    assert await waiting(outbox) == [3, 4, 7]


async def test_a_central_that_was_restored_takes_settling_back(outbox: Outbox) -> None:
    stream = (await outbox.state()).stream_id
    for number in range(1, 6):
        await outbox.append(record(number))
    await settle(outbox, commit_of(stream, 5))
    assert await waiting(outbox) == []
    await settle(outbox, commit_of(stream, 2, (4, 4)))
    assert await waiting(outbox) == [3, 5]


async def test_many_holes_are_taken_back_at_once(outbox: Outbox) -> None:
    """Each result that is made meanwhile waits for it; told record by record it took ten seconds of 50,000."""

    async def effort(work: Awaitable[object]) -> float:
        before = time.process_time()
        await work
        return time.process_time() - before

    await asyncio.gather(*(outbox.append(record(number)) for number in range(1, 5001)))
    settling = await effort(outbox.settle(outbox.stream_id, [(1, 5000)]))
    commit = commit_of(outbox.stream_id, 3, *((seq, seq) for seq in range(5, 4000, 2)))
    assert await effort(outbox.take_back(commit)) < 5 * settling
    rows = await outbox.unsettled(outbox.stream_id, 0, max_rows=10_000, max_bytes=10**8)
    assert [row.seq for row in rows] == [seq for seq in range(1, 5001) if not commit.covers(seq)]


async def test_what_is_taken_beside_another_content_is_counted_as_disputed(outbox: Outbox) -> None:
    stream = outbox.stream_id
    for number in range(1, 5):
        await outbox.append(record(number))
    assert await outbox.settle(stream, [(1, 2)]) == Settled(2)
    # The second one was alone there when it was taken; the other's came later. The fourth is not taken yet.
    assert await outbox.settle(stream, [(3, 3)], [(2, 4)]) == Settled(1, 2)
    assert await outbox.settle(stream, [(3, 3)], [(2, 4)]) == Settled()
    state = await outbox.state()
    assert (state.disputed, state.unsettled) == (2, 1)
    await outbox.take_back(commit_of(stream, 1))
    assert (await outbox.state()).disputed == 0, "central has lost them, and gets them again"


async def test_a_batch_keeps_within_its_bounds_but_is_never_empty(outbox: Outbox) -> None:
    for number in range(1, 6):
        await outbox.append(record(number))
    assert len(await outbox.unsettled(outbox.stream_id, 0, max_rows=3, max_bytes=10**7)) == 3
    assert len(await outbox.unsettled(outbox.stream_id, 0, max_rows=100, max_bytes=1)) == 1


async def test_pruning_forgets_settled_rows_alone_and_no_number_comes_twice(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "outbox.db")
    box.open()
    stream = (await box.state()).stream_id
    for number in range(1, 4):
        await box.append(record(number))
    await settle(box, commit_of(stream, 3))
    assert await box.prune(0) == Pruned(aged=3)
    box.close()
    again = Outbox(tmp_path / "outbox.db")
    again.open()
    assert await again.append(record(4)) == 4
    assert await again.prune(0) == Pruned()
    again.close()


@pytest.mark.parametrize("whose", ["the station's", "central's"])
@pytest.mark.parametrize("wrong", [timedelta(days=-4000), timedelta(days=4000)], ids=["behind", "ahead"])
async def test_a_clock_that_is_years_wrong_for_a_while_deletes_nothing_before_its_time(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch, whose: str, wrong: timedelta
) -> None:
    """Of all settled records a central that is restored would lack them at once."""
    station, central = (wrong, timedelta(0)) if whose == "the station's" else (timedelta(0), wrong)
    right = datetime(2026, 11, 25, tzinfo=UTC)

    def clocks(days: int, *, wrong: bool) -> None:
        moment = right + timedelta(days=days)
        monkeypatch.setattr("agent.outbox.outbox.datetime", FixedClock(moment + station * wrong))
        outbox.central_at = moment + central * wrong

    for number in range(1, 4):
        await outbox.append(record(number))
    clocks(0, wrong=False)
    await outbox.settle(outbox.stream_id, [(1, 1)])
    clocks(1, wrong=True)
    await outbox.settle(outbox.stream_id, [(2, 2)])
    assert await outbox.prune(30 * 86400) == Pruned()
    clocks(2, wrong=False)
    assert await outbox.prune(30 * 86400) == Pruned()
    clocks(31, wrong=False)
    assert await outbox.prune(30 * 86400) == Pruned(aged=1)
    # Nobody has heard central since the start: who knows what time it is?
    outbox.central_at = None
    assert await outbox.prune(0) == Pruned()


class FixedClock:
    """A clock that stands."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment

    def now(self, _zone: object) -> datetime:
        return self._moment


async def cycle_keys(outbox: Outbox, stream: str) -> dict[int, int | str | None]:
    rows = await outbox.unsettled(stream, 0, max_rows=100, max_bytes=10**6)
    return {row.seq: ProcessRecord.model_validate_json(row.body).cycle_key for row in rows}


OTHER = "f" * 16
TOLD = Apart()


async def test_what_another_stands_in_the_place_of_moves_and_nothing_else_does(outbox: Outbox) -> None:
    """Of what was never sent a copy of this outbox may hold the same, and deliver it under the same number."""
    old = outbox.stream_id
    for number in range(1, 7):
        await outbox.append(record(number))
    await outbox.mark_sent(4)
    await settle(outbox, commit_of(old, 3))
    # Central has 1 to 3 from here, and 5 from a later life of the disk this one is an image of.
    answer = commit_of(old, 3, (5, 5))
    assert await outbox.tell_apart(answer) == Apart(ask_from=5)
    assert await outbox.tell_apart(holding(answer, 5, OTHER)) == Apart(others=frozenset({5}))
    new, moved = outbox.stream_id, successor(old)
    assert new not in (old, moved)
    assert await cycle_keys(outbox, moved) == {5: 5}, "whoever holds a copy of it gives it the same place"
    assert await cycle_keys(outbox, old) == {4: 4, 6: 6}
    state = await outbox.state()
    assert (state.stream_id, state.last_seq, state.sent, state.oldest_available) == (new, 0, 0, 0)
    assert state.earlier == (
        HeldStream(stream_id=old, last_seq=6, oldest_available=1),
        HeldStream(stream_id=moved, last_seq=5, oldest_available=5),
    )
    assert await settle(outbox, commit_of(old, 4)) == 1
    assert (await outbox.state()).unsettled == 2


async def test_what_a_copy_delivered_of_ours_is_not_sent_again_and_what_it_put_in_our_places_settles_nothing(
    tmp_path: Path, outbox: Outbox
) -> None:
    old = outbox.stream_id
    for number in range(1, 8):
        await outbox.append(record(number))
    await outbox.mark_sent(5)
    mine = [digest(record(number))[:16] for number in range(1, 8)]
    # The copy was made of 1 to 3. Our 4 and 5 were lost on the way; central has the 4, 6 and 8 of the copy.
    answer = holding(commit_of(old, 4, (6, 6), (8, 8)), 1, *mine[:3], OTHER, "", f"{OTHER} {mine[5]}", "", OTHER)
    assert await outbox.tell_apart(answer, anew=True) == Apart(others=frozenset({4}), disputed=1)
    assert await cycle_keys(outbox, old) == {5: 5, 7: 7}
    assert await cycle_keys(outbox, successor(old)) == {4: 4}
    assert (await outbox.state()).disputed == 1, "6 is in quarantine, beside the copy's"
    outbox.close()
    again = Outbox(tmp_path / "outbox.db")
    again.open()
    assert again.troubles() == (), "what has moved is not missed"
    again.close()


async def test_what_central_has_of_ours_is_told_page_by_page_to_the_end(outbox: Outbox) -> None:
    """Also behind another's: what is at central already would be stored twice in the new stream."""
    old = outbox.stream_id
    for number in range(1, 10):
        await outbox.append(record(number))
    mine = [digest(record(number))[:16] for number in range(1, 10)]
    answer = commit_of(old, 3, (5, 8))
    first = await outbox.tell_apart(holding(answer, 1, *mine[:2], OTHER), anew=True)
    assert first == Apart(ask_from=5, others=frozenset({3})), "of 4 it has nothing"
    second = await outbox.tell_apart(holding(answer, 5, mine[4], OTHER), first.others, anew=True)
    assert second == Apart(ask_from=7, others=frozenset({3, 6}))
    assert outbox.stream_id == old
    last = await outbox.tell_apart(holding(answer, 7, mine[6], mine[7]), second.others, anew=True)
    assert last == Apart(others=frozenset({3, 6}))
    assert await cycle_keys(outbox, successor(old)) == {3: 3, 6: 6}
    assert await cycle_keys(outbox, old) == {4: 4, 9: 9}


async def test_a_copy_that_delivered_only_what_is_ours_costs_no_new_stream(outbox: Outbox) -> None:
    old = outbox.stream_id
    for number in range(1, 4):
        await outbox.append(record(number))
    mine = [digest(record(number))[:16] for number in range(1, 3)]
    assert await outbox.tell_apart(holding(commit_of(old, 2), 1, *mine)) == TOLD
    assert (outbox.stream_id, await outbox.sent(), await cycle_keys(outbox, old)) == (old, 2, {3: 3})


async def test_what_central_cannot_read_under_a_number_settles_nothing_and_moves_nothing(outbox: Outbox) -> None:
    """It is sent again: central then has it, whatever the other is."""
    old = outbox.stream_id
    await outbox.append(record(1))
    await outbox.mark_sent(1)
    assert await outbox.tell_apart(holding(commit_of(old, 1), 1, "*")) == TOLD
    assert (outbox.stream_id, await waiting(outbox)) == (old, [1])
    assert await outbox.in_doubt(commit_of(old, 1)) == 1


async def test_in_an_earlier_stream_too_a_number_alone_settles_nothing(outbox: Outbox, tmp_path: Path) -> None:
    """A copy went on in it; and another did in its successor."""
    old = outbox.stream_id
    for number in range(1, 5):
        await outbox.append(record(number))
    await outbox.mark_sent(4)
    await outbox.tell_apart(commit_of(old, 0), anew=True)
    new = outbox.stream_id
    await outbox.append(record(5))
    mine = [digest(record(number))[:16] for number in range(1, 5)]
    answer = commit_of(old, 3)
    assert await outbox.tell_apart(answer) == Apart(ask_from=1)
    assert await outbox.tell_apart(holding(answer, 1, mine[0], OTHER, OTHER)) == Apart(others=frozenset({2, 3}))
    second = successor(old)
    answer = holding(commit_of(second, 0, (2, 2)), 2, OTHER)
    assert await outbox.tell_apart(answer) == Apart(others=frozenset({2}))
    assert (outbox.stream_id, outbox.last_seq) == (new, 1)
    places = {old: {4: 4}, second: {3: 3}, successor(second): {2: 2}, new: {1: 5}}
    for stream, keys in places.items():
        assert await cycle_keys(outbox, stream) == keys
    outbox.close()
    again = Outbox(tmp_path / "outbox.db")
    again.open()
    assert (again.troubles(), again.stream_id, again.last_seq) == ((), new, 1)
    again.close()


async def test_a_damaged_record_gets_no_right_check_sum_by_moving(outbox: Outbox) -> None:
    old = outbox.stream_id
    for number in range(1, 4):
        await outbox.append(record(number))
    await outbox.mark_sent(1)
    await outbox._run(
        lambda connection: connection.execute(
            "UPDATE records SET body = CAST(replace(CAST(body AS TEXT), '60.0', '61.0') AS BLOB) WHERE seq <= 2"
        )
    )
    answer = holding(commit_of(old, 3), 1, digest(record(1))[:16], OTHER, OTHER)
    assert await outbox.tell_apart(answer, {2}) == Apart(others=frozenset({2, 3}))
    found = await outbox.unsettled(old, 0, max_rows=9, max_bytes=10**6)
    assert [(row.seq, row.is_intact) for row in found] == [(1, False)], "a damaged one comes alone"
    assert await cycle_keys(outbox, successor(old)) == {3: 3}


async def test_a_record_kept_while_the_uplink_is_live_counts_as_sent(outbox: Outbox) -> None:
    await outbox.append(record(1))
    assert (await outbox.state()).sent == 0
    outbox.live = True
    await outbox.append(record(2))
    assert (await outbox.state()).sent == 2


async def test_a_parked_record_stays_and_is_counted(outbox: Outbox) -> None:
    await outbox.append(record(1))
    await outbox.append(record(2))
    await outbox.park(outbox.stream_id, 1, "too large")
    assert await waiting(outbox) == [2]
    assert (await outbox.state()).parked == 1


async def test_one_outbox_has_one_agent(tmp_path: Path) -> None:
    first = Outbox(tmp_path / "outbox.db")
    first.open()
    await first.append(record(1))
    second = Outbox(tmp_path / "outbox.db")
    with pytest.raises(SetupError, match="another agent"):
        second.open()
    first.close()


async def test_a_disk_that_refuses_keeps_nothing_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    box = Outbox(path)
    box.open()
    await box.append(record(1))
    page_limit = f"PRAGMA max_page_count={_pages(box)}"
    await box._run(lambda connection: connection.execute(page_limit).fetchall())
    refused = 0
    for number in range(2, 60):
        try:
            await box.append(record(number), Cursor("tester", number))
        except StoreError:
            refused += 1
    assert refused > 0
    state = await box.state()
    assert state.last_seq == len(await waiting(box)), "a refused record has no number"
    await box._run(lambda connection: connection.execute("PRAGMA max_page_count=1000000").fetchall())
    assert await box.append(record(99)) == state.last_seq + 1
    box.close()
    with pytest.raises(StoreError, match="closed"):
        await box.append(record(100))


def _pages(box: Outbox) -> int:
    connection: sqlite3.Connection | None = box._writer._connection
    assert connection is not None
    return int(connection.execute("PRAGMA page_count").fetchone()[0])
