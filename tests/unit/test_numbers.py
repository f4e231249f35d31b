"""Blocks of serial numbers: the station is killed at any moment, and every number central gave is used once or held."""

import asyncio
import json
import multiprocessing
import os
import random
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest

from agent.clock import CentralClock
from agent.criteria import StationCriteria
from agent.interlock import Interlock
from agent.numbers import ASKED_NOTE, NUMBERS_NOTE, NumberBlocks
from agent.outbox import Outbox
from agent.permits import Permits
from agent.settings import StationSettings, load
from central.settings import PermitSettings
from central.store import Store
from central.store.tables import number_blocks
from contracts.interlock import NumbersAnswer, NumbersRequest, PermitAnswer, PermitRequest, question_adapter
from contracts.measurement import Scalar
from contracts.refusals import Refusal, RefusalCode
from drivers.base import MachineRequest, PointValue, Reading
from messaging.session import Message
from tests.contract.test_store_interlock import lot_of
from tests.support.agents import kept
from tests.support.stores import LOT, record

KILLS = int(os.environ.get("NUMBER_KILLS", "6"))
"""How often the station is killed; the proof takes 500."""


class Marker:
    """A machine that asks with its LOT; whatever it was told is on its own disk before it goes on."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self.number = 0
        self.told: str | None = None

    async def read(self, event: MachineRequest) -> Reading:
        values = {"request_number": PointValue(self.number), "request_lot": PointValue(LOT)}
        return Reading(event.signalled_at, values)

    async def answer(self, values: Mapping[str, Scalar]) -> None:
        self.told = str(values["serial_number"]) if values["granted"] else None
        if self.told is not None:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(f"{self.number} {self.told}\n")


class CentralBeside:
    """Central's own store in place of the broker: it answers after a while, and the station may be gone by then."""

    def __init__(self, store: Store, interlock: Interlock, delay_s: float) -> None:
        self._store = store
        self._interlock = interlock
        self._delay_s = delay_s
        self._topic = interlock.topics[0]

    async def publish(self, _topic: str, payload: bytes, **_: object) -> asyncio.Future[None]:
        question = question_adapter.validate_json(payload)
        asyncio.get_running_loop().create_task(self._answer(question))  # ends before the loop does
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def _answer(self, question: object) -> None:
        answer: NumbersAnswer | PermitAnswer
        if isinstance(question, NumbersRequest):
            answer = self._store.reserve_numbers(question, PermitSettings().serial_number)
        elif isinstance(question, PermitRequest):
            answer = self._store.answer_permit(question)
        else:
            return
        await asyncio.sleep(random.random() * self._delay_s)
        payload = answer.model_dump_json().encode()
        self._interlock.heard(Message(self._topic, payload, False, {}, 0, 0))


@cache
def settings_of() -> StationSettings:
    chosen = ["machines.marker.interlock.enabled=true", "machines.marker.interlock.numbers.block=3"]
    return load(Path("config/stations/P01-A.yaml"), [*chosen, "machines.marker.interlock.limit=20s"])


@asynccontextmanager
async def station(folder: Path, store: Store, delay_s: float) -> AsyncIterator[tuple[Permits, Marker, Outbox]]:
    settings = settings_of()
    own = settings.machines["marker"]
    asking = own.protocol_settings.asking()
    assert asking is not None
    outbox, marker, clock = Outbox(folder / "outbox.db"), Marker(folder / "marker.log"), CentralClock()
    outbox.open()
    interlock = Interlock(settings, outbox)
    await interlock.open()
    interlock.attach(CentralBeside(store, interlock, delay_s))  # type: ignore[arg-type]  # as much of it as is used
    filling = asyncio.create_task(interlock.run())
    criteria = StationCriteria(settings, clock)
    try:
        yield Permits(own, asking, settings, criteria, marker, outbox, interlock, "t", clock), marker, outbox  # type: ignore[arg-type]  # of a driver, what a request needs
    finally:
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)
        outbox.close()


async def _work(folder: Path, url: str, life: int) -> None:
    """Ask and mark until the end."""
    store = Store(url)
    async with station(folder, store, 0.01) as (permits, marker, outbox):
        (folder / f"begun-{life}").touch()
        for turn in range(10_000):
            marker.number = life * 10_000 + turn
            await permits.handle(MachineRequest(datetime.now(UTC), key=marker.number))
            if marker.told is not None and turn % 3:  # some markings come to nothing
                made, notes = await permits.permit_of(record(station="P01-A", serial_number=marker.told))
                await outbox.append(made, notes=notes)


def _live(folder: Path, url: str, life: int) -> None:
    asyncio.run(_work(folder, url, life))


def lines(log: Path) -> int:
    return len(log.read_bytes().splitlines()) if log.exists() else 0


def reserved(store: Store) -> set[str]:
    with store.database.reading() as connection:
        answers = connection.execute(number_blocks.select()).mappings()
        return {number for row in answers for number in NumbersAnswer.model_validate_json(row["answer"]).numbers}


async def test_a_killed_station_uses_no_number_twice_and_forgets_none(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/central.db"
    store = Store(url)
    store.migrate()
    lot_of(store)
    settings_of()  # read once, before the lives
    context, log = multiprocessing.get_context("fork"), tmp_path / "marker.log"
    for life in range(1, KILLS + 1):
        child = context.Process(target=_live, args=(tmp_path, url, life))
        child.start()
        before, more = lines(log), random.randrange(5)
        async with asyncio.timeout(60):
            while not (tmp_path / f"begun-{life}").exists() or lines(log) < before + more:
                assert child.is_alive()
                await asyncio.sleep(0.002)
        await asyncio.sleep(random.random() * 0.02)  # any moment
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()

    async with station(tmp_path, store, 0.0) as (permits, marker, outbox):
        marker.number = 5
        await permits.handle(MachineRequest(datetime.now(UTC), key=5))
        async with asyncio.timeout(10):
            while await outbox.note(ASKED_NOTE + LOT) is not None:
                await asyncio.sleep(0.01)
        held = json.loads(await outbox.note(NUMBERS_NOTE + LOT) or "[]")
    told = [line.split()[1] for line in log.read_text(encoding="utf-8").splitlines()]
    permitted = [one["serial_number"] for one in kept(tmp_path) if one.get("kind") == "permit" and one["granted"]]
    assert len(told) == len(set(told)), "a number was given to two units"
    assert len(permitted) == len(set(permitted))
    assert set(told) <= set(permitted), "a number that no record names"
    assert sorted([*permitted, *held]) == sorted(reserved(store)), "a number that nobody knows of"
    assert len(permitted) > KILLS
    store.close()


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[Outbox]:
    box = Outbox(tmp_path / "outbox.db")
    box.open()
    yield box
    box.close()


async def test_while_central_is_silent_a_machine_gets_what_is_there_at_once(outbox: Outbox) -> None:
    """A block that is being filled keeps nobody waiting."""
    asked, silent = asyncio.Event(), asyncio.Event()

    async def ask(*_: object) -> None:
        asked.set()
        await silent.wait()

    await outbox.keep_note(NUMBERS_NOTE + LOT, '["SN-1", "SN-2"]')
    blocks = NumberBlocks(outbox, {"marker": 4}, ask, {}, lambda: None)
    await blocks.open()
    async with blocks.giving:
        assert await blocks.next("marker", LOT, 1.0) == "SN-1"
    filling = asyncio.create_task(blocks.fill(is_connected=True))
    await asked.wait()
    async with asyncio.timeout(5):
        for number in ("SN-1", "SN-2"):
            async with blocks.giving:
                assert await blocks.next("marker", LOT, 1.0) == number
                blocks.used(LOT, number)
        async with blocks.giving:
            refusal = await blocks.next("marker", LOT, 0.05)
    assert isinstance(refusal, Refusal)
    assert refusal.code is RefusalCode.NUMBERS_USED_UP
    silent.set()
    assert await filling is False


async def test_a_block_that_is_on_its_way_is_waited_for(outbox: Outbox) -> None:
    """The machine that asks meanwhile takes it, and is not refused for want of a lock."""
    asked, coming = asyncio.Event(), asyncio.Event()
    questions: list[str] = []

    async def ask(lot_number: str, _count: int, request_id: str, _within_s: float) -> NumbersAnswer:
        questions.append(request_id)
        asked.set()
        await coming.wait()
        return NumbersAnswer(request_id=request_id, lot_number=lot_number, numbers=("SN-001",), at=datetime.now(UTC))

    blocks = NumberBlocks(outbox, {"marker": 1}, ask, {}, lambda: None)
    blocks._wanted[LOT] = 1
    filling = asyncio.create_task(blocks.fill(is_connected=True))
    await asked.wait()

    async def next_number() -> object:
        async with blocks.giving:
            return await blocks.next("marker", LOT, 5.0)

    waiting = asyncio.create_task(next_number())
    await asyncio.sleep(0)
    coming.set()
    async with asyncio.timeout(5):
        assert await waiting == "SN-001"
        assert await filling is True
    assert len(questions) == 1
    assert json.loads(await outbox.note(NUMBERS_NOTE + LOT) or "") == ["SN-001"], "taken once"
