"""A station worked by hand, as processes: the agent is killed in the middle of a unit, and the unit is one record."""

import json
import sys
from pathlib import Path
from typing import Any

from tests.support.agents import CONFIG, agent, kept
from tests.support.processes import Process

FILE = CONFIG / "P02-A.yaml"
UNIT: dict[str, Any] = {
    "badge": "OP-1001",
    "serial_number": "WF-KR-261125D-001-0001",
    "sma_spring_lot": "SPRING-2026112501",
    "busbar_lot": "BUSBAR-2026112401",
    "torque": 1.02,
    "visual_inspection": "OK",
}


async def test_a_unit_survives_the_kill_of_its_station(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "agent", "simulate", FILE]
    async with Process(command, listens=True) as operator:
        hello = await operator.json(lambda line: "set" in line)
        reached = [f"{key}={value}" for key, value in hello["set"].items()]
        begun = {name: value for name, value in UNIT.items() if name != "busbar_lot"}
        await operator.tell(json.dumps({"machine": "scanner", "id": 0, "values": begun}))
        async with agent(FILE, tmp_path, reached) as station:
            half = await operator.json(lambda line: line.get("id") == 0)
            assert "asks for busbar_lot" in half["error"]
            await station.kill()
        rest = {name: UNIT[name] for name in UNIT if name not in ("badge", "sma_spring_lot")}
        await operator.tell(json.dumps({"machine": "scanner", "id": 1, "values": rest}))
        async with agent(FILE, tmp_path, reached) as station:
            done = await operator.json(lambda line: line.get("id") == 1)
            assert await station.stop() == 0
    assert done == {"machine": "scanner", "id": 1, "done": True, "cycle_key": 1, "outcome": "PASS"}
    [record] = kept(tmp_path)
    assert (record["outcome"], record["cycle_key"], record["operator"]) == ("PASS", 1, "1001")
    assert [one["name"] for one in record["measurements"]] == [*UNIT][2:]
