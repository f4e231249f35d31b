"""What central keeps: tables, migrations and queries; SQLite and PostgreSQL behind one interface."""

from central.store.alarms import AlarmRow
from central.store.arrivals import (
    Alarm,
    AlarmKind,
    Arrival,
    BirthAnswer,
    Claim,
    Counts,
    IngestResult,
    Rejected,
    StationCommit,
    StreamCount,
)
from central.store.asking import Asked, Standing
from central.store.chain import Anchor, Seal
from central.store.criteria import KeptRevision
from central.store.database import Author
from central.store.digests import Changed
from central.store.exceptions import ExceptionRow
from central.store.golden import GoldenRow
from central.store.incomplete import Incomplete
from central.store.listing import StreamStatus
from central.store.quarantined import Quarantined, QuarantinedWhole
from central.store.reconciling import MachineCount, MissingNumbers, Reconciliation, StationCount
from central.store.reports import Booking, UnitRow
from central.store.rows import CENTRAL
from central.store.seat import Seat
from central.store.store import Store
from central.store.trail_check import TrailCheck

__all__ = [
    "CENTRAL",
    "Alarm",
    "AlarmKind",
    "AlarmRow",
    "Anchor",
    "Arrival",
    "Asked",
    "Author",
    "BirthAnswer",
    "Booking",
    "Changed",
    "Claim",
    "Counts",
    "ExceptionRow",
    "GoldenRow",
    "Incomplete",
    "IngestResult",
    "KeptRevision",
    "MachineCount",
    "MissingNumbers",
    "Quarantined",
    "QuarantinedWhole",
    "Reconciliation",
    "Rejected",
    "Seal",
    "Seat",
    "Standing",
    "StationCommit",
    "StationCount",
    "Store",
    "StreamCount",
    "StreamStatus",
    "TrailCheck",
    "UnitRow",
]
