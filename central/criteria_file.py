"""A file of criteria as a person writes it: one process, its criteria, and variants for some units."""

from pathlib import Path

from contracts.criteria import Criteria, subjects, unknown_unit
from documents.explain import validated
from documents.issues import SettingsError, did_you_mean, issue_at
from documents.reading import read_document


def read_criteria(path: Path) -> Criteria:
    """The criteria in a file. Raises SettingsError with every mistake at once, each with its place."""
    document = read_document(path)
    issues = list(document.issues)
    criteria = validated(Criteria, document, (), issues)
    for where, criterion in criteria.all_criteria() if criteria is not None else ():
        reason = unknown_unit(criterion)
        if reason is not None:
            issues.append(issue_at(document.place((*where, "unit")), (*where, "unit"), reason))
    if issues or criteria is None:
        raise SettingsError(issues)
    return criteria


def not_measured(path: Path, criteria: Criteria, measured: set[str]) -> SettingsError | None:
    """Criteria for what no stored record of the process holds: a name is spelled wrongly, or a machine is new."""
    document = read_document(path)
    issues = []
    for where, criterion in criteria.all_criteria():
        for name in subjects(str(where[-1]), criterion):
            if name not in measured:
                place = document.place(where, key=True)
                hint = did_you_mean(name, measured) or "--unmeasured takes it all the same"
                message = f"no record of {criteria.process} holds a measurement {name}"
                issues.append(issue_at(place, where, message, hint=hint))
    return SettingsError(issues) if issues else None
