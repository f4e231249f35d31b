"""Numbers of LOTs and units: every possible one is read, and nothing that only looks like one."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from contracts.base import LotNumber, SerialNumber
from contracts.identity import LotParts, lot_of_serial, lot_parts

lot_number: TypeAdapter[str] = TypeAdapter(LotNumber)
serial_number: TypeAdapter[str] = TypeAdapter(SerialNumber)
days = st.dates(date(2000, 1, 1), date(2099, 12, 31))


@given(days, st.sampled_from("DN"), st.integers(1, 999), st.integers(0, 9999))
def test_a_number_says_the_parts_it_is_made_of(day: date, shift: str, number: int, sequence: int) -> None:
    lot = f"WF-KR-{day:%y%m%d}{shift}-{number:03d}"
    assert lot_number.validate_python(lot) == lot
    assert lot_parts(lot) == LotParts(day, "D" if shift == "D" else "N", number)
    serial = f"{lot}-{sequence:04d}"
    assert serial_number.validate_python(serial) == serial
    assert lot_of_serial(serial) == (lot, sequence)


@pytest.mark.parametrize(
    "text",
    [
        "WF-KR-240230D-001",  # no such day
        "WF-KR-250229D-001",
        "WF-KR-241318D-001",
        "WF-KR-241118D-000",
    ],
)
def test_a_number_of_the_right_form_may_be_impossible(text: str) -> None:
    lot_number.validate_python(text)
    assert lot_parts(text) is None
    assert lot_of_serial(f"{text}-0001") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "WF-KR-241118D-001\n",
        " WF-KR-241118D-001",
        "wf-kr-241118d-001",
        "WF-KR-241118X-001",
        "WF-KR-241118D-1",
        "WF-KR-241118D-0001",
        "WF-KR-２４1118D-001",  # digits that are not those of the keyboard
        "WF-US-241118D-001",
    ],
)
def test_what_only_looks_like_a_number_is_none(text: str) -> None:
    with pytest.raises(ValidationError):
        lot_number.validate_python(text)
    assert lot_parts(text) is None
    assert lot_of_serial(f"{text}-0001") is None


@given(st.text())
def test_any_text_is_read_or_refused_and_never_stops_anything(text: str) -> None:
    """What lot_parts understands is a LOT number by its form too."""
    if lot_parts(text) is not None:
        assert lot_number.validate_python(text) == text
    found = lot_of_serial(text)
    assert found is None or lot_parts(found[0]) is not None


def test_other_forms_of_serial_numbers_say_no_lot() -> None:
    assert serial_number.validate_python("SN-241118-001") == "SN-241118-001"
    assert lot_of_serial("SN-241118-001") is None
    for wrong in ("SN", "", "-SN-1", "SN 1 2", "SN-001\n", "x" * 65):
        with pytest.raises(ValidationError):
            serial_number.validate_python(wrong)
