"""Machines with a ``dialogue``: what fits beside it, the tools that its steps are told ``from``, and its view."""

from collections.abc import Iterator, Mapping

from agent.dialogue.settings import DialogueSettings
from agent.dialogue.view import REWORK, DialogueView, view_of
from agent.settings.machine import MachineKeys, MachineSettings, PointEquals, ReworkSettings
from documents.document import Document
from documents.issues import Issue, KeyPath, did_you_mean, issue_at, one_of
from drivers.base import PointSettings, ProtocolSettings

_MADE_BY_IT = {
    "unit": "what is scanned first is the unit",
    "tables": "a dialogue makes no tables",
    "cycle_key": "a dialogue counts its results itself",
    "counter_modulus": "a dialogue counts its results itself",
    "cycle_time": "a dialogue measures no time",
    "rework": "write dialogue.rework",
    "aborted": "the card dialogue.cards.cancel does that",
    "reject_label": "the permit says whether it is one",
    "measurements": "every step is a measurement",
}


def bare(keys: MachineKeys) -> MachineKeys:
    """The keys as far as they are about the scanner's own points: none of a dialogue's are."""
    return keys if keys.dialogue is None else keys.model_copy(update={"machine_verdict": None, "reprint": None})


def filled(keys: MachineKeys) -> MachineKeys:
    """The keys with what a dialogue means filled in."""
    if keys.dialogue is None:
        return keys
    update: dict[str, object] = {"cycle_key": "number", "aborted": PointEquals(point="aborted", value=True)}
    if keys.dialogue.rework is not None:
        update["rework"] = ReworkSettings(point="result", value=REWORK, return_to="return_to", reason="reason")
    return keys.model_copy(update=update)


def optional_points(keys: MachineKeys) -> frozenset[str]:
    """Measurements that a good result may lack: what is not asked of every unit, and the reason of a reprint."""
    found = set() if keys.reprint is None else {keys.reprint.reason}
    if keys.dialogue is not None:
        found |= {"taken_back", *(name for name, step in keys.dialogue.steps.items() if step.is_conditional)}
    return frozenset(found)


def check_dialogue(document: Document, path: KeyPath, keys: MachineKeys, settings: ProtocolSettings) -> Iterator[Issue]:
    """One machine's own dialogue."""
    dialogue = keys.dialogue
    if dialogue is None:
        return
    default = MachineKeys.model_validate({"protocol": keys.protocol})
    for key, why in _MADE_BY_IT.items():
        if getattr(keys, key) != getattr(default, key):
            where = (*path, key)
            yield issue_at(document.place(where, key=True), where, f"not beside a dialogue: {why}")
    if not keys.records:
        where = (*path, "records")
        yield issue_at(document.place(where), where, "a dialogue makes records", hint="take records: false away")
    if settings.asking() is not None:
        where = (*path, "interlock")
        message = "a scanner with a dialogue asks by it"
        yield issue_at(document.place(where, key=True), where, message, hint="write dialogue.interlock")
    if dialogue.scan not in settings.points:
        where = (*path, "dialogue", "scan")
        message = f'unknown point "{dialogue.scan}"'
        hint = did_you_mean(dialogue.scan, settings.points)
        yield issue_at(document.place(where), where, message, expected=one_of(settings.points), hint=hint)


def check_tools(
    document: Document, machines: Mapping[str, MachineKeys], complete: Mapping[str, MachineSettings]
) -> Iterator[Issue]:
    """What steps are told ``from``: a point of another machine, which makes no records and works for nobody else."""
    hired = {companion.machine for machine in machines.values() for companion in machine.companions}
    hired |= {machine.unit.scanner for machine in machines.values() if machine.unit.scanner is not None}
    owner: dict[str, str] = {}
    for name, machine in machines.items():
        steps = {} if machine.dialogue is None else machine.dialogue.steps
        for step_name, step in steps.items():
            if step.source is None:
                continue
            where: KeyPath = ("machines", name, "dialogue", "steps", step_name, "from")
            place = document.place(where)
            tool, _, point = step.source.partition(".")
            if tool == name:
                yield issue_at(
                    place, where, "the scanner itself is no tool: its scans are answered by pattern or cards"
                )
            elif tool not in machines:
                hint = did_you_mean(tool, machines)
                yield issue_at(place, where, f'unknown machine "{tool}"', expected=one_of(list(machines)), hint=hint)
            elif machines[tool].records:
                hint = f"write records: false at machines.{tool}"
                yield issue_at(place, where, f'"{tool}" makes records of its own, so it tells no step', hint=hint)
            elif tool in hired or owner.setdefault(tool, name) != name:
                yield issue_at(place, where, f'"{tool}" works for another machine already')
            elif tool in complete and complete[tool].protocol_settings.longest_job_s is not None:
                hint = "list it as a companion: it is asked once all is scanned"
                yield issue_at(place, where, f'"{tool}" speaks only when it is asked', hint=hint)
            elif tool in complete and point not in complete[tool].protocol_settings.points:
                known = list(complete[tool].protocol_settings.points)
                hint = did_you_mean(point, known)
                message = f'machine "{tool}" has no point "{point}"'
                yield issue_at(place, where, message, expected=one_of(known), hint=hint)


def tools_of(machines: Mapping[str, MachineKeys]) -> set[str]:
    """The machines that steps are told from."""
    return {
        step.source.partition(".")[0]
        for machine in machines.values()
        for step in (() if machine.dialogue is None else machine.dialogue.steps.values())
        if step.source is not None
    }


def told_from(dialogue: DialogueSettings | None, tool: str) -> set[str]:
    """The points of this machine that steps are told from."""
    sources = (
        [] if dialogue is None else [step.source.partition(".") for step in dialogue.steps.values() if step.source]
    )
    return {point for machine, _, point in sources if machine == tool}


def with_tools(machine: MachineSettings, machines: Mapping[str, MachineSettings]) -> MachineSettings:
    """The machine, its answers with the units that its tools' points have."""
    view = machine.protocol_settings
    if not isinstance(view, DialogueView):
        return machine
    points: dict[str, PointSettings] = {
        f"{name}.{point}": settings
        for name, other in machines.items()
        if name != machine.name
        for point, settings in other.protocol_settings.points.items()
    }
    return machine.model_copy(update={"protocol_settings": view_of(view.dialogue, view.scanner, points)})
