"""The eight processes of the line, and the names this database is known by."""

from datetime import UTC, datetime
from uuid import uuid4

import sqlalchemy as sa
from alembic import op

from central.store.statements import insert_once
from contracts.processes import PROCESSES

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

processes = sa.table(
    "processes",
    *(sa.column(name) for name in ("process_number", "process_code", "process_name_ko", "process_name_en")),
    sa.column("estimated_duration_seconds"),
    sa.column("quality_criteria", sa.JSON),
    sa.column("is_active", sa.Boolean),
    sa.column("sort_order"),
    sa.column("created_at", sa.DateTime(timezone=True)),
    sa.column("updated_at", sa.DateTime(timezone=True)),
)
store_meta = sa.table("store_meta", sa.column("key"), sa.column("value"))


def upgrade() -> None:
    """Seed them. The epoch tells stations when central started from an empty database."""
    now = datetime.now(UTC)
    insert_once(
        op.get_bind(),
        processes,
        [
            {
                "process_number": process.number,
                "process_code": process.code,
                "process_name_ko": process.name_ko,
                "process_name_en": process.name_en,
                "estimated_duration_seconds": process.estimated_duration_seconds,
                "quality_criteria": {},
                "is_active": True,
                "sort_order": process.number,
                "created_at": now,
                "updated_at": now,
            }
            for process in PROCESSES
        ],
    )
    names = [{"key": key, "value": uuid4().hex} for key in ("epoch", "central_stream")]
    insert_once(op.get_bind(), store_meta, names)


def downgrade() -> None:
    """Leave them: records stand on them. They go with their tables."""
