"""A person with a scanner, made of software: reads the display, and scans what is asked for.

It works over the scanner's real line, from the same settings as the station; where the display stays dark it scans the
card that shows it again, as a person would.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from agent.dialogue.settings import NO_DEFECT, DefectCards, DialogueSettings, StepSettings
from agent.dialogue.state import Event
from contracts.errors import DataError
from contracts.measurement import Scalar
from drivers.base import Shown, Simulator
from drivers.template import as_text

LOOK_AGAIN_S = 3.0
"""A display that says nothing for so long is asked for by its card."""
_QUIET_S = 0.1
_PATIENCE = 3
"""Times that the same thing is refused."""
BADGE = "badge"

UseTool = Callable[[str, str, Any], Awaitable[None]]
"""Makes another machine of the station say a value: machine, point, value."""


class Operator:
    """Scans for one station. ``use_tool`` works the tools that steps are told from."""

    def __init__(self, name: str, settings: DialogueSettings, scanner: Simulator, use_tool: UseTool) -> None:
        if not isinstance(scanner, Shown):
            raise DataError(f"machine {name}: its protocol has no display, so nobody can be led by it")
        self._name = name
        self._settings = settings
        self._scanner = scanner
        self._display: Shown = scanner
        self._use_tool = use_tool

    async def work(self, answers: Mapping[str, Any], *, only_ask: bool = False) -> dict[str, Any]:
        """Take one unit through the dialogue. ``answers`` are values by step, beside ``serial_number``, ``badge`` and,

        for a rework, ``result``, ``return_to`` and ``reason``. Answers with ``cycle_key`` and ``outcome`` once the
        record is kept, and with ``answer`` where the unit was asked about. ``only_ask``: the unit is asked about, and
        given up. A unit that is in hand already is gone on with. Raises DataError where the station does not take what
        is scanned.
        """
        is_rework = answers.get("result") == "REWORK"
        shown = await self._look()
        is_in_hand = shown["step"] not in (BADGE, "serial_number")
        has_begun = is_in_hand and not is_rework and shown["serial_number"] == answers.get("serial_number")
        if (is_in_hand and not has_begun) or shown["message"] == "REWORK":
            shown = await self._scanned(self._settings.cards.cancel)
        before, refused = int(shown["number"]), 0
        told: dict[str, Any] = {}
        while True:
            event, step = shown["event"], shown["step"]
            if event == Event.STOPPED and has_begun:
                code = shown.get("code", "")
                return {"answer": {"granted": "false", "code": code, "serial_number": shown["serial_number"]}}
            if int(shown["number"]) > before and event in (Event.KEPT, Event.CANCELLED):
                if self._settings.asks() and not is_rework:
                    told["answer"] = {"granted": "true", "code": "", "serial_number": shown["serial_number"]}
                return {**told, "done": True, "cycle_key": int(shown["number"]), "outcome": shown.get("outcome", "")}
            refused = refused + 1 if event == Event.REFUSED else 0
            if refused > _PATIENCE:
                raise DataError(f"{self._name} refuses what is scanned: {shown.get('text_en') or shown.get('text_ko')}")
            if step == "":
                shown = await self._next() or await self._look()
                continue
            if step not in (BADGE, "serial_number") and self._settings.asks() and not is_rework and has_begun:
                told["answer"] = {"granted": "true", "code": "", "serial_number": shown["serial_number"]}
                if only_ask:
                    await self._scanned(self._settings.cards.cancel)
                    return told
            if step == "serial_number":
                if is_rework and shown["message"] != "REWORK" and self._settings.rework is not None:
                    shown = await self._scanned(self._settings.rework.card)
                    continue
                has_begun = True
            shown = await self._answered(step, answers)

    async def _answered(self, step: str, answers: Mapping[str, Any]) -> Mapping[str, str]:
        """Answer one step, and read what is shown then."""
        name = step.partition(".")[0]
        settings = self._settings.steps.get(name)
        if name not in answers and not (settings is not None and settings.defects is not None):
            raise DataError(f'{self._name} asks for {step}; give it: {{"values": {{"{name}": ...}}}}')
        value = answers.get(name, NO_DEFECT)
        if settings is not None and settings.source is not None:
            machine, _, point = settings.source.partition(".")
            await self._use_tool(machine, point, value)
            return await self._next() or await self._look()
        return await self._scanned(self._code(step, value, settings))

    def _code(self, step: str, value: Any, settings: StepSettings | None) -> str:
        """What is scanned to say this value."""
        if settings is not None and settings.cards is not None:
            return _card(settings.cards, value)
        if settings is not None and settings.defects is not None:
            return _defect_card(settings.defects, step, str(value))
        rework = self._settings.rework
        if step == "reason" and rework is not None and rework.reasons:
            return _card(rework.reasons, value)
        return as_text(value)

    async def _scanned(self, code: str) -> Mapping[str, str]:
        await self._scanner.cycle({self._settings.scan: code}, None)
        return await self._next() or await self._look()

    async def _next(self) -> Mapping[str, str] | None:
        return await self._display.shown(LOOK_AGAIN_S)

    async def _look(self) -> Mapping[str, str]:
        """What is shown now: asked for until there is an answer, since the station may not run yet."""
        while True:
            await self._scanner.cycle({self._settings.scan: self._settings.cards.prompt}, None)
            shown = await self._next()
            if shown is not None:
                while (later := await self._display.shown(_QUIET_S)) is not None:
                    shown = later  # what was shown as the station opened the line, say
                missing = {"event", "message", "step", "number", "serial_number"} - shown.keys()
                if missing:
                    raise DataError(
                        f"machine {self._name}: a simulated operator needs {{{min(missing)}}} in display.send"
                    )
                return shown


def _card(cards: Mapping[str, Scalar], value: Any) -> str:
    """The card that means this value; a value no card means is scanned as it is."""
    return next((card for card, meant in cards.items() if meant == value), as_text(value))


def _defect_card(defects: DefectCards, step: str, value: str) -> str:
    """For ``visual_defects.2.severity`` of ``scratch:minor:cover,dent:major:base``: the card of ``major``."""
    _, number, part = step.split(".")
    found = [] if value == NO_DEFECT else [one.split(":") for one in value.split(",")]
    if int(number) > len(found):
        return defects.end if found else defects.none
    names = [name for name, _ in defects.parts]
    cards = dict(defects.parts)[part]
    return _card(cards, dict(zip(names, found[int(number) - 1], strict=False)).get(part, ""))
