"""Revisions of criteria, as a table or lines for a person or as JSON for a program."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from central.show import moment, plain_table
from central.store import KeptRevision
from contracts.criteria import Criterion, Revision, Variant, in_force


def revisions_json(found: Sequence[KeptRevision]) -> str:
    """Every revision with what it says."""
    return json.dumps([_plain(one) for one in found], indent=2, ensure_ascii=False)


def _plain(one: KeptRevision) -> dict[str, Any]:
    said = one.revision.model_dump(mode="json", exclude_defaults=True)
    return {"process": one.process, "created_at": one.created_at.isoformat(), **said}


def revisions_table(found: Sequence[KeptRevision], now: datetime) -> Table:
    """Every revision, and which of a process is in force."""
    table = plain_table("process", "revision", "state", "in force from", "author", "reason")
    for one in found:
        of_process = [other.revision for other in found if other.process == one.process]
        table.add_row(
            Text(one.process),
            str(one.revision.number),
            _state(one.revision, of_process, now),
            moment(one.revision.effective_at),
            Text(one.revision.author),
            Text(one.revision.reason),
        )
    return table


def _state(revision: Revision, of_process: Sequence[Revision], now: datetime) -> str:
    if revision.effective_at > now:
        return "to come"
    return "in force" if revision == in_force(of_process, now) else "past"


def revision_lines(revision: Revision) -> Iterator[str]:
    """A revision as a person reads it."""
    criteria = revision.criteria
    yield f"{criteria.process} revision {revision.number}, in force from {moment(revision.effective_at)} UTC"
    yield f"by {revision.author}: {revision.reason}"
    yield from _criteria(criteria.criteria)
    for variant in criteria.variants:
        yield f"for {_scope(variant)}:"
        yield from _criteria(variant.criteria)


def _scope(variant: Variant) -> str:
    named = {"model": variant.product_model, "station": variant.station, "machine": variant.machine}
    return ", ".join(f"{what} {name}" for what, name in named.items() if name is not None)


def _criteria(criteria: Mapping[str, Criterion]) -> Iterator[str]:
    for name, criterion in criteria.items():
        warn = f", warns outside {criterion.warn.told()}" if criterion.warn is not None else ""
        yield f"  {name}: {criterion}{warn}{f' ({criterion.defect})' if criterion.defect else ''}"
