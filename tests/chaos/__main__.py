"""``python -m tests.chaos``: break a whole small line on purpose, and show that nothing is lost and nothing doubled."""

import asyncio
import logging
import shutil
import signal
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tests.chaos.breaking import StuckError
from tests.chaos.line import Parts
from tests.chaos.progress import Progress
from tests.chaos.run import Options, Report, Run, counted
from tests.chaos.schedule import KINDS, Kind

TOLD = 20
LONGEST = 400
"""Of each thing that is wrong, so many are printed, and so many characters of each."""


class Broker(StrEnum):
    """The brokers."""

    MOSQUITTO = "mosquitto"
    IOTCORE = "iotcore"


class Database(StrEnum):
    """The databases."""

    POSTGRESQL = "postgresql"
    SQLITE = "sqlite"


def main(
    minutes: Annotated[float, typer.Option(help="How long faults are made.", min=0.1)] = 10.0,
    seed: Annotated[int, typer.Option(help="The same seed makes the same faults again.")] = 7,
    rate: Annotated[float, typer.Option(help="Faults a minute.", min=0.1)] = 30.0,
    database: Annotated[Database, typer.Option(help="What central keeps its records in.")] = Database.POSTGRESQL,
    broker: Annotated[Broker, typer.Option(help="What carries the messages.")] = Broker.MOSQUITTO,
    ingestors: Annotated[
        int | None, typer.Option(help="How many share the work; by default two on PostgreSQL, one on SQLite.", min=1)
    ] = None,
    kinds: Annotated[str, typer.Option(metavar="KIND,KIND", help="Only these; --kinds list prints them all.")] = "",
    keep: Annotated[bool, typer.Option("--keep", help="Leave logs and data behind, also when all is right.")] = False,
) -> None:
    """Run the line, break it, heal it, and compare what the machines made with what the database has.

    Exit code 0 when every figure is right; 1 when one is not, or the line could not run: logs and data are left behind
    then, and the folder is named; 130 when it was stopped.
    """
    if kinds == "list":
        for kind, about in KINDS.items():
            print(f"{kind:<20}{about.what}")
        return
    logging.disable(logging.WARNING)  # simulators' libraries tell of every connection that ends
    unknown = sorted(set(kinds.split(",")) - set(Kind)) if kinds else []
    if unknown:
        raise typer.BadParameter(f"unknown: {', '.join(unknown)}; --kinds list prints them all", param_hint="--kinds")
    chosen = [Kind(name) for name in kinds.split(",")] if kinds else list(Kind)
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-", dir="/tmp"))
    count = ingestors or (2 if database is Database.POSTGRESQL else 1)
    options = Options(minutes, seed, rate, Parts(broker.value, database.value, count), chosen, folder)
    again = f"python -m tests.chaos --minutes {minutes:g} --seed {seed} --rate {rate:g}"
    again += f" --database {database.value} --broker {broker.value} --ingestors {count}"
    again += f" --kinds {kinds}" if kinds else ""
    progress = Progress()
    progress.say(f"seed {seed}; the same again: {again}")
    progress.say(f"logs and data: {folder}")
    right = False
    try:
        report = asyncio.run(_run(options, progress))
        right = not report.wrong
        _tell(report, progress, again)
    except (StuckError, AssertionError) as error:
        progress.say(f"the line does not run: {error}")
    except (KeyboardInterrupt, asyncio.CancelledError):
        progress.say("stopped")
        raise typer.Exit(130) from None
    finally:
        if right and not keep:
            shutil.rmtree(folder, ignore_errors=True)
    raise typer.Exit(0 if right else 1)


async def _run(options: Options, progress: Progress) -> Report:
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None

    def stop() -> None:
        loop.add_signal_handler(signal.SIGTERM, lambda: None)  # what was started is being stopped: once is enough
        task.cancel()

    loop.add_signal_handler(signal.SIGTERM, stop)
    return await Run(options, progress).run()


def _tell(report: Report, progress: Progress, again: str) -> None:
    findings, counts = report.findings, counted(report.done)
    for name, items in report.wrong.items():
        for item in items[:TOLD]:
            progress.say(f"{name.upper()}: {item[:LONGEST]}")
        if len(items) > TOLD:
            progress.say(f"{name.upper()}: ... and {len(items) - TOLD} more")
    for end in report.ended_by_themselves:
        progress.say(f"started again: {end}")
    for kind, count in counts.items():
        progress.say(f"{count:>6} {kind:<20} {KINDS[kind].what}")
    progress.say(
        f"records {findings.records}, messages repeated {report.repeated_messages}, "
        f"unreadable {len(findings.unreadable)}, quarantined {len(report.quarantined)}, disputed {findings.disputed}, "
        f"waiting {len(report.waiting)}, given up for room {report.given_up}, "
        f"rows unlike a clean database {len(report.different)}"
    )
    progress.say(
        f"gaps made {findings.gaps_made}, gaps reported {findings.gaps_reported}, told wrongly "
        f"{len(findings.gaps_wrong)}, results in them {findings.results_missed}; "
        f"misjudged {len(findings.misjudged)}, changed {len(findings.changed)}"
    )
    progress.say(f"time {report.seconds:.0f} s; the same again: {again}")
    progress.say(
        f"faults {len(report.done)}, cycles {findings.cycles}, "
        f"lost {len(findings.lost)}, doubled {len(findings.doubled)}"
    )


if __name__ == "__main__":
    typer.run(main)
