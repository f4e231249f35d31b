"""``/criteria``: what every unit of a process is judged by, revision by revision."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field

from central.api.changes import Create
from central.api.current import CurrentService, Service, needs
from central.api.errors import ApiError, answers, not_found
from central.api.models import Body
from central.api.paging import Page
from central.api.routers.processes import QualityCriteria, criteria_of
from central.store import KeptRevision
from central.store.criteria import add_revision
from central.store.users import Role
from central.trying import Tried, Yield, try_criteria
from contracts.base import UtcTime
from contracts.criteria import Criteria, Revision, in_force
from contracts.errors import DataError

router = APIRouter(prefix="/criteria", tags=["criteria"], responses=answers())
READ, WRITE = [needs(Role.OPERATOR)], [needs(Role.MANAGER)]

Process = Annotated[str, Path(max_length=50, examples=["P03"], description="A process's code, or P03 for short")]


class RevisionOut(BaseModel):
    """One unchanging version of a process's criteria. ``in_force``: units are judged by it now."""

    process_code: str
    number: int
    criteria: dict[str, Any]
    author: str
    reason: str
    effective_at: datetime
    created_at: datetime | None
    in_force: bool


class RevisionCreate(Body):
    """The next revision of a process."""

    quality_criteria: QualityCriteria
    reason: Annotated[str, Field(min_length=1, max_length=1000, examples=["sensor type B"])]
    effective_at: Annotated[UtcTime | None, Field(description="Without it, at once")] = None


class CriteriaToTry(Body):
    """Criteria that are not in force, and the records to judge by them."""

    quality_criteria: QualityCriteria
    days: Annotated[int, Field(ge=1, le=3660)] = 90


class Share(BaseModel):
    """Of the first records of units: how many there are, how many passed, and their share."""

    judged: int
    passed: int
    share: float | None


class TriedOut(BaseModel):
    """What would change, and the first-pass yield before and after."""

    records: int
    left: int
    changed: int
    outcomes: list[dict[str, str | int]]
    before: Share
    after: Share
    examples: list[str]


def _code(service: Service, process: str) -> str:
    try:
        return service.store.criteria.code_of(process)
    except DataError as error:
        raise not_found("process", process[:50]) from error


def _told(found: Iterable[KeptRevision]) -> list[RevisionOut]:
    kept = list(found)
    now = datetime.now(UTC)
    valid = {
        process: in_force([one.revision for one in kept if one.process == process], now)
        for process in {one.process for one in kept}
    }
    return [_out(one.process, one.revision, one.created_at, valid[one.process]) for one in kept]


def _out(process: str, revision: Revision, created_at: datetime | None, valid: Revision | None) -> RevisionOut:
    body = revision.criteria.model_dump(mode="json", exclude_defaults=True, exclude={"process"})
    return RevisionOut(
        process_code=process,
        number=revision.number,
        criteria=body,
        author=revision.author,
        reason=revision.reason,
        effective_at=revision.effective_at,
        created_at=created_at,
        in_force=valid is not None and valid.number == revision.number,
    )


@router.get("", dependencies=READ, responses=answers(404))
def list_criteria(
    service: CurrentService, page: Page, process: Annotated[str | None, Query(max_length=50)] = None
) -> list[RevisionOut]:
    """Every revision, of all processes or of one, in the order of process and number."""
    code = None if process is None else _code(service, process)
    return list(page.cut(_told(service.store.criteria.kept(code))))


@router.get("/{process}", dependencies=READ, responses=answers(404))
def criteria_in_force(process: Process, service: CurrentService) -> RevisionOut:
    """What units of a process are judged by now."""
    found = [one for one in _told(service.store.criteria.kept(_code(service, process))) if one.in_force]
    if not found:
        raise not_found("criteria in force for", process)
    return found[0]


@router.post("/{process}", dependencies=WRITE, status_code=201, response_model=RevisionOut, responses=answers(404, 409))
def revise(process: Process, body: RevisionCreate, service: CurrentService, change: Create) -> Response:
    """Write the next revision of a process; stations are told at once, also of one that takes effect later."""
    code = _code(service, process)
    criteria = _criteria(code, body.quality_criteria)

    def make(connection: sa.Connection) -> RevisionOut:
        made = add_revision(connection, criteria, change.author.name or "", body.reason, body.effective_at)
        return _out(code, made, datetime.now(UTC), made if made.effective_at <= datetime.now(UTC) else None)

    return change.once(make)


@router.post("/{process}/try", dependencies=WRITE, responses=answers(404))
def try_on_records(process: Process, body: CriteriaToTry, service: CurrentService) -> TriedOut:
    """Judge stored records again by other criteria. Nothing is written."""
    code = _code(service, process)
    criteria = _criteria(code, body.quality_criteria)
    until = datetime.now(UTC)
    since = until - timedelta(days=body.days)
    measured = service.store.measured_by_machines(since, until, code)
    with service.store.records(since, until, code) as records:
        return _tried(try_criteria(records, criteria, measured))


def _criteria(code: str, written: dict[str, Any]) -> Criteria:
    criteria = criteria_of(code, written)
    if criteria is None:
        bad = {"loc": ["body", "quality_criteria"], "msg": "no criteria: nothing could pass", "type": "criteria"}
        raise ApiError(422, "VALIDATION_ERROR", [bad])
    return criteria


def _tried(found: Tried) -> TriedOut:
    return TriedOut(
        records=found.records,
        left=found.left,
        changed=found.changed,
        outcomes=[
            {"before": before, "after": after, "count": count}
            for (before, after), count in sorted(found.outcomes.items())
        ],
        before=_share(found.before),
        after=_share(found.after),
        examples=found.told,
    )


def _share(of: Yield) -> Share:
    return Share(judged=of.judged, passed=of.passed, share=of.share)
