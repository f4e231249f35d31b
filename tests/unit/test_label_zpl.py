"""The label's template: filled as it says, and no value becomes a command."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from drivers.label.settings import LabelSettings
from drivers.label.zpl import field_data, filled

TEMPLATE = "^XA^CI28^FO20,20^A0N,30^FD{serial_number}^FS^FO20,60^FDLOT {lot} / {{x}}^FS^XZ"


def settings(template: str) -> LabelSettings:
    return LabelSettings.model_validate(
        {
            "connect": {"transport": "tcp", "host": "printer"},
            "template": template,
            "points": {"printed": {"status": "printed"}},
        }
    )


def printed_fields(zpl: str) -> list[str]:
    """What a printer takes for the fields' text: ^FH with its indicator, then ^FD up to the next command."""
    found = []
    for indicator, data in re.findall(r"(?:\^FH(.)?)?\^FD([^\^~]*)\^FS", zpl):
        text = data.encode("utf-8")
        if indicator:
            mark = re.escape(indicator.encode("ascii"))
            text = re.sub(mark + rb"([0-9A-F]{2})", lambda code: bytes.fromhex(code[1].decode()), text)
        found.append(text.decode("utf-8"))
    return found


def test_values_stand_in_their_fields_and_braces_where_they_are_written_twice() -> None:
    zpl = filled(TEMPLATE, {"serial_number": "SN-1", "lot": "WF-KR-241118D-001"})
    assert zpl.startswith("^XA^CI28^FO20,20^A0N,30^FH_^FDSN-1^FS")
    assert printed_fields(zpl) == ["SN-1", "LOT WF-KR-241118D-001 / {x}"]


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_value_ends_its_field_or_becomes_a_command(serial: str, lot: str) -> None:
    zpl = filled(TEMPLATE, {"serial_number": serial, "lot": lot})
    assert re.findall(r"[\^~][A-Z0-9]{2}", zpl) == re.findall(r"[\^~][A-Z0-9]{2}", filled(TEMPLATE, PLAIN))
    assert printed_fields(zpl) == [serial, f"LOT {lot} / {{x}}"]


PLAIN = {"serial_number": "a", "lot": "b"}


@given(st.text(max_size=40), st.sampled_from("_!#$"))
def test_field_data_survives_any_indicator(value: str, indicator: str) -> None:
    assert printed_fields(f"^FH{indicator}^FD{field_data(value, indicator)}^FS") == [value]


def test_a_fields_own_text_may_hold_the_usual_indicator() -> None:
    zpl = filled("^XA^FDpart_01 {serial_number}^FS^XZ", {"serial_number": "S^N"})
    assert printed_fields(zpl) == ["part_01 S^N"]


def test_other_than_ascii_needs_utf8_in_the_template() -> None:
    with pytest.raises(ValueError, match=r"product_model is '로봇': the template needs \^CI28"):
        filled("^XA^FD{product_model}^FS^XZ", {"product_model": "로봇"})
    assert printed_fields(filled("^XA^CI28^FD{m}^FS^XZ", {"m": "로봇"})) == ["로봇"]


@pytest.mark.parametrize("value", ["SN>1", "로봇"])
def test_a_code_128_is_not_given_what_it_cannot_hold(value: str) -> None:
    with pytest.raises(ValueError, match=r"a Code 128 \(\^BC\) holds ASCII alone, and takes > for a command"):
        filled("^XA^CI28^BCN,60^FD{s}^FS^XZ", {"s": value})
    assert printed_fields(filled("^XA^CI28^BCN,60^FDfix^FS^FD{s}^FS^XZ", {"s": value})) == ["fix", value]


def test_a_name_without_a_value_is_named() -> None:
    with pytest.raises(KeyError, match="lot"):
        filled(TEMPLATE, {"serial_number": "SN-1"})


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("^FDx^FS", "one label is needed"),
        ("^XA^FDx^FS^XZ^XA^FDy^FS^XZ", "one label is needed"),
        ("^XA^FO{place},20^FDx^FS^XZ", "place: a name stands in field data only"),
        ("^XA^FD{serial.number}^FS^XZ", "is not a plain name"),
        ("^XA^FDx^FS^PQ2^XZ", "a unit has one label"),
    ],
)
def test_a_template_that_cannot_work_is_refused(template: str, told: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(told)):
        settings(template)
