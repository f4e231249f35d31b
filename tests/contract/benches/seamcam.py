"""The worked example of a driver from elsewhere (``docs/drivers/example``): a camera that is asked over HTTP."""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from drivers.base import RawValue
from tests.contract.bench import ResultBench
from tests.support.processes import ROOT
from tests.support.relay import Relay

sys.path.append(str(ROOT / "docs" / "drivers" / "example"))  # as if it were installed

from seamcam.driver import SeamcamDriver  # not before it is found
from seamcam.settings import SeamcamSettings
from seamcam.simulator import SeamcamSimulator

VALUES: Mapping[str, RawValue] = {"serial_number": "SN-1", "seam_depth": 1.05, "seams": 3, "clean": True}
OTHER_VALUES: Mapping[str, RawValue] = {"serial_number": "SN-2", "seam_depth": -0.5, "seams": 70_000, "clean": False}


def settings(host: str, port: int) -> SeamcamSettings:
    """A camera with points of every type."""
    return SeamcamSettings.model_validate(
        {
            "connect": {"url": f"http://{host}:{port}"},
            "trigger": {"point": "n", "poll": "10ms"},
            "points": {"n": {"key": "counter"}, **{name: {"key": name} for name in VALUES}},
        }
    )


@asynccontextmanager
async def seamcam_bench(tmp_path: Path) -> AsyncIterator[ResultBench]:
    """A camera behind a relay that can be cut."""
    simulator = SeamcamSimulator("camera", settings("127.0.0.1", 1))
    port = str((await simulator.start())["connect.url"]).rpartition(":")[2]
    try:
        async with Relay("127.0.0.1", int(port)) as relay:
            async with Relay(relay.host, relay.port) as closed:
                await closed.cut()
            yield ResultBench(
                simulator=simulator,
                driver=lambda: SeamcamDriver("camera", settings(relay.host, relay.port)),
                values=VALUES,
                other_values=OTHER_VALUES,
                cycle_key="n",
                present=simulator.present,
                unreadable="seam_depth",
                cut=relay.cut,
                restore=relay.restore,
                unreachable=lambda: SeamcamDriver("absent", settings(closed.host, closed.port)),
            )
    finally:
        await simulator.stop()
