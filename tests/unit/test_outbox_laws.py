"""Whatever happens in whatever order, numbers have no gaps and nothing is settled that central does not have."""

import asyncio
import sqlite3
import tempfile
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
from contracts.envelope import Commit, ranges_of
from contracts.errors import StoreError
from contracts.record import ProcessRecord
from tests.support.records import record

T = TypeVar("T")
ALL = {"max_rows": 10_000, "max_bytes": 10**9}


def broken(error: Exception) -> Any:
    def work(connection: sqlite3.Connection) -> None:
        raise error

    return work


class OutboxLives(RuleBasedStateMachine):
    """Beside the outbox stands what it must hold: number -> cycle key, and what central last said it has."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.made = 0
        self.held: dict[int, int] = {}
        self.last_seq = 0
        self.committed: set[int] = set()
        self.pruned: set[int] = set()
        self.cursor: int | None = None
        self.streams: list[str] = []
        self.outbox = self.opened()

    def opened(self) -> Outbox:
        box = Outbox(Path(self.folder.name) / "outbox.db")
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
            self.held[seq] = number
        assert answers == list(range(self.last_seq + 1, self.last_seq + count + 1)), "a gap, or a number twice"
        self.made = self.cursor = numbers[-1]
        self.last_seq += count

    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        """Central says what it has: more than before, or less."""
        self.committed = data.draw(st.sets(st.integers(1, self.last_seq))) if self.last_seq else set()
        self.committed |= self.pruned & set(range(1, max(self.committed, default=0) + 1))
        stream = self.do(self.outbox.state()).stream_id
        self.do(self.outbox.mark_sent(self.last_seq))
        self.do(self.outbox.settle(self.said(stream, self.committed)))

    @staticmethod
    def said(stream: str, has: set[int]) -> Commit:
        ranges = ranges_of(sorted(has))
        up_to = ranges[0][1] if ranges and ranges[0][0] == 1 else 0
        above = ranges[1:] if up_to else ranges
        return Commit(stream_id=stream, epoch="e", committed_seq=up_to, ranges=above, at=datetime.now(UTC))

    @rule()
    def restart(self) -> None:
        self.outbox.close()
        self.outbox = self.opened()

    @rule()
    def prune(self) -> None:
        self.do(self.outbox.prune(0))
        gone = {seq for seq in self.held if seq in self.committed}
        self.pruned |= gone
        for seq in gone:
            del self.held[seq]

    @precondition(lambda self: len(self.streams) < 3)
    @rule(has=st.sets(st.integers(1, 12)))
    def mint(self, has: set[int]) -> None:
        """Central knows more than was sent: what it has from here is settled, the rest moves on."""
        state = self.do(self.outbox.state())
        self.streams.append(state.stream_id)
        self.do(self.outbox.mint_stream(self.said(state.stream_id, has)))
        settled_here = {seq for seq in has if seq <= state.sent} | self.committed
        waiting = [number for seq, number in sorted(self.held.items()) if seq not in settled_here]
        self.held = dict(enumerate(waiting, start=1))
        self.last_seq, self.committed, self.pruned = len(waiting), set(), set()

    @invariant()
    def holds_exactly_what_central_lacks(self) -> None:
        rows = self.do(self.outbox.unsettled(0, **ALL))
        found = {row.seq: ProcessRecord.model_validate_json(row.body).cycle_key for row in rows}
        assert found == {seq: number for seq, number in self.held.items() if seq not in self.committed}
        state = self.do(self.outbox.state())
        assert (state.last_seq, state.unsettled) == (self.last_seq, len(found))
        assert state.stream_id not in self.streams
        cursor = self.do(self.outbox.cursor("tester"))
        assert (None if cursor is None else cursor.key) == self.cursor

    def teardown(self) -> None:
        self.outbox.close()
        self.runner.close()
        self.folder.cleanup()


class TestOutboxLives(OutboxLives.TestCase):  # type: ignore[misc]  # hypothesis makes it at run time
    settings = settings(max_examples=30, stateful_step_count=20, deadline=None)


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


async def test_a_month_of_settled_records_is_never_walked_through(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "outbox.db")
    box.open()
    assert box._connection is not None
    plans: list[str] = []
    box._connection.set_trace_callback(plans.append)
    stream = (await box.state()).stream_id
    await box.append(record(1), Cursor("tester", 1))
    await box.unsettled(0, max_rows=10, max_bytes=1000)
    await box.settle(OutboxLives.said(stream, {1}))
    await box.prune(0)
    await box.state()
    box._connection.set_trace_callback(None)
    asked = {statement for statement in plans if "FROM records" in statement or "UPDATE records" in statement}
    assert len(asked) >= 6
    for statement in asked:
        for *_, plan in box._connection.execute(f"EXPLAIN QUERY PLAN {statement}"):
            assert not plan.startswith("SCAN records"), f"{statement}: {plan}"
    box.close()
