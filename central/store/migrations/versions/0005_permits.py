"""What central said before units started: permits, leases, blocks of serial numbers, and the LOTs' route digests."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

Time = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add them. The digest of every LOT that is there is published once."""
    op.create_table(
        "permits",
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("station", sa.Text, nullable=False),
        sa.Column("machine", sa.Text, nullable=False),
        sa.Column("process_code", sa.Text, nullable=False),
        sa.Column("serial_number", sa.Text, nullable=False),
        sa.Column("refusal", sa.Text),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("answered_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_permits"),
        sa.UniqueConstraint("request_id", name="uq_permits_request_id"),
    )
    op.create_index("ix_permits_serial_number", "permits", ["serial_number"])
    op.create_table(
        "leases",
        sa.Column("serial_number", sa.Text, nullable=False),
        sa.Column("station", sa.Text, nullable=False),
        sa.Column("permit", sa.BigInteger, nullable=False),
        sa.Column("granted_at", Time, nullable=False),
        sa.Column("expires_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("serial_number", name="pk_leases"),
    )
    op.create_table(
        "number_blocks",
        sa.Column("lot_number", sa.Text, nullable=False),
        sa.Column("first", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("last", sa.Integer, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("station", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("reserved_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("lot_number", "first", name="pk_number_blocks"),
        sa.UniqueConstraint("request_id", name="uq_number_blocks_request_id"),
    )
    op.create_table(
        "route_digests",
        sa.Column("lot_number", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("published", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("lot_number", name="pk_route_digests"),
    )
    permits = sa.text("kind = 'permit'")
    op.create_index(
        "ix_facts_permits", "facts", ["completed_at"], sqlite_where=permits, postgresql_where=permits, unique=False
    )
    op.execute("INSERT INTO route_digests (lot_number, revision, published) SELECT lot_number, 1, 0 FROM lots")


def downgrade() -> None:
    """Take them away again."""
    op.drop_index("ix_facts_permits", "facts")
    for name in ("route_digests", "number_blocks", "leases", "permits"):
        op.drop_table(name)
