"""``neurohub-central permits`` over a real broker: answers at once, and tells stations of their LOTs."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from central.store import Store
from contracts.digest import RouteDigest
from contracts.facts import HoldPlaced, LotCreated
from contracts.interlock import (
    AnyAnswer,
    AnyQuestion,
    NumbersAnswer,
    NumbersRequest,
    PermitAnswer,
    PermitRequest,
    PermitReturned,
    answer_adapter,
)
from contracts.refusals import RefusalCode
from contracts.topics import ALL_ROUTES, StationTopics, route
from messaging.broker import BrokerAddress
from messaging.session import Session
from tests.support.brokers import RunningBroker, iotcore_broker, mosquitto_broker
from tests.support.line import permits

LOT = "WF-KR-261102D-001"
TOPICS = StationTopics("gimcheon", "KR01", "P01-A")


class Station:
    """What a station says and hears, by hand."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.digests: dict[str, RouteDigest] = {}

    async def ask(self, question: AnyQuestion) -> AnyAnswer:
        await self.session.publish(TOPICS.interlock, question.model_dump_json().encode())
        async with asyncio.timeout(20):
            while True:
                message = await self.session.next_message()
                self.session.acknowledge(message)
                if message.topic == TOPICS.permits:
                    answer = answer_adapter.validate_json(message.payload)
                    if answer.request_id == question.request_id:
                        return answer
                else:
                    self.digests[message.topic] = RouteDigest.model_validate_json(message.payload)

    async def told(self, topic: str, revision: int = 0) -> RouteDigest:
        async with asyncio.timeout(20):
            while topic not in self.digests or self.digests[topic].revision < revision:
                message = await self.session.next_message()
                self.session.acknowledge(message)
                self.digests[message.topic] = RouteDigest.model_validate_json(message.payload)
        return self.digests[topic]


@asynccontextmanager
async def station(broker: RunningBroker) -> AsyncIterator[Station]:
    session = Session(BrokerAddress("127.0.0.1", broker.port), client_id=f"station-{uuid.uuid4().hex[:8]}")
    await session.open([TOPICS.permits, ALL_ROUTES])
    try:
        yield Station(session)
    finally:
        await session.close()


def common() -> dict[str, Any]:
    return {
        "site": "gimcheon",
        "line": "KR01",
        "station": "P01-A",
        "request_id": uuid.uuid4().hex,
        "asked_at": datetime.now(UTC),
    }


def may(serial: str) -> PermitRequest:
    return PermitRequest(**common(), process="P01_LASER_MARKING", machine="marker", serial_number=serial)


def opened(url: str) -> Store:
    store = Store(url)
    store.migrate()
    store.add_decision(LotCreated(author="kim", decided_at=datetime.now(UTC), reason="r", lot_number=LOT))
    return store


async def test_a_marking_station_gets_its_numbers_and_its_permits(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/central.db"
    store = opened(url)
    try:
        async with mosquitto_broker(tmp_path) as broker, permits(url, broker.url) as service, station(broker) as asking:
            await service.line("broker connected")
            block = await asking.ask(NumbersRequest(**common(), lot_number=LOT, count=2))
            assert isinstance(block, NumbersAnswer)
            assert block.numbers == (f"{LOT}-0001", f"{LOT}-0002")
            yes = await asking.ask(may(block.numbers[0]))
            assert isinstance(yes, PermitAnswer)
            assert yes.granted
            returned = PermitReturned(**common(), serial_number=block.numbers[0], permit=yes.permit)
            await asking.session.publish(TOPICS.interlock, returned.model_dump_json().encode())
            no = await asking.ask(may("WF-KR-261102D-009-0001"))
            assert isinstance(no, PermitAnswer)
            assert no.refusal is RefusalCode.LOT_NOT_FOUND

            digest = await asking.told(route(LOT))
            held = HoldPlaced(author="kim", decided_at=datetime.now(UTC), reason="dents", hold_id="h", lot_number=LOT)
            store.add_decision(held)
            assert (await asking.told(route(LOT), digest.revision + 1)).hold == "dents"
            assert await service.stop() == 0
        assert "granted=1" in service.output[-1] or '"granted": 1' in service.output[-1], service.output[-1]
    finally:
        store.close()


async def test_what_is_no_question_or_in_anothers_name_is_not_answered(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/central.db"
    opened(url).close()
    async with iotcore_broker() as broker, permits(url, broker.url) as service, station(broker) as asking:
        await service.line("broker connected")
        await asking.session.publish(TOPICS.interlock, b"{}")
        foreign = may("SN-1-001").model_copy(update={"station": "P02-A"})
        await asking.session.publish(TOPICS.interlock, foreign.model_dump_json().encode())
        await service.line("question not understood")
        await service.line("question in another station's name")
        assert (await asking.ask(may(f"{LOT}-0001"))).at


async def test_a_broker_that_forgot_everything_is_told_the_digests_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/central.db"
    opened(url).close()
    async with iotcore_broker() as broker, permits(url, broker.url) as service:
        async with station(broker) as asking:
            await asking.told(route(LOT))
        await broker.restart(wipe=True)
        await service.line("broker connected", since=len(service.output))
        async with station(broker) as asking:
            assert (await asking.told(route(LOT))).lot_number == LOT


async def test_permits_are_given_by_one_service(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/central.db"
    opened(url).close()
    async with iotcore_broker() as broker, permits(url, broker.url) as first:
        await first.line("broker connected")
        async with permits(url, broker.url) as second:
            assert await second.ended() == 2
        assert "permits are given by another service already" in "\n".join(second.output)
