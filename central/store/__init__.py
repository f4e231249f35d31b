"""What central keeps: tables, migrations and queries; SQLite and PostgreSQL behind one interface."""

from central.store.arrivals import Arrival, Counts, IngestResult, Rejected, StationCommit, StreamCount
from central.store.database import Author
from central.store.store import CENTRAL, Store

__all__ = [
    "CENTRAL",
    "Arrival",
    "Author",
    "Counts",
    "IngestResult",
    "Rejected",
    "StationCommit",
    "Store",
    "StreamCount",
]
