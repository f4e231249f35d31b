"""How far a result's time may be from the truth: without it, what two stations say of a unit cannot be ordered."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. Of records that are there it is not known."""
    op.add_column("facts", sa.Column("completed_within_seconds", sa.Double))


def downgrade() -> None:
    """Take it away again."""
    op.drop_column("facts", "completed_within_seconds")
