"""The REST API on a port of its own, as central serves it, in a thread of the test's process."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import uvicorn

from central.api import passwords
from central.api.app import create_app
from central.store import Author, Store, users
from central.store.users import Role
from tests.support.api import CALENDAR, PASSWORD, SETTINGS, cheap_hashes


def add_user(store: Store, name: str, role: Role = Role.OPERATOR) -> None:
    """A user of this name, with the password of all of them."""
    values = {
        "username": name,
        "email": f"{name}@factory.example",
        "full_name": name,
        "role": role,
        "is_active": True,
    }
    with cheap_hashes(), store.writing(Author(name="test")) as connection:
        users.create(connection, values, passwords.hashed(PASSWORD), datetime.now(UTC))


@asynccontextmanager
async def served(
    store: Store, port: int = 0, secret_key: str = SETTINGS.secret_key, *, tls: tuple[Path, Path] | None = None
) -> AsyncIterator[int]:
    """Its port. ``tls``: the files of its certificate and of the key."""
    app = create_app(store, replace(SETTINGS, secret_key=secret_key), CALENDAR)
    listening = socket.create_server(("127.0.0.1", port))
    cert, key = tls or (None, None)
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", ssl_certfile=cert, ssl_keyfile=key and str(key)
        )
    )
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        while not server.started:
            await asyncio.sleep(0.01)
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await asyncio.to_thread(thread.join)
        listening.close()
