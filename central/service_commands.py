"""The services of central, each a command: ``run``, ``ingest``, ``permits``, ``api``; and the API's own document."""

import asyncio
import json
import signal
from typing import Annotated

import structlog
import typer
from sdnotify import SystemdNotifier

from central.anchors import AnchorFile
from central.api.settings import ApiSettings, load_api_settings
from central.ingestor import Ingestor
from central.opening import opened, store_of, told
from central.permits import Responder
from central.running import Together
from central.sealer import AuditSealer
from central.settings import CentralSettings, instance_name, load_settings
from messaging.logs import configure_logging
from messaging.watchdog import feed_watchdog

log = structlog.get_logger()

app = typer.Typer(rich_markup_mode=None)

Host = Annotated[
    str,
    typer.Option(envvar="API_HOST", metavar="ADDRESS", help="Listen here; 0.0.0.0: on every network of this computer."),
]
Port = Annotated[
    int, typer.Option(envvar="API_PORT", metavar="NUMBER", min=0, max=65535, help="Listen here; 0 is any free one.")
]
Workers = Annotated[
    int, typer.Option(envvar="API_WORKERS", metavar="NUMBER", min=1, max=64, help="Processes that answer.")
]
Instance = Annotated[
    str | None,
    typer.Option(
        envvar="CENTRAL_INSTANCE",
        metavar="NAME",
        help="One of several ingestors that share the work on one PostgreSQL database; each has a name of its own."
        " The broker must know shared subscriptions.",
    ),
]


@app.command()
def run(host: Host = "127.0.0.1", port: Port = 8000, workers: Workers = 1) -> None:
    """Run ingestor and API, each in a process of its own, until SIGTERM or Ctrl-C: for a small site.

    Whichever ends by itself is started again, and the other goes on. The database must have been migrated.

    Example: SECRET_KEY=$(openssl rand -hex 32) neurohub-central run --port 8000
    """
    configure_logging()
    with told():
        load_api_settings()
        with opened():
            pass  # what is wrong with the settings is told here, once
        api = ["api", "--host", host, "--port", str(port), "--workers", str(workers)]
        code = asyncio.run(_together(Together([["ingest"], api])))
    raise typer.Exit(code)


async def _together(services: Together) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, services.stop)
    return await services.run()


@app.command()
def ingest(instance: Instance = None) -> None:
    """Take in what the stations send until SIGTERM or Ctrl-C, and seal the audit trail. The database must have been
    migrated.

    Example: DATABASE_URL=postgresql://neurohub@localhost/neurohub BROKER_URL=mqtt://localhost neurohub-central ingest
    """
    configure_logging()
    with told():
        asyncio.run(_ingest(load_settings(), instance_name(instance)))


async def _ingest(settings: CentralSettings, instance: str | None) -> None:
    store, trail = store_of(settings), store_of(settings)
    try:
        store.check_schema()
        sealer = AuditSealer(trail, settings.broker, AnchorFile(settings.anchor_file))
        sealer.prepare()
        ingestor = Ingestor(store, settings.broker, instance=instance, serial_form=settings.serial_form)
        sealing = asyncio.create_task(sealer.run())
        sealing.add_done_callback(_tell_end)
        try:
            await _serve(ingestor)
        finally:
            sealing.cancel()
            await asyncio.gather(sealing, return_exceptions=True)
        log.info("central stopped", **vars(ingestor.counters))
    finally:
        store.close()
        trail.close()


def _tell_end(sealing: "asyncio.Task[None]") -> None:
    """Ingest goes on without a sealer: its rows wait, and are sealed after the next start."""
    if not sealing.cancelled() and (error := sealing.exception()) is not None:
        log.error("the audit trail is sealed no more until central starts again", error=repr(error))


@app.command()
def permits() -> None:
    """Answer stations that ask whether a unit may start, until SIGTERM or Ctrl-C; publish what they need to decide
    while nobody answers. One such service runs beside the ingestors, on the same database.

    Example: DATABASE_URL=postgresql://neurohub@localhost/neurohub BROKER_URL=mqtt://localhost neurohub-central permits
    """
    configure_logging()
    with told():
        asyncio.run(_permits(load_settings()))


async def _permits(settings: CentralSettings) -> None:
    answering, publishing = store_of(settings), store_of(settings)
    try:
        answering.check_schema()
        responder = Responder(answering, publishing, settings.broker, settings.permits)
        await _serve(responder)
        log.info("permits stopped", **vars(responder.counters))
    finally:
        answering.close()
        publishing.close()


async def _serve(service: Ingestor | Responder) -> None:
    """Run it until SIGTERM or Ctrl-C, and tell systemd that it turns."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stop)
    feeding = asyncio.create_task(feed_watchdog(SystemdNotifier(), service.turn))
    try:
        await service.run()
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)


@app.command()
def api(host: Host = "127.0.0.1", port: Port = 8000, workers: Workers = 1) -> None:
    """Answer the MES REST API until SIGTERM or Ctrl-C. Its document is at /api/v1/docs.

    Several workers share the port; behind a proxy, FORWARDED_ALLOW_IPS names its address. The first user is made with
    neurohub-central user add. Example: SECRET_KEY=$(openssl rand -hex 32) neurohub-central api --workers 2
    """
    from central.api.serving import serve  # noqa: PLC0415 - the other services load no web server

    configure_logging()
    with told():
        load_api_settings()
        with opened():
            pass  # what is wrong with the settings is told here, and not by every worker
        serve(host, port, workers)


@app.command()
def openapi() -> None:
    """Print the API's OpenAPI document as JSON. Needs neither a database nor a SECRET_KEY.

    Example: neurohub-central openapi > openapi.json
    """
    from central.api.app import create_app  # noqa: PLC0415 - the other services load no web framework

    with told():
        central = load_settings()
        store = store_of(central)
        try:
            settings = ApiSettings(secret_key="")
            typer.echo(
                json.dumps(create_app(store, settings, central.calendar).openapi(), indent=2, ensure_ascii=False)
            )
        finally:
            store.close()
