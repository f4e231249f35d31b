"""A label printer behind a relay that can be cut, on a serial cable, and as the device node of a USB printer."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from drivers.label.driver import LabelDriver
from drivers.label.settings import LabelSettings
from drivers.label.simulator import LabelSimulator
from tests.contract.bench import JobBench
from tests.support.relay import Relay

JOB = {"serial_number": "SN-241118-001"}
DONE = {"printed": True, "paper_out": False}


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
    """A printer on the network."""
    simulator = LabelSimulator("printer", settings({"transport": "tcp", "host": "127.0.0.1"}))
    reached = await simulator.start()
    try:
        async with Relay(str(reached["connect.host"]), int(reached["connect.port"])) as relay:
            here = settings({"transport": "tcp", "host": relay.host, "port": relay.port})
            async with Relay(relay.host, relay.port) as closed:
                await closed.cut()
            absent = settings({"transport": "tcp", "host": closed.host, "port": closed.port})
            yield JobBench(
                simulator=simulator,
                driver=lambda: LabelDriver("printer", here),
                cut=relay.cut,
                restore=relay.restore,
                unreachable=lambda: LabelDriver("absent", absent),
                job=JOB,
                done=DONE,
            )
    finally:
        await simulator.stop()


@asynccontextmanager
async def label_serial_bench(tmp_path: Path) -> AsyncIterator[JobBench]:
    """A printer on a serial cable."""
    async with _on_a_cable(tmp_path, "serial", "port") as bench:
        yield bench


@asynccontextmanager
async def label_usb_bench(tmp_path: Path) -> AsyncIterator[JobBench]:
    """A printer behind a device node; the kernel's own needs the printer, a pseudo-terminal is read and written so."""
    async with _on_a_cable(tmp_path, "usb", "device") as bench:
        yield bench


@asynccontextmanager
async def _on_a_cable(tmp_path: Path, transport: str, key: str) -> AsyncIterator[JobBench]:
    link = tmp_path / "printer"
    here = settings({"transport": transport, key: str(link)})
    absent = settings({"transport": transport, key: str(tmp_path / "absent")})
    simulator = LabelSimulator("printer", here, link=link)

    async def cut() -> None:
        simulator.unplug()

    async def restore() -> None:
        simulator.plug()

    await simulator.start()
    try:
        yield JobBench(
            simulator=simulator,
            driver=lambda: LabelDriver("printer", here),
            cut=cut,
            restore=restore,
            unreachable=lambda: LabelDriver("absent", absent),
            job=JOB,
            done=DONE,
        )
    finally:
        await simulator.stop()
