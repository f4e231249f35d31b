"""Revisions of the processes' criteria: numbered, never changed, in the audit trail like the rest."""

import sqlalchemy as sa
from alembic import op

from central.store.audit import create_triggers

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Time = sa.DateTime(timezone=True)
TABLE = "criteria_revisions"
COLUMNS = "id process_id number criteria author reason effective_at created_at"
_REFUSED = f"{TABLE} is append only: a revision is never changed"


def upgrade() -> None:
    """Add the table with its triggers."""
    op.create_table(
        TABLE,
        sa.Column("id", Id, nullable=False),
        sa.Column("process_id", Id, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("criteria", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("effective_at", Time, nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"pk_{TABLE}"),
        sa.ForeignKeyConstraint(["process_id"], ["processes.id"], name=f"fk_{TABLE}_process_id"),
        sa.UniqueConstraint("process_id", "number", name=f"uq_{TABLE}_process_id_number"),
    )
    connection = op.get_bind()
    create_triggers(connection, TABLE, dict.fromkeys(COLUMNS.split(), "plain"), ())
    if connection.dialect.name == "postgresql":
        op.execute(
            f"CREATE FUNCTION neurohub_revision_is_final() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" RAISE EXCEPTION USING MESSAGE = '{_REFUSED}', ERRCODE = 'restrict_violation'; END $$"
        )
        op.execute(
            f"CREATE TRIGGER {TABLE}_final BEFORE UPDATE OR DELETE ON {TABLE}"
            " FOR EACH ROW EXECUTE FUNCTION neurohub_revision_is_final()"
        )
        return
    for event in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {TABLE}_no_{event.lower()} BEFORE {event} ON {TABLE}"
            f" BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
        )


def downgrade() -> None:
    """Take it away again, with its triggers."""
    op.drop_table(TABLE)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION neurohub_revision_is_final()")
