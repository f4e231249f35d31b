"""What a login needs beside the user, sessions that were ended, and answers to requests that may be repeated."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Time = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the tables. None is in the audit trail: a failed login changes no user, and an answer is not a record."""
    op.create_table(
        "logins",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False),
        sa.Column("locked_until", Time),
        sa.PrimaryKeyConstraint("user_id", name="pk_logins"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_logins_user_id", ondelete="CASCADE"),
    )
    op.create_table(
        "ended_sessions",
        sa.Column("session_id", sa.Text, nullable=False),
        sa.Column("forget_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("session_id", name="pk_ended_sessions"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def downgrade() -> None:
    """Take them away again."""
    for table in ("idempotency_keys", "ended_sessions", "logins"):
        op.drop_table(table)
