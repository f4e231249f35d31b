"""The demo's reconciliation must see each way in which the line can be wrong."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.outbox import Outbox
from central.store import Arrival, Rejected, Store
from contracts.record import ProcessRecord, digest
from demo.line import Made
from demo.reconcile import Reconciliation, reconcile
from tests.support.records import record


def made(number: int, expected: str = "PASS") -> Made:
    one = record(number)
    assert one.serial_number is not None
    return Made(one.station, one.machine, number, one.serial_number, 3, expected)


class Line:
    """What the outbox kept and central committed, in any disagreement a test wants."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.path = folder / "outbox.db"
        self.store = store
        self.before = store.counts()

    async def keep(self, records: Sequence[ProcessRecord]) -> str:
        outbox = Outbox(self.path)
        outbox.open()
        try:
            for one in records:
                await outbox.append(one)
            return (await outbox.state()).stream_id
        finally:
            outbox.close()

    def commit(self, stream_id: str, records: Sequence[ProcessRecord], rejected: Sequence[Rejected] = ()) -> None:
        numbered = [(seq, one, digest(one)) for seq, one in enumerate(records, start=1)]
        self.store.ingest([Arrival(stream_id, "gimcheon", "KR01", "P03-A", numbered, rejected)])

    def reconciled(self, truth: Sequence[Made]) -> Reconciliation:
        return reconcile(truth, [self.path], self.store, self.before)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Line]:
    store = Store(f"sqlite:///{folder}/central.db")
    store.migrate()
    try:
        yield Line(folder, store)
    finally:
        store.close()


async def test_all_is_right_when_every_cycle_is_kept_and_committed_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as line:
        records = [record(1), record(2)]
        line.commit(await line.keep(records), records)
        assert line.reconciled([made(1), made(2)]).right


@pytest.mark.parametrize("broken", ["lost", "doubled", "misjudged", "quarantined", "unacknowledged", "not committed"])
async def test_each_disagreement_is_seen(tmp_path: Path, broken: str) -> None:
    async with opened(tmp_path) as line:
        kept = [record(1), record(2)]
        truth = [made(1), made(2)]
        if broken == "lost":
            truth = [made(1), made(2), made(3)]
        if broken == "doubled":
            kept = [record(1), record(2), record(2)]
        if broken == "misjudged":
            truth = [made(1), made(2, expected="FAIL")]
        if broken == "unacknowledged":
            truth = [made(1), made(2), Made("P03-A", "tester", None, "SN-1", 3, "PASS")]
        rejected = [Rejected("t", None, None, None, "schema", b"{")] if broken == "quarantined" else []
        stream_id = await line.keep(kept)
        line.commit(stream_id, kept[:1] if broken == "not committed" else kept, rejected)
        result = line.reconciled(truth)
        assert not result.right
        found = {
            "lost": len(result.lost),
            "doubled": len(result.doubled),
            "misjudged": len(result.misjudged),
            "quarantined": result.quarantined,
        }
        expected = {"unacknowledged": "lost", "not committed": "lost"}.get(broken, broken)
        assert found == {name: int(name == expected) for name in found}


async def test_what_the_database_held_before_is_left_out(tmp_path: Path) -> None:
    async with opened(tmp_path) as line:
        line.commit("f" * 32, [record(1), record(7)], [Rejected("t", None, None, None, "schema", b"{")])
        line.before = line.store.counts()
        line.commit(await line.keep([record(1)]), [record(1)])
        assert line.reconciled([made(1)]).right
