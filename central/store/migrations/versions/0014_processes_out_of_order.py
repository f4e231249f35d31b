"""The processes that a manager opened out of order: a decision that changed nothing of a unit's row stood in no trail.

Rows of units overridden before are filled in when they are next folded.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from central.store.audit import create_triggers

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TABLE, COLUMN = "serials", "overridden_processes"
Json = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    """Add the column, and audit it."""
    op.add_column(TABLE, sa.Column(COLUMN, Json, nullable=False, server_default=sa.text("'[]'")))
    _audit()


def downgrade() -> None:
    """Take it away again."""
    if op.get_bind().dialect.name == "sqlite":  # a trigger names the column
        for event in ("insert", "update", "delete"):
            op.execute(f"DROP TRIGGER {TABLE}_audit_{event}")
    op.drop_column(TABLE, COLUMN)
    _audit()


def _audit() -> None:
    """PostgreSQL's triggers copy whole rows; those of SQLite name each column."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        return
    columns = sa.inspect(connection).get_columns(TABLE)
    kinds = {one["name"]: "json" if isinstance(one["type"], sa.JSON) else "plain" for one in columns}
    create_triggers(connection, TABLE, kinds, ())
