"""A force tester on node-opcua (``tests/interop/opcua``), the keys of a station that reads it, and what it shows.

It makes its next result when the one before is acknowledged; what stands in its nodes is a function of the result's
number, so a mixture of two would show.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from drivers.base import RawValue
from tests.support.brokers import free_port
from tests.support.processes import ROOT, Process

PROGRAM = ROOT / "tests" / "interop" / "opcua" / "machine.mjs"
PATIENCE_S = 60.0
ECHO: dict[str, Any] = {"write": {"node_id": "ns=site;s=Tester.ack"}}
CALL: dict[str, Any] = {
    "call": {
        "object": {"node_id": "ns=site;s=Tester"},
        "method": {"browse_path": "site:Tester/site:Acknowledge"},
        "arguments": ["{n}", True],
        "accepted": 0,
    }
}
NAMESPACES = {"site": "urn:site:line", "maker": "urn:maker:tester"}
POINTS: dict[str, Any] = {
    "n": {"node_id": "ns=site;s=Tester.n"},
    "serial_number": {"browse_path": "site:Tester/site:serial"},
    "force": {"node_id": "ns=site;s=Tester.force"},
    "depth": {"node_id": "nsu=urn:site:line;s=Tester.depth"},
    "curve": {"node_id": "ns=site;s=Tester.curve"},
    "row": {"node_id": "ns=site;s=Tester.matrix", "field": "[1]"},
    "cell": {"node_id": "ns=site;s=Tester.matrix", "field": "[1,2]"},
    "state": {"node_id": "ns=site;s=Tester.state", "enumeration": "name"},
    "temperatures": {"node_id": "ns=site;s=Tester.points", "field": "Temperature"},
    "forces": {"node_id": "ns=site;s=Tester.points", "field": "Force"},
    "second": {"node_id": "ns=site;s=Tester.points", "field": "[1].State", "enumeration": "name"},
    "operator": {"node_id": "ns=site;s=Tester.report", "field": "Operator"},
    "cycles": {"node_id": "ns=site;s=Tester.report", "field": "Cycles"},
    "report_curve": {"node_id": "ns=site;s=Tester.report", "field": "Curve"},
    "best": {"node_id": "ns=site;s=Tester.report", "field": "Best.Force"},
    "bytes": {"node_id": "ns=site;s=Tester.bytes"},
    "told": {"node_id": "ns=site;s=Tester.told"},
    "at": {"node_id": "ns=site;s=Tester.at"},
    "id": {"node_id": "ns=site;s=Tester.id"},
}


def result(number: int) -> dict[str, RawValue]:
    """What the machine shows for its result of this number."""
    tenth = number % 10 / 10
    return {
        "n": number,
        "serial_number": f"SN-261125-{number:06d}",
        "force": round(1.2 + number % 5, 1),
        "depth": number / 8,
        "curve": [float(number), number + 0.5],
        "row": [4, 5, number],
        "cell": number,
        "state": "Done",
        "temperatures": [40 + tenth, 41 + tenth],
        "forces": [1.2, 2.2],
        "second": "Done",
        "operator": "kim",
        "cycles": number % 65536,
        "report_curve": [1.5, float(number)],
        "best": 3.2,
        "bytes": bytes([0, 255, number % 256]).hex(),
        "told": "좋음",
        "at": f"2026-01-02T03:04:{number % 60:02d}+00:00",
        "id": "72962b91-fa75-4ae6-8d28-b404dc7daf63",
    }


class NodeTester:
    """The machine; it can be killed and started again at its place."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: Process | None = None
        self.namespaces: list[str] = []
        """Their URIs by index, as the server has them now."""

    @property
    def pki(self) -> Path:
        """The folder of its certificates: ``trusted/certs``, ``rejected``, ``own/certs``."""
        return self._folder / "pki"

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"opc.tcp://127.0.0.1:{self._port}/"

    def keys(self, **keys: Any) -> dict[str, Any]:
        """A station's keys for it, with these in their place."""
        return {
            "connect": {"url": self.url, "timeout": "10s", "silence": "20s"},
            "namespaces": NAMESPACES,
            "trigger": {"point": "n", "sampling": "10ms"},
            "points": POINTS,
            "acknowledge": ECHO,
            **keys,
        }

    async def start(self, **options: Any) -> None:
        """With these options of machine.mjs."""
        assert (PROGRAM.parent / "node_modules").is_dir(), "run tools/node-packages tests/interop/opcua first"
        wanted = {"port": self._port, "pki": str(self.pki), **options}
        self._process = Process(["node", "--no-warnings", PROGRAM, json.dumps(wanted)], listens=True)
        await self._process.__aenter__()
        said = await self._process.json(lambda line: "listening" in line, timeout_s=PATIENCE_S)
        self.namespaces = said["namespaces"]

    async def do(self, what: str) -> None:
        """``next`` makes a result without waiting, ``bad`` gives the force of this one a bad status."""
        since = len(self._running.output)
        await self._running.tell(json.dumps({what: True}))
        await self._running.json(lambda line: "done" in line, since=since, timeout_s=PATIENCE_S)

    async def until_made(self, number: int) -> None:
        """Wait for its result of this number or a later one."""
        await self._running.json(lambda line: line.get("made", 0) >= number, timeout_s=PATIENCE_S)

    @property
    def made(self) -> int:
        """Number of the result that stands there."""
        return max(int(line.rpartition(":")[2][:-1]) for line in self._running.output if line.startswith('{"made":'))

    async def kill(self) -> int:
        """As a power cut would. The number of its last result."""
        await self._running.kill()
        made, self._process = self.made, None
        return made

    @property
    def _running(self) -> Process:
        assert self._process is not None, "not started"
        return self._process


@asynccontextmanager
async def running(folder: Path, **options: Any) -> AsyncIterator[NodeTester]:
    """A machine that runs."""
    machine = NodeTester(folder)
    await machine.start(**options)
    try:
        yield machine
    finally:
        if machine._process is not None:
            await machine.kill()
