"""Figures of every process are read from an index alone: the rows hold the records, and are many times larger."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TABLE = "process_data"
OLD, NEW = "ix_process_data_process_id", "ix_process_data_figures"


def upgrade() -> None:
    """It begins as the one it replaces."""
    op.create_index(NEW, TABLE, ["process_id", "part", "result", "deleted_at", "cycle_time_seconds"])
    op.drop_index(OLD, table_name=TABLE)


def downgrade() -> None:
    """The former one again."""
    op.create_index(OLD, TABLE, ["process_id"])
    op.drop_index(NEW, table_name=TABLE)
