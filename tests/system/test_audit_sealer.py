"""The sealer with a broker: rows are sealed beside the writers, and anchors get out of the database by both ways."""

import asyncio
from pathlib import Path

from central.anchors import AnchorFile, KnownAnchors
from central.sealer import AuditSealer, retained_anchor
from central.store import Store
from contracts.facts import LotCreated
from messaging.broker import BrokerAddress
from tests.support.brokers import HOST, RunningBroker, mosquitto_broker
from tests.support.stores import MORNING, NewDatabase, database_kind, new_database

__all__ = ["database_kind", "new_database"]

PATIENCE_S = 30.0


def address(broker: RunningBroker) -> BrokerAddress:
    return BrokerAddress(HOST, broker.port)


async def test_what_is_committed_is_sealed_and_its_anchor_gets_out_whatever_is_away(
    new_database: NewDatabase, tmp_path: Path
) -> None:
    url, path = new_database(), tmp_path / "anchors.jsonl"
    writing, sealing = Store(url), Store(url)
    writing.migrate()
    async with mosquitto_broker(tmp_path) as broker:
        await broker.stop()
        file = AnchorFile(path)
        sealer = AuditSealer(sealing, address(broker), file, seal_every_s=0.05, anchor_every_s=0.1)
        sealer.prepare()
        task = asyncio.create_task(sealer.run())
        try:
            for number in range(1, 4):
                lot = f"WF-KR-261102D-{number:03d}"
                decision = LotCreated(author="park", decided_at=MORNING, reason="r", lot_number=lot)
                await asyncio.to_thread(writing.add_decision, decision)
            await until_sealed(writing, path)  # without a broker
            await broker.restart()
            kept = None
            async with asyncio.timeout(PATIENCE_S):
                while kept is None:
                    kept = await retained_anchor(address(broker), writing.epoch, patience_s=0.2)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    known = anchors(writing, path)
    known.add([kept], "the broker's")
    check = writing.seals.check(known.by_number, lambda *_: None)
    assert (known.wrong, check.wrong, check.unsealed) == ([], 0, 0)
    assert check.anchored == check.rows
    writing.close()
    sealing.close()


def anchors(store: Store, path: Path) -> KnownAnchors:
    known = KnownAnchors(store.epoch)
    known.read(path)
    return known


async def until_sealed(store: Store, path: Path) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            newest = store.seals.anchor()
            if not store.seals.open() and newest is not None and newest.number in anchors(store, path).by_number:
                return
            await asyncio.sleep(0.05)


async def test_a_second_sealer_waits_while_one_seals(tmp_path: Path) -> None:
    stores = [Store(f"sqlite:///{tmp_path}/central.db") for _ in range(2)]
    stores[0].migrate()
    async with mosquitto_broker(tmp_path) as broker:
        sealers = [
            AuditSealer(store, address(broker), AnchorFile(tmp_path / f"{n}.jsonl"), seal_every_s=0.05)
            for n, store in enumerate(stores)
        ]
        first = asyncio.create_task(sealers[0].run())
        async with asyncio.timeout(PATIENCE_S):
            while sealers[0].seals == 0:
                await asyncio.sleep(0.02)
        second = asyncio.create_task(sealers[1].run())
        stores[0].add_decision(
            LotCreated(author="park", decided_at=MORNING, reason="r", lot_number="WF-KR-261102D-001")
        )
        async with asyncio.timeout(PATIENCE_S):
            while stores[0].seals.open():
                await asyncio.sleep(0.02)
        assert (sealers[0].seals, sealers[1].seals) == (2, 0)
        for task in (first, second):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    for store in stores:
        store.close()
