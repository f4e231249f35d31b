"""Agents as they run at a site, for tests: a process from a station's YAML, its machines' addresses, its outbox."""

import json
import sqlite3
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.support.brokers import free_port
from tests.support.processes import ROOT, Process

CONFIG = ROOT / "config" / "stations"


def addresses(machine: str, reached_at: Mapping[str, str | int]) -> list[str]:
    """What a simulator's start() returned, as overrides of a station's file."""
    return [f"machines.{machine}.{key}={value}" for key, value in reached_at.items()]


def agent(
    file: Path,
    state_dir: Path,
    overrides: list[str],
    *,
    broker_url: str | None = None,
    env: Mapping[str, str] | None = None,
) -> Process:
    """An agent, not started yet. Without a ``broker_url`` there is no broker."""
    url = broker_url if broker_url is not None else f"mqtt://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "agent", "run", str(file)]
    for override in (f"broker.url={url}", f"state_dir={state_dir}", *overrides):
        command += ["--set", override]
    return Process(command, env=env)


def kept(state_dir: Path) -> list[dict[str, Any]]:
    """Every record in an outbox whose agent has ended, in order of seq."""
    with closing(sqlite3.connect(state_dir / "outbox.db")) as outbox:
        return [json.loads(body) for (body,) in outbox.execute("SELECT body FROM records ORDER BY stream, seq")]
