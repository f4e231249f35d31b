"""Units of measurement: what a text means, and the exact way from one unit to another.

Names and prefixes are read by pint, loaded at the first unit that has to be converted or checked. The definitions are
our own: pint's list reads ``Nm`` as a number of metres per gram, and a later release of it may change a verdict. They
are exact fractions, so that 0.061 m is 61 mm, and tests compare each with pint's own list.
"""

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from typing import Any

LONGEST_UNIT = 20
"""Characters of a unit."""
_ONE_FACTOR = r"((?:[^\W\d_]|[%°‰])(?:[^\W\d])*)(?:\^?(-?[1-9]))?"
_FACTOR = re.compile(rf"(^|[*/]){_ONE_FACTOR}")
_FORM = re.compile(rf"{_ONE_FACTOR}(?:[*/]{_ONE_FACTOR})*")
_SPELLINGS = str.maketrans({"·": "*", "⋅": "*", " ": None})

# Sources: BIPM, The International System of Units (SI Brochure, 9th edition), tables 2 to 8; NIST SP 811, appendix B.8
# (foot, pound, horsepower, psi, mmHg). Hardness, level, pH and pieces convert to nothing else.
_DEFINITIONS = """
pico- = 1e-12 = p-
nano- = 1e-9 = n-
micro- = 1e-6 = u- = μ-
milli- = 1e-3 = m-
centi- = 1e-2 = c-
deci- = 1e-1 = d-
hecto- = 1e2 = h-
kilo- = 1e3 = k-
mega- = 1e6 = M-
giga- = 1e9 = G-

meter = [length] = m = metre
gram = [mass] = g
second = [time] = s = sec
ampere = [current] = A = amp
kelvin = [temperature] = K
mole = [substance] = mol
candela = [luminosity] = cd
radian = [angle] = rad
piece = [number] = pcs = pc = ea = EA

minute = 60 * second = min
hour = 60 * minute = h = hr
day = 24 * hour = d
hertz = 1 / second = Hz
newton = kilogram * meter / second ** 2 = N
pascal = newton / meter ** 2 = Pa
joule = newton * meter = J
watt = joule / second = W
coulomb = ampere * second = C
volt = joule / coulomb = V
ohm = volt / ampere = Ω = Ohm
siemens = ampere / volt = S
farad = coulomb / volt = F
weber = volt * second = Wb
henry = weber / ampere = H
tesla = weber / meter ** 2 = T
lumen = [luminous_flux] = lm
lux = lumen / meter ** 2 = lx
liter = decimeter ** 3 = l = L
tonne = 1000 * kilogram = t
bar = 100000 * pascal
standard_atmosphere = 101325 * pascal = atm
electron_volt = 1.602176634e-19 * joule = eV
watt_hour = watt * hour = Wh
ampere_hour = ampere * hour = Ah
volt_ampere = volt * ampere = VA
newton_meter = newton * meter = Nm
newton_centimeter = newton * centimeter = Ncm
newton_millimeter = newton * millimeter = Nmm
poise = 0.1 * pascal * second = P
stokes = 1e-4 * meter ** 2 / second = St

kilogram_force = 9.80665 * newton = kgf = kp
gram_force = 0.00980665 * newton = gf
kilogram_force_meter = kilogram_force * meter = kgfm
kilogram_force_centimeter = kilogram_force * centimeter = kgfcm
millimeter_of_mercury = 133.322387415 * pascal = mmHg
inch = 0.0254 * meter = in
foot = 12 * inch = ft
thou = 0.001 * inch = mil
pound = 453.59237 * gram = lb
ounce = pound / 16 = oz
pound_force = 4.4482216152605 * newton = lbf
ounce_force = pound_force / 16 = ozf
pound_force_inch = pound_force * inch = lbfin
pound_force_foot = pound_force * foot = lbfft
psi = pound_force / inch ** 2

turn = [rotation] = rev
revolution_per_minute = turn / minute = rpm
degree = [degree_of_arc] = deg = °
arcminute = degree / 60 = arcmin
arcsecond = degree / 3600 = arcsec

percent = 0.01 = %
permille = 0.001 = ‰
ppm = 1e-6
degree_Celsius = kelvin; offset: 273.15 = degC = °C = celsius
degree_Fahrenheit = 5 / 9 * kelvin; offset: 233.15 + 200 / 9 = degF = °F = fahrenheit

decibel = [level] = dB
decibel_milliwatt = [level_of_power] = dBm
decibel_A = [level_of_sound] = dBA
pH = [acidity]
HRC = [hardness_rockwell_C]
HRB = [hardness_rockwell_B]
HV = [hardness_vickers]
HB = [hardness_brinell] = HBW
Shore_A = [hardness_shore_A] = ShA
Shore_D = [hardness_shore_D] = ShD
pixel = [pixel] = px
bit = [information]
byte = 8 * bit = B
"""


class UnitError(ValueError):
    """A text that is no unit, or two units that do not fit each other."""


Dimension = tuple[tuple[str, int], ...]
"""Base dimensions with their powers, in alphabetical order; empty for a plain number."""


@dataclass(frozen=True)
class Unit:
    """What a unit is worth: ``base = value * scale + offset``, in the base units of its dimension."""

    scale: Fraction
    offset: Fraction
    dimension: Dimension


ONE = Unit(Fraction(1), Fraction(0), ())
"""Of a number without a unit."""


@lru_cache(maxsize=1024)
def unit_of(text: str) -> Unit:
    """The unit a text means: a name, or names with ``*``, ``/`` and powers (``kgf/cm2``). Raises UnitError."""
    spelled = unicodedata.normalize("NFKC", text).translate(_SPELLINGS)
    if len(text) > LONGEST_UNIT or _FORM.fullmatch(spelled) is None:
        raise UnitError(f"unknown unit {text!r}")
    found = [(sign, *_named(name, text), int(power or 1)) for sign, name, power in _FACTOR.findall(spelled)]
    if len(found) == 1 and found[0][3] == 1:
        return found[0][1]
    whole = ONE
    for sign, unit, name, power in found:
        if unit.offset:
            raise UnitError(f"{name} in {text!r} has a zero of its own and cannot be multiplied: write K")
        exponent = -power if sign == "/" else power
        dimension = multiplied(whole.dimension, unit.dimension, exponent)
        whole = Unit(whole.scale * unit.scale**exponent, Fraction(0), dimension)
    return whole


def multiplied(one: Dimension, other: Dimension, power: int) -> Dimension:
    """The dimension of ``one * other ** power``."""
    powers = dict(one)
    for base, exponent in other:
        powers[base] = powers.get(base, 0) + exponent * power
    return tuple(sorted((base, exponent) for base, exponent in powers.items() if exponent))


@lru_cache(maxsize=1024)
def conversion(measured: str, wanted: str) -> tuple[Fraction, Fraction]:
    """``factor, summand`` with ``value in wanted = value in measured * factor + summand``. Raises UnitError."""
    ours, theirs = unit_of(measured), unit_of(wanted)
    if ours.dimension != theirs.dimension:
        raise UnitError(f"{measured} does not convert to {wanted}")
    return ours.scale / theirs.scale, (ours.offset - theirs.offset) / theirs.scale


def fits(measured: str | None, wanted: str | None) -> bool:
    """Whether a number in ``measured`` can be compared with one in ``wanted``. None is no unit, and fits itself."""
    if measured == wanted:
        return True
    if measured is None or wanted is None:
        return False
    try:
        conversion(measured, wanted)
    except UnitError:
        return False
    return True


def _named(name: str, text: str) -> tuple[Unit, str]:
    """A single unit with its prefix, and its name. Raises UnitError."""
    registry = _registry()
    # Without the plural: pint would read As (ampere-seconds) as amperes.
    candidates = [(prefix, base) for prefix, base, plural in registry.parse_unit_name(name) if not plural]
    if not candidates:
        raise UnitError(f"unknown unit {text!r}")
    prefix, base = min(candidates, key=lambda candidate: bool(candidate[0]))  # min is minute before milli-inch
    zero = registry.Quantity(Fraction(0), base).to_root_units()
    one = registry.Quantity(Fraction(1), base).to_root_units()
    offset, scale = zero.magnitude, one.magnitude - zero.magnitude
    if prefix:
        if offset:
            raise UnitError(f"unknown unit {text!r}")
        scale *= Fraction(registry._prefixes[prefix].value)
    dimension = tuple(sorted((str(dim), int(power)) for dim, power in one.dimensionality.items()))
    return Unit(scale, offset, dimension), name


@cache
def _registry() -> Any:
    import pint  # noqa: PLC0415  # 5 MB, and a tenth of a second: for those who need it

    return pint.UnitRegistry(_DEFINITIONS.splitlines(), non_int_type=Fraction)
