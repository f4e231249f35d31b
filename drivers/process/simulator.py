"""A tool made of software: a real process that prints what the settings look for, and can hang, crash or babble."""

import json
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from contracts.measurement import Scalar
from drivers.base import Fault, RawValue
from drivers.fields.build import built
from drivers.process.settings import ProcessSettings, RunPoint

TOOL = Path(__file__).with_name("tool.py")
_FAULTS = {Fault.ANSWER_LATE: "hang", Fault.DROP_LINK: "crash", Fault.NOISE: "noise"}


class ProcessSimulator:
    """Stands in for ``run.program``, in a folder of its own, whatever the arguments are."""

    faults = frozenset(_FAULTS)

    def __init__(self, machine: str, settings: ProcessSettings) -> None:
        self._machine = machine
        self._settings = settings
        self._folder: Path | None = None
        self._values: dict[str, RawValue | None] = {}
        self._exit_code = settings.verdict.passed[0]

    async def start(self) -> Mapping[str, str | int]:
        """See Simulator.start."""
        self._folder = Path(tempfile.mkdtemp(prefix=f"{self._machine}-"))
        program = self.program
        command = shlex.join([sys.executable, "-I", "-S", str(TOOL), str(self._folder)])
        program.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
        program.chmod(0o700)
        self._plan()
        return {"run.program": str(program)}

    async def cycle(self, values: Mapping[str, RawValue | None], cycle_key: Scalar | None) -> None:  # noqa: ARG002
        """Set what the tool prints from now on, and how it ends: ``{"upload_result": "FAIL"}``. Returns at once.

        Of the facts of a run ``verdict`` and ``exit_code`` can be set. Raises ValueError for the others, and for a
        value that the output cannot hold.
        """
        given = dict(values)
        for name, value in values.items():
            point = self._settings.points[name]
            if isinstance(point, RunPoint):
                self._exit_code = self._exits(name, point, value)
                del given[name]
        self._values.update(given)
        self._plan()

    async def misbehave(self, fault: Fault) -> None:
        """See Simulator.misbehave."""
        if fault not in _FAULTS:
            raise ValueError(f"machine {self._machine}: {fault} is no fault of this machine")
        self._write("fault", _FAULTS[fault])

    async def stop(self) -> None:
        """See Simulator.stop."""
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def program(self) -> Path:
        """The executable file that stands in for the tool."""
        assert self._folder is not None
        return self._folder / "tool"

    @property
    def runs(self) -> list[list[str]]:
        """The arguments of each run so far."""
        assert self._folder is not None
        file = self._folder / "runs.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def _exits(self, name: str, point: RunPoint, value: RawValue | None) -> int:
        meaning = self._settings.verdict
        if point.run == "exit_code" and isinstance(value, int):
            return value
        codes = {"PASS": meaning.passed, "FAIL": meaning.failed}.get(str(value), ())
        if point.run != "verdict" or not codes:
            raise ValueError(f"machine {self._machine}, point {name}: {point.run} cannot be set to {value!r}")
        return codes[0]

    def _plan(self) -> None:
        rules = self._settings.output
        output = b""
        if rules is not None:
            output = b"".join(built(self._values, rules, kind) + b"\n" for kind in rules.kinds or (None,))
        self._write("next.json", json.dumps({"output": output.hex(), "exit": self._exit_code}))

    def _write(self, name: str, text: str) -> None:
        """Whole or not at all: a tool may be reading."""
        assert self._folder is not None
        new = self._folder / f"{name}.new"
        new.write_text(text, encoding="utf-8")
        new.replace(self._folder / name)
