"""Why a permit is refused: the code, its number for machines, and what the operator reads (domain.md, Route)."""

from dataclasses import dataclass
from enum import StrEnum


class RefusalCode(StrEnum):
    """Why a permit is refused: for causes that central knows, and for a station's own (``is_of_station``)."""

    LOT_NOT_FOUND = "LOT_NOT_FOUND"
    SERIAL_NOT_FOUND = "SERIAL_NOT_FOUND"
    PREVIOUS_PROCESS_NOT_COMPLETED = "PREVIOUS_PROCESS_NOT_COMPLETED"
    INVALID_PROCESS_SEQUENCE = "INVALID_PROCESS_SEQUENCE"
    PROCESS_ALREADY_PASSED = "PROCESS_ALREADY_PASSED"
    DUPLICATE_PASS_COMPLETE = "DUPLICATE_PASS_COMPLETE"  # not a password
    RETEST_LIMIT_REACHED = "RETEST_LIMIT_REACHED"
    REWORK_LIMIT_REACHED = "REWORK_LIMIT_REACHED"
    REWORK_NOT_ALLOWED = "REWORK_NOT_ALLOWED"
    LOT_CLOSED = "LOT_CLOSED"
    LOT_FULL = "LOT_FULL"
    ON_HOLD = "ON_HOLD"
    BUSY_ELSEWHERE = "BUSY_ELSEWHERE"
    CENTRAL_UNREACHABLE = "CENTRAL_UNREACHABLE"
    NUMBERS_USED_UP = "NUMBERS_USED_UP"
    REQUEST_NOT_UNDERSTOOD = "REQUEST_NOT_UNDERSTOOD"
    GOLDEN_SAMPLE_DUE = "GOLDEN_SAMPLE_DUE"
    GOLDEN_SAMPLE_FAILED = "GOLDEN_SAMPLE_FAILED"

    @property
    def number(self) -> int:
        """The code as a machine's register holds it; 0 is no refusal. Numbers are never given anew."""
        return _TEXTS[self].number

    @property
    def is_of_station(self) -> bool:
        """A station's own word: central refuses nobody for it."""
        return self.number > 20

    @property
    def text_ko(self) -> str:
        """What the operator reads, in Korean."""
        return _TEXTS[self].korean

    @property
    def text_en(self) -> str:
        """What the operator reads, in English."""
        return _TEXTS[self].english


@dataclass(frozen=True)
class Refusal:
    """A permit refused: the cause, and what a person reads of this very unit. ``certain``: no work at other stations
    takes it away, whatever its code."""

    code: RefusalCode
    detail: str
    certain: bool = False

    @property
    def may_have_been_lifted(self) -> bool:
        """Whether work at other stations may have taken it away, for who knows only what was true a while ago."""
        return self.code in LIFTED_BY_WORK and not self.certain


LIFTED_BY_WORK = frozenset(
    {RefusalCode.LOT_NOT_FOUND, RefusalCode.SERIAL_NOT_FOUND, RefusalCode.PREVIOUS_PROCESS_NOT_COMPLETED}
)
"""Causes that work at other stations takes away: who knows only what was true a while ago cannot be sure of them."""


@dataclass(frozen=True)
class _Texts:
    number: int
    korean: str
    english: str


_TEXTS = {
    RefusalCode.LOT_NOT_FOUND: _Texts(
        1, "등록되지 않은 LOT입니다. LOT 번호를 확인하세요.", "Unknown LOT. Check the LOT number."
    ),
    RefusalCode.SERIAL_NOT_FOUND: _Texts(
        2,
        "등록되지 않았거나 다른 LOT의 제품입니다. 번호를 확인하세요.",
        "Unknown unit, or one of another LOT. Check its number.",
    ),
    RefusalCode.PREVIOUS_PROCESS_NOT_COMPLETED: _Texts(
        3,
        "이전 공정이 완료되지 않았습니다. 이전 공정으로 보내세요.",
        "An earlier process has not passed. Take the unit back to it.",
    ),
    RefusalCode.INVALID_PROCESS_SEQUENCE: _Texts(
        4,
        "이 공정은 공정 순서에 없습니다. 관리자에게 알리세요.",
        "This process is not in the route. Tell the line manager.",
    ),
    RefusalCode.PROCESS_ALREADY_PASSED: _Texts(
        5,
        "이 공정은 이미 합격했습니다. 다음 공정으로 보내세요.",
        "The unit has passed here already. Take it to the next process.",
    ),
    RefusalCode.DUPLICATE_PASS_COMPLETE: _Texts(
        6, "모든 공정을 마친 제품입니다. 작업하지 마세요.", "The unit has passed all processes. Do not work on it."
    ),
    RefusalCode.RETEST_LIMIT_REACHED: _Texts(
        7,
        "재검사 횟수를 초과했습니다. 재작업 승인이 필요합니다.",
        "No retest is left. A manager has to authorise a rework.",
    ),
    RefusalCode.REWORK_LIMIT_REACHED: _Texts(
        8,
        "재작업 횟수를 초과했습니다. 불량품 보관함에 두세요.",
        "No rework is left. Put the unit into the reject box.",
    ),
    RefusalCode.REWORK_NOT_ALLOWED: _Texts(
        9,
        "재작업할 수 없는 불량품입니다. 불량품 보관함에 두세요.",
        "The unit is scrap. Put it into the reject box.",
    ),
    RefusalCode.LOT_CLOSED: _Texts(
        10, "마감된 LOT입니다. 관리자에게 알리세요.", "The LOT is closed. Tell the line manager."
    ),
    RefusalCode.LOT_FULL: _Texts(
        11, "LOT 수량이 다 찼습니다. 새 LOT을 사용하세요.", "The LOT has all its units. Use a new LOT."
    ),
    RefusalCode.ON_HOLD: _Texts(
        12,
        "보류된 제품입니다. 작업하지 말고 관리자에게 알리세요.",
        "On hold. Do not work on it, tell the manager.",
    ),
    RefusalCode.BUSY_ELSEWHERE: _Texts(
        13,
        "다른 설비에서 작업 중인 제품입니다. 제품을 확인하세요.",
        "Another station works on this unit. Check which unit you have.",
    ),
    RefusalCode.CENTRAL_UNREACHABLE: _Texts(
        21,
        "서버에 연결할 수 없습니다. 잠시 후 다시 시도하세요.",
        "Central does not answer. Try again in a moment.",
    ),
    RefusalCode.NUMBERS_USED_UP: _Texts(
        22,
        "예약된 시리얼 번호가 없습니다. 서버 연결을 확인하세요.",
        "No reserved serial number is left. The station needs central.",
    ),
    RefusalCode.REQUEST_NOT_UNDERSTOOD: _Texts(
        23,
        "번호를 읽을 수 없습니다. 다시 스캔하세요.",
        "The number cannot be read. Scan it again.",
    ),
    RefusalCode.GOLDEN_SAMPLE_DUE: _Texts(
        24,
        "기준 샘플 점검 시간입니다. 기준 샘플을 먼저 측정하세요.",
        "The golden sample is due. Measure it before the next unit.",
    ),
    RefusalCode.GOLDEN_SAMPLE_FAILED: _Texts(
        25,
        "기준 샘플 불합격입니다. 설비 점검 후 관리자에게 알리세요.",
        "The golden sample failed. Check the machine, tell the manager.",
    ),
}
