"""The chain over the audit trail, and what lets the service be another role of PostgreSQL than the tables' owner."""

import sqlalchemy as sa
from alembic import op

from central.store.rights import create_owners_functions, drop_owners_functions

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_REFUSED = "audit_seals is append only"


def upgrade() -> None:
    """Add the table with its triggers; the audit trigger writes by its owner's right from now on."""
    op.create_table(
        "audit_seals",
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("form", sa.Integer, nullable=False),
        sa.Column("first_id", sa.BigInteger, nullable=False),
        sa.Column("last_id", sa.BigInteger, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("marks", sa.LargeBinary, nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("previous", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_audit_seals"),
    )
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION neurohub_seals_are_final() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" RAISE EXCEPTION USING MESSAGE = '{_REFUSED}: ' || TG_OP || ' is refused',"
            " ERRCODE = 'restrict_violation'; END $$"
        )
        for name, event, each in (("final", "UPDATE OR DELETE", "ROW"), ("no_truncate", "TRUNCATE", "STATEMENT")):
            op.execute(
                f"CREATE TRIGGER audit_seals_{name} BEFORE {event} ON audit_seals"
                f" FOR EACH {each} EXECUTE FUNCTION neurohub_seals_are_final()"
            )
        create_owners_functions(connection)
        return
    for name, event, condition in (
        ("update", "UPDATE", ""),
        ("delete", "DELETE", ""),
        ("replace", "INSERT", "WHEN EXISTS (SELECT 1 FROM audit_seals WHERE number = NEW.number) "),
    ):
        op.execute(
            f"CREATE TRIGGER audit_seals_no_{name} BEFORE {event} ON audit_seals {condition}"
            f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
        )


def downgrade() -> None:
    """Take it away again, with its triggers."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        drop_owners_functions(connection)
    op.drop_table("audit_seals")
    if connection.dialect.name == "postgresql":
        op.execute("DROP FUNCTION neurohub_seals_are_final()")
