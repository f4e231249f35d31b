"""A label printer behind a relay that can be cut."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from drivers.label.driver import LabelDriver
from drivers.label.settings import LabelSettings
from drivers.label.simulator import LabelSimulator
from tests.contract.bench import JobBench
from tests.support.relay import Relay


def settings(connect: Mapping[str, object]) -> LabelSettings:
    """A printer of one field, and what it says of itself."""
    return LabelSettings.model_validate(
        {
            "connect": {"timeout": "2s", **connect},
            "template": "^XA^CI28^FO20,20^FD{serial_number}^FS^XZ",
            "points": {"printed": {"status": "printed"}, "paper_out": {"status": "paper_out"}},
        }
    )


@asynccontextmanager
async def label_bench(tmp_path: Path) -> AsyncIterator[JobBench]:
    """A printer that has paper."""
    simulator = LabelSimulator("printer", settings({"host": "127.0.0.1"}))
    reached = await simulator.start()
    try:
        async with Relay(str(reached["connect.host"]), int(reached["connect.port"])) as relay:
            here = settings({"host": relay.host, "port": relay.port})
            async with Relay(relay.host, relay.port) as closed:
                await closed.cut()
            absent = settings({"host": closed.host, "port": closed.port})
            yield JobBench(
                simulator=simulator,
                driver=lambda: LabelDriver("printer", here),
                cut=relay.cut,
                restore=relay.restore,
                unreachable=lambda: LabelDriver("absent", absent),
                job={"serial_number": "SN-241118-001"},
                done={"printed": True, "paper_out": False},
            )
    finally:
        await simulator.stop()
