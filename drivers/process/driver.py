"""A command-line tool as a machine that works on request: run for each unit, tried again, and judged by its exit."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from contracts.errors import DataError
from contracts.measurement import Quality, Scalar
from drivers.base import LinkError, MachineEvent, PointValue, Reading, SetupError
from drivers.fields.messages import Message, kind_of, values_of
from drivers.fields.settings import FieldSettings
from drivers.process.running import Run, run
from drivers.process.settings import ATTEMPT, OutputPoint, ProcessSettings, RunPoint
from drivers.template import as_text, names_in, render

Verdict = Literal["PASS", "FAIL", "ERROR"]
_OUTPUT_KEPT = 4000
"""Characters of the output in a record: what went wrong stands at its end."""
_OWN_ENVIRONMENT = ("PATH", "HOME")


@dataclass(frozen=True)
class Attempt:
    """One run, and what it means."""

    run: Run
    verdict: Verdict


class ProcessDriver:
    """Implements Driver and Performing. A tool makes no results by itself: next_event() waits for ever."""

    def __init__(self, machine: str, settings: ProcessSettings) -> None:
        self._machine = machine
        self._settings = settings
        self._open = False
        self._closed = asyncio.Event()
        self._at_work = asyncio.Lock()

    async def open(self) -> None:
        """See that the tool is there and may be run. See Driver.open; raises SetupError alone."""
        if self._open:
            raise RuntimeError(f"machine {self._machine}: open() on a driver that is open")
        self._check_tool()
        self._open = True
        self._closed.clear()

    async def next_event(self) -> MachineEvent:
        """Wait until the driver is closed, and raise LinkError then."""
        self._check_open()
        await self._closed.wait()
        raise LinkError(f"{self._where} is closed")

    async def read(self, event: MachineEvent) -> Reading:  # noqa: ARG002 - nothing has happened between jobs
        """Every point has a problem, for nothing was run."""
        self._check_open()
        return self._without_values("nothing was run")

    async def perform(self, job: Mapping[str, Scalar]) -> Reading:
        """Run the tool for one unit, as often as the settings say. Raises LinkError when the driver is closed.

        A job that is cancelled ends the tool and every process it started before it returns.
        """
        self._check_open()
        settings = self._settings
        async with self._at_work:
            attempts: list[Attempt] = []
            while len(attempts) < settings.retry.attempts:
                if attempts:
                    await asyncio.sleep(settings.retry.pause)
                try:
                    arguments = self._arguments({**job, ATTEMPT: len(attempts) + 1})
                except KeyError as error:
                    return self._without_values(f"not run: the arguments name {error.args[0]}, and this job has none")
                except ValueError as error:
                    return self._without_values(f"not run: {error}")
                found = await run(
                    settings.run.program,
                    arguments,
                    environment=self._environment(),
                    directory=settings.run.directory,
                    limit_s=settings.run.time_limit,
                )
                attempts.append(Attempt(found, self._verdict(found)))
                if not self._again(attempts[-1]):
                    break
            return self._reading(attempts)

    async def close(self) -> None:
        """See Driver.close. A job in hand is its caller's to cancel."""
        self._open = False
        self._closed.set()

    def _check_tool(self) -> None:
        program, directory = Path(self._settings.run.program), Path(self._settings.run.directory)
        if not program.is_file():
            raise SetupError(f"{self._where} is not there: install the tool, or correct run.program")
        if not os.access(program, os.X_OK):
            raise SetupError(f"{self._where} may not be run by this user: chmod +x, or correct run.program")
        if not directory.is_dir():
            raise SetupError(f"machine {self._machine}: folder {directory} is not there: correct run.directory")

    def _check_open(self) -> None:
        if not self._open:
            raise LinkError(f"{self._where} is not open")

    @property
    def _where(self) -> str:
        return f"machine {self._machine}: program {self._settings.run.program}"

    def _arguments(self, values: Mapping[str, Scalar]) -> list[str]:
        """Raises KeyError for a value the job does not have, ValueError for one that could mean more than itself."""
        for name in sorted({name for argument in self._settings.run.arguments for name in names_in(argument)}):
            text = as_text(values[name])
            if "/" in text or not text.isprintable():
                raise ValueError(f"{name} is {text!r}: a value in an argument holds no / and no control character")
        filled: list[str] = []
        for argument in self._settings.run.arguments:
            text = render(argument, values, as_text)
            if text.startswith("-") and not argument.startswith("-"):
                raise ValueError(f"argument {text!r} would be taken for an option: its value begins with -")
            filled.append(text)
        return filled

    def _environment(self) -> Mapping[str, str]:
        own = {name: os.environ[name] for name in _OWN_ENVIRONMENT if name in os.environ}
        return {**own, "LANG": "C.UTF-8", **self._settings.run.environment}

    def _verdict(self, found: Run) -> Verdict:
        meaning = self._settings.verdict
        if found.hung:
            return "FAIL" if meaning.hang == "fail" else "ERROR"
        if found.problem is not None:
            return "ERROR"
        if found.exit_code in meaning.passed:
            return "PASS"
        return "FAIL" if found.exit_code in meaning.failed else "ERROR"

    def _again(self, attempt: Attempt) -> bool:
        wanted = self._settings.retry.exit_codes
        if attempt.verdict == "PASS" or not attempt.run.is_certain:
            return False  # of a tool that may still write, a second one would be on the same device
        return wanted is None or attempt.run.problem is not None or attempt.run.exit_code in wanted

    # -- what is told ------------------------------------------------------------------------------------------------

    def _reading(self, attempts: list[Attempt]) -> Reading:
        last = attempts[-1]
        values = self._printed(last)
        for name, point in self._settings.points.items():
            if isinstance(point, RunPoint):
                values[name] = self._fact(point, attempts)
        return Reading(datetime.now(UTC), values, raw=_log(attempts))

    def _fact(self, point: RunPoint, attempts: list[Attempt]) -> PointValue:
        last = attempts[-1]
        facts: Mapping[str, PointValue] = {
            "verdict": self._judged(last),
            "exit_code": _known(last.run.exit_code, last.run.problem),
            "attempts": PointValue(len(attempts)),
            "duration": PointValue(round(sum(attempt.run.duration_s for attempt in attempts), 3)),
            "output": PointValue(_text(last.run.output)[-_OUTPUT_KEPT:]),
            "attempt_verdicts": PointValue([attempt.verdict for attempt in attempts]),
            "attempt_exit_codes": _list([attempt.run.exit_code for attempt in attempts], "was never started"),
            "attempt_durations": PointValue([attempt.run.duration_s for attempt in attempts]),
        }
        return facts[point.run]

    def _judged(self, attempt: Attempt) -> PointValue:
        if attempt.verdict != "ERROR":
            return PointValue(attempt.verdict)
        if attempt.run.problem is not None:
            return _without(f"{self._where}: {attempt.run.problem}")
        code = attempt.run.exit_code
        return _without(f"{self._where}: exit code {code} means neither pass nor fail; list it under verdict")

    def _printed(self, attempt: Attempt) -> dict[str, PointValue]:
        """The points found in an attempt's output."""
        rules = self._settings.output
        if rules is None:
            return {}
        output = _lines(attempt.run.output)
        messages = [Message(output)] if not rules.kinds else _of_known_kinds(output, rules)
        values = values_of(messages, rules, attempt.run.problem)
        if attempt.verdict == "FAIL":
            for name, point in rules.points.items():
                assert isinstance(point, OutputPoint)
                if values[name].value is None and point.when_failed is not None:
                    values[name] = PointValue(point.when_failed)
        return values

    def _without_values(self, problem: str) -> Reading:
        point = _without(f"machine {self._machine}: {problem}")
        return Reading(datetime.now(UTC), dict.fromkeys(self._settings.points, point))


def _of_known_kinds(output: bytes, rules: FieldSettings) -> list[Message]:
    """Tools are talkative: a line of no kind means nothing."""
    found: list[Message] = []
    for line in output.splitlines():
        try:
            kind = kind_of(line, rules)
        except DataError:
            continue
        if kind is None or rules.kinds[kind].role != "ignore":
            found.append(Message(line, kind))
    return found


def _lines(output: bytes) -> bytes:
    """With plain line ends: a progress bar goes back to the begin of its line."""
    return output.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _text(output: bytes) -> str:
    return "".join(
        character if character.isprintable() or character == "\n" else "\N{REPLACEMENT CHARACTER}"
        for character in _lines(output).decode("utf-8", errors="replace").strip()
    )


def _log(attempts: list[Attempt]) -> bytes:
    """What every attempt printed, and how it ended."""
    parts: list[bytes] = []
    for number, attempt in enumerate(attempts, start=1):
        end = attempt.run.problem or f"exit code {attempt.run.exit_code}"
        parts.append(
            attempt.run.output.rstrip() + f"\n-- attempt {number}: {end}, {attempt.run.duration_s} s\n".encode()
        )
    return b"".join(parts)


def _known(value: int | None, problem: str | None) -> PointValue:
    return PointValue(value) if value is not None else _without(problem or "no value")


def _list(values: list[int | None], problem: str) -> PointValue:
    known = [value for value in values if value is not None]
    return PointValue(list[Scalar](known)) if len(known) == len(values) else _without(f"an attempt {problem}")


def _without(problem: str) -> PointValue:
    return PointValue(None, quality=Quality.BAD, problem=problem)
