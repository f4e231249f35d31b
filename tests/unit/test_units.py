"""Units are what pint's own list says they are, to the last digit, and texts of machines mean what people read."""

from fractions import Fraction

import pint
import pytest

from contracts.criteria.units import UnitError, conversion, fits, unit_of

SAME_IN_PINT = {
    "mm": "millimeter", "cm": "cm", "um": "micrometer", "nm": "nm", "km": "km", "in": "inch", "ft": "foot",
    "mil": "thou", "g": "gram", "kg": "kg", "mg": "mg", "t": "metric_ton", "lb": "pound", "oz": "ounce",
    "s": "second", "ms": "ms", "us": "us", "min": "minute", "h": "hour", "d": "day", "Hz": "1/s", "kHz": "1/ms",
    "A": "A", "mA": "mA", "V": "V", "mV": "mV", "kV": "kV", "W": "W", "kW": "kW", "Wh": "watt_hour", "kWh": "kWh",
    "J": "J", "mJ": "mJ", "eV": "eV", "C": "coulomb", "Ah": "ampere_hour", "mAh": "mAh", "ohm": "ohm", "kΩ": "kohm",
    "MΩ": "megaohm", "S": "siemens", "F": "farad", "uF": "uF", "pF": "pF", "H": "henry", "mH": "mH", "T": "tesla",
    "Wb": "weber", "VA": "volt_ampere", "N": "N", "mN": "mN", "kN": "kN", "kgf": "kgf", "gf": "gram_force",
    "lbf": "lbf", "ozf": "ounce_force", "Nm": "N*m", "Ncm": "N*cm", "cNm": "cN*m", "Nmm": "N*mm", "kgfcm": "kgf*cm",
    "kgf·cm": "kgf*cm", "lbfin": "lbf*inch", "lbfft": "lbf*foot", "Pa": "Pa", "kPa": "kPa", "MPa": "MPa", "hPa": "hPa",
    "bar": "bar", "mbar": "mbar", "psi": "psi", "atm": "atm", "kgf/cm2": "kgf/cm**2", "l": "liter", "ml": "mL",
    "l/min": "liter/minute", "g/cm3": "g/cm**3", "P": "poise", "cP": "centipoise", "cSt": "centistokes",
    "K": "kelvin", "%": "percent", "ppm": "ppm", "cd": "cd", "mol": "mol", "m/s^2": "m/s**2", "mm²": "mm**2",
}  # fmt: skip


@pytest.fixture(scope="module")
def theirs() -> pint.UnitRegistry:
    return pint.UnitRegistry(non_int_type=Fraction)


@pytest.mark.parametrize("ours", SAME_IN_PINT)
def test_a_unit_is_worth_what_pints_own_list_says(ours: str, theirs: pint.UnitRegistry) -> None:
    # Ours begins with the gram, theirs with the kilogram: mass counts a thousandfold.
    unit, amount = unit_of(ours), theirs.Quantity(Fraction(1), SAME_IN_PINT[ours]).to_base_units()
    mass = dict(unit.dimension).get("[mass]", 0)
    assert Fraction(amount.magnitude) == unit.scale / Fraction(1000) ** mass
    assert unit.offset == 0
    assert {str(base): int(power) for base, power in amount.dimensionality.items()} == dict(unit.dimension)


@pytest.mark.parametrize(
    ("value", "unit", "wanted", "there"),
    [
        ("0.061", "m", "mm", "61"),
        ("140", "degF", "degC", "60"),
        ("60", "degC", "degF", "140"),
        ("-40", "degC", "°F", "-40"),
        ("333.15", "K", "℃", "60"),
        ("1", "kgf", "N", "9.80665"),
        ("2.54", "cm", "in", "1"),
        ("1500", "rpm", "rev/s", "25"),
        ("90", "min", "h", "1.5"),
        ("50", "%", "ppm", "500000"),
    ],
)
def test_a_value_is_converted_exactly(value: str, unit: str, wanted: str, there: str) -> None:
    factor, summand = conversion(unit, wanted)
    assert Fraction(value) * factor + summand == Fraction(there)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "foo",
        "mm*",
        "*mm",
        "1mm",
        "mm mm3",
        "As",
        "mdegC",
        "degC/m",
        "m**2",
        "mm^0",
        "9",
        "a" * 30,
        "mm;",
        "_m",
        "MM",
    ],
)
def test_what_is_no_unit_is_refused(text: str) -> None:
    """As: pint would take the plural of ampere. degC/m: its zero makes no sense in a product."""
    with pytest.raises(UnitError):
        unit_of(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("mm", "s"),
        ("deg", "rad"),
        ("rpm", "Hz"),
        ("dB", "dBm"),
        ("HRC", "HRB"),
        ("pcs", None),
        ("Nm", "nm"),
        ("%", None),
    ],
)
def test_units_of_different_things_do_not_fit(one: str, other: str | None) -> None:
    assert not fits(one, other)
    assert not fits(other, one)
    assert fits(one, one)


def test_a_text_nobody_knows_fits_itself_alone() -> None:
    """What was measured and what is wanted are spelled alike: there is nothing to convert."""
    assert fits("furlong", "furlong")
    assert not fits("furlong", "m")
