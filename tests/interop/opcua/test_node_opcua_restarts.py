"""node-opcua killed and started again under load, at any moment of a result's way, with the agent as a site runs it."""

import json
import os
from pathlib import Path
from typing import Any

from contracts.record import Outcome, ProcessRecord
from tests.support.agents import agent, kept
from tests.support.node_opcua import ECHO, NAMESPACES, POINTS, NodeTester, result, running

RESTARTS = int(os.environ.get("OPCUA_RESTARTS", "2"))
"""The proof asks for 20: OPCUA_RESTARTS=20."""
STATION = """
station: {{id: P06-X, site: gimcheon, line: KR01, process: P06_PERFORMANCE_TEST}}
broker: {{url: "mqtt://127.0.0.1:1883"}}
product_model: WR-100
machines:
  tester:
    protocol: opcua
    connect: {{url: "{url}", timeout: 2s}}
    namespaces: {namespaces}
    trigger: {{point: n, sampling: 10ms}}
    points: {points}
    cycle_key: n
    acknowledge: {acknowledge}
    reconnect: {{initial: 20ms, max: 100ms}}
criteria:
  best: {{nominal: 3.2, tolerance: 0.1}}
"""


def station(machine: NodeTester, folder: Path) -> Path:
    file = folder / "P06-X.yaml"
    written = {"namespaces": NAMESPACES, "points": POINTS, "acknowledge": ECHO}
    text = STATION.format(url=machine.url, **{key: json.dumps(keys) for key, keys in written.items()})  # JSON is YAML
    file.write_text(text, encoding="utf-8")
    return file


def measured(record: ProcessRecord) -> dict[str, Any]:
    """All that a record holds of its result."""
    found = {"n": record.cycle_key, "serial_number": record.serial_number, "operator": record.operator}
    return found | {one.name: one.value for one in record.measurements}


async def test_a_server_restarted_under_load_has_every_result_once(tmp_path: Path) -> None:
    """It keeps its result over a power cut, and waits with it for its acknowledgement. In its last lives it forgets:
    its counter begins anew, nobody can know what was lost, and each life says so."""
    forgetting = max(1, RESTARTS // 4)
    made: list[int] = []
    async with running(tmp_path) as machine, agent(station(machine, tmp_path), tmp_path / "state", []) as there:
        for restart in range(RESTARTS):
            await machine.until_made(machine.made + 2 + restart % 3)
            last = await machine.kill()
            await machine.start(first=last)
        for restart in range(forgetting):
            await machine.until_made(machine.made + 3 + restart % 3)
            made.append(await machine.kill())
            await machine.start(first=1)
        await machine.until_made(4)
        assert await there.stop() == 0
        made.append(machine.made)
        output = list(there.output)
    records = [ProcessRecord.model_validate(body) for body in kept(tmp_path / "state")]
    lives: dict[int, list[Any]] = {}
    for record in records:
        lives.setdefault(record.cycle_epoch, []).append(record.cycle_key)
        assert isinstance(record.cycle_key, int)
        assert measured(record) == result(record.cycle_key)
        assert record.outcome is Outcome.PASS
    assert len(lives) == len(made), "every life with a counter of its own is told from the others"
    for numbers, last in zip(lives.values(), made, strict=True):
        assert numbers == list(range(1, len(numbers) + 1)), "every result once, in order"
        assert last - 1 <= len(numbers) <= last, "the last one may not have been read yet"
    begun = [record.missed_before for record in records if record.cycle_key == 1]
    assert begun == [0] + [None] * forgetting, "none of them in silence"
    assert len([line for line in output if '"results missed"' in line]) == forgetting
    assert {record.missed_before for record in records if record.cycle_key != 1} == {0}
    assert not any(record.possible_repeat for record in records if record.cycle_key != 1)
    print(f"restarts {RESTARTS + forgetting}, of them forgetting {forgetting}; made {sum(made)}, kept {len(records)}")
