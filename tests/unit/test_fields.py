"""What a message means: every form, what is refused, and that a message built from values means those values again."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.base import RawValue
from drivers.fields.build import built
from drivers.fields.gathering import LARGEST_RESULT, Gathering
from drivers.fields.messages import Message, values_of
from drivers.fields.settings import FieldSettings

Settings = Mapping[str, Any]


def settings(
    points: Settings, message: Settings | None = None, kinds: Settings | None = None, **more: Any
) -> FieldSettings:
    return FieldSettings.model_validate(
        {"points": points, "message": message or {}, "kinds": kinds or {}, **more}, strict=False
    )


def found(points: Settings, message: Settings, body: bytes) -> dict[str, Any]:
    """The values; a point without one as the problem it has."""
    values = values_of([Message(body)], settings(points, message))
    return {name: value.problem if value.problem is not None else value.value for name, value in values.items()}


def problem(point: Settings, message: Settings, body: bytes) -> str:
    value = values_of([Message(body)], settings({"p": point}, message))["p"]
    assert value.value is None
    assert value.problem is not None
    return value.problem


REGEX = {"format": "regex", "pattern": r"(?P<state>[A-Z]{2}),\s*(?P<force>[-+\d.]+) ?(?P<unit>\w+)?"}


@pytest.mark.parametrize(
    ("message", "point", "body", "value"),
    [
        ({"format": "whole"}, {"whole": True}, b"  SN-1 \r", "SN-1"),
        ({"format": "key_value"}, {"key": "t", "type": "float"}, b"a=1; t = -  60.5", -60.5),
        ({"format": "fields"}, {"field": 2, "type": "int"}, b"SN-1, 007", 7),
        ({"format": "fields", "separator": " ", "merge_separators": True}, {"field": 3}, b"S S    100.00 g", "100.00"),
        ({"format": "fields", "quote": '"'}, {"field": 2}, b'1,"a,b ""c""",3', 'a,b "c"'),
        ({"format": "fields", "separator": ";", "decimal": ","}, {"field": 1, "type": "float"}, b"12,5;1", 12.5),
        ({"format": "fixed"}, {"columns": "4-9", "type": "float"}, b"ST,+012.5 g", 12.5),
        (REGEX, {"group": "force", "type": "float", "scale": 0.001}, b"ST, 60 N", 0.06),
        (REGEX, {"pattern": r"(\w+)$"}, b"ST, 60 N", "N"),
        ({"format": "json"}, {"path": "a.1.b"}, b'{"a": [0, {"b": 1.5}]}', 1.5),
        ({"format": "json"}, {"path": "s.*.f", "type": "float"}, b'{"s": [{"f": 1}, {"f": "2.5"}]}', [1, 2.5]),
        ({"format": "json"}, {"path": "ok"}, b'{"ok": true}', True),
        ({"format": "binary"}, {"at": 1, "type": "int16"}, b"\x00\xff\xfe", -2),
        ({"format": "binary"}, {"at": -2, "type": "uint16", "byte_order": "little"}, b"\x09\x01\x02", 0x0201),
        ({"format": "binary"}, {"at": 0, "type": "float32"}, b"\x3f\x99\x99\x9a", 1.2),
        ({"format": "binary"}, {"at": 0, "type": "bcd", "length": 3, "scale": 0.01}, b"\x12\x34\x56", 1234.56),
        ({"format": "binary"}, {"at": 0, "type": "string", "length": 4}, b"AB\x00\xff", "AB"),
        ({"format": "binary"}, {"at": 0, "type": "bytes", "length": 2}, b"\xa0\x0b", "a00b"),
        ({"format": "binary"}, {"at": 0, "type": "uint8", "bit": 7}, b"\x80", True),
        ({"format": "binary"}, {"at": 0, "type": "uint8", "mask": 0xF0}, b"\x5a", 5),
        ({"format": "binary"}, {"at": 0, "type": "uint8", "values": {"1": "OK", "2": "NG"}}, b"\x02", "NG"),
        ({"format": "whole"}, {"whole": True, "type": "boolean", "true_text": ["GO"]}, b"go", True),
        ({"format": "whole"}, {"whole": True, "type": "float"}, b"12.5 N", "12.5 N"),
    ],
)
def test_a_value_is_found_where_the_settings_say(message: Settings, point: Settings, body: bytes, value: Any) -> None:
    answer = found({"p": point}, message, body)["p"]
    assert answer == value
    assert type(answer) is type(value)


@pytest.mark.parametrize(
    ("message", "point", "body", "told"),
    [
        ({"format": "whole"}, {"whole": True}, b"\xff\xfe", "not utf-8 text: byte 0xff at place 1"),
        ({"format": "whole"}, {"whole": True}, b"A\0B", "zero byte"),
        ({"format": "key_value"}, {"key": "t"}, b"t=1;t=2", "there 2 times"),
        ({"format": "key_value"}, {"key": "t"}, b"temp=1", "key 't' is not in the frame"),
        ({"format": "fields"}, {"field": 3}, b"1,2", "field 3 is missing: the frame has 2"),
        ({"format": "fields", "quote": '"'}, {"field": 1}, b'"a,b', "fields with quotes"),
        (
            {"format": "fields", "separator": ";", "decimal": ","},
            {"field": 1, "type": "float"},
            b"1.500;1",
            "no number",
        ),
        ({"format": "fixed"}, {"columns": "3-8"}, b"ST,123", "columns 3-8 are missing"),
        ({"format": "whole"}, {"whole": True, "type": "float"}, b"OL", "'OL' is no number"),
        ({"format": "whole"}, {"whole": True, "type": "float"}, b"nan", "is no number"),
        ({"format": "whole"}, {"whole": True, "type": "float"}, b"1e999", "too large"),
        ({"format": "whole"}, {"whole": True, "type": "int"}, b"1.0", "no whole number"),
        ({"format": "whole"}, {"whole": True, "type": "float", "scale": 10}, b"1 N", "has a unit of its own"),
        ({"format": "whole"}, {"whole": True, "type": "boolean"}, b"maybe", "neither true_text nor false_text"),
        ({"format": "whole"}, {"whole": True, "values": {"1": "OK"}}, b"3", "code '3' is not in values"),
        (REGEX, {"group": "force"}, b"ST, 60 N and more", "does not match message.pattern"),
        (REGEX, {"group": "unit"}, b"ST, 60", "group unit is not in this message"),
        ({"format": "json"}, {"path": "a"}, b'{"a": 1', "no JSON"),
        ({"format": "json"}, {"path": "a"}, b'{"a": 1, "a": 2}', "there twice"),
        ({"format": "json"}, {"path": "a"}, b'{"a": NaN}', "not a finite number"),
        ({"format": "json"}, {"path": "a"}, b'{"a": 1e999}', "not a finite number"),
        ({"format": "json"}, {"path": "a"}, b'{"a": null}', "null"),
        ({"format": "json"}, {"path": "a.b"}, b'{"a": 1}', "'b' is not in the message"),
        ({"format": "json"}, {"path": "a"}, b"[" * 100_000, "no JSON"),
        ({"format": "binary"}, {"at": 2, "type": "uint16"}, b"\x00\x00\x00", "no 2 bytes at 2"),
        ({"format": "binary"}, {"at": -4, "type": "uint16"}, b"\x00\x00\x00", "no 2 bytes at -4"),
        ({"format": "binary"}, {"at": 0, "type": "float32"}, b"\x7f\xc0\x00\x00", "not a finite number"),
        ({"format": "binary"}, {"at": 0, "type": "bcd", "length": 1}, b"\x1a", "no decimal digits"),
    ],
)
def test_what_cannot_be_understood_is_a_problem_and_no_value(
    message: Settings, point: Settings, body: bytes, told: str
) -> None:
    assert told in problem(point, message, body)


@pytest.mark.parametrize(
    ("points", "message", "kinds", "told"),
    [
        (
            {"p": {"key": "a"}},
            {"format": "fields"},
            {},
            "points.p: in a message of format fields a value is found by field",
        ),
        ({"p": {"group": "b"}}, {"format": "regex", "pattern": "(?P<a>.)"}, {}, "'b' is not in the message's pattern"),
        (
            {"p": {"item": "b"}},
            {"format": "binary", "layout": [{"skip": 1}]},
            {},
            "'b' is not in the message's pattern",
        ),
        ({"p": {"at": 0, "type": "int"}}, {"format": "binary"}, {}, "type: with at it is one of uint8"),
        ({"p": {"whole": True, "scale": 0}}, {"format": "whole"}, {}, "scale: 0"),
        ({"p": {"whole": True, "scale": 2}}, {"format": "whole"}, {}, "only a number has scale"),
        ({"p": {"columns": "9-3"}}, {"format": "fixed"}, {}, "the first before the last"),
        ({"p": {"whole": True, "pattern": "a"}}, {"format": "whole"}, {}, "exactly one of"),
        ({"p": {"pattern": "(a)(b)"}}, {"format": "whole"}, {}, "one value is one group"),
        ({"p": {"pattern": "("}}, {"format": "whole"}, {}, "not a regular expression"),
        ({"p": {"whole": True, "kind": "x"}}, {"format": "whole"}, {}, "unknown kind x"),
        ({"p": {"whole": True}}, {"format": "whole"}, {"a": {"role": "part"}}, "one kind has the role result"),
        ({"p": {"whole": True}}, {"format": "regex"}, {}, "regex needs pattern"),
        ({"p": {"whole": True}}, {"format": "whole", "separator": ","}, {}, "separator: format whole has none"),
        ({"p": {"field": 1}}, {"format": "fields", "decimal": ","}, {}, "a comma cannot stand in numbers"),
        ({"p": {"whole": True, "unit_point": "u", "unit": "g"}}, {"format": "whole"}, {}, "unknown point u"),
        ({"p": {"whole": True}}, {"format": "whole", "encoding": "utf-16-be"}, {}, "no plain letters of one byte"),
        ({"p": {"whole": True}}, {"format": "whole", "encoding": "hex"}, {}, "is no text encoding"),
        ({"p": {"whole": True}}, {"format": "whole", "encoding": "rot13"}, {}, "is no text encoding"),
        ({"p": {"whole": True}}, {"format": "whole", "encoding": "klingon"}, {}, "is no text encoding"),
        (
            {"p": {"item": "a"}},
            {"format": "binary", "layout": [{"name": "a", "type": "string", "length": "n"}]},
            {},
            "no item n stands before a",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(points: Settings, message: Settings, kinds: Settings, told: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        settings(points, message, kinds)
    assert told in str(refused.value)


LAYOUT = {
    "format": "binary",
    "layout": [
        {"name": "kind", "type": "uint8"},
        {"name": "length", "type": "uint8"},
        {"name": "serial", "type": "string", "length": "length"},
        {"name": "count", "type": "uint8"},
        {
            "name": "steps",
            "repeat": "count",
            "layout": [
                {"name": "type", "type": "uint8"},
                {
                    "choose": "type",
                    "cases": [
                        {"when": 1, "layout": [{"name": "force", "type": "int16"}]},
                        {"when": 2, "layout": [{"name": "force", "type": "int16"}, {"name": "angle", "type": "uint8"}]},
                    ],
                },
            ],
        },
        {"choose": "kind", "cases": [{"when": 7, "layout": [{"name": "sum", "type": "uint32"}]}, {"when": 8}]},
    ],
}
LAYOUT_POINTS = {
    "serial": {"item": "serial"},
    "forces": {"item": "steps.force", "scale": 0.1},
    "angles": {"item": "steps.angle"},
    "sum": {"item": "sum"},
}


def test_a_layout_reads_groups_that_repeat_and_groups_that_depend_on_a_type_byte() -> None:
    body = b"\x07\x03SN1\x03" + b"\x01\x00\x0a" + b"\x02\x00\x14\x05" + b"\x01\xff\xf6" + b"\x00\x00\x00\x63"
    assert found(LAYOUT_POINTS, LAYOUT, body) == {
        "serial": "SN1",
        "forces": [1.0, 2.0, -1.0],
        "angles": [5],
        "sum": 99,
    }
    assert found(LAYOUT_POINTS, LAYOUT, b"\x08\x00\x00")["forces"] == []
    assert "item sum is not in this message" in found(LAYOUT_POINTS, LAYOUT, b"\x08\x00\x00")["sum"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"\x07\x03SN1\x01\x01\x00\x0a\x00\x00\x00", "ends within sum"),
        (b"\x08\x00\x00\x00", "4 bytes, but the layout ends after 3"),
        (b"\x08\x00\x01\x09", "item type is 9; the layout knows 1, 2"),
        (b"", "ends within kind"),
    ],
)
def test_a_layout_that_does_not_fit_gives_no_value_at_all(body: bytes, told: str) -> None:
    for value in found(LAYOUT_POINTS, LAYOUT, body).values():
        assert told in value


def test_a_layout_may_end_with_all_that_is_left() -> None:
    message = {"format": "binary", "layout": [{"skip": 1}, {"name": "code", "type": "string", "length": "rest"}]}
    assert found({"p": {"item": "code"}}, message, b"\xf3SN-1")["p"] == "SN-1"
    assert built({"p": "SN-1"}, settings({"p": {"item": "code"}}, message)) == b"\0SN-1"


@given(
    serial=st.text(alphabet="ABC123", max_size=20),
    steps=st.lists(st.tuples(st.integers(-3276, 3276), st.none() | st.integers(0, 255)), max_size=20),
)
def test_a_layout_written_reads_the_same_and_cut_anywhere_reads_nothing(
    serial: str, steps: list[tuple[int, int | None]]
) -> None:
    rules = settings({**LAYOUT_POINTS, "kind": {"item": "kind"}, "types": {"item": "steps.type"}}, LAYOUT)
    values: dict[str, RawValue | None] = {
        "kind": 7,
        "serial": serial,
        "types": [1 if angle is None else 2 for _, angle in steps],
        "forces": [force / 10 for force, _ in steps],
        "angles": [angle for _, angle in steps if angle is not None],
        "sum": 12345,
    }
    body = built(values, rules)
    read = values_of([Message(body)], rules)
    assert {name: value.value for name, value in read.items()} == values
    for end in range(len(body)):
        assert all(value.value is None for value in values_of([Message(body[:end])], rules).values())


@given(
    form=st.sampled_from(["key_value", "fields", "json", "fixed"]),
    text=st.text(alphabet="ABCabc0123- ", max_size=12).map(str.strip).filter(bool),
    whole=st.integers(-(10**9), 10**9),
    number=st.decimals(-1000, 1000, places=3).map(float),
    flag=st.booleans(),
)
def test_a_text_message_means_the_values_it_was_made_of(
    form: str, text: str, whole: int, number: float, flag: bool
) -> None:
    types = {"text": "string", "whole": "int", "number": "float", "flag": "boolean"}
    points: dict[str, dict[str, object]] = {}
    for place, (name, kind) in enumerate(types.items()):
        address: dict[str, object] = {
            "key_value": {"key": name},
            "fields": {"field": place + 1},
            "json": {"path": f"a.{name}"},
            "fixed": {"columns": f"{place * 20 + 1}-{place * 20 + 20}"},
        }[form]
        points[name] = {**address, "type": kind}
    rules = settings(points, {"format": form})
    values: dict[str, RawValue | None] = {"text": text, "whole": whole, "number": number, "flag": flag}
    read = values_of([Message(built(values, rules))], rules)
    assert {name: value.value for name, value in read.items()} == values


@given(
    body=st.binary(max_size=60),
    form=st.sampled_from(["key_value", "fields", "whole", "fixed", "json", "binary", "regex"]),
)
def test_no_bytes_make_it_raise(body: bytes, form: str) -> None:
    points: dict[str, Any] = {
        "key_value": {"p": {"key": "a", "type": "float"}},
        "fields": {"p": {"field": 2, "type": "int"}},
        "whole": {"p": {"whole": True, "type": "boolean"}},
        "fixed": {"p": {"columns": "2-5", "type": "float"}},
        "json": {"p": {"path": "a.*.b"}},
        "binary": LAYOUT_POINTS,
        "regex": {"p": {"group": "force", "type": "float"}},
    }[form]
    message = {"binary": LAYOUT, "regex": REGEX}.get(form, {"format": form})
    for value in values_of([Message(body)], settings(points, message)).values():
        assert (value.value is None) == (value.problem is not None)


def test_an_example_carries_the_values_of_a_simulated_machine() -> None:
    example = {"example": "ST, 60.5 N"}
    rules = settings({"force": {"group": "force", "type": "float"}, "u": {"pattern": r"(\w+)$"}}, {**REGEX, **example})
    assert built({"force": 7.25}, rules) == b"ST, 7.25 N"
    assert built({"force": 7.25, "u": "kgf"}, rules) == b"ST, 7.25 kgf"
    with pytest.raises(ValueError, match="example is needed"):
        built({"force": 1.0}, settings({"force": {"group": "force", "type": "float"}}, REGEX))


@pytest.mark.parametrize(
    ("form", "point", "value", "told"),
    [
        ("key_value", {"key": "a"}, "1;2", "holds the separator"),
        ("fixed", {"columns": "1-3"}, "12345", "wider than its 3 columns"),
        ("whole", {"whole": True}, [1, 2], "holds no list"),
        ("binary", {"at": 0, "type": "uint8"}, 256, "does not fit uint8"),
        ("binary", {"at": 0, "type": "bcd", "length": 1}, 100, "does not fit|more digits|hexadecimal"),
        ("binary", {"at": 0, "type": "string", "length": 2}, "abc", "longer than 2 bytes"),
    ],
)
def test_a_value_a_message_cannot_carry_is_refused(form: str, point: Settings, value: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        built({"p": value}, settings({"p": point}, {"format": form}))


def test_a_value_counts_only_in_the_unit_the_machine_was_expected_to_use() -> None:
    points = {
        "weight": {"field": 1, "type": "float", "unit": "g", "unit_point": "weight_unit"},
        "weight_unit": {"field": 2},
    }
    assert found(points, {"format": "fields"}, b"1.5,g")["weight"] == 1.5
    assert found(points, {"format": "fields"}, b"1.5,kg")["weight"] == "not in g: the machine says kg"
    assert "has no value" in found(points, {"format": "fields"}, b"1.5")["weight"]


KINDS = {
    "begin": {"match": r"^START", "role": "begin", "message": {"format": "fields"}},
    "step": {"match": r"^STEP", "role": "part", "message": {"format": "fields"}},
    "alive": {"match": r"^ALIVE$", "role": "ignore"},
    "end": {"match": r"^END", "message": {"format": "key_value"}},
}
KIND_POINTS = {
    "serial": {"kind": "begin", "field": 2},
    "forces": {"kind": "step", "field": 2, "type": "float", "take": "all"},
    "last": {"kind": "step", "field": 2, "type": "float", "take": "last"},
    "result": {"kind": "end", "key": "r"},
}


def gathered(lines: list[bytes]) -> list[tuple[dict[str, Any], str | None, bytes]]:
    rules = settings(KIND_POINTS, {}, KINDS)
    gathering = Gathering(rules)
    results = [result for line in lines for result in gathering.take(line, line + b"\n")]
    results += gathering.give_up("the link was lost")
    told = []
    for result in results:
        values = values_of(result.messages, rules, result.problem)
        told.append(({name: value.value for name, value in values.items()}, result.problem, result.raw))
    return told


def test_a_result_of_several_messages_is_put_together() -> None:
    lines = [b"START,SN-1", b"STEP,1.5", b"ALIVE", b"STEP,2.5", b"END;r=OK"]
    ((values, wrong, raw),) = gathered(lines)
    assert values == {"serial": "SN-1", "forces": [1.5, 2.5], "last": 2.5, "result": "OK"}
    assert wrong is None
    assert raw == b"START,SN-1\nSTEP,1.5\nSTEP,2.5\nEND;r=OK\n"


def test_a_result_without_its_end_is_told_and_never_mixed_with_the_next() -> None:
    first, second = gathered([b"START,SN-1", b"STEP,1.5", b"START,SN-2", b"STEP,2.5", b"END;r=OK"])
    assert first == (
        dict.fromkeys(KIND_POINTS),
        "result not finished: the next one began before its end",
        b"START,SN-1\nSTEP,1.5\n",
    )
    assert second[0] == {"serial": "SN-2", "forces": [2.5], "last": 2.5, "result": "OK"}
    ((values, wrong, raw),) = gathered([b"START,SN-1"])
    assert (values["serial"], wrong, raw) == (None, "result not finished: the link was lost", b"START,SN-1\n")


def test_a_message_of_no_kind_spoils_the_result_it_came_with() -> None:
    """It may have been a part: the list of forces would be shorter than it was, and pass."""
    spoilt, whole = gathered([b"START,SN-1", b"STEQ,1.5", b"END;r=OK", b"START,SN-2", b"END;r=OK"])
    assert spoilt[1] == "no kind of message matches (begin, step, alive, end)"
    assert spoilt[2] == b"START,SN-1\nSTEQ,1.5\nEND;r=OK\n"
    assert set(spoilt[0].values()) == {None}
    assert whole[0]["serial"] == "SN-2"


def test_a_message_of_no_kind_is_a_result_of_its_own_where_results_have_no_parts() -> None:
    rules = settings({"p": {"whole": True}}, {"format": "whole"}, {"good": {"match": "^OK"}})
    (unknown,) = Gathering(rules).take(b"ERROR", b"ERROR\n")
    assert (unknown.raw, unknown.problem) == (b"ERROR\n", "no kind of message matches (good)")


def test_messages_without_an_end_are_given_up_before_they_fill_the_memory() -> None:
    line = b"STEP," + b"1" * 1000
    results = gathered([line] * (2 * LARGEST_RESULT // len(line)))
    assert all("without its end" in (wrong or "") or "link was lost" in (wrong or "") for _, wrong, _ in results)
    assert max(len(raw) for _, _, raw in results) < LARGEST_RESULT + 2000


@given(
    lines=st.lists(st.sampled_from([b"START,A", b"STEP,1", b"STEP,x", b"ALIVE", b"END;r=OK", b"?", b""]), max_size=30)
)
def test_every_message_comes_out_in_exactly_one_result(lines: list[bytes]) -> None:
    raw = b"".join(raw for _, _, raw in gathered(lines))
    assert sorted(raw.split(b"\n")) == sorted(b"".join(x + b"\n" for x in lines if x != b"ALIVE").split(b"\n"))


def test_json_settings_survive_their_own_json() -> None:
    rules = settings(LAYOUT_POINTS, LAYOUT)
    again = FieldSettings.model_validate_json(json.dumps({"points": LAYOUT_POINTS, "message": LAYOUT}), strict=True)
    assert again == rules
