"""Bring a database to the schema this version needs, or say that it is not there."""

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from central.store.database import Author, Database
from central.store.errors import MIGRATE
from contracts.errors import SetupError

_MIGRATING = 0x6E6575726F6D6967  # an advisory lock: two services do not migrate at once


def migrate(database: Database, revision: str = "head") -> None:
    """Bring the schema up to the newest revision, or down to an earlier one, in one transaction.

    A database that is there already is left alone.
    """
    with database.writing(Author(name="migration")) as connection:
        if not database.sqlite:
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))  # years of records take their time
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATING)))
        config = _config()
        config.attributes["connection"] = connection
        if revision == "head":
            command.upgrade(config, revision)
        else:
            command.downgrade(config, revision)


def check(database: Database) -> None:
    """Raises SetupError when the schema is not the one this version needs."""
    with database.reading() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    needed = ScriptDirectory.from_config(_config()).get_current_head()
    if found != needed:
        where = database.shown
        have = f"revision {found}" if found else "no tables of ours"
        raise SetupError(f"database {where} has {have}, this version needs revision {needed}: {MIGRATE}")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "central.store:migrations")
    config.set_main_option("path_separator", "os")
    return config
