"""What a ledger tells beside its numbers, alarms, and the machines' own cycle counters among the facts."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from central.store.statements import CHUNK

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON().with_variant(JSONB(), "postgresql")
Time = sa.DateTime(timezone=True)

LISTS = ("missing", "asked", "instances", "mint", "troubles")
COUNTS = ("revision", "parked")
STREAMS = (*LISTS, *COUNTS, "asked_at", "born_at", "clock_offset_seconds")
FACTS = ("machine", "cycle_epoch", "cycle_number", "missed_before")
_LARGEST = 2**62

facts = sa.table("facts", *(sa.column(name) for name in ("stream_id", "seq", *FACTS)))
process_data = sa.table("process_data", *(sa.column(name) for name in ("stream_id", "seq", "machine", "record")))


def upgrade() -> None:
    """Add them; the counters of the records that are there come out of the records themselves."""
    for name in LISTS:
        op.add_column("streams", sa.Column(name, Json, nullable=False, server_default="[]"))
    for name in COUNTS:
        op.add_column("streams", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    for name, kind in (("asked_at", Time), ("born_at", Time), ("clock_offset_seconds", sa.Double)):
        op.add_column("streams", sa.Column(name, kind))
    op.create_table(
        "alarms",
        sa.Column("id", Id, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("stream_id", sa.Text, nullable=False),
        sa.Column("station", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("occurrences", sa.BigInteger, nullable=False),
        sa.Column("raised_at", Time, nullable=False),
        sa.Column("last_at", Time, nullable=False),
        sa.Column("acknowledged_at", Time),
        sa.PrimaryKeyConstraint("id", name="pk_alarms"),
    )
    op.create_index(
        "uq_alarms_open",
        "alarms",
        ["kind", "stream_id", "station"],
        unique=True,
        sqlite_where=sa.text("acknowledged_at IS NULL"),
        postgresql_where=sa.text("acknowledged_at IS NULL"),
    )
    op.add_column("facts", sa.Column("machine", sa.Text))
    op.add_column("facts", sa.Column("cycle_epoch", sa.Integer))
    op.add_column("facts", sa.Column("cycle_number", sa.BigInteger))
    op.add_column("facts", sa.Column("missed_before", sa.BigInteger))
    op.create_index("ix_facts_station_completed_at", "facts", ["station", "completed_at"])
    _fill(op.get_bind())


def downgrade() -> None:
    """Take them away again."""
    op.drop_index("ix_facts_station_completed_at", "facts")
    for name in FACTS:
        op.drop_column("facts", name)
    op.drop_table("alarms")
    for name in STREAMS:
        op.drop_column("streams", name)


def _fill(connection: sa.Connection) -> None:
    """In parts, in the order of stream and seq: a month of records does not fit into memory."""
    key = (process_data.c.stream_id, process_data.c.seq)
    after: tuple[Any, ...] = ("", 0)
    mine = (facts.c.stream_id == sa.bindparam("its_stream")) & (facts.c.seq == sa.bindparam("its_seq"))
    while True:
        part = connection.execute(
            sa.select(process_data).where(sa.tuple_(*key) > sa.tuple_(*after)).order_by(*key).limit(CHUNK)
        ).all()
        if not part:
            return
        connection.execute(sa.update(facts).where(mine), [_cycle(row) for row in part])
        after = (part[-1].stream_id, part[-1].seq)


def _cycle(row: Any) -> dict[str, Any]:
    record = json.loads(row.record)
    number, missed, epoch = record.get("cycle_key"), record.get("missed_before", 0), record.get("cycle_epoch", 0)
    return {
        "its_stream": row.stream_id,
        "its_seq": row.seq,
        "machine": row.machine,
        "cycle_epoch": min(epoch, 2**31 - 1),
        "cycle_number": number if isinstance(number, int) and abs(number) <= _LARGEST else None,
        "missed_before": None if missed is None else min(missed, _LARGEST),
    }
