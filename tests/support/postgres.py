"""A throwaway PostgreSQL cluster, and a fresh database for each test.

The cluster lives in a short temporary path (a unix socket's path is bounded), listens on a free port of 127.0.0.1
and runs as user ``postgres`` when the tests run as root, since PostgreSQL refuses root.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

_START_S = 120.0


class Cluster:
    """A PostgreSQL of the tests' own. Its port and what it holds stay the same over ``kill()`` and ``start()``.

    It syncs nothing, since a killed server loses nothing by that, unless it is to be ``durable``.
    """

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self.folder = folder
        self._durable = durable
        self.port = _free_port()
        self._user = "postgres" if os.geteuid() == 0 else None
        self._server: subprocess.Popen[bytes] | None = None
        if self._user is not None:
            account = pwd.getpwnam(self._user)
            os.chown(folder, account.pw_uid, account.pw_gid)
        command = f"{binaries()}/initdb -D {self._data} -U postgres -A trust -E UTF8 --locale=C --no-sync"
        subprocess.run(command.split(), check=True, capture_output=True, user=self._user, cwd=folder)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """Start the server; returns when it answers. After a kill it recovers what it had committed."""
        command = f"{binaries()}/postgres -D {self._data} -p {self.port} -k {self.folder} -h 127.0.0.1".split()
        command += [] if self._durable else ["-F"]
        deadline = time.monotonic() + _START_S
        while True:
            with (self.folder / "log").open("ab") as log:
                self._server = subprocess.Popen(command, stdout=log, stderr=log, user=self._user, cwd=self.folder)
            if self._answers(deadline):
                return
            if time.monotonic() > deadline:  # a killed server's last children may hold its shared memory still
                raise AssertionError(f"PostgreSQL did not start: {(self.folder / 'log').read_text(errors='replace')}")
            time.sleep(0.1)

    def _answers(self, deadline: float) -> bool:
        assert self._server is not None
        while self._server.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
                return True
            time.sleep(0.05)
        return False

    def stop(self) -> None:
        """Stop the server, whoever is still connected."""
        if self._server is None:
            return
        self._server.send_signal(signal.SIGINT)  # fast shutdown: it does not wait for clients
        try:
            self._server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL to the server; its children end when they notice. Clients lose their connections."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server and to each of its children (which lead groups of their own)."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def processes(self) -> list[int]:
        """The server and each of its children, those that serve a connection among them."""
        assert self._server is not None
        parent = self._server.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
        return [parent, *map(int, children)]

    def url(self, database: str) -> str:
        """The address of one of its databases."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def run(self, statement: str) -> None:
        """One statement outside any transaction, in the maintenance database."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """The address of a new database, a copy of ``template``; dropped afterwards, whoever is still connected."""
        name = f"test_{secrets.token_hex(6)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url(name)
        finally:
            self.run(f"DROP DATABASE {name} WITH (FORCE)")


def binaries() -> Path:
    """The folder of initdb and postgres, of the newest version installed. Fails with what to install."""
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if candidates:
        return candidates[-1].parent
    on_path = shutil.which("initdb")
    assert on_path is not None, "PostgreSQL is needed for the tests: apt-get install postgresql"
    return Path(on_path).resolve().parent


@contextmanager
def running_cluster(*, durable: bool = False) -> Iterator[Cluster]:
    """Start a cluster; stop and remove it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    try:
        cluster = Cluster(folder, durable=durable)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Cluster]:
    """The session's cluster."""
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def postgres_url(postgres_cluster: Cluster) -> Iterator[str]:
    """A fresh, empty database of the session's cluster."""
    with postgres_cluster.database() as url:
        yield url
