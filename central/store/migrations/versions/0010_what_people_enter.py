"""What people enter, correct and take away: where a row came from, what corrected it, and what is gone."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from central.store.audit import create_triggers

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

Time = sa.DateTime(timezone=True)
LEFT_OUT = ("password_hash", "record")
ADDED: dict[str, list[tuple[str, sa.types.TypeEngine[Any]]]] = {
    "lots": [("deleted_at", Time)],
    "serials": [("deleted_at", Time)],
    "process_data": [("entered_by", sa.Text()), ("corrected_by_seq", sa.BigInteger()), ("deleted_at", Time)],
    "facts": [("about_stream_id", sa.Text()), ("about_seq", sa.BigInteger())],
}
AUDITED = ("lots", "serials", "process_data")


def upgrade() -> None:
    """Add the columns, and audit them."""
    for table, columns in ADDED.items():
        for name, kind in columns:
            op.add_column(table, sa.Column(name, kind))
    present = sa.text("about_seq IS NOT NULL")
    op.create_index(
        "ix_facts_about", "facts", ["about_stream_id", "about_seq"], sqlite_where=present, postgresql_where=present
    )
    _audit()


def downgrade() -> None:
    """Take them away again."""
    op.drop_index("ix_facts_about", "facts")
    if op.get_bind().dialect.name == "sqlite":  # a trigger names the columns
        for table in AUDITED:
            for event in ("insert", "update", "delete"):
                op.execute(f"DROP TRIGGER {table}_audit_{event}")
    for table, columns in ADDED.items():
        for name, _ in columns:
            op.drop_column(table, name)
    _audit()


def _audit() -> None:
    """PostgreSQL's triggers copy whole rows; those of SQLite name each column."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        return
    for table in AUDITED:
        columns = sa.inspect(connection).get_columns(table)
        kinds = {one["name"]: "json" if isinstance(one["type"], sa.JSON) else "plain" for one in columns}
        create_triggers(connection, table, kinds, LEFT_OUT)
