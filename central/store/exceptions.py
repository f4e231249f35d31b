"""What is wrong only beside other facts, and what is on hold, by unit and LOT: read from the folded rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from central.store.tables import lots, serials
from contracts.route_model import exception_id

UNIT, LOT = "UNIT", "LOT"


@dataclass(frozen=True)
class ExceptionRow:
    """An exception as it stands. ``unit`` is whose it is; a LOT's may name one of its units in ``about_unit``."""

    id: str
    unit: str | None
    lot_number: str | None
    code: str
    detail: str
    process_number: int | None
    about: tuple[str, int] | None
    about_unit: str | None
    open: bool
    closed_by: str | None
    closed_because: str | None


def rows(connection: sa.Connection, code: str | None = None, lot_number: str | None = None) -> Iterator[ExceptionRow]:
    """Every exception, those that were closed too."""
    return map(row_of, connection.execute(exceptions(connection, code, lot_number)).mappings())


def row_of(row: sa.RowMapping) -> ExceptionRow:
    """A row of ``exceptions``."""
    one, unit = row["one"], row["serial_number"]
    about = one.get("about")
    named = one.get("code"), one.get("process_number"), about, one.get("serial_number"), one.get("detail", "")
    return ExceptionRow(
        id=exception_id(unit or row["lot_number"], *named),
        unit=unit,
        lot_number=row["lot_number"],
        code=one["code"],
        detail=one.get("detail", ""),
        process_number=one.get("process_number"),
        about=None if about is None else (about[0], about[1]),
        about_unit=one.get("serial_number"),
        open=one.get("open", False),
        closed_by=one.get("closed_by"),
        closed_because=one.get("closed_because"),
    )


def exceptions(connection: sa.Connection, code: str | None = None, lot_number: str | None = None) -> sa.Select[Any]:
    """Every exception of units and LOTs, in the order of their numbers: level, serial_number, lot_number, one."""
    return _each(connection, "exceptions", None if code is None else ("code", code), lot_number)


def holds(connection: sa.Connection, hold_id: str | None = None, lot_number: str | None = None) -> sa.Select[Any]:
    """Every hold that stops a unit or a LOT, in the order of their numbers: level, serial_number, lot_number, one."""
    return _each(connection, "holds", None if hold_id is None else ("hold_id", hold_id), lot_number)


def is_known(connection: sa.Connection, serial_number: str | None, lot_number: str | None) -> bool:
    """Whether there is such a unit, or where none is named such a LOT."""
    unit, lot = serials.c.serial_number == serial_number, lots.c.lot_number == lot_number
    wanted = sa.select(sa.exists().where(lot if serial_number is None else unit))
    return bool(connection.execute(wanted).scalar_one())


def _each(
    connection: sa.Connection, column: str, wanted: tuple[str, str] | None, lot_number: str | None
) -> sa.Select[Any]:
    parts = []
    for level, table, number in ((UNIT, serials, serials.c.serial_number), (LOT, lots, sa.null())):
        listed = _elements(connection, table.c[column])
        statement = sa.select(
            sa.literal(level).label("level"),
            sa.cast(number, sa.Text).label("serial_number"),
            lots.c.lot_number,
            sa.type_coerce(listed.c.value, sa.JSON).label("one"),
        )
        if level == UNIT:
            statement = statement.select_from(serials.join(lots, serials.c.lot_id == lots.c.id, isouter=True))
        statement = statement.join(listed, sa.true()).where(sa.cast(table.c[column], sa.Text) != "[]")
        if wanted is not None:
            name, value = wanted
            statement = statement.where(_text_of(connection, listed.c.value, name) == value)
        if lot_number is not None:
            statement = statement.where(lots.c.lot_number == lot_number)
        parts.append(statement)
    every = sa.union_all(*parts).subquery()
    return sa.select(every).order_by(every.c.lot_number, every.c.serial_number, sa.cast(every.c.one, sa.Text))


def _elements(connection: sa.Connection, column: sa.Column[Any]) -> Any:
    """A row for each element of a JSON array."""
    if connection.dialect.name == "sqlite":
        return sa.func.json_each(column).table_valued("value", name=f"{column.table.name}_each")
    elements = sa.func.jsonb_array_elements(column)
    return elements.table_valued("value", name=f"{column.table.name}_each").render_derived()


def _text_of(connection: sa.Connection, value: Any, name: str) -> sa.ColumnElement[str]:
    if connection.dialect.name == "sqlite":
        return sa.func.json_extract(value, f"$.{name}")
    return sa.func.jsonb_extract_path_text(value, name)
