"""PostgreSQL: two roles, so that the audit trail holds against the service itself.

The *owner* makes the tables (``neurohub-central migrate``). The *service* reads and writes rows, and owns nothing: it
cannot disable a trigger, and it may neither write nor change the trail, which the trigger writes by the owner's right.
The months' partitions, which only the owner can make, are made by a function of the owner's.
"""

import sqlalchemy as sa

from central.store.partitions import FIRST_YEAR, LAST_YEAR
from central.store.tables import PARTITIONED
from contracts.errors import SetupError

READ_ONLY = ("alembic_version", "audit_logs")
"""Of all tables, what the service only reads."""
APPEND_ONLY = ("audit_seals", "criteria_revisions")
"""What it only adds to."""

# A month whose rows are already in the default partition stays there: they are complete and found there as well.
_PROVIDE = """
CREATE OR REPLACE FUNCTION neurohub_provide_month(parent text, month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
DECLARE
    name text := parent || to_char(month, '_YYYY_MM');
    first timestamptz := month::timestamp AT TIME ZONE 'UTC';
    beyond timestamptz := (month + interval '1 month')::timestamp AT TIME ZONE 'UTC';
BEGIN
    IF parent NOT IN ({parents}) OR month <> date_trunc('month', month)::date
       OR extract(year FROM month) NOT BETWEEN {first_year} AND {last_year} THEN
        RAISE EXCEPTION USING MESSAGE = 'no partition of ' || parent || ' for ' || month;
    END IF;
    IF to_regclass(name) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %%I PARTITION OF %%I FOR VALUES FROM (%%L) TO (%%L)', name, parent, first, beyond);
    IF parent = 'audit_logs' THEN
        EXECUTE format('CREATE TRIGGER %%I BEFORE TRUNCATE ON %%I FOR EACH STATEMENT'
                       ' EXECUTE FUNCTION neurohub_audit_is_append_only()', name || '_no_truncate', name);
    END IF;
EXCEPTION WHEN check_violation THEN
    NULL;
END $$
"""


def create_owners_functions(connection: sa.Connection) -> None:
    """Let the audit trigger write, and partitions be made, by the right of the tables' owner."""
    schema = _schema(connection)
    connection.exec_driver_sql(
        _PROVIDE.format(
            schema=schema,
            parents=", ".join(f"'{name}'" for name in PARTITIONED),
            first_year=FIRST_YEAR,
            last_year=LAST_YEAR,
        )
    )
    connection.exec_driver_sql("REVOKE ALL ON FUNCTION neurohub_provide_month(text, date) FROM PUBLIC")
    # The path is fixed, so that nobody's own table audit_logs, or function, comes before ours.
    connection.exec_driver_sql(f"ALTER FUNCTION neurohub_audit() SECURITY DEFINER SET search_path = {schema}, pg_temp")


def drop_owners_functions(connection: sa.Connection) -> None:
    """Undo it."""
    connection.exec_driver_sql("ALTER FUNCTION neurohub_audit() SECURITY INVOKER RESET search_path")
    connection.exec_driver_sql("DROP FUNCTION neurohub_provide_month(text, date)")


def grant_to_service(connection: sa.Connection, role: str) -> None:
    """Give a role what the service needs, and take from it what it must not have. Safe to repeat.

    Raises SetupError where the role is not there, or owns the tables: then nothing is refused to it.
    """
    found = connection.execute(sa.text("SELECT rolsuper FROM pg_roles WHERE rolname = :role"), {"role": role}).scalar()
    if found is None:
        raise SetupError(f"PostgreSQL has no role {role}: make it with createuser, or say another one")
    owns = "SELECT pg_has_role(:role, relowner, 'MEMBER') FROM pg_class WHERE oid = 'audit_logs'::regclass"
    if found or connection.execute(sa.text(owns), {"role": role}).scalar_one():
        raise SetupError(
            f"role {role} is a superuser, or owns the tables: the trail would not hold against it; the service needs"
            " a role of its own (docs/audit.md)"
        )
    quoted = connection.dialect.identifier_preparer.quote(role)
    schema = _schema(connection)
    tables = [name for name in sa.inspect(connection).get_table_names() if not _is_partition(connection, name)]
    connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {schema} TO {quoted}")
    connection.exec_driver_sql(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {quoted}")
    connection.exec_driver_sql(f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {quoted}")
    for table in tables:
        rights = "SELECT, INSERT, UPDATE, DELETE"
        if table in READ_ONLY:
            rights = "SELECT"
        elif table in APPEND_ONLY:
            rights = "SELECT, INSERT"
        connection.exec_driver_sql(f"GRANT {rights} ON {table} TO {quoted}")
    connection.exec_driver_sql(f"GRANT EXECUTE ON FUNCTION neurohub_provide_month(text, date) TO {quoted}")


def _schema(connection: sa.Connection) -> str:
    name: str = connection.exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    return name


def _is_partition(connection: sa.Connection, table: str) -> bool:
    kind = sa.text("SELECT relispartition FROM pg_class WHERE oid = CAST(:name AS regclass)")
    return bool(connection.execute(kind, {"name": table}).scalar_one())
