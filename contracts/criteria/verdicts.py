"""The words of a judgement."""

from enum import StrEnum


class Outcome(StrEnum):
    """What became of one cycle. ERROR: the station could not judge; it is not a FAIL and never a PASS."""

    PASS = "PASS"
    FAIL = "FAIL"
    REWORK = "REWORK"
    ERROR = "ERROR"
    ABORTED = "ABORTED"


class Verdict(StrEnum):
    """The judgement of one measurement. WARN: inside the limits, and outside those that warn."""

    PASS = "PASS"
    WARN = "WARN"
    FAIL = "FAIL"
    ERROR = "ERROR"
    NOT_JUDGED = "NOT_JUDGED"


class MachineVerdict(StrEnum):
    """What the machine itself said of the unit."""

    PASS = "PASS"
    FAIL = "FAIL"
