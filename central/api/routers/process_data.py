"""``/process-data``: results of processes, those of stations and those that people entered.

An operator sees and changes the own ones, a manager all.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from central.api.changes import Change, Create
from central.api.current import CurrentService, CurrentSession, Service, Session, needs
from central.api.errors import ApiError, answers
from central.api.exporting import CSV, as_csv
from central.api.paging import Id, Page
from central.api.periods import Between
from central.api.process_bodies import ProcessDataCreate, ProcessDataOut, ProcessDataUpdate, ResultWord, outcome_of
from central.api.spreadsheet import XLSX, as_xlsx
from central.entry_fields import understood
from central.store import production_data as data
from central.store import production_entries as entries
from central.store import tables
from central.store.incomplete import incomplete_entries
from central.store.refusing import RefusedError, RoleError
from central.store.rows import STARTED
from central.store.users import Role
from contracts.measurement import Measurement

router = APIRouter(prefix="/process-data", tags=["process-data"], responses=answers())
READ, DELETE = [needs(Role.OPERATOR)], [needs(Role.ADMIN)]
EXPORTED = (
    "id", "lot_number", "serial_number", "process_number", "process_code", "data_level", "part", "result", "outcome",
    "measurements", "defects", "started_at", "completed_at", "cycle_time_seconds", "username", "station", "machine",
    "entered_by", "notes", "created_at",
)  # fmt: skip


def _own(session: Session) -> list[sa.ColumnElement[bool]]:
    """What of a list this user may see."""
    every = session.user.role.includes(Role.MANAGER)
    return [] if every else [tables.process_data.c.operator_id == session.user.id]


def _listed(
    service: Service, session: Session, page: Page, *conditions: sa.ColumnElement[bool]
) -> list[ProcessDataOut]:
    with service.store.reading() as connection:
        return ProcessDataOut.many(page.of(connection, data.listing().where(*_own(session), *conditions)))


def _not_anothers(session: Session, row: sa.RowMapping) -> None:
    if not session.user.role.includes(Role.MANAGER) and row["operator_id"] != session.user.id:
        raise RoleError("NOT_YOUR_DATA", "an operator sees and changes the own process data alone")


def _operator(connection: sa.Connection, session: Session, operator_id: int) -> str:
    if operator_id != session.user.id and not session.user.role.includes(Role.MANAGER):
        raise RoleError("OPERATOR_IS_NOT_YOU", "a manager alone enters what another operator did")
    return data.operator_name(connection, operator_id)


def _measurements(process: str, given: dict[str, Any]) -> tuple[Measurement, ...]:
    found, problems = understood(process, given)
    if problems:
        fields = [
            {"loc": ["body", "measurements", *where.split(".")], "msg": what, "type": "entry_field"}
            for where, what in problems
        ]
        raise ApiError(422, "VALIDATION_ERROR", fields)
    return found


@router.get("", dependencies=READ)
def list_process_data(service: CurrentService, session: CurrentSession, page: Page) -> list[ProcessDataOut]:
    """Every result and start."""
    return _listed(service, session, page)


@router.post("", dependencies=READ, status_code=201, response_model=ProcessDataOut, responses=answers(404, 409))
def create_process_data(
    body: ProcessDataCreate, service: CurrentService, session: CurrentSession, change: Create
) -> Response:
    """Enter a result or a start. What breaks the route as things stand is refused with the rule's code."""
    now = datetime.now(UTC)
    began = body.started_at or now - timedelta(seconds=body.cycle_time_seconds or 0)
    service.store.provide_months([began])

    def make(connection: sa.Connection) -> ProcessDataOut:
        people = service.store.decisions(connection)
        result = entries.Result(
            outcome=outcome_of(body.result, body.outcome),
            operator=_operator(connection, session, body.operator_id),
            started_at=began,
            completed_at=body.completed_at,
            cycle_time_seconds=body.cycle_time_seconds,
            measurements=_measurements(data.process_code(connection, body.process_id), body.measurements),
            defects=tuple(body.defects or ()),
            process_order=body.process_order,
            notes=body.notes,
            return_process=body.return_process,
        )
        subject = entries.Subject(
            lot_id=body.lot_id, process_id=body.process_id, data_level=body.data_level, serial_id=body.serial_id
        )
        made = entries.enter(
            people, session.user.username, subject, result, manager=session.user.role.includes(Role.MANAGER)
        )
        return ProcessDataOut.of(data.by_id(connection, made))

    return change.once(make)


@router.get("/failures", dependencies=READ)
def list_failures(service: CurrentService, session: CurrentSession, page: Page) -> list[ProcessDataOut]:
    """Those that failed."""
    return _listed(service, session, page, tables.process_data.c.result == ResultWord.FAIL.value)


@router.get("/incomplete", dependencies=READ)
def list_incomplete(service: CurrentService, session: CurrentSession, page: Page) -> list[ProcessDataOut]:
    """What was started and has no result, the oldest first: starts that people entered, and permits of stations."""
    with service.store.reading() as connection:
        rows = incomplete_entries(connection, _own(session), data.listing())
    page.total(len(rows))
    return [ProcessDataOut.of(row) for row in rows[page.skip : page.skip + page.limit]]


@router.get("/date-range", dependencies=READ)
def list_between(
    service: CurrentService, session: CurrentSession, page: Page, between: Between
) -> list[ProcessDataOut]:
    """Those that began between two days or moments."""
    began = tables.process_data.c.started_at
    return _listed(service, session, page, began >= between.since, began < between.until)


@router.get("/export.csv", dependencies=READ, response_class=StreamingResponse, responses=CSV)
def export_process_data(service: CurrentService, session: CurrentSession) -> StreamingResponse:
    """The list as CSV, whole."""
    return as_csv(service.store, "process-data", EXPORTED, data.listing().where(*_own(session)))


@router.get("/export.xlsx", dependencies=READ, response_class=StreamingResponse, responses=XLSX)
def export_process_data_spreadsheet(service: CurrentService, session: CurrentSession) -> StreamingResponse:
    """The list as a spreadsheet, whole; at most 100,000 rows."""
    return as_xlsx(service.store, "process-data", EXPORTED, data.listing().where(*_own(session)))


@router.get("/serial/{serial_id}", dependencies=READ)
def list_of_serial(serial_id: Id, service: CurrentService, session: CurrentSession, page: Page) -> list[ProcessDataOut]:
    """Those of a unit."""
    return _listed(service, session, page, tables.process_data.c.serial_id == serial_id)


@router.get("/serial/{serial_id}/process/{process_id}", dependencies=READ, responses=answers(404))
def last_of_serial(serial_id: Id, process_id: Id, service: CurrentService, session: CurrentSession) -> ProcessDataOut:
    """A unit's latest one at a process."""
    with service.store.reading() as connection:
        row = data.last_of(connection, serial_id, process_id, *_own(session))
    return ProcessDataOut.of(row)


@router.get("/lot/{lot_id}", dependencies=READ)
def list_of_lot(lot_id: Id, service: CurrentService, session: CurrentSession, page: Page) -> list[ProcessDataOut]:
    """Those of a LOT and of its units."""
    return _listed(service, session, page, tables.process_data.c.lot_id == lot_id)


@router.get("/process/{process_id}", dependencies=READ)
def list_of_process(
    process_id: Id, service: CurrentService, session: CurrentSession, page: Page
) -> list[ProcessDataOut]:
    """Those of a process."""
    return _listed(service, session, page, tables.process_data.c.process_id == process_id)


@router.get("/result/{result}", dependencies=READ)
def list_of_result(
    result: ResultWord, service: CurrentService, session: CurrentSession, page: Page
) -> list[ProcessDataOut]:
    """Those of a result."""
    return _listed(service, session, page, tables.process_data.c.result == result.value)


@router.get("/operator/{operator_id}", dependencies=READ)
def list_of_operator(
    operator_id: Id, service: CurrentService, session: CurrentSession, page: Page
) -> list[ProcessDataOut]:
    """Those of an operator."""
    return _listed(service, session, page, tables.process_data.c.operator_id == operator_id)


@router.get("/{process_data_id}", dependencies=READ, responses=answers(404))
def process_data(process_data_id: Id, service: CurrentService, session: CurrentSession) -> ProcessDataOut:
    """One of them."""
    with service.store.reading() as connection:
        row = data.by_id(connection, process_data_id)
    _not_anothers(session, row)
    return ProcessDataOut.of(row)


@router.put("/{process_data_id}", dependencies=READ, responses=answers(404, 409))
def update_process_data(
    process_data_id: Id,
    body: ProcessDataUpdate,
    service: CurrentService,
    session: CurrentSession,
    change: Change,
) -> ProcessDataOut:
    """End a start with its result, or correct a result: the record stays as it came, and the correction counts."""
    if body.started_at is not None:
        service.store.provide_months([body.started_at])
    with change.writing() as connection:
        people = service.store.decisions(connection)
        row = data.by_id(connection, process_data_id)
        _not_anothers(session, row)
        for name in ("lot_id", "serial_id", "process_id", "data_level"):
            if getattr(body, name) not in (None, row[name]):
                raise RefusedError(
                    "RECORD_BELONGS", f"{name}: a record stays where it belongs: delete it, enter another"
                )
        changes = _changes(connection, session, body, row)
        if body.return_process is not None and row["outcome"] == STARTED:
            changes["return_process"] = body.return_process
        manager = session.user.role.includes(Role.MANAGER)
        if row["outcome"] == STARTED:
            entries.finish(people, session.user.username, row, changes, manager=manager)
        elif changes:
            entries.correct(people, session.user.username, row, changes, body.reason, manager=manager)
        return ProcessDataOut.of(data.by_id(connection, process_data_id))


def _changes(
    connection: sa.Connection, session: Session, body: ProcessDataUpdate, row: sa.RowMapping
) -> dict[str, Any]:
    """What is given, as fields of a Result."""
    given = body.model_fields_set
    plain = ("cycle_time_seconds", "process_order", "notes")
    found: dict[str, Any] = {name: getattr(body, name) for name in plain if name in given}
    for name in ("started_at", "completed_at"):
        moment = getattr(body, name)
        if moment is not None:
            found[name] = moment
    outcome = outcome_of(body.result, body.outcome)
    if outcome is not None:
        found["outcome"] = outcome
    if body.measurements is not None:
        found["measurements"] = _measurements(row["process_code"] or "", body.measurements)
    if body.defects is not None:
        found["defects"] = tuple(body.defects)
    if body.operator_id is not None:
        found["operator"] = _operator(connection, session, body.operator_id)
    began, ended = found.get("started_at", row["started_at"]), found.get("completed_at", row["completed_at"])
    if ended is not None and ended < began:
        fields = [{"loc": ["body", "completed_at"], "msg": "it lies before started_at", "type": "value_error"}]
        raise ApiError(422, "VALIDATION_ERROR", fields)
    return found


@router.delete("/{process_data_id}", dependencies=DELETE, status_code=204, responses=answers(404, 409))
def delete_process_data(process_data_id: Id, service: CurrentService, session: CurrentSession, change: Change) -> None:
    """Take it out of what counts. The record itself stays as it came."""
    with change.writing() as connection:
        entries.delete(service.store.decisions(connection), session.user.username, process_data_id, "deleted")
