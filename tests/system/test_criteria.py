"""Criteria from central's command line to the record: published, kept by the station, in force without central."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from central.store import Store
from contracts import topics
from messaging.broker import BrokerAddress
from messaging.session import Session
from tests.bench.parts import machines
from tests.support.agents import CONFIG, agent, kept
from tests.support.brokers import mosquitto_broker
from tests.support.line import central, opened, until
from tests.system.test_central_commands import typed

P03 = "P03_SENSOR_INSPECTION"
FILE = """process: P03_SENSOR_INSPECTION
criteria:
  temperature: {nominal: 60, tolerance: %s, unit: degC, defect: SENSOR_TEMP_FAIL}
  tof_i2c: {equals: true, defect: SENSOR_TOF_FAIL}
"""


async def test_a_revision_reaches_the_station_and_is_named_by_its_records(tmp_path: Path) -> None:
    file, folder = CONFIG / "P03-A.yaml", tmp_path / "P03-A"
    criteria = tmp_path / "P03.yaml"
    url = f"sqlite:///{tmp_path}/central.db"
    async with machines(file) as (simulators, overrides):

        async def unit(number: int) -> None:
            serial_number = f"WF-KR-261123D-001-{number:04d}"
            values = {"temperature": 61.5, "tof_i2c": True, "judgement": 1, "serial_number": serial_number}
            await simulators["tester"].cycle({**values, "result_counter": number}, number)

        async with (
            opened(url) as store,
            mosquitto_broker(tmp_path) as broker,
            central(url, broker.url) as ingestor,
            agent(file, folder, overrides, broker_url=broker.url) as station,
        ):
            await station.line("broker connected")
            await unit(1)

            criteria.write_text(FILE % "-1", encoding="utf-8")
            code, said = await typed(url, broker.url, "criteria", "set", str(criteria), "--reason", "wider")
            assert code == 2
            assert "P03.yaml:3:41 criteria.temperature.tolerance: out of range" in said

            criteria.write_text(FILE % "2", encoding="utf-8")
            code, said = await typed(url, broker.url, "criteria", "set", str(criteria), "--reason", "wider")
            assert (code, said.split(",")[0]) == (0, f"{P03}: revision 1")
            await station.line("criteria heard")
            await unit(2)

            later = datetime.now(UTC) + timedelta(seconds=3)
            criteria.write_text(FILE % "1", encoding="utf-8")
            how = ["--reason", "narrow", "--author", "lee", "--effective-at", later.isoformat()]
            assert (await typed(url, broker.url, "criteria", "set", str(criteria), *how))[0] == 0
            await until(lambda: _lines(station.output, "criteria heard", 2), station, ingestor)
            await unit(3)
            await until(lambda: _passed(later + timedelta(seconds=1)))
            await unit(4)
            await until(lambda: _in_force(store, 2), ingestor)

            _, said = await typed(url, broker.url, "criteria", "list", "--process", "P03")
            assert [line.split()[2] for line in said.splitlines() if P03 in line] == ["past", "in"]
            _, said = await typed(url, broker.url, "criteria", "show", "P03")
            assert "temperature: 60 +/- 1 degC (SENSOR_TEMP_FAIL)" in said

            broken = Session(BrokerAddress("127.0.0.1", broker.port), client_id="somebody")
            await broken.open()
            await (await broken.publish(topics.criteria(P03), b"{", retain=True))
            await broken.close()
            await station.line("criteria refused")
            await unit(5)

        async with agent(file, folder, overrides) as station:  # without broker and central
            await station.line("criteria recalled")
            await unit(6)

    found = [(one["criteria_revision"][:4], one["outcome"]) for one in kept(folder)]
    assert found == [
        ("yaml", "FAIL"),
        ("1", "PASS"),
        ("1", "PASS"),
        ("2", "FAIL"),
        ("2", "FAIL"),
        ("2", "FAIL"),
    ]


async def _lines(output: list[str], text: str, count: int) -> bool:
    return sum(text in line for line in output) >= count


async def _passed(moment: datetime) -> bool:
    return datetime.now(UTC) >= moment


async def _in_force(store: Store, number: int) -> bool:
    [told] = store.criteria.publications()
    return [one.number for one in told.revisions] == [number]
