"""``neurohub-central``: what an administrator types."""

import asyncio
import signal
from typing import Annotated

import structlog
import typer
from sdnotify import SystemdNotifier

from central.ingestor import Ingestor
from central.settings import CentralSettings, instance_name, load_settings
from central.store import Store
from contracts.errors import NeuroHubError
from messaging.logs import configure_logging
from messaging.watchdog import feed_watchdog

log = structlog.get_logger()

app = typer.Typer(
    name="neurohub-central",
    help="Takes the stations' streams into the factory database, exactly once. Settings come from the environment:"
    " DATABASE_URL (sqlite:///neurohub.db), BROKER_URL (mqtt://127.0.0.1:1883), BROKER_CA, BROKER_CERT, BROKER_KEY,"
    " BROKER_USERNAME, BROKER_PASSWORD_FILE, DB_ECHO.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command()
def migrate() -> None:
    """Bring the database named by DATABASE_URL to this version's tables. Safe to repeat.

    Example: DATABASE_URL=sqlite:////var/lib/neurohub/central/neurohub.db neurohub-central migrate
    """
    configure_logging()
    try:
        store = _store(load_settings())
        try:
            store.migrate()
        finally:
            store.close()
    except NeuroHubError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    typer.echo("database is up to date")


@app.command()
def run(
    instance: Annotated[
        str | None,
        typer.Option(
            envvar="CENTRAL_INSTANCE",
            metavar="NAME",
            help="One of several ingestors that share the work on one PostgreSQL database; each has a name of its own."
            " The broker must know shared subscriptions.",
        ),
    ] = None,
) -> None:
    """Ingest until SIGTERM or Ctrl-C. The database must have been migrated.

    Example: DATABASE_URL=postgresql://neurohub@localhost/neurohub BROKER_URL=mqtt://localhost neurohub-central run
    """
    configure_logging()
    try:
        asyncio.run(_run(load_settings(), instance_name(instance)))
    except NeuroHubError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


async def _run(settings: CentralSettings, instance: str | None) -> None:
    store = _store(settings)
    try:
        store.check_schema()
        ingestor = Ingestor(store, settings.broker, instance=instance)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ingestor.stop)
        feeding = asyncio.create_task(feed_watchdog(SystemdNotifier(), ingestor.turn))
        try:
            await ingestor.run()
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
        log.info("central stopped", **vars(ingestor.counters))
    finally:
        store.close()


def _store(settings: CentralSettings) -> Store:
    return Store(settings.database_url, echo=settings.database_echo)
