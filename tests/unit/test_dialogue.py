"""The dialogue of a station without a machine: every step by itself, and what holds whatever is scanned."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.dialogue.settings import DialogueSettings
from agent.dialogue.state import (
    Event,
    Input,
    Kept,
    NoAnswer,
    PermitAnswer,
    Phase,
    Scan,
    State,
    TimePassed,
    ToolValue,
)
from agent.dialogue.steps import Dialogue
from agent.dialogue.texts import MESSAGES, display
from contracts.patterns import compiled
from contracts.serial_form import SerialForm
from drivers.base import DISPLAY_NAMES

UNIT, OTHER = "WF-KR-261125D-001-0001", "WF-KR-261125D-001-0002"
SPRING, BUSBAR = "SPRING-2026112501", "BUSBAR-2026112401"
START = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)  # 10:00 in Seoul
TOOL = "screwdriver.torque"

STEPS: dict[str, Any] = {
    "sma_spring_lot": {"pattern": "SPRING-[0-9]{10}"},
    "busbar_lot": {"pattern": "BUSBAR-[0-9]{10}"},
    "torque": {"from": TOOL, "timeout": "5m"},
    "visual_inspection": {"cards": {"LOOKS-GOOD": "OK", "LOOKS-BAD": "NG"}},
    "defect_code": {
        "when": {"visual_inspection": "NG"},
        "cards": {"DEFECT-PART": "PART_DEFECT", "DEFECT-ASSEMBLY": "ASSEMBLY_ERROR"},
        "defect": True,
    },
}
DEFECTS: dict[str, Any] = {
    "visual_defects": {
        "defects": {
            "types": {"SCRATCH": "scratch", "DENT": "dent"},
            "severities": {"MINOR": "minor", "MAJOR": "major"},
            "locations": {"SHELL": "shell", "COVER": "cover"},
        }
    },
    "packaging_complete": {"cards": {"PACKED": True, "NOT-PACKED": False}},
}
REWORK = {"return_to": ["P02_LMA_ASSEMBLY", "P03_SENSOR_INSPECTION"], "reasons": {"SPRING-NEW": "spring replaced"}}
BADGE = {"pattern": "OP-([0-9]{4})", "timezone": "Asia/Seoul"}


def dialogue(steps: Mapping[str, Any] = STEPS, **more: Any) -> Dialogue:
    return Dialogue(DialogueSettings.model_validate({"scan": "code", "steps": steps, **more}), SerialForm())


class Person:
    """Does one thing after the other, a few seconds apart; ``state`` goes over the disk each time."""

    def __init__(self, rules: Dialogue) -> None:
        self.rules = rules
        self.state = rules.begin()
        self.now = START

    def does(self, happened: Input) -> State:
        state, _ = self.rules.turn(self.state, happened)
        self.state = State.model_validate_json(state.model_dump_json(exclude_defaults=True))
        assert self.state == state
        return state

    def scans(self, *codes: str) -> State:
        for code in codes:
            self.now += timedelta(seconds=5)
            self.does(Scan(code, self.now))
        return self.state

    def drives(self, value: float | None, problem: str | None = None) -> State:
        self.now += timedelta(seconds=5)
        return self.does(ToolValue(TOOL, value, problem, self.now))

    def permitted(self, **values: Any) -> State:
        given = {"request": self.state.request, "granted": True, "serial_number": self.state.serial_number, **values}
        return self.does(PermitAnswer(given, self.now))

    def kept(self, outcome: str | None = "PASS") -> State:
        return self.does(Kept(outcome, self.now))

    @property
    def said(self) -> tuple[str, str]:
        return self.state.said.event.value, self.state.said.message


def test_a_unit_goes_through_every_step_and_is_one_result() -> None:
    person = Person(dialogue())
    wanted = []
    for code in (UNIT, SPRING, BUSBAR):
        person.scans(code)
        wanted.append(person.rules.wanted(person.state))
    person.drives(1.05)
    assert wanted == ["sma_spring_lot", "busbar_lot", "torque"]
    assert person.scans("LOOKS-GOOD").phase is Phase.DONE
    assert person.state.values() == {
        "number": 1,
        "serial_number": UNIT,
        "sma_spring_lot": SPRING,
        "busbar_lot": BUSBAR,
        "torque": 1.05,
        "visual_inspection": "OK",
    }
    assert person.kept().phase is Phase.IDLE
    shown = display(person.rules, person.state)
    assert (shown["event"], shown["number"], shown["outcome"]) == ("kept", 1, "PASS")
    assert shown["text_en"] == f"Kept 1: {UNIT} PASS / Scan the unit"
    assert shown["text_ko"] == f"저장됨 1: {UNIT} PASS / 제품을 스캔하세요"


def test_a_card_for_bad_asks_for_the_defects_code() -> None:
    person = Person(dialogue())
    person.scans(UNIT, SPRING, BUSBAR)
    person.drives(1.05)
    assert person.rules.wanted(person.scans("LOOKS-BAD")) == "defect_code"
    assert person.scans("DEFECT-PART").phase is Phase.DONE
    assert person.state.values()["defect_code"] == "PART_DEFECT"


@pytest.mark.parametrize(
    ("before", "code", "message"),
    [
        ((), SPRING, "NO_UNIT"),
        ((), "LOOKS-GOOD", "NO_UNIT"),
        ((), "NOREAD", "NO_UNIT"),
        ((), "no unit at all", "NO_UNIT"),
        ((), "CANCEL", "NOTHING_TAKEN"),
        ((), "BACK", "NOTHING_TAKEN"),
        ((), "WF\x07KR", "UNREADABLE"),
        ((), "", "UNREADABLE"),
        ((UNIT,), UNIT, "IS_THE_UNIT"),
        ((UNIT,), OTHER, "WRONG_FORM"),
        ((UNIT,), BUSBAR, "WRONG_FORM"),
        ((UNIT,), "SPRING-20261125", "WRONG_FORM"),
        ((UNIT,), SPRING + "0", "WRONG_FORM"),
        ((UNIT,), "BACK", "NOTHING_TAKEN"),
        ((UNIT, SPRING, BUSBAR), "1.05", "TOOL_WANTED"),
    ],
)
def test_what_is_no_answer_is_refused_and_changes_nothing(before: tuple[str, ...], code: str, message: str) -> None:
    person = Person(dialogue())
    person.scans(*before)
    stood = person.state
    after = person.scans(code)
    assert person.said == ("refused", message)
    told = {"said": stood.said, "last_code": stood.last_code, "last_code_at": stood.last_code_at}
    assert after.model_copy(update=told) == stood


def test_a_free_text_among_the_steps_keeps_no_unit_from_being_one() -> None:
    person = Person(dialogue({**STEPS, "remark": {"pattern": ".+"}}))
    assert person.scans(SPRING).said.message == "NO_UNIT"
    assert person.scans(UNIT).phase is Phase.STEPS


def test_a_card_that_is_none_here_is_told_with_those_there_are() -> None:
    person = Person(dialogue(DEFECTS))
    person.scans(UNIT, "SCRATCH", "SHELL")
    assert person.said == ("refused", "UNKNOWN_CARD")
    assert person.state.said.about["known"] == "MINOR, MAJOR"


def test_a_number_may_carry_its_unit_and_no_other() -> None:
    steps = {"assembly_time": {"number": True, "unit": "min"}}
    for code, said in (("57.5", ""), ("57.5 min", ""), ("57.5 kg", "WRONG_UNIT"), ("a while", "NO_NUMBER")):
        person = Person(dialogue(steps))
        person.scans(UNIT, code)
        assert person.state.phase is (Phase.STEPS if said else Phase.DONE), code
        assert person.state.said.message == (said or "KEEPING")


def test_defects_are_scanned_part_by_part() -> None:
    person = Person(dialogue(DEFECTS))
    person.scans(UNIT)
    asked = []
    for code in ("SCRATCH", "MINOR", "COVER", "DENT", "MAJOR", "SHELL", "END"):
        asked.append(person.rules.wanted(person.state))
        person.scans(code)
    assert asked[:4] == [f"visual_defects.1.{part}" for part in ("type", "severity", "location")] + [
        "visual_defects.2.type"
    ]
    person.scans("PACKED")
    assert person.state.values()["visual_defects"] == "scratch:minor:cover,dent:major:shell"
    assert person.state.values()["packaging_complete"] is True


def test_no_defect_is_an_answer_and_the_same_one_twice_is_none() -> None:
    person = Person(dialogue(DEFECTS))
    person.scans(UNIT, "SCRATCH", "MINOR", "COVER", "SCRATCH", "MINOR", "COVER")
    assert person.said == ("refused", "SAME_DEFECT")
    person.scans("NO-DEFECT")
    assert person.said == ("refused", "UNKNOWN_CARD"), "there is one already"
    person = Person(dialogue(DEFECTS))
    assert person.scans(UNIT, "NO-DEFECT").answers["visual_defects"] == "none"


def test_a_double_read_is_one_scan() -> None:
    person = Person(dialogue({"left": {"cards": {"OK": "OK"}}, "right": {"cards": {"OK": "OK"}}}))
    person.scans(UNIT, "OK")
    before = person.state
    after, told = person.rules.turn(before, Scan("OK", person.now + timedelta(seconds=1)))
    assert (after, told) == (before, False)
    assert person.scans("OK").phase is Phase.DONE, "five seconds later it is meant"


def test_what_is_taken_back_is_told() -> None:
    person = Person(dialogue())
    person.scans(UNIT, SPRING, BUSBAR)
    person.drives(1.4)
    person.scans("BACK")
    assert person.rules.wanted(person.state) == "torque"
    person.drives(1.1)
    person.scans("LOOKS-GOOD")
    assert person.state.values()["torque"] == 1.1
    assert person.state.values()["taken_back"] == ["torque 1.4"]


def test_back_takes_the_last_part_of_a_defect_then_the_defect() -> None:
    person = Person(dialogue(DEFECTS))
    person.scans(UNIT, "SCRATCH", "MINOR", "COVER", "DENT", "BACK")
    assert person.rules.wanted(person.state) == "visual_defects.2.type"
    person.scans("BACK")
    assert person.rules.wanted(person.state) == "visual_defects.1.type"
    assert person.state.taken_back == ("visual_defects scratch:minor:cover",)
    person.scans("NO-DEFECT", "BACK", "SCRATCH", "MAJOR", "SHELL", "END", "PACKED")
    assert person.state.answers["visual_defects"] == "scratch:major:shell"


@pytest.mark.parametrize("scanned", [(UNIT,), (UNIT, SPRING), (UNIT, SPRING, BUSBAR)])
def test_a_cancelled_unit_is_aborted(scanned: tuple[str, ...]) -> None:
    person = Person(dialogue())
    person.scans(*scanned, "CANCEL")
    assert person.state.phase is Phase.DONE
    assert person.state.values()["aborted"] is True
    assert "cancelled by the operator" in str(person.state.aborted)
    person.kept("ABORTED")
    assert person.said == ("cancelled", "CANCELLED")
    assert display(person.rules, person.state)["text_en"] == f"Cancelled: {UNIT} / Scan the unit"


@pytest.mark.parametrize(
    ("scanned", "after_s"), [((UNIT,), 7200), ((UNIT, SPRING), 7200), ((UNIT, SPRING, BUSBAR), 300)]
)
def test_what_takes_too_long_is_aborted(scanned: tuple[str, ...], after_s: float) -> None:
    person = Person(dialogue())
    stood = person.scans(*scanned)
    early = person.now + timedelta(seconds=after_s - 1)
    assert person.rules.turn(stood, TimePassed(early)) == (stood, False)
    assert person.rules.due(stood) == person.now + timedelta(seconds=after_s)
    person.does(TimePassed(person.now + timedelta(seconds=after_s)))
    assert person.state.phase is Phase.DONE
    person.kept("ABORTED")
    assert person.said == ("cancelled", "TIME_UP")


def test_the_whole_may_take_so_long() -> None:
    person = Person(dialogue(timeout="8s", step_timeout="1h"))
    person.scans(UNIT, SPRING)
    person.now += timedelta(seconds=10)
    person.scans(BUSBAR)
    assert person.state.phase is Phase.DONE
    assert person.state.aborted == "the time was up, at busbar_lot"


def test_a_tools_value_counts_only_where_it_is_asked_for() -> None:
    person = Person(dialogue())
    person.drives(1.0)
    assert person.said == ("refused", "TOOL_UNASKED")
    person.scans(UNIT, SPRING, BUSBAR)
    stood = person.state
    older = ToolValue(TOOL, 1.0, None, person.now - timedelta(seconds=1))
    assert person.rules.turn(stood, older)[0].answers == stood.answers, "measured before it was asked for"
    assert person.drives(None, "quality BAD").said.message == "TOOL_FAILED"
    assert person.drives(0.95).answers["torque"] == 0.95


# -- permits, badges, reworks ----------------------------------------------------------------------------------------

ASKS = {"interlock": {"limit": "500ms"}}


def test_a_unit_that_may_not_start_is_stopped_with_the_reason_in_both_languages() -> None:
    person = Person(dialogue(**ASKS))
    assert person.scans(UNIT).phase is Phase.ASKED
    person.permitted(granted=False, code="ON_HOLD", text_ko="보류된 제품입니다.", text_en="On hold.")
    assert (person.state.phase, person.said) == (Phase.IDLE, ("stopped", "STOPPED"))
    shown = display(person.rules, person.state)
    assert shown["code"] == "ON_HOLD"
    assert shown["text_ko"] == f"{UNIT} ON_HOLD: 보류된 제품입니다. / 제품을 스캔하세요"
    assert person.state.number == 0, "and makes no record"


def test_a_unit_that_may_start_does() -> None:
    person = Person(dialogue(**ASKS))
    person.scans(UNIT, SPRING)
    assert person.state.phase is Phase.ASKED, "nothing is taken before the answer"
    person.permitted()
    assert person.rules.wanted(person.state) == "sma_spring_lot"


@pytest.mark.parametrize("change", [{"request": 7}, {"serial_number": OTHER}, {"granted": "true"}, {"granted": 1}])
def test_another_ones_answer_starts_nothing(change: Mapping[str, Any]) -> None:
    person = Person(dialogue(**ASKS))
    person.scans(UNIT)
    assert person.permitted(**change).phase is not Phase.STEPS


def test_silence_means_no() -> None:
    person = Person(dialogue(**ASKS))
    person.scans(UNIT)
    assert person.does(NoAnswer(person.now)).phase is Phase.IDLE
    person.scans(UNIT)
    assert person.state.request == 2, "each question has a number of its own"


def test_without_an_interlock_a_unit_that_passed_is_not_begun_again() -> None:
    person = Person(dialogue(DEFECTS))
    person.scans(UNIT, "NO-DEFECT", "PACKED")
    person.kept("PASS")
    person.scans(UNIT)
    assert person.said == ("refused", "SAME_UNIT")
    person.scans(OTHER, "NO-DEFECT", "NOT-PACKED")
    person.kept("FAIL")
    assert person.scans(OTHER).phase is Phase.STEPS, "a failed one may be tried again"


def test_nobody_works_without_a_badge_and_it_ends_with_the_shift() -> None:
    person = Person(dialogue(DEFECTS, badge=BADGE))
    person.scans(UNIT)
    assert person.said == ("refused", "SIGN_IN")
    person.scans("OP-1001", UNIT, "NO-DEFECT", "PACKED")
    assert person.state.values()["operator"] == "1001"
    assert person.state.operator_until == datetime(2026, 11, 25, 11, 0, tzinfo=UTC), "20:00 in Seoul"
    person.kept()
    person.does(TimePassed(datetime(2026, 11, 25, 11, 0, tzinfo=UTC)))
    assert (person.state.operator, person.rules.wanted(person.state)) == (None, "badge")
    assert person.said == ("ask", "SHIFT_ENDED")


def test_a_unit_in_hand_is_finished_by_who_began_it() -> None:
    person = Person(dialogue(DEFECTS, badge=BADGE))
    person.now = datetime(2026, 11, 25, 10, 59, tzinfo=UTC)
    person.scans("OP-1001", UNIT)
    person.now = datetime(2026, 11, 25, 11, 1, tzinfo=UTC)
    person.scans("NO-DEFECT", "PACKED")
    assert person.state.values()["operator"] == "1001"
    assert person.kept().operator is None


def test_a_rework_is_authorised_by_cards() -> None:
    person = Person(dialogue(rework=REWORK, **ASKS))
    person.scans("REWORK", UNIT, "P03_SENSOR_INSPECTION", "SPRING-NEW")
    assert person.state.phase is Phase.DONE
    assert person.state.values() == {
        "number": 1,
        "serial_number": UNIT,
        "result": "REWORK",
        "return_to": "P03_SENSOR_INSPECTION",
        "reason": "spring replaced",
    }


@pytest.mark.parametrize("unit", [None, "WF-KR-.*", ".+"])
def test_the_next_unit_and_a_card_are_no_text(unit: str | None) -> None:
    """A step that takes any words would take the number of the next unit: two units in one record."""
    steps = {**STEPS, "remark": {"pattern": ".+"}}
    person = Person(dialogue(steps, unit={"pattern": unit} if unit else {}))
    person.scans(UNIT, SPRING, BUSBAR)
    person.drives(1.05)
    person.scans("LOOKS-GOOD")
    for code in (OTHER, "LOOKS-BAD", SPRING, "NOREAD"):
        person.scans(code)
        assert person.said == ("refused", "NO_ANSWER_HERE"), code
    person.scans("scratch beside the cover")
    assert person.state.phase is Phase.DONE
    assert person.state.values()["remark"] == "scratch beside the cover"


def test_a_number_of_the_form_that_a_step_names_is_its_answer() -> None:
    """A part that has a number as units have: the form says so, and is no text in people's own words."""
    person = Person(dialogue({"board": {"pattern": "SN-[0-9]{6}-[0-9]{3}"}}, unit={"pattern": "(SN|WF)-.*"}))
    person.scans(UNIT, "SN-241118-001")
    assert person.state.values()["board"] == "SN-241118-001"


def test_the_next_unit_at_a_tools_step_gives_the_one_in_hand_up() -> None:
    """What the tool says next would be the next unit's."""
    person = Person(dialogue())
    person.scans(UNIT, SPRING, BUSBAR, OTHER)
    assert (person.state.phase, person.said) == (Phase.DONE, ("wait", "OTHER_UNIT"))
    assert person.state.aborted == f"{OTHER} was scanned while {TOOL} was waited for, at torque"
    assert person.state.serial_number == UNIT


def test_a_rework_needs_a_reason_that_is_one() -> None:
    person = Person(dialogue(rework={"return_to": ["P02_LMA_ASSEMBLY"]}))
    person.scans("REWORK", UNIT)
    for code in (SPRING, "LOOKS-GOOD", "NOREAD"):
        person.scans(code)
        assert person.said == ("refused", "NO_REASON"), code
    person.scans("spring broken")
    assert person.state.values()["reason"] == "spring broken"


def test_a_rework_that_is_not_gone_on_with_is_forgotten() -> None:
    person = Person(dialogue(rework=REWORK))
    person.scans("REWORK", "CANCEL")
    assert person.said == ("cancelled", "NOT_BEGUN")
    person.scans("REWORK")
    person.now += timedelta(minutes=2)
    person.scans(UNIT)
    assert (person.state.flow, person.rules.wanted(person.state)) == ("work", "sma_spring_lot")


def test_a_step_may_be_asked_only_when_the_unit_comes_again() -> None:
    rules = dialogue({"reprint_reason": {"cards": {"SMUDGED": "smudged"}, "again": True}}, **ASKS)
    person = Person(rules)
    person.scans(UNIT)
    assert person.permitted(attempt=1).phase is Phase.DONE
    person.kept("FAIL")
    person.scans(UNIT)
    assert rules.wanted(person.permitted(attempt=2)) == "reprint_reason"


def test_half_a_unit_is_not_gone_on_with_by_other_rules() -> None:
    person = Person(dialogue())
    person.scans(UNIT, SPRING)
    assert dialogue().resumed(person.state, person.now) == person.state
    other = {name: step for name, step in STEPS.items() if name != "torque"}
    after = dialogue(other).resumed(person.state, person.now)
    assert (after.phase, after.aborted) == (Phase.DONE, "the settings changed, at busbar_lot")


# -- whatever is scanned ---------------------------------------------------------------------------------------------

CODES = [
    UNIT, OTHER, SPRING, BUSBAR, "LOOKS-GOOD", "LOOKS-BAD", "DEFECT-PART", "CANCEL", "BACK", "PROMPT", "REWORK",
    "P02_LMA_ASSEMBLY", "SPRING-NEW", "OP-1001", "NOREAD", "SPRING-1", "SCRATCH", "MINOR", "COVER", "NO-DEFECT", "END",
    "PACKED", "7 min", "",
]  # fmt: skip
ALL = {**STEPS, **DEFECTS, "minutes": {"number": True, "unit": "min"}, "why": {"pattern": ".{3,}", "again": True}}
FULL = dialogue(ALL, rework=REWORK, badge=BADGE, **ASKS)

Happening = tuple[tuple[str, Any], float]
"""What happens, and how many seconds after what happened before."""

disturbances = st.tuples(
    st.one_of(
        st.sampled_from(CODES).map(lambda code: ("scan", code)),
        st.sampled_from(["REWORK", "BACK", "CANCEL", "SCRATCH"]).map(lambda code: ("scan", code)),
        st.text(max_size=30).map(lambda code: ("scan", code)),
        st.sampled_from([0.5, 1.0, 1.3, None]).map(lambda value: ("tool", value)),
        st.sampled_from([True, False, None]).map(lambda granted: ("permit", granted)),
        st.sampled_from(["PASS", "FAIL", None]).map(lambda outcome: ("kept", outcome)),
        st.just(("time", None)),
    ),
    st.sampled_from([0.2, 3.0, 30.0, 4000.0]),
)
RIGHT: Happening = (("right", None), 3.0)


def _joined(parts: list[tuple[int, Happening]]) -> list[Happening]:
    return [one for count, disturbed in parts for one in (*[RIGHT] * count, disturbed)]


happenings = st.lists(st.tuples(st.integers(0, 14), disturbances), min_size=1, max_size=12).map(_joined)
"""Some right moves (twelve make a unit), something else, right moves again."""


def right_answer(state: State) -> tuple[str, Any]:
    """What leads on from here."""
    if state.phase is Phase.ASKED:
        return "permit", True
    if state.phase is Phase.DONE:
        return "kept", "PASS"
    wanted = FULL.wanted(state)
    part = wanted.rpartition(".")[2] if "." in wanted else wanted
    ends = "END" if state.defects.get(str(state.step)) else "NO-DEFECT"
    codes = {
        "badge": "OP-1001", "serial_number": UNIT, "sma_spring_lot": SPRING, "busbar_lot": BUSBAR, "type": ends,
        "visual_inspection": "LOOKS-GOOD", "defect_code": "DEFECT-PART", "severity": "MINOR", "location": "COVER",
        "packaging_complete": "PACKED", "minutes": "7", "why": "worn", "return_to": "P02_LMA_ASSEMBLY",
        "reason": "SPRING-NEW",
    }  # fmt: skip
    return ("tool", 1.0) if part == "torque" else ("scan", codes[part])


def as_input(kind: str, value: Any, state: State, at: datetime) -> Input:
    match kind:
        case "scan":
            return Scan(value, at)
        case "tool":
            return ToolValue(TOOL, value, None if value is not None else "broken", at)
        case "permit":
            given = {"request": state.request, "granted": value, "serial_number": state.serial_number, "attempt": 2}
            return NoAnswer(at) if value is None else PermitAnswer(given, at)
        case "kept":
            return Kept(value, at)
        case _:
            return TimePassed(at)


def is_right(name: str, value: Any) -> bool:
    step = FULL.settings.steps[name]
    if step.cards is not None:
        return value in step.cards.values()
    if step.pattern is not None:
        return compiled(step.pattern).fullmatch(value) is not None
    return value is not None and value != ""


@given(happenings)
@settings(max_examples=100)
def test_only_a_unit_with_every_answer_is_a_result(happened: list[Happening]) -> None:
    """And: nothing raises; the state goes over the disk unharmed; numbers rise by one; every word is known."""
    state, at = FULL.begin(), START
    permitted: str | None = None
    for (kind, value), seconds in happened:
        at += timedelta(seconds=seconds)
        chosen = right_answer(state) if kind == "right" else (kind, value)
        before = state
        state, _ = FULL.turn(before, as_input(*chosen, state=before, at=at))
        assert State.model_validate_json(state.model_dump_json(exclude_defaults=True)) == state
        assert state.number - before.number == int(state.phase is Phase.DONE and before.phase is not Phase.DONE)
        assert state.said.message in MESSAGES
        assert display(FULL, state).keys() == DISPLAY_NAMES.keys()
        if before.phase is Phase.ASKED and state.phase is Phase.STEPS:
            permitted = state.serial_number
        if state.phase is Phase.DONE and state.flow == "work":
            assert state.serial_number == permitted
            assert state.operator is not None
        if state.phase is Phase.DONE and state.aborted is None:
            values = state.values()
            if state.flow == "rework":
                assert (values["return_to"], values["reason"]) != (None, None)
                assert "visual_inspection" not in values
                continue
            asked = {name for name in ALL if name != "defect_code" or values["visual_inspection"] == "NG"}
            assert set(values) & set(ALL) == asked
            assert all(is_right(name, values[name]) for name in asked)


@given(happenings, st.data())
def test_a_repeated_scan_or_a_kill_at_any_moment_changes_nothing(
    happened: list[Happening], data: st.DataObject
) -> None:
    """What is read twice within a moment is one scan; a state that comes back from the disk goes on in the same way."""
    plain, disturbed, at = FULL.begin(), FULL.begin(), START
    for (kind, value), seconds in happened:
        at += timedelta(seconds=seconds)
        chosen = right_answer(plain) if kind == "right" else (kind, value)
        plain, _ = FULL.turn(plain, as_input(*chosen, state=plain, at=at))
        disturbed, _ = FULL.turn(disturbed, as_input(*chosen, state=disturbed, at=at))
        if plain.last_code_at == at and chosen[0] == "scan":
            disturbed, told = FULL.turn(disturbed, Scan(chosen[1], at + timedelta(seconds=0.1)))
            assert not told
        if data.draw(st.booleans()):
            disturbed = FULL.resumed(State.model_validate_json(disturbed.model_dump_json(exclude_defaults=True)), at)
        assert disturbed == plain


def test_every_message_is_written_in_both_languages() -> None:
    for name, text in MESSAGES.items():
        assert bool(text.ko) == bool(text.en) == bool(name)
    assert {event.value for event in Event} == {"ask", "refused", "wait", "stopped", "kept", "cancelled"}


# -- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"steps": {"torque": {}}}, "give one of pattern, cards, number, from and defects"),
        ({"steps": {"torque": {"number": True, "pattern": "x"}}}, "give one of"),
        ({"steps": {"operator": {"number": True}}}, "every dialogue has a point of this name"),
        ({"steps": {"a": {"cards": {"BACK": 1}}}}, "BACK is a card of its own"),
        ({"steps": {"a": {"number": True, "when": {"b": 1}}, "b": {"number": True}}}, "b is no step before this one"),
        ({"steps": {**STEPS, "x": {"number": True, "when": {"visual_inspection": "no"}}}}, "never has the value"),
        ({"steps": {"a": {"cards": {"X": "no code"}, "defect": True}}}, "needs cards that mean codes of defects"),
        ({"steps": {"a": {"cards": {"OP-1001": 1}}}, "badge": BADGE}, "looks like a badge"),
        ({"rework": {"return_to": ["P99_NOWHERE"]}}, "P99_NOWHERE is no process of the line"),
        ({"cards": {"cancel": "BACK"}}, "each card means one thing"),
        ({"badge": {**BADGE, "shifts": ["8:00"]}}, "should match pattern"),
        ({"badge": {**BADGE, "timezone": "Mars/Base"}}, "is no time zone of this computer"),
        ({"steps": {"d": {"defects": {"types": {"END": "x"}}}}}, "END means that there are no (more) defects"),
    ],
)
def test_a_dialogue_that_cannot_be_is_refused(change: Mapping[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told.replace("(", r"\(").replace(")", r"\)")):
        DialogueSettings.model_validate({"scan": "code", "steps": STEPS, **change})
