"""Lists as a spreadsheet (ECMA-376, "XLSX"), at most ``MOST_ROWS`` of them: written row by row into a file on the disk,
so that many take no more memory than few.

Times are the spreadsheet's own, in UTC. What it cannot hold stands as text: times before 1900, numbers of more digits
than it keeps, and of a text what is beyond its longest cell is left out, and said so.
"""

import json
import math
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from tempfile import TemporaryFile
from typing import IO, Any

import sqlalchemy as sa
from fastapi.responses import StreamingResponse
from xlsxwriter import Workbook

from central.api.errors import ApiError
from central.store import Store

MOST_ROWS = 100_000
MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
XLSX: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        "description": "The whole list, with a header",
    }
}
"""What the document says of such an answer."""
_PART = 500
_PIECE = 64 * 1024
_LONGEST_CELL = 32_767
"""UTF-16 units (Excel specifications and limits)."""
_MOST_EXACT = 2**53
"""A cell's number is a double."""
_FIRST_YEAR = 1900
_MOMENT, _DAY = "yyyy-mm-dd hh:mm:ss.000", "yyyy-mm-dd"


def as_xlsx(store: Store, name: str, columns: Sequence[str], statement: sa.Select[Any]) -> StreamingResponse:
    """The whole list with these columns, under the name of a file. One state of the database throughout.

    Raises ApiError (400, TOO_MANY_ROWS) where the list is longer than ``MOST_ROWS``.
    """
    headers = {"Content-Disposition": f'attachment; filename="{name}.xlsx"'}
    return StreamingResponse(_pieces(_written(store, name, columns, statement)), media_type=MEDIA_TYPE, headers=headers)


def _written(store: Store, name: str, columns: Sequence[str], statement: sa.Select[Any]) -> IO[bytes]:
    file = TemporaryFile()  # noqa: SIM115  closed with the last of its pieces, when this function is long gone
    try:
        with store.reading() as connection:
            _refuse_too_many(connection, statement)
            book = Workbook(file, {"constant_memory": True, "remove_timezone": True})
            sheet = book.add_worksheet(name)
            moments, days = (book.add_format({"num_format": form}) for form in (_MOMENT, _DAY))
            sheet.freeze_panes(1, 0)
            sheet.write_row(0, 0, columns, book.add_format({"bold": True}))
            found = connection.execution_options(yield_per=_PART).execute(statement).mappings()
            for number, row in enumerate(found, 1):
                for column, key in enumerate(columns):
                    value = cell(row[key])
                    if isinstance(value, datetime):
                        sheet.write_datetime(number, column, value, moments)
                    elif isinstance(value, date):
                        sheet.write_datetime(number, column, value, days)
                    elif isinstance(value, str):  # stays the text it is: no formula, link or number is made of it
                        sheet.write_string(number, column, value)
                    elif value is not None:
                        sheet.write(number, column, value)
            book.close()
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


def _refuse_too_many(connection: sa.Connection, statement: sa.Select[Any]) -> None:
    longer = statement.order_by(None).limit(MOST_ROWS + 1).subquery()
    if connection.execute(sa.select(sa.func.count()).select_from(longer)).scalar_one() > MOST_ROWS:
        raise ApiError(
            400,
            "TOO_MANY_ROWS",
            f"the list has more than {MOST_ROWS} rows: narrow it, or take export.csv, which has no such limit",
            most=MOST_ROWS,
        )


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE):
            yield piece


def cell(value: Any) -> Any:
    """What stands in the cell of a value."""
    if isinstance(value, list | dict):
        value = json.dumps(value, ensure_ascii=False)
    if isinstance(value, date) and value.year < _FIRST_YEAR:
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str):
        return _bounded(value)
    if isinstance(value, int | float) and (abs(value) > _MOST_EXACT or not math.isfinite(value)):
        return str(value)
    return value


def _bounded(text: str) -> str:
    units = text.encode("utf-16-le", "replace")
    if len(units) // 2 <= _LONGEST_CELL:
        return text
    said = f" ... (cut: {len(text)} characters, all of them in export.csv)"
    return units[: 2 * (_LONGEST_CELL - len(said))].decode("utf-16-le", "ignore") + said
