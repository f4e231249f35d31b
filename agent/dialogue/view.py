"""A machine with a dialogue as everything above the driver sees it: its points are the answers, not the scans."""

from collections.abc import Mapping
from typing import Any

from pydantic import InstanceOf

from agent.dialogue.settings import NO_DEFECT, DialogueSettings, StepSettings
from drivers.base import NeededFile, PointSettings, ProtocolSettings, SharedLine
from drivers.interlock import Interlock, Request
from drivers.kinds import Kind, Kinds

REWORK = "REWORK"


class AnswerPoint(PointSettings):
    """One answer of a dialogue. ``kinds_known``: what its values may be."""

    kinds_known: frozenset[Kind] = frozenset()
    type: str | None = None

    @property
    def kinds(self) -> Kinds:
        """See PointSettings.kinds."""
        return self.kinds_known


class DialogueView(ProtocolSettings):
    """``scanner`` are the settings of the machine that scans. A result waits until it is on disk, and asks before."""

    points: Mapping[str, PointSettings]
    scanner: InstanceOf[ProtocolSettings]
    dialogue: DialogueSettings
    acknowledge: bool = True
    interlock: Interlock[Any] | None = None

    @property
    def result_points(self) -> Mapping[str, PointSettings]:
        """See ProtocolSettings.result_points."""
        return {name: point for name, point in self.points.items() if name != "request"}

    def referenced_points(self) -> Mapping[str, str]:
        """See ProtocolSettings.referenced_points."""
        return {} if self.interlock is None else {"interlock.request.point": "request"}

    def shared_line(self) -> SharedLine | None:
        """See ProtocolSettings.shared_line."""
        return self.scanner.shared_line()

    def needed_files(self) -> Mapping[str, NeededFile]:
        """See ProtocolSettings.needed_files."""
        return self.scanner.needed_files()

    def warnings(self) -> Mapping[str, str]:
        """See ProtocolSettings.warnings."""
        return self.scanner.warnings()


def view_of(dialogue: DialogueSettings, scanner: ProtocolSettings, tools: Mapping[str, PointSettings]) -> DialogueView:
    """The machine as it is judged. ``tools``: the points that steps are told ``from``, as far as they are known."""
    text = AnswerPoint(kinds_known=frozenset({Kind.TEXT}))
    number = AnswerPoint(kinds_known=frozenset({Kind.NUMBER}), type="int")
    points: dict[str, PointSettings] = {
        "serial_number": text,
        "operator": text,
        "number": number,
        "aborted": AnswerPoint(kinds_known=frozenset({Kind.TRUTH})),
        "taken_back": AnswerPoint(kinds_known=frozenset({Kind.LIST})),
    }
    if dialogue.rework is not None:
        points |= {"result": text, "return_to": text, "reason": text}
    interlock = None
    if dialogue.interlock is not None:
        points["request"] = number
        interlock = Interlock[Any](
            request=Request(point="request"),
            answer=None,
            enabled=dialogue.interlock.enabled,
            serial_number="serial_number",
            limit=f"{dialogue.interlock.limit}s",  # type: ignore[arg-type]  # as YAML writes it
            offline=dialogue.interlock.offline,
        )
    points |= {name: _point(step, tools) for name, step in dialogue.steps.items()}
    return DialogueView(points=points, scanner=scanner, dialogue=dialogue, interlock=interlock)


def _point(step: StepSettings, tools: Mapping[str, PointSettings]) -> PointSettings:
    tool = tools.get(step.source or "")
    return step if tool is None else AnswerPoint(unit=tool.unit, kinds_known=tool.kinds)


def defect_codes(dialogue: DialogueSettings, values: Mapping[str, object]) -> Mapping[str, str]:
    """The codes of defects that were scanned, by step."""
    found = {name: values.get(name) for name, step in dialogue.steps.items() if step.defect}
    return {name: code for name, code in found.items() if isinstance(code, str) and code != NO_DEFECT}
