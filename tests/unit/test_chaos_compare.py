"""The fault harness can fail: tampered databases are found out. A harness that cannot fail would prove nothing."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from central.store import Arrival, Store
from central.store.tables import process_data
from contracts.criteria import Outcome
from contracts.measurement import Measurement
from contracts.record import ProcessRecord, canonical, digest
from tests.chaos.compare import Findings, compare
from tests.chaos.database import OutboxRow, arrived, differences, disputed_in, records_of
from tests.chaos.history import Baseline, Disturbance, History, Made
from tests.support.records import NOON, proof

STREAM = "a" * 32
STATION = "P03-T"


def made(key: int, *, holds: bool = True, life: int = 0, expected: str = "PASS", ended: bool = False) -> Made:
    serial = f"SN-{'held' if holds else 'counted'}-{life}-{key}"
    machine = "tester" if holds else "counter"
    return Made(STATION, machine, holds, life, key, serial, 60.0, expected, 10.0 * life + key, holds, ended)


def recorded(one: Made, *, missed: int | None = 0, epoch: int | None = None) -> ProcessRecord:
    return ProcessRecord(
        station=one.station,
        process="P03_SENSOR_INSPECTION",
        machine=one.machine,
        serial_number=one.serial_number,
        outcome=Outcome(one.expected),
        completed_at=NOON,
        cycle_key=one.key,
        cycle_epoch=one.life if epoch is None else epoch,
        missed_before=missed,
        **proof((Measurement(name="temperature", value=one.temperature, unit="degC"),)),
    )


class Central:
    """A real database that has what a station delivered."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(f"sqlite:///{folder}/central.db")
        self.store.migrate()
        self.delivered: list[OutboxRow] = []
        self._clean = folder / "clean.db"

    def deliver(self, *records: ProcessRecord) -> None:
        for record in records:
            seq = len(self.delivered) + 1
            self.delivered.append(OutboxRow(STATION, STREAM, seq, canonical(record)))
            self.store.ingest([Arrival(STREAM, "gimcheon", "KR01", STATION, [(seq, record, digest(record))])])

    def tamper(self, statement: sa.Executable) -> None:
        with self.store.database.writing() as connection:
            assert connection.execute(statement).rowcount == 1

    def beside(self, history: History) -> Findings:
        return compare(history, records_of(self.store))

    def differences(self, given_up: int = 0) -> list[str]:
        return differences(self.store, self.delivered, {STREAM: given_up}, self._clean)


@pytest.fixture
def central(tmp_path: Path) -> Iterator[Central]:
    one = Central(tmp_path)
    yield one
    one.store.close()


HELD = [made(1), made(2, expected="FAIL"), made(3)]


def test_what_is_right_is_found_right(central: Central) -> None:
    counted = [made(key, holds=False) for key in (1, 2, 3, 4)]
    central.deliver(*(recorded(one) for one in HELD), recorded(counted[0]), recorded(counted[3], missed=2))
    found = central.beside(History([*HELD, *counted]))
    assert not found.wrong
    assert not central.differences()
    figures = (found.cycles, found.records, found.gaps_made, found.gaps_reported, found.results_missed)
    assert figures == (7, 5, 1, 1, 2)
    assert arrived(central.store, [HELD[0].serial_number, "SN-nobody"]) == {HELD[0].serial_number}


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_record_taken_out_of_the_database_is_lost(central: Central, which: int) -> None:
    central.deliver(*map(recorded, HELD))
    central.tamper(sa.delete(process_data).where(process_data.c.seq == which + 1))
    found = central.beside(History(HELD))
    assert len(found.lost) == 1
    assert HELD[which].serial_number in found.lost[0]
    assert central.differences()


def test_a_record_that_never_was_delivered_is_lost_where_the_machine_held_it(central: Central) -> None:
    central.deliver(recorded(HELD[0]), recorded(HELD[2], missed=1))
    assert len(central.beside(History(HELD)).lost) == 1, "a gap that is told does not excuse a machine that held it"


def test_a_record_put_in_once_more_is_doubled(central: Central) -> None:
    central.deliver(*map(recorded, HELD), recorded(HELD[1]))
    found = central.beside(History(HELD))
    assert len(found.doubled) == 1
    assert HELD[1].serial_number in found.doubled[0]


def test_a_verdict_changed_in_the_database_is_misjudged(central: Central) -> None:
    central.deliver(*map(recorded, HELD))
    wrong = recorded(HELD[1]).model_copy(update={"outcome": Outcome.PASS})
    central.tamper(
        sa.update(process_data).where(process_data.c.seq == 2).values(record=canonical(wrong).decode(), result="PASS")
    )
    assert len(central.beside(History(HELD)).misjudged) == 1
    assert central.differences()


@pytest.mark.parametrize(
    "change",
    [
        {"measurements": (Measurement(name="temperature", value=60.01, unit="degC"),)},
        {"cycle_key": 7},
        {"machine": "counter"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_record_that_says_something_else_is_changed(central: Central, change: dict[str, object]) -> None:
    central.deliver(*(recorded(one) for one in HELD[:2]), recorded(HELD[2]).model_copy(update=change))
    assert len(central.beside(History(HELD)).changed) == 1


@pytest.mark.parametrize(("given_up", "is_right"), [(0, False), (1, False), (2, True)])
def test_what_no_station_holds_any_more_must_have_been_given_up(
    central: Central, given_up: int, is_right: bool
) -> None:
    central.deliver(*map(recorded, HELD))
    del central.delivered[:2]
    assert bool(central.differences(given_up)) is not is_right


def test_what_two_outboxes_numbered_alike_is_in_quarantine_and_not_lost(central: Central) -> None:
    twin = replace(made(2), serial_number="SN-twin-0-2", copy=1)
    history = History([*HELD, twin], baselines={(STATION, "tester", 1): Baseline(0, 1)})
    central.deliver(*map(recorded, HELD))
    other = recorded(twin)
    central.store.ingest([Arrival(STREAM, "gimcheon", "KR01", STATION, [(2, other, digest(other))])])
    disputed, others = disputed_in(central.store)
    assert not others
    found = compare(history, records_of(central.store), [ProcessRecord.model_validate_json(x.body) for x in disputed])
    assert not found.wrong
    assert found.disputed == 2
    central.delivered += disputed
    assert not central.differences()
    assert len(compare(history, records_of(central.store)).lost) == 2, "without its quarantine they would be gone"


def test_a_record_no_machine_made_is_found(central: Central) -> None:
    central.deliver(*map(recorded, HELD), recorded(made(9)))
    assert len(central.beside(History(HELD)).strangers) == 1


@pytest.mark.parametrize("told", [0, 1, 3, None], ids=lambda told: f"told {told}")
def test_a_gap_that_is_not_told_or_told_wrongly_is_found(central: Central, told: int | None) -> None:
    counted = [made(key, holds=False) for key in (1, 2, 3, 4)]
    central.deliver(recorded(counted[0]), recorded(counted[3], missed=told))
    found = central.beside(History(counted))
    assert (found.gaps_made, found.gaps_reported, len(found.gaps_wrong), len(found.lost)) == (1, 0, 1, 2)


@pytest.mark.parametrize("told", [1, None])
def test_a_gap_told_where_there_is_none_is_found(central: Central, told: int | None) -> None:
    central.deliver(recorded(HELD[0]), recorded(HELD[1], missed=told), recorded(HELD[2]))
    assert len(central.beside(History(HELD)).gaps_wrong) == 1


def test_the_newest_result_is_lost_where_nothing_came_after_it(central: Central) -> None:
    counted = [made(key, holds=False) for key in (1, 2)]
    central.deliver(recorded(counted[0]))
    assert len(central.beside(History(counted)).lost) == 1


def test_nothing_arrived_at_all(central: Central) -> None:
    assert len(central.beside(History(HELD)).lost) == len(HELD)


def test_a_gap_over_a_restart_is_told_by_the_step_of_the_epoch(central: Central) -> None:
    results = [made(1, holds=False), made(2, holds=False), made(1, holds=False, life=1), made(2, holds=False, life=1)]
    central.deliver(recorded(results[0]), recorded(results[3], missed=None))
    found = central.beside(History(results))
    assert not found.wrong
    assert (found.gaps_made, found.gaps_reported) == (1, 1)


def test_a_restart_that_is_not_told_needs_a_disturbance_that_hid_it(central: Central) -> None:
    results = [made(1, holds=False), made(1, holds=False, life=1), made(2, holds=False, life=1)]
    central.deliver(recorded(results[0]), recorded(results[2], missed=0, epoch=0))
    assert len(central.beside(History(results)).gaps_wrong) == 1
    hidden = History(results, [Disturbance(STATION, 2.0, 20.0)])
    assert not central.beside(hidden).wrong, "the counter went from 1 to 2 while nobody could look: nobody can know"


def test_what_a_machine_forgot_when_it_was_switched_off_may_be_missing(central: Central) -> None:
    results = [made(1), made(2), made(3, ended=True), made(1, life=1)]
    central.deliver(recorded(results[0]), recorded(results[1]), recorded(results[3], missed=None))
    assert not central.beside(History(results)).wrong


def test_an_unreadable_message_is_counted_and_belongs_to_nobody(central: Central) -> None:
    garbled = recorded(HELD[0]).model_copy(
        update={"serial_number": None, "outcome": Outcome.ERROR, "cycle_key": None, "raw": b"1,SN-", "problems": ("?",)}
    )
    central.deliver(*map(recorded, HELD), garbled)
    found = central.beside(History(HELD))
    assert not found.wrong
    assert len(found.unreadable) == 1


def test_the_history_of_a_machine_begins_behind_its_first_arrival(central: Central) -> None:
    counted = [made(key, holds=False) for key in (1, 2, 3)]
    history = History([*counted, *(replace(one) for one in HELD)])
    history.begin_behind(counted[1])
    central.deliver(recorded(counted[1]), recorded(counted[2]), *map(recorded, HELD))
    found = central.beside(history)
    assert not found.wrong
    assert found.cycles == 4
