"""Every table of the factory database; in PostgreSQL process_data and audit_logs are partitioned by month."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.JSON().with_variant(JSONB(), "postgresql")
Time = sa.DateTime(timezone=True)

PARTITIONED = ("process_data", "audit_logs")
SEARCHED = {
    "product_models": ["specifications"],
    "processes": ["quality_criteria"],
    "process_data": ["measurements", "defects"],
}
TABLES = (
    "store_meta",
    "product_models",
    "processes",
    "users",
    "lots",
    "serials",
    "process_data",
    "audit_logs",
    "facts",
    "streams",
    "quarantine",
)


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "store_meta",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_store_meta"),
    )
    op.create_table(
        "product_models",
        sa.Column("id", Id, nullable=False),
        sa.Column("model_code", sa.Text, nullable=False),
        sa.Column("model_name", sa.Text, nullable=False),
        sa.Column("category", sa.Text),
        sa.Column("production_cycle_days", sa.Integer),
        sa.Column("specifications", Json, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("deleted_at", Time),
        sa.Column("cause_stream_id", sa.Text),
        sa.Column("cause_seq", sa.BigInteger),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("updated_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_product_models"),
        sa.UniqueConstraint("model_code", name="uq_product_models_model_code"),
    )
    op.create_table(
        "processes",
        sa.Column("id", Id, nullable=False),
        sa.Column("process_number", sa.Integer, nullable=False),
        sa.Column("process_code", sa.Text, nullable=False),
        sa.Column("process_name_ko", sa.Text, nullable=False),
        sa.Column("process_name_en", sa.Text, nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("estimated_duration_seconds", sa.Integer),
        sa.Column("quality_criteria", Json, nullable=False),
        sa.Column("is_active", sa.Boolean, nullable=False),
        sa.Column("sort_order", sa.Integer, nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("updated_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_processes"),
        sa.UniqueConstraint("process_code", name="uq_processes_process_code"),
        sa.UniqueConstraint("process_number", name="uq_processes_process_number"),
    )
    op.create_table(
        "users",
        sa.Column("id", Id, nullable=False),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("username_key", sa.Text, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("full_name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("department", sa.Text),
        sa.Column("is_active", sa.Boolean, nullable=False),
        sa.Column("password_hash", sa.Text),
        sa.Column("last_login_at", Time),
        sa.Column("cause_stream_id", sa.Text),
        sa.Column("cause_seq", sa.BigInteger),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("updated_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("email", name="uq_users_email"),
        sa.UniqueConstraint("username_key", name="uq_users_username_key"),
    )
    op.create_table(
        "lots",
        sa.Column("id", Id, nullable=False),
        sa.Column("lot_number", sa.Text, nullable=False),
        sa.Column("product_model_id", Id),
        sa.Column("production_date", sa.Date, nullable=False),
        sa.Column("shift", sa.Text, nullable=False),
        sa.Column("created", sa.Boolean, nullable=False),
        sa.Column("target_quantity", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("short_closed", sa.Boolean, nullable=False),
        sa.Column("actual_quantity", sa.Integer, nullable=False),
        sa.Column("passed_quantity", sa.Integer, nullable=False),
        sa.Column("failed_quantity", sa.Integer, nullable=False),
        sa.Column("on_hold", sa.Boolean, nullable=False),
        sa.Column("holds", Json, nullable=False),
        sa.Column("exceptions", Json, nullable=False),
        sa.Column("closed_at", Time),
        sa.Column("cause_stream_id", sa.Text),
        sa.Column("cause_seq", sa.BigInteger),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("updated_at", Time, nullable=False),
        sa.ForeignKeyConstraint(["product_model_id"], ["product_models.id"], name="fk_lots_product_model_id"),
        sa.PrimaryKeyConstraint("id", name="pk_lots"),
        sa.UniqueConstraint("lot_number", name="uq_lots_lot_number"),
    )
    op.create_index("ix_lots_product_model_id", "lots", ["product_model_id"])
    op.create_index("ix_lots_production_date", "lots", ["production_date"])
    op.create_index("ix_lots_status", "lots", ["status"])
    op.create_table(
        "serials",
        sa.Column("id", Id, nullable=False),
        sa.Column("serial_number", sa.Text, nullable=False),
        sa.Column("lot_id", Id),
        sa.Column("sequence_in_lot", sa.Integer),
        sa.Column("product_model", sa.Text),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("final", sa.Boolean, nullable=False),
        sa.Column("scrapped", sa.Boolean, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("rework_count", sa.Integer, nullable=False),
        sa.Column("failure_reason", sa.Text),
        sa.Column("passed_processes", Json, nullable=False),
        sa.Column("last_process", sa.Integer),
        sa.Column("on_hold", sa.Boolean, nullable=False),
        sa.Column("holds", Json, nullable=False),
        sa.Column("exceptions", Json, nullable=False),
        sa.Column("started_at", Time),
        sa.Column("last_record_at", Time),
        sa.Column("completed_at", Time),
        sa.Column("cause_stream_id", sa.Text),
        sa.Column("cause_seq", sa.BigInteger),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("updated_at", Time, nullable=False),
        sa.ForeignKeyConstraint(["lot_id"], ["lots.id"], name="fk_serials_lot_id"),
        sa.PrimaryKeyConstraint("id", name="pk_serials"),
        sa.UniqueConstraint("serial_number", name="uq_serials_serial_number"),
    )
    op.create_index("ix_serials_lot_id", "serials", ["lot_id"])
    op.create_index("ix_serials_status", "serials", ["status"])
    op.create_table(
        "process_data",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("lot_id", Id),
        sa.Column("serial_id", Id),
        sa.Column("process_id", Id),
        sa.Column("operator_id", Id, nullable=False),
        sa.Column("data_level", sa.Text, nullable=False),
        sa.Column("part", sa.Text, nullable=False),
        sa.Column("result", sa.Text),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("measurements", Json, nullable=False),
        sa.Column("defects", Json, nullable=False),
        sa.Column("started_at", Time, nullable=False),
        sa.Column("completed_at", Time),
        sa.Column("cycle_time_seconds", sa.Double),
        sa.Column("process_order", sa.Integer),
        sa.Column("notes", sa.Text),
        sa.Column("product_model", sa.Text),
        sa.Column("station", sa.Text, nullable=False),
        sa.Column("machine", sa.Text, nullable=False),
        sa.Column("criteria_revision", sa.Text),
        sa.Column("judge_version", sa.Integer),
        sa.Column("machine_verdict", sa.Text),
        sa.Column("disagreement", sa.Boolean, nullable=False),
        sa.Column("stream_id", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.ForeignKeyConstraint(["lot_id"], ["lots.id"], name="fk_process_data_lot_id"),
        sa.ForeignKeyConstraint(["operator_id"], ["users.id"], name="fk_process_data_operator_id"),
        sa.ForeignKeyConstraint(["process_id"], ["processes.id"], name="fk_process_data_process_id"),
        sa.ForeignKeyConstraint(["serial_id"], ["serials.id"], name="fk_process_data_serial_id"),
        sa.PrimaryKeyConstraint(*_key("started_at"), name="pk_process_data"),
        postgresql_partition_by="RANGE (started_at)",
    )
    op.create_index("ix_process_data_completed_at", "process_data", ["completed_at"])
    op.create_index("ix_process_data_lot_id", "process_data", ["lot_id"])
    op.create_index("ix_process_data_operator_id", "process_data", ["operator_id"])
    op.create_index("ix_process_data_process_id", "process_data", ["process_id"])
    op.create_index("ix_process_data_serial_id", "process_data", ["serial_id"])
    op.create_index("ix_process_data_started_at", "process_data", ["started_at"])
    op.create_index("ix_process_data_stream_id_seq", "process_data", ["stream_id", "seq"])
    op.create_table(
        "audit_logs",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("entity_type", sa.Text, nullable=False),
        sa.Column("entity_id", Id, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("old_values", Json),
        sa.Column("new_values", Json),
        sa.Column("user_id", Id),
        sa.Column("author", sa.Text),
        sa.Column("stream_id", sa.Text),
        sa.Column("seq", sa.BigInteger),
        sa.Column("ip_address", sa.Text),
        sa.Column("user_agent", sa.Text),
        sa.Column("recorded_at", Time, nullable=False),
        sa.PrimaryKeyConstraint(*_key("recorded_at"), name="pk_audit_logs"),
        postgresql_partition_by="RANGE (recorded_at)",
    )
    op.create_index("ix_audit_logs_entity", "audit_logs", ["entity_type", "entity_id"])
    op.create_index("ix_audit_logs_recorded_at", "audit_logs", ["recorded_at"])
    op.create_index("ix_audit_logs_user_id", "audit_logs", ["user_id"])
    op.create_table(
        "facts",
        sa.Column("stream_id", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("digest", sa.Text),
        sa.Column("serial_number", sa.Text),
        sa.Column("lot_number", sa.Text),
        sa.Column("hold_id", sa.Text),
        sa.Column("station", sa.Text),
        sa.Column("process_number", sa.Integer),
        sa.Column("data_level", sa.Text),
        sa.Column("part", sa.Text),
        sa.Column("outcome", sa.Text),
        sa.Column("completed_at", Time),
        sa.Column("permit", sa.BigInteger),
        sa.Column("return_to", sa.Integer),
        sa.Column("reject_label", sa.Boolean),
        sa.Column("product_model", sa.Text),
        sa.Column("defects", Json),
        sa.Column("body", sa.Text),
        sa.Column("received_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("stream_id", "seq", name="pk_facts"),
    )
    op.create_index("ix_facts_hold_id", "facts", ["hold_id"])
    op.create_index("ix_facts_lot_number", "facts", ["lot_number"])
    op.create_index("ix_facts_serial_number", "facts", ["serial_number"])
    op.create_table(
        "streams",
        sa.Column("stream_id", sa.Text, nullable=False),
        sa.Column("station", sa.Text, nullable=False),
        sa.Column("owner", sa.Boolean, nullable=False),
        sa.Column("site", sa.Text, nullable=False),
        sa.Column("line", sa.Text, nullable=False),
        sa.Column("committed_seq", sa.BigInteger, nullable=False),
        sa.Column("ranges", Json, nullable=False),
        sa.Column("last_seq", sa.BigInteger),
        sa.Column("oldest_available", sa.BigInteger),
        sa.Column("host", sa.Text),
        sa.Column("software", sa.Text),
        sa.Column("online", sa.Boolean),
        sa.Column("first_seen_at", Time, nullable=False),
        sa.Column("last_seen_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("stream_id", "station", name="pk_streams"),
    )
    op.create_index(
        "uq_streams_owner",
        "streams",
        ["stream_id"],
        unique=True,
        sqlite_where=sa.text("owner"),
        postgresql_where=sa.text("owner"),
    )
    op.create_table(
        "quarantine",
        sa.Column("id", Id, nullable=False),
        sa.Column("entry_key", sa.Text, nullable=False),
        sa.Column("stream_id", sa.Text),
        sa.Column("first_seq", sa.BigInteger),
        sa.Column("last_seq", sa.BigInteger),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("received_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_quarantine"),
        sa.UniqueConstraint("entry_key", name="uq_quarantine_entry_key"),
    )
    op.create_index("ix_quarantine_stream_id_first_seq", "quarantine", ["stream_id", "first_seq"])
    if not _on_postgresql():
        return
    for table in PARTITIONED:
        op.execute(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT")
    for table, columns in SEARCHED.items():
        for column in columns:
            op.create_index(
                f"gin_{table}_{column}",
                table,
                [column],
                postgresql_using="gin",
                postgresql_ops={column: "jsonb_path_ops"},
            )


def downgrade() -> None:
    """Drop them, with all that is in them."""
    for table in reversed(TABLES):
        op.drop_table(table)


def _on_postgresql() -> bool:
    return op.get_context().dialect.name == "postgresql"


def _key(partitioned_by: str) -> tuple[str, ...]:
    """PostgreSQL's primary key of a partitioned table holds the partition key too."""
    return ("id", partitioned_by) if _on_postgresql() else ("id",)
