"""The audit trail: written and kept append only by the database itself."""

from datetime import UTC, datetime

from alembic import op

from central.store.audit import create_trail, drop_trail
from central.store.partitions import month_of, next_month

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

LEFT_OUT = ("password_hash", "record")
CAUSE = "cause_stream_id cause_seq created_at updated_at"
COLUMNS = {
    "product_models": f"id model_code model_name category production_cycle_days status deleted_at {CAUSE}",
    "processes": (
        "id process_number process_code process_name_ko process_name_en description estimated_duration_seconds"
        " is_active sort_order created_at updated_at"
    ),
    "users": f"id username username_key email full_name role department is_active last_login_at {CAUSE}",
    "lots": (
        "id lot_number product_model_id production_date shift created target_quantity status short_closed"
        f" actual_quantity passed_quantity failed_quantity on_hold closed_at {CAUSE}"
    ),
    "serials": (
        "id serial_number lot_id sequence_in_lot product_model status final scrapped generation rework_count"
        f" failure_reason last_process on_hold started_at last_record_at completed_at {CAUSE}"
    ),
    "process_data": (
        "id lot_id serial_id process_id operator_id data_level part result outcome started_at completed_at"
        " cycle_time_seconds process_order notes product_model station machine criteria_revision judge_version"
        " machine_verdict disagreement stream_id seq created_at"
    ),
}
JSON_COLUMNS = {
    "product_models": "specifications",
    "processes": "quality_criteria",
    "users": "",
    "lots": "holds exceptions",
    "serials": "passed_processes holds exceptions",
    "process_data": "measurements defects",
}
TRAIL = {
    table: dict.fromkeys(columns.split(), "plain") | dict.fromkeys(JSON_COLUMNS[table].split(), "json")
    for table, columns in COLUMNS.items()
}


def upgrade() -> None:
    """Triggers, and the partitions of the months at hand."""
    connection = op.get_bind()
    create_trail(connection, TRAIL, LEFT_OUT)
    if connection.dialect.name == "postgresql":
        month = month_of(datetime.now(UTC))
        if month is not None:
            for first in (month, next_month(month)):
                op.execute(
                    f"CREATE TABLE IF NOT EXISTS audit_logs_{first:%Y_%m} PARTITION OF audit_logs FOR VALUES"
                    f" FROM ('{first.isoformat()} 00:00:00+00') TO ('{next_month(first).isoformat()} 00:00:00+00')"
                )
        every = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audit_logs'::regclass"
        for name in ("audit_logs", *connection.exec_driver_sql(every).scalars().all()):
            op.execute(_no_truncate(name))


def _no_truncate(table: str) -> str:
    """The trigger that refuses TRUNCATE; a partition needs its own, since the parent's does not fire for it."""
    return (
        f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION neurohub_audit_is_append_only()"
    )


def downgrade() -> None:
    """Remove the triggers; what they wrote stays until its table goes."""
    drop_trail(op.get_bind(), TRAIL)
