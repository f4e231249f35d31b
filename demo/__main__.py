"""``python -m demo``: the eight-process line on one machine, from the machines to the database.

It starts nothing that could not be started by hand; ``--keep`` prints the commands.
"""

import asyncio
import signal
from typing import Annotated

import typer

from demo.run import Demo, Options

ENDING = (signal.SIGTERM, signal.SIGHUP)


def main(
    units: Annotated[int, typer.Option(help="Units that go through the line.", min=1)] = 20,
    seconds: Annotated[
        float | None,
        typer.Option(help="Spread the units over this time, and start none after it; default: at once.", min=1),
    ] = None,
    postgres: Annotated[
        str | None, typer.Option(metavar="URL", help="A PostgreSQL database instead of SQLite: postgresql://...")
    ] = None,
    broker: Annotated[
        str | None, typer.Option(metavar="URL", help="A running MQTT 5 broker instead of the embedded one: mqtt://...")
    ] = None,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Leave it running until Ctrl-C, print where everything is, and reconcile then."),
    ] = False,
    seed: Annotated[int, typer.Option(help="Makes the same values again.")] = 1,
    refusals: Annotated[
        bool, typer.Option("--refusals", help="At the end one unit is refused a permit for each cause there is.")
    ] = False,
) -> None:
    """Run the line and reconcile. Every machine asks before it starts a unit, and works only with a permit.

    Exit code 0 when every unit went through, machine cycles, outbox rows and committed rows agree, nothing is lost,
    doubled or misjudged, each result stands under its unit and process, and each unit stands where it should;
    1 when a figure differs or the line could not run; 130 or 143 when it was stopped in the middle.
    """
    try:
        right = asyncio.run(_run(Options(units, seconds, postgres, broker, keep, seed, refusals)))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except asyncio.CancelledError:
        raise typer.Exit(143) from None
    raise typer.Exit(0 if right else 1)


async def _run(options: Options) -> bool:
    main_task = asyncio.current_task()
    assert main_task is not None
    for number in ENDING:
        asyncio.get_running_loop().add_signal_handler(number, main_task.cancel)
    return await Demo(options).run()


if __name__ == "__main__":
    typer.run(main)
