"""The schema on both databases: migrations, the audit trail, and errors a person can act on."""

import json
import os
import socket
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from central.store import Author, Store, schema
from central.store.errors import ClashError, translated
from central.store.tables import BUSINESS_TABLES, NOT_AUDITED, metadata, product_models, users
from contracts.criteria import Criteria, Criterion
from contracts.errors import DataError, LinkError, NeuroHubError, SetupError, StoreError
from contracts.facts import LotCreated
from contracts.processes import PROCESSES
from tests.support.postgres import Cluster
from tests.support.stores import LOT, MORNING, STREAM, NewDatabase, delivery, minutes, record, rows

CRITERIA = Criteria(process="P03_SENSOR_INSPECTION", criteria={"temperature": Criterion(nominal=60, tolerance=1)})


def test_an_empty_database_is_refused_until_it_is_migrated(new_database: NewDatabase) -> None:
    store = Store(new_database())
    with pytest.raises(SetupError, match="neurohub-central migrate"):
        store.check_schema()
    with pytest.raises(SetupError, match="neurohub-central migrate"):
        store.ingest([delivery([(1, record())])])
    store.migrate()
    epoch = store.epoch
    store.migrate()
    store.check_schema()
    assert store.epoch == epoch, "a second migrate leaves a database alone"
    assert [row["process_code"] for row in rows(store, "processes")] == [process.code for process in PROCESSES]
    store.close()


def test_the_migrations_go_down_to_nothing_and_up_again(store: Store) -> None:
    store.ingest([delivery([(1, record())])])
    schema.migrate(store.database, "base")
    with store.database.reading() as connection:
        assert sa.inspect(connection).get_table_names() == ["alembic_version"]
    store.migrate()
    assert len(rows(store, "processes")) == len(PROCESSES)


def test_the_migrations_make_the_tables_the_queries_know(store: Store) -> None:
    def ours(_: Any, name: str | None, kind: str, reflected: bool, *__: Any) -> bool:
        """Leave out partitions, and on SQLite the indexes for searching inside JSON, which it does not have."""
        if kind == "table" and reflected:
            return name in metadata.tables
        return not (kind == "index" and name is not None and name.startswith("gin_") and store.database.sqlite)

    with store.database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": ours})
        assert compare_metadata(context, metadata) == []


def test_every_change_of_a_business_table_is_audited_with_its_cause(store: Store) -> None:
    store.criteria.add(CRITERIA, "park", "first criteria")
    store.ingest([delivery([(1, record(product_model="WR-1"))])])
    trail = _trail(store)
    assert {row["entity_type"] for row in trail} == {table.name for table in BUSINESS_TABLES}
    created = [row for row in trail if row["entity_type"] == "process_data"]
    assert [(row["action"], row["stream_id"], row["seq"]) for row in created] == [("CREATE", STREAM, 1)]
    assert created[0]["new_values"]["measurements"] == {"temperature": 60.5}
    moved = [row for row in trail if row["entity_type"] == "serials" and row["action"] == "UPDATE"]
    assert [(row["old_values"]["status"], row["new_values"]["status"]) for row in moved] == [("CREATED", "IN_PROGRESS")]
    assert (moved[0]["stream_id"], moved[0]["seq"]) == (STREAM, 1)


def test_a_withdrawn_row_leaves_its_content_in_the_trail(store: Store) -> None:
    store.ingest([delivery([(1, record())])])
    store.ingest([delivery([(1, record(outcome="FAIL"))])])
    gone = [row for row in _trail(store) if row["action"] == "DELETE"]
    assert [(row["entity_type"], row["old_values"]["outcome"], row["new_values"]) for row in gone] == [
        ("process_data", "PASS", None)
    ]


def test_a_repeat_leaves_no_trail(store: Store) -> None:
    store.ingest([delivery([(1, record())])])
    before = len(_trail(store))
    store.ingest([delivery([(1, record())])])
    assert len(_trail(store)) == before


def test_the_trail_covers_every_column_but_secrets(store: Store) -> None:
    store.criteria.add(CRITERIA, "park", "first criteria")
    store.ingest([delivery([(1, record(product_model="WR-1"))])])
    for table in BUSINESS_TABLES:
        latest = [row for row in _trail(store) if row["entity_type"] == table.name][-1]
        assert set(latest["new_values"]) == {column.name for column in table.columns} - NOT_AUDITED, table.name


def test_a_person_stands_in_the_trail_and_no_password_does(store: Store) -> None:
    author = Author(name="park", user_id=7, ip_address="10.0.0.9", user_agent="tablet")
    person = {
        "username": "park", "username_key": "park", "email": "p@x.kr", "full_name": "Park", "role": "MANAGER",
        "is_active": True, "password_hash": "$2b$12$secret", "created_at": MORNING, "updated_at": MORNING,
    }  # fmt: skip
    with store.database.writing(author) as connection:
        connection.execute(sa.insert(users), [person])
        connection.execute(sa.update(users).values(password_hash="$2b$12$other"))
        connection.execute(sa.update(users).values(department="QA"))
    created, changed = [row for row in _trail(store) if row["entity_type"] == "users"]
    assert [created["action"], changed["action"]] == ["CREATE", "UPDATE"]
    assert (created["user_id"], created["author"], created["ip_address"], created["user_agent"]) == (
        7, "park", "10.0.0.9", "tablet",
    )  # fmt: skip
    assert "$2b$" not in json.dumps([created["new_values"], changed["old_values"], changed["new_values"]])

    # The next transaction on the same connection is nobody's.
    with store.database.writing() as connection:
        connection.execute(sa.update(users).values(department="QC"))
    assert _trail(store)[-1]["author"] is None


def test_a_decision_names_its_author(store: Store) -> None:
    store.add_decision(LotCreated(author="park", decided_at=MORNING, reason="r", lot_number=LOT))
    assert {row["author"] for row in _trail(store) if row["entity_type"] == "lots"} == {"park"}


@pytest.mark.parametrize("statement", ["UPDATE audit_logs SET author = 'x'", "DELETE FROM audit_logs"])
def test_the_trail_cannot_be_changed(store: Store, statement: str) -> None:
    before = _trail(store)
    with pytest.raises(StoreError, match="append only"), store.database.writing() as connection:
        connection.execute(sa.text(statement))
    assert _trail(store) == before


def test_sqlite_cannot_replace_a_row_of_the_trail(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/central.db")
    store.migrate()
    columns = "id, entity_type, entity_id, action, recorded_at"
    replace = f"INSERT OR REPLACE INTO audit_logs ({columns}) VALUES (1, 'x', 1, 'x', 'x')"
    with pytest.raises(StoreError, match="append only"), store.database.writing() as connection:
        connection.execute(sa.text(replace))
    store.close()


def test_sqlite_changes_by_others_than_the_service_fail(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/central.db")
    store.migrate()
    store.close()
    stranger = sqlite3.connect(tmp_path / "central.db")
    with pytest.raises(sqlite3.OperationalError, match="neurohub_author"):
        stranger.execute("DELETE FROM processes")
    stranger.close()


@pytest.mark.parametrize("place", ["audit_logs", "audit_logs_default", "newest"])
def test_postgresql_refuses_to_truncate_the_trail(postgres_url: str, place: str) -> None:
    store = Store(postgres_url)
    store.migrate()
    store.add_decision(LotCreated(author="park", decided_at=MORNING, reason="r", lot_number=LOT))
    with store.database.reading() as connection:
        partitions = connection.execute(
            sa.text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audit_logs'::regclass")
        ).scalars()
        newest = max(set(partitions) - {"audit_logs_default"})
    table = newest if place == "newest" else place
    with pytest.raises(StoreError, match="append only"), store.database.writing() as connection:
        connection.execute(sa.text(f"TRUNCATE {table}"))
    store.close()


def test_a_month_already_in_the_default_partition_stays_there(postgres_url: str) -> None:
    first, second = Store(postgres_url), Store(postgres_url)
    first.migrate()
    first.ingest([delivery([(1, record())])])
    with first.database.writing() as connection:
        connection.execute(sa.text("DROP TABLE process_data_2026_11"))
        connection.execute(sa.text("DELETE FROM facts"))
        connection.execute(sa.text("UPDATE streams SET committed_seq = 0"))
    first.ingest([delivery([(1, record())])])
    assert second.ingest([delivery([(2, record(completed_at=minutes(3)))])]).inserted == 1
    with second.database.reading() as connection:
        places = connection.execute(sa.text("SELECT DISTINCT tableoid::regclass::text FROM process_data")).scalars()
        assert list(places) == ["process_data_default"]
    first.close()
    second.close()


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path}/central.db")
    store.migrate()
    holder = sqlite3.connect(tmp_path / "central.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    yield store
    holder.close()
    store.close()


def test_a_locked_database_is_worth_trying_again(locked: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    locked.database.close()
    hasty = Store(locked.database.url.render_as_string())
    sa.event.listen(
        hasty.database.engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=20")
    )
    with pytest.raises(LinkError, match="locked"):
        hasty.ingest([delivery([(1, record())])])
    hasty.close()


def test_a_full_disk_is_told_apart_and_loses_nothing(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/central.db")
    store.migrate()
    store.ingest([delivery([(1, record())])])

    def small(connection: sqlite3.Connection, *_: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")

    store.database.close()
    sa.event.listen(store.database.engine, "connect", small)
    items = [(seq, record(completed_at=minutes(seq), operator="x" * 90)) for seq in range(2, 400)]
    with pytest.raises(StoreError, match="full"):
        store.ingest([delivery(items)])
    sa.event.remove(store.database.engine, "connect", small)
    store.database.close()
    assert store.counts().records == 1
    assert store.ingest([delivery(items)]).inserted == len(items)
    store.close()


@pytest.mark.parametrize(
    ("url", "error", "says"),
    [
        ("postgresql://me:hush@127.0.0.1:1/x", LinkError, "refused"),
        ("postgresql://127.0.0.1:1/x?password=hush", LinkError, "127.0.0.1:1/x: .*refused"),
        ("postgresql://me@127.0.0.1:1/x?sslpassword=hush&application_name=hush", LinkError, "refused"),
        ("postgresql://me:hush@127.0.0.1:1/x?connect_timeout=hush", LinkError, "refused"),
        ("postgresql://me@127.0.0.1:1/x?unheard_of=hush", NeuroHubError, "unheard_of"),
        ("postgresql://me:a@hush@127.0.0.1:1/x", SetupError, "more than one @.*%40"),
        ("postgresql://me:hush@127.0.0.1:port/x", SetupError, "DATABASE_URL is not an address"),
        ("postgresql://me:hush/x", SetupError, "DATABASE_URL is not an address"),
        ("postgresql+nope://me:hush@127.0.0.1/x", SetupError, r"postgresql\+nope is not supported"),
        ("postgresql+psycopg2://me:hush@127.0.0.1/x", SetupError, r"postgresql\+psycopg2 is not supported"),
        ("postgres://me:hush@127.0.0.1/x", SetupError, "postgres is not supported.*postgresql://"),
        ("mysql://me:hush@127.0.0.1/x", SetupError, "not supported.*sqlite:///path or postgresql://"),
        ("sqlite://", SetupError, "needs a file"),
        ("hush", SetupError, "DATABASE_URL"),
        ("sqlite:////proc/no/such/central.db", SetupError, "folder"),
    ],
)
def test_an_address_that_does_not_work_says_what_to_do_and_no_password(
    url: str, error: type[NeuroHubError], says: str
) -> None:
    with pytest.raises(error, match=says) as raised:
        Store(url).check_schema() if "proc" not in url else Store(url).migrate()
    assert "hush" not in str(raised.value)


def test_postgresql_is_not_waited_for_without_end(postgres_url: str) -> None:
    """A server whose host is gone says nothing: the client has to ask. A statement that runs on has to be ended."""
    store = Store(postgres_url)
    with store.database.reading() as connection:
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar_one() == "50s"
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar_one() == "30s"
        with socket.socket(fileno=os.dup(connection.connection.driver_connection.fileno())) as link:
            assert link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            noticed_after_s = link.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) + link.getsockopt(
                socket.IPPROTO_TCP, socket.TCP_KEEPCNT
            ) * link.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
            assert noticed_after_s <= 30
            assert 0 < link.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 30_000
        connection.exec_driver_sql("SET LOCAL statement_timeout = '20ms'")
        with pytest.raises(LinkError, match="statement timeout"), store.database.errors():
            connection.exec_driver_sql("SELECT pg_sleep(60)")
    store.close()


@pytest.mark.parametrize(
    ("cause", "error"),
    [
        (psycopg.errors.DiskFull("disk full"), StoreError),
        (psycopg.errors.SerializationFailure("try again"), LinkError),
        (psycopg.errors.DeadlockDetected("try again"), LinkError),
        (psycopg.errors.AdminShutdown("going down"), LinkError),
        (psycopg.errors.InsufficientPrivilege("not yours"), SetupError),
        (psycopg.errors.InvalidPassword("hush is wrong"), SetupError),
        (psycopg.OperationalError("password authentication failed: hush"), SetupError),
        (psycopg.errors.NumericValueOutOfRange("too large"), DataError),
        (psycopg.errors.UniqueViolation("there already"), ClashError),
        (psycopg.errors.ForeignKeyViolation("in use"), ClashError),
        (psycopg.errors.CheckViolation("impossible"), StoreError),
        (psycopg.InterfaceError("misused"), StoreError),
        (OverflowError("too large"), DataError),
        (RuntimeError("else"), StoreError),
    ],
)
def test_an_error_of_the_database_says_whether_to_try_again(cause: Exception, error: type[NeuroHubError]) -> None:
    found = translated(sa.exc.DBAPIError("SELECT 1", {}, cause), sa.make_url("postgresql://me:hush@db/x"))
    assert type(found) is error
    assert "hush" not in str(found)


def test_waiting_for_a_connection_in_vain_is_worth_trying_again() -> None:
    url = sa.make_url("postgresql://me:hush@db/x")
    assert type(translated(sa.exc.TimeoutError("pool limit"), url)) is LinkError
    assert type(translated(sa.exc.InvalidRequestError("no row"), url)) is StoreError


def test_a_file_that_is_no_database_is_a_mistake_of_the_set_up(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database" * 100)
    with pytest.raises(SetupError, match="no SQLite database"):
        Store(f"sqlite:///{tmp_path}/notes.txt").migrate()


def test_a_server_that_stops_is_worth_trying_again(postgres_cluster: Cluster, postgres_url: str) -> None:
    store = Store(postgres_url)
    store.migrate()
    mine = "datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(postgres_url, autocommit=True) as other, pytest.raises(LinkError):
        _cut_off(store, lambda: other.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}"))
    assert store.ingest([delivery([(1, record())])]).inserted == 1, "a dead connection is replaced"
    with pytest.raises(SetupError, match="DATABASE_URL"):
        Store(postgres_cluster.url("no_such_database")).check_schema()
    store.close()


def _trail(store: Store) -> list[dict[str, Any]]:
    """The audit trail; its values as JSON on both databases."""
    trail = rows(store, "audit_logs")
    for row in trail:
        for column in ("old_values", "new_values"):
            if isinstance(row[column], str):
                row[column] = json.loads(row[column])
    return trail


def _cut_off(store: Store, cut: Callable[[], object]) -> None:
    """A transaction whose connection breaks in the middle."""
    with store.database.writing() as connection:
        cut()
        connection.execute(sa.select(product_models))
