"""Quality criteria and ``judge()``: the one comparator of the project.

``rules`` says what a criterion may be, ``judging`` what becomes of a record, ``revisions`` what is in force when.
Numbers are compared as decimals, from the shortest text that reads back as the same float: 61.0 is inside 60 +/- 1.
Nothing is rounded on the way.
"""

from contracts.criteria.judging import JUDGE_VERSION, Judgement, MeasurementVerdict, judge
from contracts.criteria.revisions import Criteria, Publication, Revision, Variant, in_force, to_publish
from contracts.criteria.rules import (
    CriteriaRevision,
    CriteriaSet,
    Criterion,
    Table,
    Warn,
    cannot_compute,
    subjects,
    unknown_unit,
)
from contracts.criteria.units import fits
from contracts.criteria.verdicts import MachineVerdict, Outcome, Verdict

__all__ = [
    "JUDGE_VERSION",
    "Criteria",
    "CriteriaRevision",
    "CriteriaSet",
    "Criterion",
    "Judgement",
    "MachineVerdict",
    "MeasurementVerdict",
    "Outcome",
    "Publication",
    "Revision",
    "Table",
    "Variant",
    "Verdict",
    "Warn",
    "cannot_compute",
    "fits",
    "in_force",
    "judge",
    "subjects",
    "to_publish",
    "unknown_unit",
]
