"""What a machine's settings demand of golden samples: which there are, what has to become of them, and how often."""

import json
import re
from collections.abc import Mapping
from datetime import time
from hashlib import sha256
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from agent.shifts import ShiftStart, Zone
from contracts.base import Name, ProcessCode, RegularExpression
from contracts.criteria import CriteriaSet, Criterion, Outcome
from contracts.patterns import compiled
from drivers.base import Strict

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


class Sample(Strict):
    """A golden sample of the machine."""

    pattern: Annotated[RegularExpression, Field(min_length=1, max_length=500)]
    """The whole of its number, as the machine or a scanner reads it: ``GOLDEN-P03-.*``. It is no product then."""
    must: Literal["pass", "fail"] = "pass"
    """What has to become of it: ``fail`` for a part that is known to be bad, and has to be found."""
    criteria: Mapping[Name, Criterion] = {}
    """What it is judged by, as docs/criteria.md says. None: by the criteria of every unit."""

    @property
    def wanted(self) -> Outcome:
        """The outcome of a good check."""
        return Outcome.PASS if self.must == "pass" else Outcome.FAIL

    def criteria_set(self, process: ProcessCode) -> CriteriaSet | None:
        """The sample's own criteria; their revision names their content. None: it has none."""
        if not self.criteria:
            return None
        written = {name: criterion.model_dump(exclude_defaults=True) for name, criterion in self.criteria.items()}
        canonical = json.dumps(written, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        revision = f"golden-{sha256(canonical.encode()).hexdigest()[:12]}"
        return CriteriaSet(process=process, revision=revision, criteria=self.criteria)


class Golden(Strict):
    """The machine starts units only while its golden samples were measured in time, and as they have to be."""

    samples: Annotated[Mapping[str, Sample], Field(min_length=1)]
    """Each of them, by name: every one has to be measured."""
    shifts: tuple[ShiftStart, ...] = ()
    """When the shifts begin, ``[08:00, 20:00]``: due in every one."""
    timezone: Zone | None = None
    """By which clock the shifts begin: ``Asia/Seoul``. None: by this computer's."""
    cycles: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Due after so many of the machine's results."""

    @model_validator(mode="after")
    def _is_due_at_times(self) -> Self:
        for name in self.samples:
            if not _NAME.fullmatch(name):
                raise ValueError(f"samples: {name!r} is no name; letters, digits, _ and - are, at most 64")
        if not self.shifts and self.cycles is None:
            raise ValueError("when are the samples due? give shifts, for example [08:00, 20:00], or cycles")
        if len(set(self.shifts)) < len(self.shifts):
            raise ValueError("shifts: the same start twice")
        return self

    @property
    def starts(self) -> tuple[time, ...]:
        """When shifts begin."""
        return tuple(time.fromisoformat(start) for start in self.shifts)

    def sample_of(self, serial_number: str | None) -> tuple[str, Sample] | None:
        """The sample that has this number, with its name."""
        if serial_number is None:
            return None
        found = self.samples.items()
        return next((one for one in found if compiled(one[1].pattern).fullmatch(serial_number)), None)
