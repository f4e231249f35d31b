"""Lists as CSV (RFC 4180, UTF-8): row by row as they are read, so that a million of them take no more memory than ten.

A cell that a spreadsheet would take for a formula begins with an apostrophe instead.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from io import StringIO
from typing import Any

import sqlalchemy as sa
from fastapi.responses import StreamingResponse

from central.store import Store

_PART = 500
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
CSV: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "The whole list, with a header"}
}
"""What the document says of such an answer."""


def as_csv(store: Store, name: str, columns: Sequence[str], statement: sa.Select[Any]) -> StreamingResponse:
    """The whole list with these columns, under the name of a file. One state of the database throughout."""
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return StreamingResponse(_lines(store, columns, statement), media_type="text/csv", headers=headers)


def _lines(store: Store, columns: Sequence[str], statement: sa.Select[Any]) -> Iterator[str]:
    buffer = StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    with store.reading() as connection:
        found = connection.execution_options(yield_per=_PART).execute(statement)
        for part in found.mappings().partitions():
            writer.writerows([_cell(row[name]) for name in columns] for row in part)
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
