"""Whatever happens in whatever order, numbers have no gaps and nothing is settled that central does not have."""

import asyncio
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Awaitable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.cycles import Cursor
from agent.outbox import Outbox
from contracts.envelope import DIGEST_DIGITS, Commit, ranges_of, successor
from contracts.errors import StoreError
from contracts.record import ProcessRecord, digest
from tests.support.commits import commit_of, holding, settle
from tests.support.records import record

T = TypeVar("T")
ALL = {"max_rows": 10_000, "max_bytes": 10**9}


def broken(error: Exception) -> Any:
    def work(connection: sqlite3.Connection) -> None:
        raise error

    return work


Number = tuple[str, int]
"""Stream and seq."""


class OutboxLives(RuleBasedStateMachine):
    """Beside the outbox stands what it must hold: number -> cycle key, and what central last said it has."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.made = 0
        self.held: dict[Number, int] = {}
        self.last_seq: dict[str, int] = {}
        self.committed: set[Number] = set()
        self.pruned: set[Number] = set()
        self.cursor: int | None = None
        self.outbox = self.opened()
        self.present = self.outbox.stream_id
        self.last_seq[self.present] = 0

    @property
    def path(self) -> Path:
        return Path(self.folder.name) / "outbox.db"

    def opened(self) -> Outbox:
        box = Outbox(self.path)
        box.open()
        return box

    def do(self, work: Awaitable[T]) -> T:
        async def awaited() -> T:
            return await work

        return self.runner.run(awaited())

    @rule(count=st.integers(1, 4), refused=st.sampled_from([None, sqlite3.OperationalError("full"), ValueError("bug")]))
    def append(self, count: int, refused: Exception | None) -> None:
        """Several at once, perhaps beside a change that cannot be kept."""
        numbers = range(self.made + 1, self.made + count + 1)

        async def together() -> list[Any]:
            works: list[Awaitable[Any]] = [self.outbox.append(record(n), Cursor("tester", n)) for n in numbers]
            if refused is not None:
                works.insert(1, self.outbox._run(broken(refused)))
            return await asyncio.gather(*works, return_exceptions=True)

        answers = self.do(together())
        if refused is not None:
            answer = answers.pop(1)
            assert type(answer) is (StoreError if isinstance(refused, sqlite3.Error) else type(refused))
        for number, seq in zip(numbers, answers, strict=True):
            self.held[self.present, seq] = number
        last = self.last_seq[self.present]
        assert answers == list(range(last + 1, last + count + 1)), "a gap, or a number twice"
        self.made = self.cursor = numbers[-1]
        self.last_seq[self.present] += count

    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        """Central says what it has of a stream: more than before, or less."""
        stream = data.draw(st.sampled_from(list(self.last_seq)))  # in the order they began: their names are random
        last = self.last_seq[stream]
        has = data.draw(st.sets(st.integers(1, last))) if last else set()
        has |= {seq for name, seq in self.pruned if name == stream and seq <= max(has, default=0)}
        self.committed = {number for number in self.committed if number[0] != stream} | {(stream, seq) for seq in has}
        if stream == self.present:
            self.do(self.outbox.mark_sent(last))
        self.do(settle(self.outbox, self.said(stream, has)))

    @staticmethod
    def said(stream: str, has: set[int]) -> Commit:
        ranges = ranges_of(sorted(has))
        up_to = ranges[0][1] if ranges and ranges[0][0] == 1 else 0
        above = ranges[1:] if up_to else ranges
        return commit_of(stream, up_to, *above)

    @rule()
    def restart(self) -> None:
        self.outbox.close()
        self.outbox = self.opened()

    @rule()
    def prune(self) -> None:
        self.outbox.central_at = datetime.now(UTC)
        self.do(self.outbox.prune(0))
        gone = self.held.keys() & self.committed
        self.pruned |= gone
        for number in gone:
            del self.held[number]

    @precondition(lambda self: len(self.last_seq) < 4)
    @rule(
        data=st.data(),
        at_central=st.lists(st.sampled_from(["ours", "another's", "both", "nothing", "unreadable"]), max_size=12),
        anew=st.booleans(),
        page=st.sampled_from([1, 2, 12]),
    )
    def tell_apart(self, data: st.DataObject, at_central: list[str], anew: bool, page: int) -> None:
        """Another may write in our stream: what central has of ours is settled, what has its place taken moves on, and
        the rest keeps its number."""
        old = data.draw(st.sampled_from(list(self.last_seq)))
        is_present = old == self.present
        anew = anew and is_present
        held = dict(enumerate(at_central, start=1))
        lacking = [seq for name, seq in sorted(self.held.keys() - self.committed) if name == old]
        has = {seq for seq, what in held.items() if what != "nothing"}
        known = max(has, default=0)
        entries = {seq: self.entry((old, seq), held[seq]) for seq in range(1, known + 1)}
        commit = self.said(old, has)
        apart, told = self.do(self.outbox.tell_apart(commit, anew=anew)), 0
        while (asked := apart.ask_from) is not None:
            assert asked > told, "asked for what is told"
            assert asked in lacking, "asked for what is settled"
            assert asked in has, "asked for what there is not"
            told = min(asked + page - 1, known)
            answer = holding(commit, asked, *(entries[seq] for seq in range(asked, told + 1)))
            apart = self.do(self.outbox.tell_apart(answer, apart.others, anew=anew))

        ours = [seq for seq in lacking if held.get(seq) in ("ours", "both")]
        taken = [seq for seq in lacking if held.get(seq) == "another's"]
        self.committed |= {(old, seq) for seq in ours}
        if is_present and (anew or taken or known > self.last_seq[old]):
            self.begun(old)
        elif is_present:
            assert self.outbox.stream_id == old
        moved_to = successor(old)
        for seq in taken:
            self.held[moved_to, seq] = self.held.pop((old, seq))
            self.last_seq[moved_to] = max(seq, self.last_seq.get(moved_to, 0))

    def entry(self, number: Number, what: str) -> str:
        """What central says it holds under a number."""
        kept, other = self.held.get(number), "f" * DIGEST_DIGITS
        mine = "0" * DIGEST_DIGITS if kept is None else digest(record(kept))[:DIGEST_DIGITS]
        held = {"ours": mine, "another's": other, "both": f"{other} {mine}", "nothing": "", "unreadable": "*"}
        return held[what]

    @precondition(lambda self: len(self.last_seq) < 4)
    @rule()
    def copied(self) -> None:
        """The file is found copied: a new stream begins, and what was there keeps its numbers."""
        old = self.present
        self.outbox.close()
        copy = self.path.with_name("copy")
        shutil.copy(self.path, copy)
        copy.replace(self.path)
        self.outbox = self.opened()
        self.begun(old)

    def begun(self, old: str) -> None:
        self.present = self.outbox.stream_id
        assert self.present not in self.last_seq
        assert old != self.present
        self.last_seq[self.present] = 0

    @invariant()
    def holds_exactly_what_central_lacks(self) -> None:
        lacking = {number: key for number, key in self.held.items() if number not in self.committed}
        found: dict[Number, int] = {}
        for stream in self.last_seq:
            for row in self.do(self.outbox.unsettled(stream, 0, **ALL)):
                key = ProcessRecord.model_validate_json(row.body).cycle_key
                assert isinstance(key, int)
                found[stream, row.seq] = key
        assert found == lacking
        state = self.do(self.outbox.state())
        assert (state.stream_id, state.last_seq) == (self.present, self.last_seq[self.present])
        assert state.unsettled == len(lacking)
        earlier = {stream for stream, _ in self.held if stream != self.present}
        assert {held.stream_id: held.last_seq for held in state.earlier} == {
            stream: self.last_seq[stream] for stream in earlier
        }
        cursor = self.do(self.outbox.cursor("tester"))
        assert (None if cursor is None else cursor.key) == self.cursor

    def teardown(self) -> None:
        self.outbox.close()
        self.runner.close()
        self.folder.cleanup()


class TestOutboxLives(OutboxLives.TestCase):  # type: ignore[misc]  # hypothesis makes it at run time
    settings = settings(max_examples=20, stateful_step_count=20, deadline=None)


async def test_one_that_cannot_be_kept_takes_no_other_with_it(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "outbox.db")
    box.open()
    first, refused, second = await asyncio.gather(
        box.append(record(1)), box._run(broken(sqlite3.OperationalError("full"))), box.append(record(2)),
        return_exceptions=True,
    )  # fmt: skip
    assert (first, second) == (1, 2)
    assert isinstance(refused, StoreError)
    with pytest.raises(ZeroDivisionError):
        await box._run(broken(ZeroDivisionError()))
    assert await box.append(record(3)) == 3
    box.close()


async def test_a_number_is_not_told_before_it_is_on_the_disk(tmp_path: Path) -> None:
    """The uplink would take it for sent, and pass over the record that gets it when the disk has rolled it back."""
    box = Outbox(tmp_path / "outbox.db")
    box.open()
    old = box.stream_id
    assert await box.append(record(1)) == 1
    busy, held, inside, told = (threading.Event() for _ in range(4))

    def hold_up(_connection: sqlite3.Connection) -> None:
        busy.set()
        assert held.wait(10)

    def refused(_connection: sqlite3.Connection) -> None:
        inside.set()
        assert told.wait(10)
        raise sqlite3.OperationalError("full")

    held_up = asyncio.create_task(box._run(hold_up))
    assert await asyncio.to_thread(busy.wait, 10)
    # What comes meanwhile shares one commit.
    group = [asyncio.create_task(box.append(record(number))) for number in (2, 3)]
    group_end = asyncio.create_task(box._run(refused))
    await asyncio.sleep(0)
    held.set()
    await held_up
    assert await asyncio.to_thread(inside.wait, 10)
    assert (box.last_seq, box.stream_id) == (1, old)
    told.set()
    with pytest.raises(StoreError):
        await group_end
    assert await asyncio.gather(*group) == [2, 3]
    assert box.last_seq == 3
    box.close()


async def test_a_month_of_settled_records_is_never_walked_through(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "outbox.db")
    box.open()
    assert box._writer._connection is not None
    plans: list[str] = []
    box._writer._connection.set_trace_callback(plans.append)
    stream = (await box.state()).stream_id
    await box.append(record(1), Cursor("tester", 1))
    await box.unsettled(stream, 0, max_rows=10, max_bytes=1000)
    said = OutboxLives.said(stream, {1})
    await box.in_doubt(said)
    await box.tell_apart(holding(said, 1, "*"))
    await settle(box, said)
    await box.settle(stream, [], [(1, 1)])
    await box.prune(0)
    await box.state()
    box._writer._connection.set_trace_callback(None)
    asked = {statement for statement in plans if "FROM records" in statement or "UPDATE records" in statement}
    assert len(asked) >= 6
    for statement in asked:
        for *_, plan in box._writer._connection.execute(f"EXPLAIN QUERY PLAN {statement}"):
            # These three indexes hold no settled record, or few.
            small = plan.endswith(("INDEX unsettled", "INDEX parked", "INDEX disputed"))
            assert small or not plan.startswith("SCAN records"), f"{statement}: {plan}"
    box.close()
