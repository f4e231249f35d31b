"""Settings of a tool: how it is started, what its end means, when it is tried again, what is taken from its output."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)

from contracts.duration import Duration
from drivers.base import JOB_NAMES, NeededFile, PointSettings, ProtocolSettings, Strict
from drivers.fields.examples import check_examples
from drivers.fields.settings import FieldPoint, FieldSettings, KindSettings, MessageSettings
from drivers.kinds import UNKNOWN, Kind, Kinds, kinds_of
from drivers.template import Template, names_in

RunFact = Literal[
    "verdict",
    "exit_code",
    "attempts",
    "duration",
    "output",
    "attempt_verdicts",
    "attempt_exit_codes",
    "attempt_durations",
]
ATTEMPT = "attempt"
DURATION_UNIT = "s"
_DURATIONS = ("duration", "attempt_durations")
ExitCode = Annotated[int, Field(ge=0, le=255)]
ExitCodes = Annotated[tuple[ExitCode, ...], Field(strict=False)]


def _absolute(path: str) -> str:
    if not path.startswith("/") or "\x00" in path:
        raise ValueError("the whole path is needed, one that begins with /")
    return path


class RunSettings(Strict):
    """The tool and how it is started. No shell is between: each argument arrives as it is written here."""

    program: Annotated[str, AfterValidator(_absolute)]
    """The tool's executable file, with its whole path."""
    arguments: Annotated[tuple[Template, ...], Field(strict=False)] = ()
    """Its arguments, one by one. ``{serial_number}``, ``{lot_number}``, ``{product_model}``, ``{date}``, what the
    unit's permit says of ``{firmware}`` and ``{firmware_checksum}``, and the number of the ``{attempt}`` are filled in;
    a value may hold no ``/`` and begin no argument with ``-``."""
    environment: Mapping[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str] = {}
    """Environment variables, beside PATH, HOME and LANG; nothing else of the station's own reaches the tool."""
    directory: Annotated[str, AfterValidator(_absolute)] = "/"
    """The folder it is started in."""
    time_limit: Annotated[Duration, Field(gt=0)] = 60.0
    """Longest time for one attempt. Then the tool is ended, with every process it started."""

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        known = {*JOB_NAMES, ATTEMPT}
        for place, argument in enumerate(self.arguments):
            for name in sorted(names_in(argument) - known):
                raise ValueError(f"arguments.{place}: unknown name {{{name}}}; there are {', '.join(sorted(known))}")
            if "\0" in argument:
                raise ValueError(f"arguments.{place}: no argument can hold a zero byte")
        return self


class VerdictSettings(Strict):
    """What an attempt's end means. A code that is not listed is no verdict: the station cannot judge (ERROR)."""

    passed: Annotated[ExitCodes, Field(alias="pass", min_length=1)] = (0,)
    """Exit codes of a tool that did its work."""
    failed: Annotated[ExitCodes, Field(alias="fail")] = ()
    """Exit codes that say something about the unit."""
    hang: Literal["error", "fail"] = "error"
    """An attempt that its time limit ended: a fault of the station, or of the unit."""

    @model_validator(mode="after")
    def _one_meaning(self) -> Self:
        both = sorted(set(self.passed) & set(self.failed))
        if both:
            raise ValueError(f"fail: exit code {both[0]} cannot mean pass and fail")
        return self


class RetrySettings(Strict):
    """When the tool is started again for the same unit. Every attempt is told in the record."""

    attempts: Annotated[int, Field(ge=1, le=20)] = 1
    """How often at most, the first time included."""
    pause: Annotated[Duration, Field(ge=0)] = 1.0
    """Wait between two attempts."""
    exit_codes: ExitCodes | None = None
    """After which exit codes; without it after every one that is no pass. A hang or a crash is always tried again."""


class OutputPoint(FieldPoint):
    """A value in what the tool prints, found as in a message of a serial machine."""

    when_failed: StrictBool | StrictInt | StrictFloat | StrictStr | None = None
    """The value for a tool that failed and did not print it. Without it such a record is an ERROR where the point is
    judged, for nobody knows the value."""

    @property
    def kinds(self) -> Kinds:
        """See PointSettings.kinds: the value may be that of ``when_failed`` too."""
        printed = super().kinds
        return printed if printed == UNKNOWN or self.when_failed is None else printed | kinds_of(self.when_failed)


class RunPoint(PointSettings):
    """A fact about the run itself."""

    run: RunFact
    """``verdict`` (PASS or FAIL), ``exit_code`` and ``output`` (its last 4000 characters) of the last attempt;
    ``attempts``, their number; ``duration`` of all, in s. ``attempt_verdicts`` (PASS, FAIL, ERROR),
    ``attempt_exit_codes`` (below 0: ended by that signal) and ``attempt_durations`` are lists, one value per attempt:
    the columns of a table."""

    @property
    def kinds(self) -> Kinds:
        """See PointSettings.kinds."""
        if self.run.startswith("attempt_"):
            return frozenset({Kind.LIST})
        return frozenset({Kind.TEXT if self.run in ("verdict", "output") else Kind.NUMBER})

    @model_validator(mode="after")
    def _unit_of_its_own(self) -> Self:
        if self.unit is not None and not (self.run in _DURATIONS and self.unit == DURATION_UNIT):
            raise ValueError(f"unit: only {' and '.join(_DURATIONS)} have one, and it is {DURATION_UNIT}")
        return self


class ProcessSettings(ProtocolSettings):
    """A command-line tool that is run for each unit."""

    run: RunSettings
    verdict: VerdictSettings = VerdictSettings()
    retry: RetrySettings = RetrySettings()
    message: MessageSettings = MessageSettings(format="whole")
    """How the output is divided: as one text, or line by line where there are ``kinds``."""
    kinds: Mapping[str, KindSettings] = {}
    """The kinds of line that matter, by name; a line of no kind is left out."""
    points: Annotated[Mapping[str, OutputPoint | RunPoint], Field(min_length=1)]
    """What is taken from a run: a fact about it (``run``), or a value in its output."""

    @property
    def longest_job_s(self) -> float:
        """See ProtocolSettings.longest_job_s: every attempt up to its limit, and the pauses between."""
        return self.retry.attempts * self.run.time_limit + (self.retry.attempts - 1) * self.retry.pause

    def needed_files(self) -> Mapping[str, NeededFile]:
        return {
            "run.program": NeededFile(Path(self.run.program), "install the tool, or correct its name"),
            "run.directory": NeededFile(Path(self.run.directory), "make the folder, or correct its name"),
        }

    @cached_property
    def output(self) -> FieldSettings | None:
        """The rules for the output; None where no point is taken from it."""
        points = {name: point for name, point in self.points.items() if isinstance(point, OutputPoint)}
        return FieldSettings(message=self.message, kinds=self.kinds, points=points) if points else None

    @model_validator(mode="after")
    def _output_can_be_understood(self) -> Self:
        try:
            if self.output is not None:
                check_examples(self.output)
        except ValidationError as error:
            raise ValueError(str(error.errors()[0]["msg"]).removeprefix("Value error, ")) from error
        return self
