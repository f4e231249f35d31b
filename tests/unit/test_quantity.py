"""Numbers and durations that arrive as text are read exactly or not at all."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.duration import parse_duration
from contracts.quantity import parse_quantity

units = st.sampled_from(["mm", "degC", "kgf", "%", "°C", "℃", "Nm", "m/s", "kgf·m", "mm²", "V AC"])
spaces = st.sampled_from(["", " ", "\t", "  "])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0.05mm", (0.05, "mm")),
        ("10.2", (10.2, None)),
        ("12", (12, None)),
        (" +3 kgf ", (3, "kgf")),
        ("-.5 degC", (-0.5, "degC")),
        ("1.", (1.0, None)),
        ("1e5", (100_000.0, None)),
        ("1.5E-3 m", (0.0015, "m")),
        ("50%", (50, "%")),
        ("0052", (52, None)),
        ("1,5", None),
        ("1 000", None),
        ("1_000", None),
        ("1.2.3", None),
        ("v1.2.3", None),
        ("１２", None),  # digits that are not those of the keyboard
        ("", None),
        ("mm", None),
        ("-", None),
        ("NaN", None),
        ("inf", None),
        ("1e999", None),
        ("9" * 5000, None),
        ("5 mm\n6 mm", None),
        ("--1", None),
    ],
)
def test_a_text_is_a_number_with_its_unit_or_nothing(text: str, found: tuple[int | float, str | None] | None) -> None:
    assert parse_quantity(text) == found
    if found is not None:
        read = parse_quantity(text)
        assert read is not None
        assert type(read[0]) is type(found[0])


@given(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)), units, spaces)
def test_every_number_is_read_back_exactly(number: int | float, unit: str, space: str) -> None:
    assert parse_quantity(f"{space}{number!r}{space}") == (number, None)
    assert parse_quantity(f"{number!r}{space}{unit}") == (number, unit)


@given(st.text(max_size=40))
def test_any_text_is_finite_or_nothing(text: str) -> None:
    found = parse_quantity(text)
    assert found is None or math.isfinite(found[0])


@given(st.integers(0, 10**6), st.sampled_from([("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86400.0)]))
def test_a_duration_is_seconds_by_its_unit(number: int, unit: tuple[str, float]) -> None:
    assert parse_duration(f"{number}{unit[0]}") == pytest.approx(number * unit[1])
    assert parse_duration(f"{number}.5 {unit[0]}") == pytest.approx((number + 0.5) * unit[1])


@pytest.mark.parametrize("text", ["5", 5, 5.0, None, "", "s", "-1s", "1 year", "1e3s", "5s ", "１s", True])
def test_a_duration_without_a_unit_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="with its unit"):
        parse_duration(text)
