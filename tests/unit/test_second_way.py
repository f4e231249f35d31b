"""Central asked over HTTP where MQTT gives no answer: a real API on a port of its own, and no broker."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from agent.central_api import PATIENCE_S, CentralHttp
from agent.clock import CentralClock
from agent.criteria import StationCriteria
from agent.interlock import Asked, Decision, Interlock
from agent.outbox import Outbox
from agent.permits import Permits
from agent.settings import load
from central.store import Store
from central.store.tables import leases, permits
from contracts.interlock import PermitRequest
from contracts.permit import DecidedBy
from contracts.refusals import RefusalCode
from drivers.base import MachineRequest
from drivers.modbus.simulated_certificates import make_certificates
from messaging.session import Message
from tests.contract.test_store_interlock import Line, lot_of
from tests.support.agents import kept
from tests.support.api import PASSWORD
from tests.support.brokers import free_port
from tests.support.serving import add_user, served
from tests.unit.test_permits import AskedMachine

UNIT, NOT_YET = "SN-261102-001", "SN-261102-002"
LONG_S = 20.0
"""For what has to come in time on any computer."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A LOT, one unit that may start at P03, and one that may not; the station's user."""
    opened = Store(f"sqlite:///{tmp_path}/central.db")
    opened.migrate()
    lot_of(opened)
    line = Line(opened)
    line.went("1P 2P", UNIT)
    line.went("1P", NOT_YET)
    add_user(opened, "P03-A")
    yield opened
    opened.close()


class Station:
    """The interlock of P03-A with its second way."""

    def __init__(self, folder: Path, address: str, password: str, more: str) -> None:
        text = Path("config/stations/P03-A.yaml").read_text(encoding="utf-8")
        text += f"""
dev: true
interlock:
  http: {{url: "{address}", username: P03-A, password: {password}{more}}}
"""
        file = folder / "P03-A.yaml"
        file.write_text(text, encoding="utf-8")
        limit = f"machines.tester.interlock.limit={LONG_S:g}s"
        self.settings = load(file, ["machines.tester.interlock.enabled=true", limit])
        assert self.settings.interlock.http is not None
        self.outbox = Outbox(folder / "outbox.db")
        self.http = CentralHttp(self.settings.interlock.http)
        self.interlock = Interlock(self.settings, self.outbox, self.http)

    async def decide(self, serial: str = UNIT, within_s: float = LONG_S, rule: str = "block") -> Decision:
        return await self.interlock.decide(Asked("tester", serial, None, rule), within_s)

    async def answered(self) -> Decision:
        """Central's word, as soon as the station is logged in."""
        async with asyncio.timeout(LONG_S):
            while (found := await self.decide()).decided_by is not DecidedBy.CENTRAL:
                await asyncio.sleep(0.02)
        return found


@asynccontextmanager
async def station(
    folder: Path, port: int, password: str = PASSWORD, *, scheme: str = "http", more: str = ""
) -> AsyncIterator[Station]:
    made = Station(folder, f"{scheme}://127.0.0.1:{port}", password, more)
    made.outbox.open()
    await made.interlock.open()
    running = asyncio.create_task(made.http.run())
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        made.outbox.close()


class SilentBroker:
    """A session over which nobody answers, but what the test hands over itself."""

    def __init__(self) -> None:
        self.asked: list[PermitRequest] = []

    async def publish(self, _topic: str, payload: bytes, **_: object) -> "asyncio.Future[None]":
        if b'"kind":"permit"' in payload:
            self.asked.append(PermitRequest.model_validate_json(payload))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


def count(store: Store, table: sa.Table) -> int:
    with store.reading() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def say(to: Station, store: Store, question: PermitRequest) -> None:
    """Central's answer, over MQTT."""
    payload = store.answer_permit(question).model_dump_json().encode()
    assert to.interlock.heard(Message(to.interlock.topics[0], payload, False, {}, 0, 0))


async def test_without_a_broker_central_permits_and_refuses_over_http(tmp_path: Path, store: Store) -> None:
    async with served(store) as port, station(tmp_path, port) as asking:
        yes = await asking.answered()
        no = await asking.decide(NOT_YET)
    assert (yes.granted, yes.decided_by, yes.by_http, yes.attempt) == (True, DecidedBy.CENTRAL, True, 1)
    assert no.refusal is not None
    assert (no.refusal.code, no.by_http) == (RefusalCode.PREVIOUS_PROCESS_NOT_COMPLETED, True)


async def test_the_record_at_the_station_says_by_which_way_it_was_decided(tmp_path: Path, store: Store) -> None:
    async with served(store) as port, station(tmp_path, port) as asking:
        await asking.answered()
        tester, clock, machine = asking.settings.machines["tester"], CentralClock(), AskedMachine()
        asks = tester.protocol_settings.asking()
        assert asks is not None
        criteria = StationCriteria(asking.settings, clock)
        at_machine = Permits(
            tester, asks, asking.settings, criteria, machine, asking.outbox, asking.interlock, "test", clock
        )

        async def asks_for_the_unit(number: int) -> None:
            machine.number, machine.values = number, {"request_serial": UNIT}
            await at_machine.handle(MachineRequest(datetime.now(UTC), key=number))

        await asks_for_the_unit(1)
        broker = SilentBroker()
        asking.interlock.attach(broker)  # type: ignore[arg-type]  # as much of it as is used
        asked = asyncio.create_task(asks_for_the_unit(2))
        while not broker.asked:
            await asyncio.sleep(0.01)
        say(asking, store, broker.asked[0])
        await asked
    assert [one["granted"] for one in machine.answers] == [True, True]
    assert [(one["decided_by"], one.get("by_http", False)) for one in kept(tmp_path)] == [
        ("CENTRAL", True),
        ("CENTRAL", False),
    ]


async def test_where_mqtt_is_silent_http_answers_and_both_ways_get_one_permit(tmp_path: Path, store: Store) -> None:
    broker = SilentBroker()
    async with served(store) as port, station(tmp_path, port) as asking:
        await asking.answered()
        asking.interlock.attach(broker)  # type: ignore[arg-type]  # as much of it as is used
        before = count(store, permits)
        found = await asking.decide(within_s=5.0)
        with capture_logs() as logs:
            say(asking, store, broker.asked[0])
    assert (found.granted, found.by_http, found.request_id) == (True, True, broker.asked[0].request_id)
    assert count(store, permits) == before + 1, "the question that came over both ways has one answer"
    assert [one["event"] for one in logs] == ["late answer discarded"]
    assert count(store, leases) == 1, "the late copy of an answer that was used gives nothing back"


async def test_a_lost_broker_leads_to_http_at_once(tmp_path: Path, store: Store) -> None:
    async with served(store) as port, station(tmp_path, port) as asking:
        await asking.answered()
        broker = SilentBroker()
        asking.interlock.attach(broker)  # type: ignore[arg-type]  # as much of it as is used
        deciding = asyncio.create_task(asking.decide(within_s=500.0))
        while not broker.asked:
            await asyncio.sleep(0.01)
        asking.interlock.detach()
        async with asyncio.timeout(LONG_S):  # a tenth of what is waited for over MQTT alone
            found = await deciding
    assert (found.granted, found.by_http) == (True, True)


async def test_a_wrong_password_is_told_once_and_the_station_decides_by_itself(tmp_path: Path, store: Store) -> None:
    with capture_logs() as logs:
        async with served(store) as port, station(tmp_path, port, "Wrong-password-1") as asking:
            async with asyncio.timeout(LONG_S):
                while not asking.http.failures:
                    await asyncio.sleep(0.01)
            decided = [await asking.decide(rule=rule) for rule in ("allow_and_flag", "block")]
            failures = asking.http.failures
    assert [(one.decided_by, one.granted, one.by_http) for one in decided] == [
        (DecidedBy.RULE, True, False),
        (DecidedBy.RULE, False, False),
    ]
    assert failures == 3
    told = [one for one in logs if one["log_level"] == "warning" and "HTTP" in one["event"]]
    assert len(told) == 1, logs
    assert "does not let user P03-A (interlock.http) in: 401" in told[0]["reason"]
    assert "Wrong-password-1" not in str(logs)


async def test_no_api_at_all_leaves_the_decision_to_the_station_at_once(tmp_path: Path) -> None:
    async with station(tmp_path, free_port()) as asking, asyncio.timeout(LONG_S):
        found = await asking.decide(within_s=500.0)
    assert (found.granted, found.decided_by) == (False, DecidedBy.RULE)


async def test_while_central_hangs_the_rule_answers_in_time_and_the_late_permit_is_given_back(
    tmp_path: Path, store: Store
) -> None:
    async with served(store) as port, station(tmp_path, port) as asking:
        first = await asking.answered()
        assert first.permit is not None
        asking.interlock.give_back(UNIT, first.permit)
        await _until(lambda: count(store, leases) == 0)
        before = count(store, permits)
        loop = asyncio.get_running_loop()
        with store.database.writing():  # the database is busy: the API has no answer
            began_at = loop.time()
            found = await asking.decide(within_s=0.3)
            took_s = loop.time() - began_at
        await _until(lambda: count(store, permits) == before + 1)
        await _until(lambda: count(store, leases) == 0)
    assert (found.granted, found.decided_by) == (False, DecidedBy.RULE)
    assert 0.3 <= took_s < PATIENCE_S, "it waits for its time, and not for the answer"


async def _until(is_so: Any) -> None:
    async with asyncio.timeout(LONG_S):
        while not is_so():
            await asyncio.sleep(0.02)


async def test_a_token_that_is_good_no_more_is_replaced(tmp_path: Path, store: Store) -> None:
    """As when central comes back with another key."""
    port = free_port()
    async with station(tmp_path, port) as asking:
        async with served(store, port):
            await asking.answered()
            failures = asking.http.failures
        async with served(store, port, "another-key-of-central-that-is-long-enough"):
            found = await asking.answered()
            assert asking.http.failures > failures, "its first question was refused"
    assert found.by_http


async def test_over_https_the_station_trusts_whom_it_was_told_to(tmp_path: Path, store: Store) -> None:
    files = make_certificates(tmp_path)
    async with served(store, tls=(files.device_cert, files.device_key)) as port:
        async with station(tmp_path, port, scheme="https", more=f", ca: {files.ca}") as asking:
            assert (await asking.answered()).by_http
        with capture_logs() as logs:
            async with station(tmp_path, port, scheme="https") as asking:
                await _until(lambda: asking.http.failures)
                found = await asking.decide()
    assert (found.granted, found.decided_by) == (False, DecidedBy.RULE)
    assert "CERTIFICATE_VERIFY_FAILED" in str(logs)
    assert PASSWORD not in str(logs)


async def test_an_authority_that_cannot_be_read_is_told_and_ends_nothing(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with station(tmp_path, free_port(), scheme="https", more=", ca: /nowhere/ca.pem") as asking:
            await _until(lambda: asking.http.failures)
            found = await asking.decide()
    assert (found.granted, found.decided_by) == (False, DecidedBy.RULE)
    assert "interlock.http.ca: /nowhere/ca.pem cannot be used" in str(logs)


def test_httpx_is_loaded_only_where_it_is_configured() -> None:
    code = "import sys, agent.station; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
