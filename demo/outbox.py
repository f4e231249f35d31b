"""What a station's outbox file says once its agent has ended."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any


def streams(outbox: Path) -> list[str]:
    """The streams it holds records of."""
    return _column(outbox, "SELECT stream_id FROM streams")


def rows(outbox: Path) -> int:
    """How many records it holds."""
    return int(_column(outbox, "SELECT count(*) FROM records")[0])


def _column(outbox: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{outbox}?mode=ro", uri=True)) as connection:
        return [row[0] for row in connection.execute(query)]
