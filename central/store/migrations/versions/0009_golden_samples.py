"""What a golden sample says of its machine: which sample, and whether it was judged as it has to be."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_ONLY = sa.text("sample IS NOT NULL")


def upgrade() -> None:
    """Add the columns. Of golden samples that are there nobody said what had to become of them."""
    op.add_column("facts", sa.Column("sample", sa.Text))
    op.add_column("facts", sa.Column("good", sa.Boolean))
    op.create_index(
        "ix_facts_samples",
        "facts",
        ["station", "machine", "sample", "good"],
        sqlite_where=_ONLY,
        postgresql_where=_ONLY,
    )


def downgrade() -> None:
    """Take them away again."""
    op.drop_index("ix_facts_samples", "facts")
    op.drop_column("facts", "good")
    op.drop_column("facts", "sample")
