"""The audit trail's triggers: written by the database itself, in the transaction that changes a row.

They take no lock of their own; inside a trigger it would deadlock ingest with the API. Alembic's ``batch_alter_table``
on SQLite drops a table's triggers in silence: a migration that uses it calls ``create_triggers`` again after it.
"""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

AuditedColumns = Mapping[str, Mapping[str, str]]
"""Table -> column -> ``plain`` or ``json``: what an audit row keeps of it, ``json`` as JSON and not as text."""

_POSTGRES_FUNCTIONS = (
    """
CREATE FUNCTION neurohub_audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING MESSAGE = 'audit_logs is append only: ' || TG_OP || ' is refused',
                          ERRCODE = 'restrict_violation';
END $$
""",
    """
CREATE FUNCTION neurohub_audit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    before jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) - TG_ARGV[1:] END;
    after jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) - TG_ARGV[1:] END;
    row_now jsonb := coalesce(after, before);
    author jsonb := coalesce(nullif(current_setting('neurohub.author', true), ''), '{}')::jsonb;
BEGIN
    IF before = after THEN
        RETURN NULL;
    END IF;
    INSERT INTO audit_logs (entity_type, entity_id, action, old_values, new_values, user_id, author, stream_id, seq,
                            ip_address, user_agent, recorded_at)
    VALUES (TG_ARGV[0], (row_now ->> 'id')::bigint,
            CASE TG_OP WHEN 'INSERT' THEN 'CREATE' ELSE TG_OP END, before, after,
            (author ->> 'user_id')::bigint, author ->> 'name',
            coalesce(row_now ->> 'stream_id', row_now ->> 'cause_stream_id'),
            coalesce((row_now ->> 'seq')::bigint, (row_now ->> 'cause_seq')::bigint),
            author ->> 'ip_address', author ->> 'user_agent', clock_timestamp());
    RETURN NULL;
END $$
""",
)


def create_trail(connection: sa.Connection, tables: AuditedColumns, left_out: Sequence[str]) -> None:
    """Make ``audit_logs`` append only and put the triggers on ``tables``; ``left_out`` are columns never copied."""
    if connection.dialect.name == "postgresql":
        for function in _POSTGRES_FUNCTIONS:
            connection.exec_driver_sql(function)
        connection.exec_driver_sql(
            "CREATE TRIGGER audit_logs_append_only BEFORE UPDATE OR DELETE ON audit_logs"
            " FOR EACH ROW EXECUTE FUNCTION neurohub_audit_is_append_only()"
        )
    else:
        # REPLACE deletes without firing a DELETE trigger: a row with a used id is refused as well.
        for name, event, condition in (
            ("update", "UPDATE", ""),
            ("delete", "DELETE", ""),
            ("replace", "INSERT", "WHEN EXISTS (SELECT 1 FROM audit_logs WHERE id = NEW.id) "),
        ):
            connection.exec_driver_sql(
                f"CREATE TRIGGER audit_logs_no_{name} BEFORE {event} ON audit_logs {condition}"
                "BEGIN SELECT RAISE(ABORT, 'audit_logs is append only'); END"
            )
    for table, columns in tables.items():
        create_triggers(connection, table, columns, left_out)


def create_triggers(connection: sa.Connection, table: str, columns: Mapping[str, str], left_out: Sequence[str]) -> None:
    """Put the audit triggers on one table, replacing those it has."""
    if connection.dialect.name == "postgresql":
        # The table's name is an argument, since inside a partition's trigger TG_TABLE_NAME is the partition's.
        arguments = ", ".join(f"'{name}'" for name in (table, *left_out))
        connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {table}_audit ON {table}")
        connection.exec_driver_sql(
            f"CREATE TRIGGER {table}_audit AFTER INSERT OR UPDATE OR DELETE ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION neurohub_audit({arguments})"
        )
        return
    kept = {name: kind for name, kind in columns.items() if name not in left_out}
    for event, action, old, new in (
        ("INSERT", "CREATE", False, True),
        ("UPDATE", "UPDATE", True, True),
        ("DELETE", "DELETE", True, False),
    ):
        connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {table}_audit_{event.lower()}")
        connection.exec_driver_sql(_sqlite_trigger(table, kept, event, action, old=old, new=new))


def _sqlite_trigger(table: str, columns: Mapping[str, str], event: str, action: str, *, old: bool, new: bool) -> str:
    row = "NEW" if new else "OLD"
    stream, seq = ("stream_id", "seq") if "stream_id" in columns else ("cause_stream_id", "cause_seq")
    changed = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in columns)
    author = "neurohub_author()"
    # Names of tables and columns alone, from the migration.
    return f"""
CREATE TRIGGER {table}_audit_{event.lower()} AFTER {event} ON {table}{f" WHEN {changed}" if old and new else ""}
BEGIN
    INSERT INTO audit_logs (entity_type, entity_id, action, old_values, new_values, user_id, author, stream_id, seq,
                            ip_address, user_agent, recorded_at)
    VALUES ('{table}', {row}.id, '{action}', {_object("OLD", columns) if old else "NULL"},
            {_object("NEW", columns) if new else "NULL"},
            {author} ->> 'user_id', {author} ->> 'name',
            {f"{row}.{stream}" if stream in columns else "NULL"}, {f"{row}.{seq}" if seq in columns else "NULL"},
            {author} ->> 'ip_address', {author} ->> 'user_agent', strftime('%Y-%m-%d %H:%M:%f000', 'now'));
END"""  # noqa: S608


def _object(row: str, columns: Mapping[str, str]) -> str:
    pairs = (
        f"'{name}', {f'json({row}.{name})' if kind == 'json' else f'{row}.{name}'}" for name, kind in columns.items()
    )
    return f"json_object({', '.join(pairs)})"


def drop_trail(connection: sa.Connection, tables: AuditedColumns) -> None:
    """Undo ``create_trail``."""
    if connection.dialect.name == "postgresql":
        for table in tables:
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {table}_audit ON {table}")
        connection.exec_driver_sql("DROP FUNCTION neurohub_audit() CASCADE")
        connection.exec_driver_sql("DROP FUNCTION neurohub_audit_is_append_only() CASCADE")
        return
    for table in tables:
        for event in ("insert", "update", "delete"):
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {table}_audit_{event}")
    for event in ("update", "delete", "replace"):
        connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS audit_logs_no_{event}")
