"""The end of the demo: what the machines made, what the agents kept, what central made of it."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from central.store import Booking, Counts, Store, UnitRow
from contracts.processes import BY_NUMBER
from demo import outbox
from demo.line import Answer, Made
from demo.scenario import Unit


@dataclass(frozen=True)
class Reconciliation:
    """The figures.

    ``lost`` and ``doubled`` count cycles, ``misjudged`` counts wrong outcomes, ``misplaced`` results that stand under
    another unit or process. ``unfinished`` are units that were started and did not go through; ``astray`` are those
    that went through and do not stand where they should. ``without_permit`` were started without one. An answer that
    is on disk may not have reached its machine: it asked again then.
    """

    units: int
    cycles: int
    outbox_rows: int
    committed_rows: int
    quarantined: int
    lost: list[Made]
    doubled: list[Made]
    misjudged: list[tuple[Made, str]]
    misplaced: list[tuple[Made, str]]
    unfinished: list[str]
    astray: list[tuple[Unit, str]]
    answers: int = 0
    outbox_permits: int = 0
    committed_permits: int = 0
    refused: int = 0
    without_permit: list[Made] = field(default_factory=list)

    @property
    def finished(self) -> int:
        """Units that went all their way."""
        return self.units - len(self.unfinished)

    @property
    def right(self) -> bool:
        """True when units were made and every figure agrees."""
        equal = self.cycles == self.outbox_rows == self.committed_rows
        wrong = self.lost or self.doubled or self.misjudged or self.misplaced or self.unfinished or self.astray
        permits = self.answers <= self.outbox_permits == self.committed_permits
        return bool(self.units) and equal and permits and not (self.quarantined or wrong or self.without_permit)


def reconcile(
    units: Sequence[Unit],
    made: Sequence[Made],
    outboxes: Sequence[Path],
    store: Store,
    before: Counts,
    answers: Sequence[Answer] | None = None,
) -> Reconciliation:
    """Compare the truth with the outbox files and the database: cycle by cycle, and unit by unit.

    ``units``: those that were started. ``before``: what the database held already; streams of other runs are left out.
    ``answers``: what machines were told, where they ask; None: they do not.
    """
    booked: defaultdict[tuple[str, str, object], list[Booking]] = defaultdict(list)
    streams = {stream_id for path in outboxes for stream_id in outbox.streams(path)}
    bookings = store.bookings(streams)
    permits = store.permits(streams)
    by_itself = {(permit.station, permit.serial_number) for permit in permits if permit.granted and permit.offline}
    for booking in bookings:
        booked[booking.record.station, booking.record.machine, booking.record.cycle_key].append(booking)
    found = [(one, booked[one.station, one.machine, one.cycle_key]) for one in made]
    each = [(one, booking) for one, its in found for booking in its]

    went_through = Counter(one.serial_number for one in made if one.cycle_key is not None)
    unfinished = [unit.serial_number for unit in units if went_through[unit.serial_number] < len(unit.cycles)]
    stands = store.units(unit.serial_number for unit in units)
    through = [unit for unit in units if unit.serial_number not in unfinished]
    return Reconciliation(
        units=len(units),
        cycles=len(made),
        outbox_rows=sum(outbox.rows(path) for path in outboxes),
        committed_rows=len(bookings),
        quarantined=store.counts().quarantined - before.quarantined,
        lost=[one for one, its in found if not its],
        doubled=[one for one, its in found if len(its) > 1],
        misjudged=[
            (one, outcome)
            for one, its in each
            for outcome in sorted({its.outcome, its.record.outcome.value} - {one.expected})
        ],
        misplaced=[(one, place) for one, its in each if (place := _misplaced(one, its)) is not None],
        unfinished=unfinished,
        astray=[(unit, why) for unit in through if (why := _astray(unit, stands.get(unit.serial_number))) is not None],
        answers=sum(answer.granted is not None for answer in answers or ()),
        outbox_permits=sum(outbox.permits(path) for path in outboxes),
        committed_permits=len(permits),
        refused=sum(not permit.granted for permit in permits),
        without_permit=[
            one
            for one, booking in each
            if answers is not None
            and one.expected != "REWORK"
            and booking.record.permit is None
            and (one.station, one.serial_number) not in by_itself
        ],
    )


def _misplaced(one: Made, booking: Booking) -> str | None:
    """Under which unit and process a result stands; None when it is its own, in the record and in its row."""
    places = {
        (booking.record.serial_number, booking.record.process),
        (booking.serial_number, booking.process_code),
    }
    wrong = places - {(one.serial_number, BY_NUMBER[one.process].code)}
    return None if not wrong else " and ".join(f"{serial} at {process}" for serial, process in sorted(wrong, key=str))


def _astray(unit: Unit, row: UnitRow | None) -> str | None:
    """How a unit stands; None when that is as it should be."""
    if row is None:
        return "not known to central"
    should_be = (unit.fate.status, unit.fate.rework_count, False, ())
    if (row.status, row.rework_count, row.on_hold, row.exceptions) == should_be:
        return None
    held = ", on hold" if row.on_hold else ""
    return f"{row.status}, rework_count {row.rework_count}{held}, exceptions {list(row.exceptions)}"
