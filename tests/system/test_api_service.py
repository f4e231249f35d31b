"""Ingestor and API as one command: two processes, of which each may be killed."""

import os
import re
import signal
import sys
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from central.cli import app
from tests.support.brokers import free_port
from tests.support.line import opened
from tests.support.processes import Process

KEY = "9f1c0b7ad4e35268f07b1d9c4a6e8352"


def pid_of(line: str) -> int:
    found = re.search(r'"pid": (\d+)', line)
    assert found is not None
    return int(found[1])


async def test_each_of_both_may_be_killed_and_sigterm_ends_both(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/central.db") as store:
        # The key stands in .env, as on a developer's machine.
        (tmp_path / ".env").write_text(f"SECRET_KEY={KEY}\nDATABASE_URL={store.database.url}\n")
        environment = {"BROKER_URL": f"mqtt://127.0.0.1:{free_port()}", "PYTHONPATH": os.getcwd()}
        port = free_port()
        command = [sys.executable, "-m", "central", "run", "--port", str(port), "--workers", "2"]
        async with Process(command, env=environment, cwd=tmp_path) as both, httpx2.AsyncClient() as client:
            ingestor = pid_of(await both.line(re.compile('"ingest".*service started')))
            api = pid_of(await both.line(re.compile('"api".*service started')))
            await both.line("api listening")
            health = await client.get(f"http://127.0.0.1:{port}/health", timeout=60)

            before = len(both.output)
            os.kill(ingestor, signal.SIGKILL)
            again = pid_of(await both.line(re.compile('"ingest".*service started'), since=before))
            while_away = await client.get(f"http://127.0.0.1:{port}/health", timeout=60)
            os.kill(api, signal.SIGTERM)
            api_again = pid_of(await both.line(re.compile('"api".*service started'), since=before, timeout_s=40))
            await both.line("api listening", since=before)
            back = await client.get(f"http://127.0.0.1:{port}/api/v1/auth/me", timeout=60)

            assert health.json()["status"] == while_away.json()["status"] == "healthy"
            assert back.status_code == 401
            assert await both.stop() == 0, both.output
            for pid in (ingestor, again, api, api_again):
                with pytest.raises(ProcessLookupError):
                    os.kill(pid, 0)


def typed(database: str, *words: str, given: str | None = None) -> tuple[int, str]:
    done = CliRunner().invoke(app, words, env={"DATABASE_URL": database}, input=given)
    return done.exit_code, done.output


def test_the_first_admin_is_made_with_a_password_that_is_never_an_argument(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/central.db"
    file = tmp_path / "password"
    file.write_text("From-a-file-1\n")
    add = ("user", "add", "kim", "--role", "admin", "--email", "kim@factory.example")
    assert typed(url, "migrate")[0] == 0

    assert typed(url, *add, given="weak\nweak\n")[0] == 2
    code, said = typed(url, *add, given="Typed-twice-1\nTyped-twice-1\n")
    twice = typed(url, *add[:3], "--role", "OPERATOR", "--email", "k2@factory.example", "--password-file", str(file))
    last = typed(url, "user", "disable", "KIM")
    changed = typed(url, "user", "password", "Kim", "--password-file", str(file))
    listed = typed(url, "user", "list")

    assert code == 0, said
    assert "Typed-twice-1" not in said
    assert (twice[0], "already" in twice[1]) == (2, True)
    assert (last[0], "last ADMIN" in last[1]) == (2, True)
    assert changed == (0, "kim has a new password\n")
    assert "ADMIN" in listed[1]


def test_the_document_is_printed_without_a_database(tmp_path: Path) -> None:
    code, said = typed(f"sqlite:///{tmp_path}/none/central.db", "openapi")

    assert code == 0
    assert '"/api/v1/product-models/{id}"' in said
