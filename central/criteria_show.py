"""Revisions of criteria, as a table or lines for a person or as JSON for a program."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from central.show import moment, plain_table
from central.store import KeptRevision
from central.trying import Tried, Yield
from central.verifying import Verified
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


def tried_lines(found: Tried, process: str, days: int) -> Iterator[str]:
    """What would become of the records."""
    yield f"{process}, the last {days} days: {found.records} records of products, {found.left} left as they are"
    for (before, after), count in sorted(found.outcomes.items()):
        if before != after:
            yield f"  {before} -> {after}: {count}"
    yield f"{found.changed} outcomes would change"
    for (name, before, after), count in sorted(found.verdicts.items()):
        yield f"  {name}: {before} -> {after}: {count}"
    yield f"first-pass yield of {found.before.judged} units: {_percent(found.before)} -> {_percent(found.after)}"
    for name, (before_, after_) in found.by_measurement.items():
        yield f"  {name}: {_percent(before_)} -> {_percent(after_)}"
    yield from found.told
    if found.changed > len(found.told):
        yield f"{found.changed - len(found.told)} more are not shown"


def tried_json(found: Tried) -> str:
    """The same for a program; shares are parts of 1."""
    plain = {
        "records": found.records,
        "left": found.left,
        "changed": found.changed,
        "outcomes": [{"before": b, "after": a, "records": count} for (b, a), count in sorted(found.outcomes.items())],
        "verdicts": [
            {"measurement": name, "before": b, "after": a, "records": count}
            for (name, b, a), count in sorted(found.verdicts.items())
        ],
        "first_pass": {"units": found.before.judged, "before": found.before.share, "after": found.after.share},
        "by_measurement": {
            name: {"before": before.share, "after": after.share}
            for name, (before, after) in found.by_measurement.items()
        },
        "examples": found.told,
    }
    return json.dumps(plain, indent=2, ensure_ascii=False)


def verified_lines(found: Verified) -> Iterator[str]:
    """Whether every stored verdict is what judge() says today."""
    yield f"{found.records} records: {found.equal} equal byte for byte, {found.different} different"
    if found.not_judged:
        yield f"{found.not_judged} were not judged by criteria"
    if found.older_equal or found.older_different:
        yield (
            f"by an earlier version of the judge: {found.older_equal} equal, {found.older_different} different, which "
            "proves nothing: that version may have judged otherwise"
        )
    if found.newer:
        yield f"{found.newer} by a later version of the judge than this program's: not repeated"
    yield from found.told


def _percent(share: Yield) -> str:
    return "none" if share.share is None else f"{share.share:.1%}"


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
