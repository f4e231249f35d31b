"""The demo's reconciliation must see each way in which the line can be wrong."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa

from agent.outbox import Outbox
from central.store import Arrival, Rejected, Store
from central.store.tables import process_data, processes, serials
from contracts.processes import PROCESSES
from contracts.record import ProcessRecord, canonical, digest
from contracts.route_model import RouteLimits
from demo import run
from demo.line import Made
from demo.reconcile import Reconciliation, reconcile
from demo.scenario import Cycle, Fate, Unit, units_of_today
from tests.support.records import record

SKIPPED = "PREVIOUS_PROCESS_NOT_COMPLETED"


def made(number: int, expected: str = "PASS") -> Made:
    one = record(number)
    assert one.serial_number is not None
    return Made(one.station, one.machine, number, one.serial_number, 3, expected)


def unit(one: Made, fate: Fate | None = None) -> Unit:
    """A unit with this one cycle."""
    return Unit(one.serial_number, (Cycle(one.process, {}, one.expected),), fate or Fate("IN_PROGRESS"))


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

    def tamper(self, statement: sa.Executable) -> None:
        with self.store.database.writing() as connection:
            assert connection.execute(statement).rowcount == 1

    def reconciled(self, truth: Sequence[Made], units: Sequence[Unit] | None = None) -> Reconciliation:
        units = units if units is not None else [unit(one) for one in truth]
        return reconcile(units, truth, [self.path], self.store, self.before)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Line]:
    # The records here are of process 3: for them it is the first.
    store = Store(f"sqlite:///{folder}/central.db", limits=RouteLimits(processes=PROCESSES[2:]))
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
            "misplaced": len(result.misplaced),
        }
        expected = {"unacknowledged": "lost", "not committed": "lost"}.get(broken, broken)
        assert found == {name: int(name == expected) for name in found}


async def test_what_the_database_held_before_is_left_out(tmp_path: Path) -> None:
    async with opened(tmp_path) as line:
        line.commit("f" * 32, [record(1), record(7)], [Rejected("t", None, None, None, "schema", b"{")])
        line.before = line.store.counts()
        of_this_run = replace(made(1), serial_number="WF-KR-261123D-001-0003")  # the machine counts from 1 again
        records = [record(1).model_copy(update={"serial_number": of_this_run.serial_number})]
        line.commit(await line.keep(records), records)
        assert line.reconciled([of_this_run]).right


async def test_a_result_under_another_unit_or_process_is_seen(tmp_path: Path) -> None:
    """In the record itself, and in what its row is joined to; counts alone cannot show it."""
    async with opened(tmp_path) as line:
        kept = [record(1), record(2)]
        line.commit(await line.keep(kept), kept)
        assert line.reconciled([made(1), made(2)]).right
        swapped = [made(1), replace(made(2), serial_number="WF-KR-261123D-001-0009")]
        assert len(line.reconciled(swapped).misplaced) == 1
        assert len(line.reconciled([made(1), replace(made(2), process=4)]).misplaced) == 1

        second = sa.update(process_data).where(process_data.c.seq == 2)
        for column, of_another in (
            ("serial_id", sa.select(serials.c.id).where(serials.c.serial_number == made(1).serial_number)),
            ("process_id", sa.select(processes.c.id).where(processes.c.process_number == 7)),
            ("record", sa.literal(canonical(record(1).model_copy(update={"cycle_key": 2})).decode())),
        ):
            was = sa.select(process_data.c[column]).where(process_data.c.seq == 2)
            with line.store.database.reading() as connection:
                value = connection.execute(was).scalar_one()
            line.tamper(second.values({column: of_another.scalar_subquery() if column != "record" else of_another}))
            result = line.reconciled([made(1), made(2)])
            assert (len(result.misplaced), result.right) == (1, False), column
            line.tamper(second.values({column: value}))
        assert line.reconciled([made(1), made(2)]).right


@pytest.mark.parametrize(
    "values",
    [{"status": "PASSED"}, {"rework_count": 1}, {"on_hold": True}, {"exceptions": [{"code": SKIPPED}]}],
    ids=lambda values: next(iter(values)),
)
async def test_a_unit_that_stands_elsewhere_than_it_should_is_seen(tmp_path: Path, values: dict[str, object]) -> None:
    async with opened(tmp_path) as line:
        line.commit(await line.keep([record(1)]), [record(1)])
        assert line.reconciled([made(1)]).right
        line.tamper(sa.update(serials).values(values))
        result = line.reconciled([made(1)])
        assert (len(result.astray), result.right) == (1, False)


async def test_a_unit_central_does_not_know_is_seen(tmp_path: Path) -> None:
    async with opened(tmp_path) as line:
        line.commit(await line.keep([record(1)]), [record(1)])
        line.tamper(sa.update(serials).values(serial_number="SN-1"))
        assert [why for _, why in line.reconciled([made(1)]).astray] == ["not known to central"]


async def test_a_unit_that_did_not_go_all_its_way_is_seen(tmp_path: Path) -> None:
    """Everything that was made is right, and the line stood all the same."""
    async with opened(tmp_path) as line:
        line.commit(await line.keep([record(1)]), [record(1)])
        begun = unit(made(1))
        begun = replace(begun, cycles=begun.cycles * 2)
        result = line.reconciled([made(1)], [begun])
        assert (result.unfinished, result.finished, result.right) == ([begun.serial_number], 0, False)


async def test_nothing_made_is_not_right(tmp_path: Path) -> None:
    async with opened(tmp_path) as line:
        await line.keep([])
        assert not line.reconciled([]).right


async def test_a_line_that_stands_ends_the_demo_in_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tester that does not report what its station reads makes no result: nothing is lost, as nothing is made."""
    values = {"serial_number": "SN-1", "temperature": 60.0, "tof_ok": True, "judgement": 1}
    stuck = Unit("SN-1", (Cycle(3, values, "PASS"),), Fate("IN_PROGRESS"))
    monkeypatch.setattr(run, "units_of_today", lambda *_: [stuck])
    monkeypatch.setattr(run, "STATIONS", {3: ("P03-A",)})
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert await run.Demo(run.Options(1, None, None, None, keep=False, seed=1)).run() is False
    said = capsys.readouterr().out
    assert "the line stands: P03-A" in said
    assert "units started 1, finished 0" in said
    assert "units 0, cycles 0, lost 0, doubled 0, misjudged 0" in said


def test_what_central_could_not_take_is_told_as_the_cause_with_the_command_that_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    figures = Reconciliation(1, 9, 9, 9, 12, [], [], [], [], [], [])
    run.Demo(run.Options(1, None, None, None, keep=False, seed=1))._report(figures, "sqlite:///c.db")
    told = " ".join(capsys.readouterr().out.split())
    assert not figures.right
    cause = "QUARANTINED 12 that central could not take, and so the run fails; they are told by: "
    assert f"{cause}DATABASE_URL=sqlite:///c.db neurohub-central quarantine list" in told


def test_every_kind_of_unit_has_a_fate_and_later_lots_make_other_units() -> None:
    units = units_of_today(110, date(2026, 11, 25), seed=1)
    assert {unit.fate.status for unit in units} == {"PASSED", "IN_PROGRESS"}
    assert {unit.fate.rework_count for unit in units} == {0, 1}
    for one in units:
        reworks = sum(cycle.expected == "REWORK" for cycle in one.cycles)
        assert reworks == one.fate.rework_count
    others = units_of_today(110, date(2026, 11, 25), seed=1, first_lot=3)
    assert not {unit.serial_number for unit in units} & {unit.serial_number for unit in others}
