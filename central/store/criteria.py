"""Revisions of the processes' criteria: written once, in force from their time on."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError

from central.store.database import Author, Database
from central.store.tables import criteria_revisions, process_data, processes
from contracts.criteria import Criteria, Publication, Revision, in_force, to_publish
from contracts.errors import DataError

LARGEST = 64 * 1024
"""Bytes of one revision. Stations are told of the one in force and of those to come in one message."""
LOOKED_AT = 1000
"""Records of a process whose measurements tell what its machines measure."""


@dataclass(frozen=True)
class KeptRevision:
    """A revision as it is kept: of which process, and since when it is written down."""

    process: str
    revision: Revision
    created_at: datetime


class CriteriaRevisions:
    """The criteria of every process, revision by revision. Raises what the store raises."""

    def __init__(self, database: Database, epoch: Callable[[], str]) -> None:
        self._database = database
        self._epoch = epoch
        self._held: tuple[int, list[KeptRevision]] = (0, [])

    def add(self, criteria: Criteria, author: str, reason: str, effective_at: datetime | None = None) -> Revision:
        """Write the next revision of a process; without ``effective_at`` it takes effect now.

        Raises DataError where the process is not known, or the time lies in the past: records were judged by then.
        """
        with self._database.writing(Author(name=author)) as connection:
            return add_revision(connection, criteria, author, reason, effective_at)

    def kept(self, process: str | None = None) -> list[KeptRevision]:
        """Every revision, or those of one process, in the order of process and number."""
        with self._database.reading() as connection:
            return _kept(connection, process)

    def publications(self) -> list[Publication]:
        """What stations are told now, of every process with revisions; what came into force stands in ``processes``."""
        now = datetime.now(UTC)
        with self._database.reading() as connection:
            newest = connection.execute(sa.select(sa.func.max(criteria_revisions.c.id))).scalar_one() or 0
            if newest != self._held[0]:
                self._held = newest, _kept(connection, None)
            due = _overdue(connection, self._held[1], now)
        if due:
            with self._database.writing(Author(name="criteria")) as connection:
                _enforce(connection, due, now)
        epoch = self._epoch()
        return [_publication(process, found, epoch, now) for process, found in _by_process(self._held[1]).items()]

    def code_of(self, process: str) -> str:
        """The code of a process named by it, or by what stands before its first ``_`` (P03). Raises DataError."""
        with self._database.reading() as connection:
            codes: list[str] = list(connection.execute(sa.select(processes.c.process_code)).scalars())
        found = [code for code in codes if process in (code, code.split("_", maxsplit=1)[0])]
        if len(found) != 1:
            raise DataError(f"{process} names no single process; one of {', '.join(sorted(codes))} is needed")
        return found[0]

    def measured(self, process: str) -> set[str]:
        """What the latest records of a process hold."""
        with self._database.reading() as connection:
            return _measured(connection, process)


def _kept(connection: sa.Connection, process: str | None) -> list[KeptRevision]:
    """Every revision, or those of one process, in the order of process and number."""
    wanted = (
        sa.select(processes.c.process_code, criteria_revisions)
        .join_from(criteria_revisions, processes)
        .order_by(processes.c.process_number, criteria_revisions.c.number)
    )
    if process is not None:
        wanted = wanted.where(processes.c.process_code == process)
    return [KeptRevision(row.process_code, _revision(row), row.created_at) for row in connection.execute(wanted)]


def add_revision(
    connection: sa.Connection, criteria: Criteria, author: str, reason: str, effective_at: datetime | None = None
) -> Revision:
    """Write the next revision of a process; without ``effective_at`` it takes effect now.

    Raises DataError where the process is not known, or the time lies in the past: records were judged by then.
    """
    now = datetime.now(UTC)
    if len(criteria.model_dump_json(exclude_defaults=True)) > LARGEST:
        raise DataError(f"criteria of more than {LARGEST} bytes: stations could not be told")
    if effective_at is not None and effective_at < now:
        raise DataError(f"{effective_at.isoformat()} lies in the past: records have been judged since")
    # The row's lock keeps two writers from taking the same number; SQLite has one writer.
    found = connection.execute(
        sa.select(processes.c.id).where(processes.c.process_code == criteria.process).with_for_update()
    ).scalar_one_or_none()
    if found is None:
        raise DataError(f"unknown process {criteria.process}")
    last = sa.select(sa.func.max(criteria_revisions.c.number)).where(criteria_revisions.c.process_id == found)
    number = (connection.execute(last).scalar_one() or 0) + 1
    begins = effective_at or now
    revision = Revision(number=number, criteria=criteria, author=author, reason=reason, effective_at=begins)
    row = {
        "process_id": found,
        "number": number,
        "criteria": criteria.model_dump_json(exclude_defaults=True),
        "author": author,
        "reason": reason,
        "effective_at": begins,
        "created_at": now,
    }
    connection.execute(sa.insert(criteria_revisions), [row])
    return revision


def in_force_at(connection: sa.Connection, process: str, at: datetime) -> Revision | None:
    """The revision of a process's criteria that is in force at this moment."""
    row = connection.execute(_in_force(process, at, processes.c.process_code, criteria_revisions)).one_or_none()
    return None if row is None else _revision(row)


def revision_in_force(connection: sa.Connection, process: str, at: datetime) -> str | None:
    """The name of the revision of a process's criteria that is in force at this moment."""
    number = connection.execute(_in_force(process, at, criteria_revisions.c.number)).scalar_one_or_none()
    return None if number is None else str(number)


def _in_force(process: str, at: datetime, *columns: Any) -> sa.Select[Any]:
    """``in_force`` as the database finds it: the others are not read, a process may have many."""
    return (
        sa.select(*columns)
        .select_from(criteria_revisions.join(processes))
        .where(processes.c.process_code == process, criteria_revisions.c.effective_at <= at)
        .order_by(criteria_revisions.c.effective_at.desc(), criteria_revisions.c.number.desc())
        .limit(1)
    )


def _publication(process: str, revisions: Sequence[Revision], epoch: str, at: datetime) -> Publication:
    issued = max(one.number for one in revisions)
    return Publication(process=process, epoch=epoch, issued=issued, revisions=to_publish(revisions, at))


def _overdue(connection: sa.Connection, revisions: list[KeptRevision], at: datetime) -> dict[str, dict[str, Any]]:
    """Processes whose ``quality_criteria`` are not the revision in force, each with what should stand there."""
    found: dict[str, dict[str, Any]] = {}
    rows = connection.execute(sa.select(processes.c.process_code, processes.c.quality_criteria))
    stands = {row.process_code: row.quality_criteria for row in rows}
    for process, of_process in _by_process(revisions).items():
        now = in_force(of_process, at)
        if now is not None and stands[process].get("revision") != now.number:
            found[process] = shown(now)
    return found


def shown(revision: Revision) -> dict[str, Any]:
    """A revision as it stands in ``processes.quality_criteria``."""
    body = json.loads(revision.criteria.model_dump_json(exclude_defaults=True))
    return {"revision": revision.number, "effective_at": revision.effective_at.isoformat(), **body}


def _enforce(connection: sa.Connection, due: Mapping[str, Mapping[str, Any]], now: datetime) -> None:
    """Let them stand in ``processes``."""
    for process, body in due.items():
        change = sa.update(processes).where(processes.c.process_code == process)
        connection.execute(change.values(quality_criteria=body, updated_at=now))


def _measured(connection: sa.Connection, process: str) -> set[str]:
    latest = (
        sa.select(process_data.c.measurements)
        .join_from(process_data, processes)
        .where(processes.c.process_code == process)
        .order_by(process_data.c.started_at.desc())
        .limit(LOOKED_AT)
    )
    return {name for (measurements,) in connection.execute(latest) for name in measurements}


def _revision(row: Any) -> Revision:
    try:
        criteria = Criteria.model_validate_json(row.criteria)
    except ValidationError as error:
        raise DataError(f"criteria revision {row.number} of {row.process_code} is not understood: {error}") from error
    return Revision(
        number=row.number,
        criteria=criteria,
        author=row.author,
        reason=row.reason,
        effective_at=row.effective_at,
    )


def _by_process(revisions: list[KeptRevision]) -> dict[str, list[Revision]]:
    found: dict[str, list[Revision]] = {}
    for one in revisions:
        found.setdefault(one.process, []).append(one.revision)
    return found
