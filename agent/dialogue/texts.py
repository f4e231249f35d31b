"""What the operator reads: every message in Korean and English, and what is asked for next."""

from collections.abc import Mapping
from dataclasses import dataclass

from agent.dialogue.settings import DefectCards, StepSettings
from agent.dialogue.state import Phase, State
from agent.dialogue.steps import Dialogue
from contracts.measurement import Scalar


@dataclass(frozen=True)
class Text:
    """One text in both languages, with ``{names}`` of what it is about."""

    ko: str
    en: str

    def filled(self, about: Mapping[str, str]) -> "Text":
        """The same with every name filled in; one that is not told is left empty."""
        known = _Known(about)
        return Text(self.ko.format_map(known), self.en.format_map(known))


class _Known(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return ""


MESSAGES: Mapping[str, Text] = {
    "": Text("", ""),
    # refused
    "UNREADABLE": Text("읽을 수 없습니다: {code}", "Cannot be read: {code}"),
    "SIGN_IN": Text("먼저 사원증을 스캔하세요", "Sign in first"),
    "NO_UNIT": Text("제품 번호가 아닙니다: {code}", "Not a unit's number: {code}"),
    "SAME_UNIT": Text("이미 합격한 제품입니다: {code}", "This unit has just passed here: {code}"),
    "IS_THE_UNIT": Text("작업 중인 제품입니다: {code}", "This is the unit in hand: {code}"),
    "WRONG_FORM": Text("형식이 맞지 않습니다: {code}", "Not of the right form: {code}"),
    "NO_ANSWER_HERE": Text(
        "답이 아닙니다 (제품 번호 또는 카드): {code}", "No answer, but a unit's number or a card: {code}"
    ),
    "UNKNOWN_CARD": Text("여기서 쓸 수 없는 카드입니다: {code}", "No card for this: {code}"),
    "NO_NUMBER": Text("숫자가 아닙니다: {code}", "Not a number: {code}"),
    "WRONG_UNIT": Text("단위가 {unit}이(가) 아닙니다: {code}", "Not in {unit}: {code}"),
    "NO_REASON": Text("사유가 아닙니다: {code}", "Not a reason: {code}"),
    "SAME_DEFECT": Text("이미 등록된 불량입니다: {code}", "This defect was scanned already: {code}"),
    "TOO_MANY": Text("불량이 너무 많습니다. {known} 카드를 스캔하세요", "Too many defects; scan {known}"),
    "TOOL_WANTED": Text("스캔이 아니라 {tool}의 값이 필요합니다", "Not a scan: {tool} has to say it"),
    "TOOL_UNASKED": Text("지금은 필요 없는 값입니다: {tool} {value}", "Not asked for now: {tool} {value}"),
    "TOOL_FAILED": Text("{tool} 값을 읽을 수 없습니다: {why}", "{tool} cannot be read: {why}"),
    "NOTHING_TAKEN": Text("취소할 것이 없습니다", "There is nothing to take back"),
    "NOT_STORED": Text("저장할 수 없습니다. 다시 스캔하세요", "The station's disk refuses it. Scan it again"),
    # understood
    "SIGNED_IN": Text("작업자 {operator}", "Operator {operator}"),
    "SHIFT_ENDED": Text("근무가 끝났습니다: {operator}", "The shift has ended: {operator}"),
    "REWORK": Text("재작업", "Rework"),
    # wait
    "ASKING": Text("{serial_number} 확인 중", "Asking about {serial_number}"),
    "KEEPING": Text("{serial_number} 저장 중", "Keeping {serial_number}"),
    # ended
    "STOPPED": Text("{serial_number} {code}: {text_ko}", "{serial_number} {code}: {text_en}"),
    "NO_ANSWER": Text("응답이 없습니다. 다시 스캔하세요", "No answer. Scan the unit again"),
    "KEPT": Text("저장됨 {number}: {serial_number} {outcome}", "Kept {number}: {serial_number} {outcome}"),
    "CANCELLED": Text("취소됨: {serial_number}", "Cancelled: {serial_number}"),
    "TIME_UP": Text("시간 초과로 취소됨: {serial_number}", "Cancelled, the time was up: {serial_number}"),
    "OTHER_UNIT": Text(
        "다른 제품을 스캔하여 취소됨: {serial_number}", "Cancelled, another unit was scanned: {serial_number}"
    ),
    "CHANGED": Text("설정이 바뀌어 취소됨: {serial_number}", "Cancelled, the settings have changed: {serial_number}"),
    "NOT_BEGUN": Text("취소됨", "Cancelled"),
}

_PARTS = {
    "type": Text("불량 유형을 스캔하세요", "Scan the type of defect"),
    "severity": Text("불량 등급을 스캔하세요", "Scan the severity"),
    "location": Text("불량 위치를 스캔하세요", "Scan the location"),
}
_BADGE = Text("사원증을 스캔하세요", "Scan your badge")
_RETURN_TO = Text("돌아갈 공정을 스캔하세요", "Scan the process it goes back to")
_REASON = Text("재작업 사유를 스캔하세요", "Scan the reason of the rework")


def display(dialogue: Dialogue, state: State) -> dict[str, Scalar]:
    """What a display may show, by ``drivers.base.DISPLAY_NAMES``: what has happened, and what is asked for next."""
    said = MESSAGES[state.said.message].filled(state.said.about)
    asked = asked_for(dialogue, state)
    about = state.said.about
    return {
        "text_ko": " / ".join(filter(None, (said.ko, asked.ko))),
        "text_en": " / ".join(filter(None, (said.en, asked.en))),
        "event": state.said.event.value,
        "message": state.said.message,
        "step": dialogue.wanted(state),
        "serial_number": state.serial_number or about.get("serial_number", ""),
        "number": state.number,
        "outcome": about.get("outcome", ""),
        "code": about.get("code", "") if state.said.message == "STOPPED" else "",
        "operator": state.operator or "",
    }


def asked_for(dialogue: Dialogue, state: State) -> Text:
    """What the operator is asked for now; nothing while the station works."""
    settings = dialogue.settings
    wanted = dialogue.wanted(state)
    if state.phase in (Phase.ASKED, Phase.DONE):
        return MESSAGES[""]
    if wanted == "badge":
        return _BADGE
    if state.phase is Phase.IDLE:
        return Text(settings.unit.ask_ko, settings.unit.ask_en)
    step = settings.steps.get(state.step or "")
    if step is None:
        return _RETURN_TO if state.step == "return_to" else _REASON
    if step.defects is not None:
        return _of_defects(step.defects, state)
    return _own(str(state.step), step)


def _own(name: str, step: StepSettings) -> Text:
    spoken = name.replace("_", " ")
    what = Text(f"{spoken}: {{tool}} 값을 기다립니다", f"{spoken}: waiting for {{tool}}")
    if step.source is None:
        what = Text(f"{spoken}을(를) 스캔하세요", f"Scan {spoken}")
    default = what.filled({"tool": (step.source or "").partition(".")[0]})
    return Text(step.ask_ko or default.ko, step.ask_en or default.en)


def _of_defects(defects: DefectCards, state: State) -> Text:
    part = _PARTS[defects.parts[len(state.part)][0]]
    if state.part:
        return part
    count = len(state.defects.get(str(state.step), ()))
    last = defects.end if count else defects.none
    return Text(f"{part.ko} ({count}건, 없으면 {last})", f"{part.en} ({count} so far, or {last})")
