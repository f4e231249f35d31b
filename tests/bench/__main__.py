"""``python -m tests.bench [WHICH ...]``: measure beside a floor; ``--help`` names them."""

import asyncio
import logging
from enum import StrEnum
from typing import Annotated

import typer

from tests.bench import api, audit, cpu, drain, fleet, footprint, ingest, interlock, judge, latency, outbox, wide


class Which(StrEnum):
    """The benchmarks."""

    LATENCY = "latency"
    FOOTPRINT = "footprint"
    CPU = "cpu"
    FLEET = "fleet"
    WIDE = "wide"
    JUDGE = "judge"
    OUTBOX = "outbox"
    DRAIN = "drain"
    INTERLOCK = "interlock"
    API = "api"
    INGEST = "ingest"
    AUDIT = "audit"


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main(
    which: Annotated[list[Which] | None, typer.Argument(help="which to run; all when none is named")] = None,
    ingest_seconds: Annotated[float, typer.Option(metavar="SECONDS", help="ingest: about so long")] = 30.0,
    quick: Annotated[bool, typer.Option("--quick", help="few samples: shows that it runs, and nothing else")] = False,
) -> None:
    """Measure on this machine, now. Compare ratios of one run, never times of two."""
    logging.disable(logging.WARNING)  # simulators' libraries tell of every connection that ends
    for one in which or list(Which):
        match one:
            case Which.LATENCY:
                asyncio.run(latency.run(units=1 if quick else 100, warm_up=1 if quick else 5))
            case Which.FOOTPRINT:
                asyncio.run(footprint.run(runs=1 if quick else 5, records=5 if quick else 200))
            case Which.CPU:
                asyncio.run(cpu.run(seconds=0.5 if quick else 15.0, rounds=1 if quick else 2))
            case Which.FLEET:
                asyncio.run(fleet.run(machines_of=[1, 3] if quick else [1, 50], seconds=1.0 if quick else 30.0))
            case Which.WIDE:
                asyncio.run(wide.run(machines_of=[1] if quick else [1, 5], seconds=1.0 if quick else 30.0))
            case Which.JUDGE:
                judge.run(seconds=0.01 if quick else 1.0, rounds=1 if quick else 5)
            case Which.OUTBOX:
                asyncio.run(
                    outbox.run(machines_of=[1, 10, 100], seconds=0.2 if quick else 3.0, rounds=1 if quick else 5)
                )
            case Which.DRAIN:
                asyncio.run(drain.run(waiting=1500 if quick else 100_000))
            case Which.INGEST:
                asyncio.run(ingest.run(seconds=0.2 if quick else ingest_seconds))
            case Which.AUDIT:
                audit.run(rows=1000 if quick else 1_000_000)
            case Which.INTERLOCK:
                asyncio.run(interlock.run(requests=1 if quick else 200, warm_up=1 if quick else 5))
            case Which.API:
                asyncio.run(api.run(records=1_600 if quick else 2_000_000, requests=1 if quick else 40))
        print()


if __name__ == "__main__":
    app()
