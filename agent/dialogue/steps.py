"""The dialogue itself: where it stands and what happens -> where it stands then. Pure.

A unit is done only when every step that is asked of it has an answer that its settings allow; what is cancelled or
takes too long is done too, as ABORTED. Nothing else leads to a record.
"""

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from pydantic import TypeAdapter, ValidationError

from agent.dialogue.moves import (
    LONGEST_CODE,
    accepted,
    done,
    idle,
    no_number,
    operator_of,
    printable,
    same,
    saying,
    shift_end,
    stopped,
    taken_back,
)
from agent.dialogue.settings import NO_DEFECT, DefectCards, DialogueSettings
from agent.dialogue.state import (
    Event,
    Input,
    Kept,
    NoAnswer,
    PermitAnswer,
    Phase,
    Said,
    Scan,
    State,
    TimePassed,
    ToolValue,
)
from contracts.base import SerialNumber
from contracts.identity import lot_of_serial
from contracts.measurement import Scalar
from contracts.patterns import compiled
from contracts.serial_form import SerialForm

_serial: TypeAdapter[str] = TypeAdapter(SerialNumber)
_MOST_DEFECTS = 50
_REWORK_BEGUN = timedelta(minutes=1)
"""A rework whose card was scanned and no unit after it is forgotten: the next unit is another operator's work."""

_USUAL_NUMBERS = ("WF-KR-241118D-001-0001", "SN-241118-001")
"""Units' numbers as they are in the field: a pattern that fits them, ``.*``, tells no part from a unit."""

_ANY_WORDS = ("read again", "READ AGAIN", "READ-AGAIN", "readagain", "READAGAIN")
"""A pattern that fits one of them is for what people say in their own words, and tells nothing by its form."""

Turn = tuple[State, bool]
"""Where the dialogue stands now, and whether the operator is to be told."""


class Dialogue:
    """The rules of one station's dialogue. ``form``: what its serial numbers look like."""

    def __init__(self, settings: DialogueSettings, form: SerialForm) -> None:
        self.settings = settings
        self._form = form
        self._words = SerialForm(None, form.no_read)
        self._rules = sha256(settings.model_dump_json().encode()).hexdigest()[:16]
        self._orders = {"work": tuple(settings.steps), "rework": ("return_to", "reason")}

    def begin(self) -> State:
        """Where a dialogue stands that never was."""
        return State(rules=self._rules)

    def resumed(self, state: State, at: datetime) -> State:
        """Where a dialogue goes on that was kept: as it was, unless its settings are others now. Half a unit scanned

        by other rules is given up: ABORTED, never judged.
        """
        if state.rules == self._rules:
            return state
        if state.phase is Phase.STEPS and state.flow == "work":
            state = done(state, at, f"the settings changed, at {state.step}", "CHANGED")
        elif state.phase in (Phase.ASKED, Phase.STEPS) or (state.flow == "rework" and state.phase is Phase.IDLE):
            state = idle(state, Said(event=Event.CANCELLED, message="CHANGED"))
        return state.model_copy(update={"rules": self._rules})

    def turn(self, state: State, happened: Input) -> Turn:
        """What becomes of it. Never raises; what is not understood changes nothing but what the operator is told."""
        match happened:
            case Scan():
                state, timed = self._timed(state, happened.at)
                after, told = self._scan(state, happened)
                return after, told or timed
            case ToolValue():
                state, timed = self._timed(state, happened.at)
                after, told = self._tool(state, happened)
                return after, told or timed
            case PermitAnswer():
                return self._permitted(state, happened)
            case NoAnswer():
                if state.phase is not Phase.ASKED:
                    return state, False
                return stopped(state, Said(event=Event.STOPPED, message="NO_ANSWER")), True
            case Kept():
                return self._kept(state, happened)
            case TimePassed():
                return self._timed(state, happened.at)

    def due(self, state: State) -> datetime | None:
        """When ``TimePassed`` changes something; None: never."""
        if state.phase is Phase.IDLE:
            begun = None if state.flow == "work" or state.asked_at is None else state.asked_at + _REWORK_BEGUN
            return min((moment for moment in (begun, state.operator_until) if moment is not None), default=None)
        if state.phase is not Phase.STEPS or state.asked_at is None or state.begun_at is None:
            return None
        step = self.settings.steps.get(state.step or "")
        step_s = self.settings.step_timeout if step is None or step.timeout is None else step.timeout
        return min(
            state.asked_at + timedelta(seconds=step_s), state.begun_at + timedelta(seconds=self.settings.timeout)
        )

    def wanted(self, state: State) -> str:
        """What is asked for, by name: a step, ``visual_defects.2.severity``, ``badge``, ``serial_number``."""
        if state.phase is Phase.IDLE:
            badge = self.settings.badge
            return "badge" if badge is not None and badge.required and state.operator is None else "serial_number"
        if state.phase is not Phase.STEPS or state.step is None:
            return ""
        if state.step not in self.settings.steps:
            return state.step
        defects = self.settings.steps[state.step].defects
        if defects is None:
            return state.step
        count = len(state.defects.get(state.step, ())) + 1
        return f"{state.step}.{count}.{defects.parts[len(state.part)][0]}"

    # -- scans -------------------------------------------------------------------------------------------------------

    def _scan(self, state: State, scan: Scan) -> Turn:
        code, cards = scan.code.strip(), self.settings.cards
        if self._is_double(state, code, scan.at):
            return state, False
        if code == cards.prompt or state.phase in (Phase.ASKED, Phase.DONE):
            return state, True
        if not code or len(code) > LONGEST_CODE or not code.isprintable():
            return self._refused(state, "UNREADABLE", code=printable(scan.code))
        if code == cards.cancel:
            return self._cancelled(accepted(state, code, scan.at), scan.at, "cancelled by the operator", "CANCELLED")
        if code == cards.back:
            return self._back(accepted(state, code, scan.at), scan.at)
        badge = self.settings.badge
        if badge is not None and (operator := operator_of(badge, code)) is not None:
            until = shift_end(badge, scan.at)
            state = accepted(state, code, scan.at, operator=operator, operator_until=until)
            return saying(state, Event.ASK, "SIGNED_IN", operator=operator), True
        if state.phase is Phase.IDLE:
            return self._begin(state, code, scan.at)
        return self._answered(state, code, scan.at)

    def _is_double(self, state: State, code: str, at: datetime) -> bool:
        if state.last_code != code or state.last_code_at is None:
            return False
        return timedelta() <= at - state.last_code_at <= timedelta(seconds=self.settings.double_read)

    def _begin(self, state: State, code: str, at: datetime) -> Turn:
        """No unit is in hand: this is one, or the card that begins a rework."""
        settings = self.settings
        if self.wanted(state) == "badge":
            return self._refused(state, "SIGN_IN")
        rework = settings.rework
        if state.flow == "rework" and rework is not None:
            if (why := self._no_unit(code)) is not None:
                return self._refused(state, why, code=code)
            answers = {"return_to": rework.return_to[0]} if len(rework.return_to) == 1 else {}
            return self._onward(accepted(state, code, at, serial_number=code, answers=answers, begun_at=at), at), True
        if rework is not None and code == rework.card:
            state = accepted(state, code, at, flow="rework", asked_at=at)
            return saying(state, Event.ASK, "REWORK"), True
        if (why := self._no_unit(code)) is not None:
            return self._refused(state, why, code=code)
        if not settings.asks() and code == state.passed:
            return self._refused(state, "SAME_UNIT", code=code)
        state = accepted(state, code, at, serial_number=code, begun_at=at)
        if settings.asks():
            asked = state.model_copy(update={"phase": Phase.ASKED, "request": state.request + 1})
            return saying(asked, Event.WAIT, "ASKING", serial_number=code), True
        return self._onward(state, at), True

    def _no_unit(self, code: str) -> str | None:
        """Why this is no unit's number; None where it may be."""
        pattern = self.settings.unit.pattern
        if pattern is not None and not compiled(pattern).fullmatch(code):
            return "NO_UNIT"
        if pattern is None and self._means_something_else(code):
            return "NO_UNIT"
        try:
            _serial.validate_python(code)
        except ValidationError:
            return "NO_UNIT"
        return None if self._form.refusal(code) is None else "NO_UNIT"

    def _means_something_else(self, code: str) -> bool:
        """Whether it is the answer to some step: a part's LOT is no unit."""
        for step in self.settings.steps.values():
            if step.pattern is not None and _tells(step.pattern) and compiled(step.pattern).fullmatch(code):
                return True
            if code in (step.cards or {}):
                return True
            defects = step.defects
            if defects is not None and (
                code in (defects.none, defects.end) or any(code in cards for _, cards in defects.parts)
            ):
                return True
        return self.settings.rework is not None and code == self.settings.rework.card

    def _answered(self, state: State, code: str, at: datetime) -> Turn:
        assert state.step is not None, "a step is asked for"
        if code == state.serial_number:
            return self._refused(state, "IS_THE_UNIT", code=code)
        step = self.settings.steps.get(state.step)
        if step is None:
            return self._rework_answer(state, code, at)
        if step.defects is not None:
            return self._defect(state, step.defects, code, at)
        if step.source is not None and self._is_a_unit(code):
            # What the tool says next would be the other unit's.
            given_up = f"{code} was scanned while {step.source} was waited for"
            return self._cancelled(accepted(state, code, at), at, given_up, "OTHER_UNIT")
        if step.source is not None:
            return self._refused(state, "TOOL_WANTED", code=code, tool=step.source.partition(".")[0])
        if step.cards is not None:
            if code not in step.cards:
                return self._refused(state, "UNKNOWN_CARD", code=code, known=", ".join(step.cards))
            return self._take(state, step.cards[code], code, at)
        if step.number is not None and (why := no_number(code, step)) is not None:
            return self._refused(state, why, code=code, unit=step.unit or "")
        if step.pattern is not None and not compiled(step.pattern).fullmatch(code):
            return self._refused(state, "WRONG_FORM", code=code, form=step.pattern)
        if step.pattern is not None and _is_free(step.pattern) and self._is_no_answer(code):
            return self._refused(state, "NO_ANSWER_HERE", code=code)
        return self._take(state, code, code, at)

    def _is_a_unit(self, code: str) -> bool:
        """Whether it surely is a unit's number, by its form."""
        told = [pattern for pattern in (self.settings.unit.pattern, self._form.pattern) if pattern is not None]
        known = any(not _is_free(pattern) and compiled(pattern).fullmatch(code) for pattern in told)
        return known or lot_of_serial(code) is not None

    def _is_no_answer(self, code: str) -> bool:
        """Whether what was scanned for a text in people's own words means something by itself."""
        return self._is_a_unit(code) or self._means_something_else(code) or self._words.refusal(code) is not None

    def _rework_answer(self, state: State, code: str, at: datetime) -> Turn:
        rework = self.settings.rework
        assert rework is not None, "see resumed()"
        if state.step == "return_to":
            if code not in rework.return_to:
                return self._refused(state, "UNKNOWN_CARD", code=code, known=", ".join(rework.return_to))
            return self._take(state, code, code, at)
        if rework.reasons and code not in rework.reasons:
            return self._refused(state, "UNKNOWN_CARD", code=code, known=", ".join(rework.reasons))
        if not rework.reasons and (self._means_something_else(code) or self._words.refusal(code) is not None):
            return self._refused(state, "NO_REASON", code=code)
        return self._take(state, rework.reasons.get(code, code), code, at)

    def _defect(self, state: State, defects: DefectCards, code: str, at: datetime) -> Turn:
        step = str(state.step)
        found = state.defects.get(step, ())
        _, cards = defects.parts[len(state.part)]
        if not state.part and code == (defects.end if found else defects.none):
            value = ",".join(":".join(one) for one in found) or NO_DEFECT
            return self._take(state, value, code, at)
        if code not in cards:
            ends = () if state.part else (defects.end if found else defects.none,)
            return self._refused(state, "UNKNOWN_CARD", code=code, known=", ".join((*cards, *ends)))
        part = (*state.part, cards[code])
        if len(part) < len(defects.parts):
            return self._again(accepted(state, code, at, part=part), at), True
        if part in found:
            state = state.model_copy(update={"part": ()})
            return self._refused(state, "SAME_DEFECT", code=":".join(part))
        if len(found) >= _MOST_DEFECTS:
            return self._refused(state.model_copy(update={"part": ()}), "TOO_MANY", known=defects.end)
        kept = {**state.defects, step: (*found, part)}
        return self._again(accepted(state, code, at, part=(), defects=kept), at), True

    # -- tools -------------------------------------------------------------------------------------------------------

    def _tool(self, state: State, tool: ToolValue) -> Turn:
        step = self.settings.steps.get(state.step or "") if state.phase is Phase.STEPS else None
        if step is None or step.source != tool.source or state.asked_at is None or tool.at < state.asked_at:
            if state.phase in (Phase.ASKED, Phase.DONE):
                return state, False
            return self._refused(state, "TOOL_UNASKED", tool=tool.source, value=printable(str(tool.value)))
        if tool.value is None:
            return self._refused(state, "TOOL_FAILED", tool=tool.source, why=printable(tool.problem or "no value"))
        return self._take(state, tool.value, None, tool.at)

    # -- onward, back, out -------------------------------------------------------------------------------------------

    def _take(self, state: State, value: Scalar, code: str | None, at: datetime) -> Turn:
        """The answer to the step that is asked for."""
        assert state.step is not None
        state = state.model_copy(update={"answers": {**state.answers, state.step: value}, "part": ()})
        if code is not None:
            state = accepted(state, code, at)
        return self._onward(state, at), True

    def _onward(self, state: State, at: datetime) -> State:
        """To the next step, or to the end."""
        step = self._next(state)
        if step is None:
            return done(state, at, None)
        state = state.model_copy(update={"phase": Phase.STEPS, "step": step, "asked_at": at, "part": ()})
        return saying(state, Event.ASK, "")

    def _again(self, state: State, at: datetime) -> State:
        return saying(state.model_copy(update={"asked_at": at}), Event.ASK, "")

    def _next(self, state: State) -> str | None:
        """The first step without an answer that is asked of this unit."""
        for name in self._orders[state.flow]:
            if name not in state.answers and self._is_asked(name, state):
                return name
        return None

    def _is_asked(self, name: str, state: State) -> bool:
        step = self.settings.steps.get(name) if state.flow == "work" else None
        if step is None:
            return True
        attempt = state.permit.get("attempt", 0)
        if step.again and not (isinstance(attempt, int) and attempt > 1):
            return False
        return all(same(state.answers.get(other), value) for other, value in step.when.items())

    def _back(self, state: State, at: datetime) -> Turn:
        if state.phase is Phase.IDLE:
            if state.flow == "rework":
                return idle(state, Said(event=Event.CANCELLED, message="NOT_BEGUN")), True
            return self._refused(state, "NOTHING_TAKEN")
        assert state.step is not None
        found = state.defects.get(state.step, ())
        if state.part:
            return self._again(state.model_copy(update={"part": state.part[:-1]}), at), True
        if found:
            gone = f"{state.step} {':'.join(found[-1])}"
            kept = {**state.defects, state.step: found[:-1]}
            return self._again(taken_back(state, gone, defects=kept), at), True
        answered = [name for name in self._orders[state.flow] if name in state.answers]
        if not answered or (answered == ["return_to"] and state.flow == "rework" and state.step == "reason"):
            return self._refused(state, "NOTHING_TAKEN")
        last = answered[-1]
        answers = {name: value for name, value in state.answers.items() if name != last}
        update: dict[str, Any] = {"answers": answers, "step": last, "asked_at": at}
        defects = {name: each for name, each in state.defects.items() if name not in (last, state.step)}
        return saying(
            taken_back(state, f"{last} {state.answers[last]}", defects=defects, **update), Event.ASK, ""
        ), True

    def _cancelled(self, state: State, at: datetime, why: str, message: str) -> Turn:
        """Given up. A unit in hand makes an ABORTED record; its permit ends with it."""
        if state.phase is Phase.IDLE and state.flow == "work":
            return self._refused(state, "NOTHING_TAKEN")
        if state.flow == "rework":
            return idle(state, Said(event=Event.CANCELLED, message="NOT_BEGUN")), True
        return done(state, at, f"{why}, at {self.wanted(state)}", message), True

    def _timed(self, state: State, at: datetime) -> Turn:
        due = self.due(state)
        if due is None or at < due:
            return state, False
        if state.phase is Phase.IDLE and state.operator_until is not None and at >= state.operator_until:
            out = idle(state, state.said).model_copy(update={"operator": None, "operator_until": None})
            return saying(out, Event.ASK, "SHIFT_ENDED", operator=state.operator or ""), True
        return self._cancelled(state, at, "the time was up", "TIME_UP")

    # -- what the station says ---------------------------------------------------------------------------------------

    def _permitted(self, state: State, answer: PermitAnswer) -> Turn:
        values = answer.values
        if state.phase is not Phase.ASKED or values.get("request") != state.request:
            return state, False
        if values.get("granted") is not True or values.get("serial_number") != state.serial_number:
            about = {name: str(values.get(name, "")) for name in ("code", "text_ko", "text_en", "serial_number")}
            return stopped(state, Said(event=Event.STOPPED, message="STOPPED", about=about)), True
        state = state.model_copy(update={"permit": dict(values), "begun_at": answer.at})
        return self._onward(state, answer.at), True

    def _kept(self, state: State, kept: Kept) -> Turn:
        if state.phase is not Phase.DONE:
            return state, False
        about = {
            "number": str(state.number),
            "serial_number": state.serial_number or "",
            "outcome": kept.outcome or "",
            "why": state.aborted or "",
        }
        passed = state.serial_number if kept.outcome == "PASS" else state.passed
        if kept.outcome not in (None, "PASS") and state.passed == state.serial_number:
            passed = None
        event = Event.KEPT if state.aborted is None else Event.CANCELLED
        message = "KEPT" if state.aborted is None else state.said.message
        after = idle(state, Said(event=event, message=message, about=about))
        update: dict[str, Any] = {"passed": passed}
        if state.operator_until is not None and kept.at >= state.operator_until:
            update |= {"operator": None, "operator_until": None}
        return after.model_copy(update=update), True

    def _refused(self, state: State, message: str, **about: str) -> Turn:
        return saying(state, Event.REFUSED, message, **about), True


def _is_free(pattern: str) -> bool:
    """Whether it takes people's own words."""
    return any(compiled(pattern).fullmatch(words) for words in _ANY_WORDS)


def _tells(pattern: str) -> bool:
    """Whether what has this form is surely no unit's number."""
    return not any(compiled(pattern).fullmatch(number) for number in _USUAL_NUMBERS)
