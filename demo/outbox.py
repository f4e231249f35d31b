"""What a station's outbox file says once its agent has ended."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

_OF_KIND = "SELECT count(*) FROM records WHERE coalesce(json_extract(CAST(body AS TEXT), '$.kind'), 'result') = ?"


def streams(outbox: Path) -> list[str]:
    """The streams it holds records of."""
    return _column(outbox, "SELECT stream_id FROM streams")


def rows(outbox: Path) -> int:
    """How many results it holds."""
    return int(_column(outbox, _OF_KIND, "result")[0])


def permits(outbox: Path) -> int:
    """How many permits and refusals it holds."""
    return int(_column(outbox, _OF_KIND, "permit")[0])


def _column(outbox: Path, query: str, *values: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{outbox}?mode=ro", uri=True)) as connection:
        return [row[0] for row in connection.execute(query, values)]
