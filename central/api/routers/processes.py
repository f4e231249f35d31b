"""``/processes``: the steps of the line. Criteria written here become revisions, which stations are told of."""

from datetime import UTC, datetime
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Path, Response
from pydantic import Field, ValidationError

from central.api.changes import Change, Create
from central.api.current import CurrentService, needs
from central.api.errors import ApiError, answers, not_found
from central.api.models import Body, Out, Text, Whole
from central.api.paging import Id, Page
from central.store import processes
from central.store.users import Role
from contracts.base import ProcessCode
from contracts.criteria import Criteria, unknown_unit

router = APIRouter(prefix="/processes", tags=["processes"], responses=answers())
READ, WRITE, DELETE = [needs(Role.OPERATOR)], [needs(Role.MANAGER)], [needs(Role.ADMIN)]

Number = Annotated[int, Field(ge=1, le=8)]
ProcessName = Annotated[Text, Field(min_length=1, max_length=255)]
QualityCriteria = Annotated[
    dict[str, Any],
    Field(
        description="Measurement -> criterion, or {criteria, variants} as docs/criteria.md describes them",
        examples=[{"temperature": {"nominal": 60, "tolerance": 1, "unit": "degC"}}],
    ),
]


_ADDED = ("process", "revision", "effective_at")
"""What an answer's criteria hold beside what a person writes."""


class ProcessCreate(Body):
    """A new process."""

    process_number: Number
    process_code: Annotated[ProcessCode, Field(examples=["P03_SENSOR_INSPECTION"])]
    process_name_ko: ProcessName
    process_name_en: ProcessName
    description: Annotated[Text, Field(max_length=2000)] | None = None
    estimated_duration_seconds: Whole | None = None
    quality_criteria: QualityCriteria = Field(default_factory=dict)
    is_active: bool = True
    sort_order: Whole


class ProcessUpdate(Body):
    """What of a process changes; what is left out stays."""

    process_number: Number = 1
    process_code: ProcessCode = ""
    process_name_ko: ProcessName = ""
    process_name_en: ProcessName = ""
    description: Annotated[Text, Field(max_length=2000)] | None = None
    estimated_duration_seconds: Whole | None = None
    quality_criteria: QualityCriteria = Field(default_factory=dict)
    is_active: bool = True
    sort_order: Whole = 1


class ProcessOut(Out):
    """A process; ``quality_criteria`` are those of the revision in force."""

    id: int
    process_number: int
    process_code: str
    process_name_ko: str
    process_name_en: str
    description: str | None
    estimated_duration_seconds: int | None
    quality_criteria: dict[str, Any]
    is_active: bool
    sort_order: int
    created_at: datetime
    updated_at: datetime


def _found(row: sa.RowMapping | None, what: object) -> ProcessOut:
    if row is None:
        raise not_found("process", what)
    return ProcessOut.of(row)


@router.get("", dependencies=READ)
def list_processes(service: CurrentService, page: Page) -> list[ProcessOut]:
    """Every process."""
    with service.store.reading() as connection:
        return ProcessOut.many(page.of(connection, processes.listing()))


@router.post("", dependencies=WRITE, status_code=201, response_model=ProcessOut, responses=answers(409))
def create_process(body: ProcessCreate, change: Create) -> Response:
    """Add a process."""
    values = body.values()
    criteria = criteria_of(body.process_code, values.pop("quality_criteria"))

    def make(connection: sa.Connection) -> ProcessOut:
        return _found(processes.create(connection, values, criteria, change.author.name or "", datetime.now(UTC)), "")

    return change.once(make)


@router.get("/active", dependencies=READ)
def list_active(service: CurrentService) -> list[ProcessOut]:
    """Those in use."""
    with service.store.reading() as connection:
        return ProcessOut.many(connection.execute(processes.listing(active=True)).mappings())


@router.get("/sequence", dependencies=READ)
def list_in_sequence(service: CurrentService) -> list[ProcessOut]:
    """Those in use, in the order a unit goes through them."""
    with service.store.reading() as connection:
        return ProcessOut.many(connection.execute(processes.listing(active=True, in_sequence=True)).mappings())


@router.get("/number/{process_number}", dependencies=READ, responses=answers(404))
def process_of_number(process_number: Annotated[int, Path(ge=1, le=2**31 - 1)], service: CurrentService) -> ProcessOut:
    """The one of a number."""
    with service.store.reading() as connection:
        return _found(processes.by_number(connection, process_number), process_number)


@router.get("/code/{process_code}", dependencies=READ, responses=answers(404))
def process_of_code(process_code: str, service: CurrentService) -> ProcessOut:
    """The one of a code."""
    with service.store.reading() as connection:
        return _found(processes.by_code(connection, process_code), process_code)


@router.get("/{id}", dependencies=READ, responses=answers(404))
def process(id: Id, service: CurrentService) -> ProcessOut:
    """One of them."""
    with service.store.reading() as connection:
        return _found(processes.by_id(connection, id), id)


@router.put("/{id}", dependencies=WRITE, responses=answers(404, 409))
def update_process(id: Id, body: ProcessUpdate, change: Change) -> ProcessOut:
    """Change what is given. Other criteria become the next revision, in force at once; the same ones change nothing.

    A number or a code that records name stays.
    """
    values = body.values()
    written = values.pop("quality_criteria", None)
    with change.writing() as connection:
        before = _found(processes.by_id(connection, id), id)
        code = values.get("process_code", before.process_code)
        if written == {} and before.quality_criteria:
            raise _bad(("body", "quality_criteria"), "no criteria: nothing could pass")
        criteria = None if written is None else criteria_of(code, written)
        author = change.author.name or ""
        return _found(processes.update(connection, id, values, criteria, author, datetime.now(UTC)), id)


@router.delete("/{id}", dependencies=DELETE, status_code=204, responses=answers(404, 409))
def delete_process(id: Id, change: Change) -> None:
    """Delete one that neither records nor criteria name."""
    with change.writing() as connection:
        if not processes.delete(connection, id):
            raise not_found("process", id)


def criteria_of(process_code: str, written: dict[str, Any]) -> Criteria | None:
    """Criteria as a person sends them, plain or with variants; None where there are none. Raises ApiError (422) with
    every mistake."""
    if not written:
        return None
    if written.keys() & {"criteria", "variants"}:
        wanted = {name: value for name, value in written.items() if name not in _ADDED}
    else:
        wanted = {"criteria": written}
    try:
        criteria = Criteria.model_validate({"process": process_code, **wanted})
    except ValidationError as error:
        fields = [
            {"loc": ["body", "quality_criteria", *one["loc"]], "msg": one["msg"], "type": one["type"]}
            for one in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise ApiError(422, "VALIDATION_ERROR", fields) from error
    for where, criterion in criteria.all_criteria():
        reason = unknown_unit(criterion)
        if reason is not None:
            raise _bad(("body", "quality_criteria", *where, "unit"), reason)
    return criteria


def _bad(where: tuple[str | int, ...], message: str) -> ApiError:
    return ApiError(422, "VALIDATION_ERROR", [{"loc": list(where), "msg": message, "type": "criteria"}])
