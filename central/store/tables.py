"""The tables as SQLAlchemy Core knows them. The migrations make them; a test holds the two together."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC: TIMESTAMPTZ in PostgreSQL, ISO text without offset in SQLite; aware in Python on both."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """To UTC; SQLite keeps no offset, so it must not have another."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """Back to an aware moment in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Json = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""Searchable JSON: JSONB in PostgreSQL, text in SQLite."""

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A surrogate key. SQLite numbers rows by itself only where the key is INTEGER."""

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _gin(table: str, column: str) -> sa.Index:
    """An index for searching inside JSON; SQLite has none."""
    index = sa.Index(f"gin_{table}_{column}", column, postgresql_using="gin", postgresql_ops={column: "jsonb_path_ops"})
    return index.ddl_if(dialect="postgresql")


def _cause() -> list[sa.Column[Any]]:
    """The fact that last changed a row: what the audit trail names as its author, where no user is."""
    return [sa.Column("cause_stream_id", sa.Text), sa.Column("cause_seq", sa.BigInteger)]


def _times() -> list[sa.Column[Any]]:
    return [
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("updated_at", UtcDateTime, nullable=False),
    ]


store_meta = sa.Table(
    "store_meta",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

product_models = sa.Table(
    "product_models",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("model_code", sa.Text, nullable=False, unique=True),
    sa.Column("model_name", sa.Text, nullable=False),
    sa.Column("category", sa.Text),
    sa.Column("production_cycle_days", sa.Integer),
    sa.Column("specifications", Json, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("deleted_at", UtcDateTime),
    *_cause(),
    *_times(),
    _gin("product_models", "specifications"),
)

processes = sa.Table(
    "processes",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("process_number", sa.Integer, nullable=False, unique=True),
    sa.Column("process_code", sa.Text, nullable=False, unique=True),
    sa.Column("process_name_ko", sa.Text, nullable=False),
    sa.Column("process_name_en", sa.Text, nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("estimated_duration_seconds", sa.Integer),
    sa.Column("quality_criteria", Json, nullable=False),
    sa.Column("is_active", sa.Boolean, nullable=False),
    sa.Column("sort_order", sa.Integer, nullable=False),
    *_times(),
    _gin("processes", "quality_criteria"),
)

criteria_revisions = sa.Table(
    "criteria_revisions",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("process_id", Id, sa.ForeignKey("processes.id"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("criteria", sa.Text, nullable=False),  # text: JSONB reorders, and verdicts stand in the criteria's order
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("effective_at", UtcDateTime, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("process_id", "number"),
)
"""Rows are never changed; a trigger sees to it."""

users = sa.Table(
    "users",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("username", sa.Text, nullable=False),
    sa.Column("username_key", sa.Text, nullable=False, unique=True),  # case folded: names compare without case
    sa.Column("email", sa.Text, nullable=False, unique=True),
    sa.Column("full_name", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("department", sa.Text),
    sa.Column("is_active", sa.Boolean, nullable=False),
    sa.Column("password_hash", sa.Text),  # none: cannot log in
    sa.Column("last_login_at", UtcDateTime),
    *_cause(),
    *_times(),
)

lots = sa.Table(
    "lots",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("lot_number", sa.Text, nullable=False, unique=True),
    sa.Column("product_model_id", Id, sa.ForeignKey("product_models.id"), index=True),
    sa.Column("production_date", sa.Date, nullable=False, index=True),
    sa.Column("shift", sa.Text, nullable=False),
    sa.Column("created", sa.Boolean, nullable=False),  # False: records name it, nobody has opened it yet
    sa.Column("target_quantity", sa.Integer, nullable=False),
    sa.Column("status", sa.Text, nullable=False, index=True),
    sa.Column("short_closed", sa.Boolean, nullable=False),
    sa.Column("actual_quantity", sa.Integer, nullable=False),
    sa.Column("passed_quantity", sa.Integer, nullable=False),
    sa.Column("failed_quantity", sa.Integer, nullable=False),
    sa.Column("on_hold", sa.Boolean, nullable=False),
    sa.Column("holds", Json, nullable=False),
    sa.Column("exceptions", Json, nullable=False),
    sa.Column("closed_at", UtcDateTime),
    sa.Column("deleted_at", UtcDateTime),
    *_cause(),
    *_times(),
)

serials = sa.Table(
    "serials",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("serial_number", sa.Text, nullable=False, unique=True),
    sa.Column("lot_id", Id, sa.ForeignKey("lots.id"), index=True),
    sa.Column("sequence_in_lot", sa.Integer),
    sa.Column("product_model", sa.Text),
    sa.Column("status", sa.Text, nullable=False, index=True),
    sa.Column("final", sa.Boolean, nullable=False),  # FAILED, and no rework can change it
    sa.Column("scrapped", sa.Boolean, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("rework_count", sa.Integer, nullable=False),
    sa.Column("failure_reason", sa.Text),
    sa.Column("passed_processes", Json, nullable=False),
    sa.Column("overridden_processes", Json, nullable=False, server_default=sa.text("'[]'")),
    sa.Column("last_process", sa.Integer),
    sa.Column("on_hold", sa.Boolean, nullable=False),
    sa.Column("holds", Json, nullable=False),
    sa.Column("exceptions", Json, nullable=False),
    sa.Column("started_at", UtcDateTime),
    sa.Column("last_record_at", UtcDateTime),
    sa.Column("completed_at", UtcDateTime),
    sa.Column("deleted_at", UtcDateTime),
    *_cause(),
    *_times(),
)

process_data = sa.Table(
    "process_data",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("lot_id", Id, sa.ForeignKey("lots.id"), index=True),
    sa.Column("serial_id", Id, sa.ForeignKey("serials.id"), index=True),
    sa.Column("process_id", Id, sa.ForeignKey("processes.id")),
    sa.Column("operator_id", Id, sa.ForeignKey("users.id"), nullable=False, index=True),
    sa.Column("data_level", sa.Text, nullable=False),
    sa.Column("part", sa.Text, nullable=False),
    sa.Column("result", sa.Text),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("measurements", Json, nullable=False),
    sa.Column("defects", Json, nullable=False),
    # PostgreSQL's partition key: the record's own time, so that a record falls into the same month in any database.
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("completed_at", UtcDateTime, index=True),
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
    sa.Column("record", sa.Text, nullable=False),  # canonical bytes: text, because JSONB refuses NUL and reorders
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("entered_by", sa.Text),  # who gave the result through the API; none: a station
    sa.Column("corrected_by_seq", sa.BigInteger),  # the correction that counts, in central's own stream
    sa.Column("deleted_at", UtcDateTime),
    sa.Index("ix_process_data_stream_id_seq", "stream_id", "seq"),
    sa.Index("ix_process_data_started_at", "started_at"),
    # Figures are read from it alone.
    sa.Index("ix_process_data_figures", "process_id", "part", "result", "deleted_at", "cycle_time_seconds"),
    _gin("process_data", "measurements"),
    _gin("process_data", "defects"),
)

audit_logs = sa.Table(
    "audit_logs",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("entity_type", sa.Text, nullable=False),
    sa.Column("entity_id", Id, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("old_values", Json),
    sa.Column("new_values", Json),
    sa.Column("user_id", Id, index=True),
    sa.Column("author", sa.Text),
    sa.Column("stream_id", sa.Text),
    sa.Column("seq", sa.BigInteger),
    sa.Column("ip_address", sa.Text),
    sa.Column("user_agent", sa.Text),
    sa.Column("recorded_at", UtcDateTime, nullable=False, index=True),
    sa.Index("ix_audit_logs_entity", "entity_type", "entity_id"),
)

audit_seals = sa.Table(
    "audit_seals",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("form", sa.Integer, nullable=False),  # how rows and seals are hashed
    sa.Column("first_id", sa.BigInteger, nullable=False),  # of audit_logs, both included; ids between may be missing
    sa.Column("last_id", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("total", sa.BigInteger, nullable=False),  # rows up to here, with those of every seal before
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("marks", sa.LargeBinary, nullable=False),  # each row's id and digest, shortened: they name a changed row
    sa.Column("sealed_at", UtcDateTime, nullable=False),
    sa.Column("previous", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
)
"""The chain over ``audit_logs`` (central/store/chain.py). Rows are never changed; a trigger sees to it."""

facts = sa.Table(
    "facts",
    metadata,
    sa.Column("stream_id", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),  # 'record', 'permit', or a decision's kind
    sa.Column("digest", sa.Text),  # none: disputed, the contents are in quarantine
    sa.Column("serial_number", sa.Text, index=True),
    sa.Column("lot_number", sa.Text, index=True),
    sa.Column("hold_id", sa.Text, index=True),
    sa.Column("station", sa.Text),
    sa.Column("process_number", sa.Integer),
    sa.Column("data_level", sa.Text),
    sa.Column("part", sa.Text),
    sa.Column("outcome", sa.Text),
    sa.Column("completed_at", UtcDateTime),
    sa.Column("permit", sa.BigInteger),
    sa.Column("return_to", sa.Integer),
    sa.Column("reject_label", sa.Boolean),
    sa.Column("product_model", sa.Text),
    sa.Column("defects", Json),
    sa.Column("machine", sa.Text),
    sa.Column("cycle_epoch", sa.Integer),
    sa.Column("cycle_number", sa.BigInteger),  # none: the machine's key is a text, or it has none
    sa.Column("missed_before", sa.BigInteger),  # none: not known, the counter stepped back
    sa.Column("completed_within_seconds", sa.Double),  # none: how well the time is known is not known
    sa.Column("sample", sa.Text),  # of a golden sample's record: which of the machine's samples
    sa.Column("good", sa.Boolean),  # and whether the machine judged it as it has to
    sa.Column("body", sa.Text),
    sa.Column("received_at", UtcDateTime, nullable=False),
    sa.Column("about_stream_id", sa.Text),  # the record that a correction or removal is about
    sa.Column("about_seq", sa.BigInteger),
    sa.Index(
        "ix_facts_about",
        "about_stream_id",
        "about_seq",
        sqlite_where=sa.text("about_seq IS NOT NULL"),
        postgresql_where=sa.text("about_seq IS NOT NULL"),
    ),
    sa.Index("ix_facts_station_completed_at", "station", "completed_at"),
    sa.Index(
        "ix_facts_samples",
        "station",
        "machine",
        "sample",
        "good",
        sqlite_where=sa.text("sample IS NOT NULL"),
        postgresql_where=sa.text("sample IS NOT NULL"),
    ),
    sa.Index(
        "ix_facts_permits",
        "completed_at",
        sqlite_where=sa.text("kind = 'permit'"),
        postgresql_where=sa.text("kind = 'permit'"),
    ),
)

permits = sa.Table(
    "permits",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("request_id", sa.Text, nullable=False, unique=True),
    sa.Column("station", sa.Text, nullable=False),
    sa.Column("machine", sa.Text, nullable=False),
    sa.Column("process_code", sa.Text, nullable=False),
    sa.Column("serial_number", sa.Text, nullable=False, index=True),
    sa.Column("refusal", sa.Text),  # none: granted
    sa.Column("answer", sa.Text, nullable=False),  # as it was given: a question said again gets it again
    sa.Column("answered_at", UtcDateTime, nullable=False),
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("serial_number", sa.Text, primary_key=True),
    sa.Column("station", sa.Text, nullable=False),
    sa.Column("permit", sa.BigInteger, nullable=False),
    sa.Column("granted_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=False),
)

number_blocks = sa.Table(
    "number_blocks",
    metadata,
    sa.Column("lot_number", sa.Text, primary_key=True),
    sa.Column("first", sa.Integer, primary_key=True, autoincrement=False),  # sequences in the LOT, both included
    sa.Column("last", sa.Integer, nullable=False),
    sa.Column("request_id", sa.Text, nullable=False, unique=True),
    sa.Column("station", sa.Text, nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("reserved_at", UtcDateTime, nullable=False),
)

route_digests = sa.Table(
    "route_digests",
    metadata,
    sa.Column("lot_number", sa.Text, primary_key=True),
    sa.Column("revision", sa.BigInteger, nullable=False),  # rises whenever the LOT or one of its units is folded anew
    sa.Column("published", sa.BigInteger, nullable=False),  # the revision that stations were told
)

streams = sa.Table(
    "streams",
    metadata,
    sa.Column("stream_id", sa.Text, primary_key=True),
    sa.Column("station", sa.Text, primary_key=True),
    sa.Column("owner", sa.Boolean, nullable=False),  # False: a station that writes in another's stream
    sa.Column("site", sa.Text, nullable=False),
    sa.Column("line", sa.Text, nullable=False),
    sa.Column("committed_seq", sa.BigInteger, nullable=False),
    sa.Column("ranges", Json, nullable=False),
    sa.Column("missing", Json, nullable=False, server_default="[]"),  # [first, last, since]: gaps below what arrived
    sa.Column("asked", Json, nullable=False, server_default="[]"),  # arrived, and asked for again
    sa.Column("asked_at", UtcDateTime),
    sa.Column("revision", sa.BigInteger, nullable=False, server_default="0"),  # rises with each change
    sa.Column("instances", Json, nullable=False, server_default="[]"),  # [instance, at]: who held it, newest last
    sa.Column("mint", Json, nullable=False, server_default="[]"),  # instances told to begin a new stream
    sa.Column("last_seq", sa.BigInteger),
    sa.Column("oldest_available", sa.BigInteger),
    sa.Column("host", sa.Text),
    sa.Column("software", sa.Text),
    sa.Column("online", sa.Boolean),
    sa.Column("born_at", UtcDateTime),  # when the station last said so, by our clock; none: not its present stream
    sa.Column("parked", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("troubles", Json, nullable=False, server_default="[]"),
    sa.Column("clock_offset_seconds", sa.Double),
    sa.Column("first_seen_at", UtcDateTime, nullable=False),
    sa.Column("last_seen_at", UtcDateTime, nullable=False),
    sa.Index(
        "uq_streams_owner", "stream_id", unique=True, sqlite_where=sa.text("owner"), postgresql_where=sa.text("owner")
    ),
)

quarantine = sa.Table(
    "quarantine",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("entry_key", sa.Text, nullable=False, unique=True),  # the same thing sent again is kept once
    sa.Column("stream_id", sa.Text),
    sa.Column("first_seq", sa.BigInteger),
    sa.Column("last_seq", sa.BigInteger),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("received_at", UtcDateTime, nullable=False),
    sa.Column("settled_as", sa.Text),  # what a person did about it: RETRIED or DISCARDED; none: nothing yet
    sa.Column("settled_by", sa.Text),
    sa.Column("settled_because", sa.Text),
    sa.Column("settled_at", UtcDateTime),
    sa.Index("ix_quarantine_stream_id_first_seq", "stream_id", "first_seq"),
)

alarms = sa.Table(
    "alarms",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("stream_id", sa.Text, nullable=False),
    sa.Column("station", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("occurrences", sa.BigInteger, nullable=False),
    sa.Column("raised_at", UtcDateTime, nullable=False),
    sa.Column("last_at", UtcDateTime, nullable=False),
    sa.Column("acknowledged_at", UtcDateTime),
    sa.Index(
        "uq_alarms_open",
        "kind",
        "stream_id",
        "station",
        unique=True,
        sqlite_where=sa.text("acknowledged_at IS NULL"),
        postgresql_where=sa.text("acknowledged_at IS NULL"),
    ),
)

logins = sa.Table(
    "logins",
    metadata,
    sa.Column("user_id", Id, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    sa.Column("failed", sa.Integer, nullable=False),  # in a row
    sa.Column("locked_until", UtcDateTime),
)

ended_sessions = sa.Table(
    "ended_sessions",
    metadata,
    sa.Column("session_id", sa.Text, primary_key=True),
    sa.Column("forget_at", UtcDateTime, nullable=False),  # no token of the session is good any more by then
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("user_id", Id, primary_key=True, autoincrement=False),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("request", sa.Text, nullable=False),  # digest of method, path and body
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False, index=True),
)

BUSINESS_TABLES = (product_models, processes, criteria_revisions, users, lots, serials, process_data)
"""Every create, update and delete of these leaves a row in ``audit_logs``."""

PARTITIONED = {process_data.name: "started_at", audit_logs.name: "recorded_at"}
"""Tables that PostgreSQL partitions by month, and by which column."""

NOT_AUDITED = {"password_hash", "record"}
"""Columns the audit trail leaves out: a secret, and the record itself, which its row keeps unchanged."""
