"""What people did about a thing in quarantine, in the audit trail like the rest; its bytes stay as they came."""

import sqlalchemy as sa
from alembic import op

from central.store.audit import create_triggers

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

COLUMNS = (("settled_as", sa.Text()), ("settled_by", sa.Text()), ("settled_because", sa.Text()))
AUDITED = "id stream_id first_seq last_seq topic reason received_at settled_as settled_by settled_because settled_at"


def upgrade() -> None:
    """Add the columns and the trigger."""
    for name, kind in COLUMNS:
        op.add_column("quarantine", sa.Column(name, kind))
    op.add_column("quarantine", sa.Column("settled_at", sa.DateTime(timezone=True)))
    create_triggers(op.get_bind(), "quarantine", dict.fromkeys(AUDITED.split(), "plain"), ("payload", "entry_key"))


def downgrade() -> None:
    """Take them away again."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        op.execute("DROP TRIGGER quarantine_audit ON quarantine")
    else:
        for event in ("insert", "update", "delete"):
            op.execute(f"DROP TRIGGER quarantine_audit_{event}")
    for name in ("settled_at", *(name for name, _ in reversed(COLUMNS))):
        op.drop_column("quarantine", name)
