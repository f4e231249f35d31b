"""The API on a database of years: what its busiest requests take with 20 clients at once, beside the floor of the same
run: an endpoint that does nothing but the same authentication (``/auth/me``).

Clients and service share the machine; each kind of request has the service for itself.
"""

import asyncio
import math
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2

from central.api.passwords import hashed
from central.store import Author, Store, users
from central.store.users import Role
from tests.bench.figures import ms, table, times
from tests.bench.seed import seed
from tests.support.brokers import free_port
from tests.support.postgres import running_cluster
from tests.support.processes import Process

CLIENTS = 20
_KEY = "9f1c0b7ad4e35268f07b1d9c4a6e8352"
_PASSWORD = "Bench-2026"
_PROCESSES = 8
Ask = Callable[[httpx2.AsyncClient, int], Awaitable[httpx2.Response]]


async def run(records: int, requests: int) -> None:
    """Measure every kind, ``requests`` by each client, on about so many records, and print it beside the floor."""
    with running_cluster(durable=True) as cluster, cluster.database() as url:
        seeded = seed(url, records)
        _add_manager(url)
        await _measure(url, seeded, requests)


def _add_manager(url: str) -> None:
    values = {"username": "bench", "email": "bench@factory.example", "full_name": "Bench", "is_active": True}
    with closing(Store(url)) as store, store.writing(Author(name="bench")) as connection:
        users.create(connection, {**values, "role": Role.MANAGER}, hashed(_PASSWORD), datetime.now(UTC))


async def _measure(url: str, records: int, requests: int) -> None:
    port = free_port()
    command = [sys.executable, "-m", "central", "api", "--port", str(port)]
    with tempfile.TemporaryDirectory(prefix="neurohub-bench-") as folder:
        environment = {"DATABASE_URL": url, "SECRET_KEY": _KEY}
        async with (
            Process(command, env=environment, log=Path(folder) / "api.log") as service,
            httpx2.AsyncClient(
                base_url=f"http://127.0.0.1:{port}/api/v1", timeout=60, limits=httpx2.Limits(max_connections=CLIENTS)
            ) as client,
        ):
            await service.line("api listening", timeout_s=60)
            said = await client.post("/auth/login/json", json={"username": "bench", "password": _PASSWORD})
            client.headers["Authorization"] = f"Bearer {said.json()['access_token']}"
            [unit] = (await client.get("/serials", params={"limit": 1})).json()
            trace = f"/serials/{unit['serial_number']}/trace"
            units = await _open_units(client, requests)
            entries = [_entries(client, mine, said.json()["user"]["id"], await _process_ids(client)) for mine in units]
            kinds: dict[str, Ask] = {
                "floor: GET /auth/me": lambda client, _: client.get("/auth/me"),
                "GET /lots/{id}": lambda client, _: client.get(f"/lots/{unit['lot_id']}"),
                "GET /serials/{serial_number}/trace": lambda client, _: client.get(trace),
                "GET /analytics/dashboard": lambda client, _: client.get("/analytics/dashboard"),
                "POST /process-data": lambda _, number: next(entries[number]),
            }
            measured = {name: await _of_kind(client, ask, requests) for name, ask in kinds.items()}
    _print(measured, records, requests)


async def _process_ids(client: httpx2.AsyncClient) -> list[int]:
    return [one["id"] for one in (await client.get("/processes/sequence")).json()]


async def _open_units(client: httpx2.AsyncClient, requests: int) -> list[list[dict[str, Any]]]:
    """Units that nobody has worked on, as many for each client as it will enter results of."""
    each = math.ceil((requests + 1) / _PROCESSES)  # one is not counted
    units: list[list[dict[str, Any]]] = []
    named = {"model_code": "BENCH", "model_name": "Bench"}
    model = (await client.post("/product-models", json=named)).raise_for_status().json()
    for _ in range(CLIENTS):
        body = {"product_model_id": model["id"], "production_date": str(datetime.now(UTC).date()), "shift": "N"}
        lot = (await client.post("/lots", json={**body, "target_quantity": each})).raise_for_status().json()
        mine = []
        for place in range(1, each + 1):
            made = await client.post("/serials", json={"lot_id": lot["id"], "sequence_in_lot": place})
            mine.append(made.raise_for_status().json())
        units.append(mine)
    return units


def _entries(
    client: httpx2.AsyncClient, units: list[dict[str, Any]], operator_id: int, process_ids: list[int]
) -> Iterator[Awaitable[httpx2.Response]]:
    """One unit after the other through the line."""
    for unit in units:
        for process_id in process_ids:
            body = {
                "lot_id": unit["lot_id"],
                "serial_id": unit["id"],
                "process_id": process_id,
                "operator_id": operator_id,
                "data_level": "SERIAL",
                "result": "PASS",
                "measurements": {},
                "cycle_time_seconds": 1,
            }
            yield client.post("/process-data", json=body)


async def _of_kind(client: httpx2.AsyncClient, ask: Ask, requests: int) -> tuple[list[float], int]:
    """Seconds of each request, and how many were no success."""
    samples: list[float] = []
    errors = 0

    async def one(number: int) -> None:
        nonlocal errors
        for _ in range(requests):
            begun = time.perf_counter()
            answer = await ask(client, number)
            samples.append(time.perf_counter() - begun)
            errors += not answer.is_success

    await ask(client, 0)  # not counted: what is loaded once
    await asyncio.gather(*(one(number) for number in range(CLIENTS)))
    return samples, errors


def _print(measured: dict[str, tuple[list[float], int]], records: int, requests: int) -> None:
    def p95(samples: list[float]) -> float:
        return sorted(samples)[math.ceil(0.95 * len(samples)) - 1]

    print(f"api: {records:,} process records, {CLIENTS} clients, {requests} requests each; milliseconds\n")
    floor = p95(next(iter(measured.values()))[0])
    rows = [
        [name, ms(sorted(samples)[len(samples) // 2]), ms(p95(samples)), times(p95(samples), floor), str(errors)]
        for name, (samples, errors) in measured.items()
    ]
    print(table(["", "median", "p95", "p95 / floor", "errors"], rows))
