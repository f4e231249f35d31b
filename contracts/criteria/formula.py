"""Rules across measurements: ``outer - inner``, ``force / displacement``, ``outer > inner + 0.5 mm``.

The grammar knows names, numbers with a unit, ``+ - * /``, ``abs min max`` and one comparison, and nothing else: no
calls, no powers, no text. It computes with fractions in base units, so that a sum of millimetres and metres is right
and one of millimetres and seconds is refused. lark is loaded at the first formula.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from typing import Any

from contracts.criteria.numbers import finite
from contracts.criteria.units import ONE, Dimension, Unit, UnitError, multiplied, unit_of
from contracts.measurement import Measurement

LONGEST_FORMULA = 200
"""Characters of a formula: it bounds how deep it nests."""
MOST_OPERANDS = 20
"""Names and numbers of a formula: with the digits of each they bound how long it computes."""
MOST_DIGITS = 400
"""Digits of a number that takes part in a formula; a float has at most 309 before its point and 324 behind it."""

_GRAMMAR = r"""
start: sum [COMPARE sum]
?sum: product | sum "+" product -> add | sum "-" product -> subtract
?product: signed | product "*" signed -> multiply | product "/" signed -> divide
?signed: atom | "-" signed -> negative
?atom: NUMBER [UNIT] -> number
     | FUNCTION "(" sum ("," sum)* ")" -> call
     | NAME -> name
     | "(" sum ")"
COMPARE: "<=" | ">=" | "==" | "!=" | "<" | ">"
FUNCTION.2: /(abs|min|max)(?= *\()/
NUMBER: /[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2}(?![0-9A-Za-z]))?/
NAME: /[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*/
UNIT: /[^\W\d_]+|%/
%ignore " "
"""


class FormulaError(ValueError):
    """A text that is no formula, or a formula that has no value for these measurements."""


Node = tuple[Any, ...]
"""One step of a formula: what to do, and with what."""

_COMPARE: dict[str, Callable[[Fraction, Fraction], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True)
class Formula:
    """A formula that was read. ``names`` are the measurements it needs, in the order they stand in it."""

    text: str
    names: tuple[str, ...]
    left: Node
    compare: str | None = None
    right: Node | None = None

    def value(self, measured: Mapping[str, Measurement], unit: str | None) -> Fraction:
        """What it comes to, in ``unit``. Raises FormulaError and UnitError where it has no value there."""
        return _number(self.left, self._numbers(measured, unit)) / _wanted(unit).scale

    def holds(self, measured: Mapping[str, Measurement]) -> bool:
        """Whether the comparison is true. Raises FormulaError and UnitError where that cannot be told."""
        assert self.compare is not None
        assert self.right is not None
        numbers = self._numbers(measured, None)
        return _COMPARE[self.compare](_number(self.left, numbers), _number(self.right, numbers))

    def check_units(self, units: Mapping[str, str | None], unit: str | None) -> None:
        """Whether the units of its measurements fit each other and ``unit``. Raises FormulaError and UnitError."""
        _fitted(self, tuple(units[name] for name in self.names), unit)

    def _numbers(self, measured: Mapping[str, Measurement], unit: str | None) -> dict[str, Fraction]:
        """Every measurement as a number of base units."""
        fitted = _fitted(self, tuple(measured[name].unit for name in self.names), unit)
        return {
            name: _plain(name, measured[name]) * scale + offset
            for name, (scale, offset) in zip(self.names, fitted, strict=True)
        }


@lru_cache(maxsize=512)
def formula(text: str) -> Formula:
    """Read a formula. Raises FormulaError, which says where it is wrong."""
    import lark  # noqa: PLC0415  # 4 MB: for stations that have a formula

    if len(text) > LONGEST_FORMULA:
        raise FormulaError(f"a formula has at most {LONGEST_FORMULA} characters")
    try:
        tree = _parser().parse(text)
    except lark.exceptions.UnexpectedInput as error:
        place = int(getattr(error, "pos_in_stream", None) or 0)
        where = f"before {text[place:][:20]!r}" if 0 <= place < len(text) else "at its end"
        raise FormulaError(f"not a formula, {where}: {text}") from error
    names: list[str] = []
    operands: list[Node] = []
    left, compare, right = tree.children
    nodes = [None if part is None else _node(part, names, operands) for part in (left, right)]
    if len(operands) > MOST_OPERANDS:
        raise FormulaError(f"a formula has at most {MOST_OPERANDS} names and numbers")
    if not names:
        raise FormulaError(f"names no measurement: {text}")
    assert nodes[0] is not None
    return Formula(text, tuple(dict.fromkeys(names)), nodes[0], None if compare is None else str(compare), nodes[1])


@cache
def _parser() -> Any:
    import lark  # noqa: PLC0415  # as above

    return lark.Lark(_GRAMMAR, parser="lalr")


def _node(tree: Any, names: list[str], operands: list[Node]) -> Node:
    kind, parts = tree.data, tree.children
    if kind == "name":
        names.append(str(parts[0]))
        operands.append(("name", str(parts[0])))
        return operands[-1]
    if kind == "number":
        unit = ONE
        if parts[1] is not None:
            try:
                unit = unit_of(str(parts[1]))
            except UnitError as error:
                raise FormulaError(str(error)) from error
            if unit.offset:
                raise FormulaError(f"{parts[0]} {parts[1]}: {parts[1]} has a zero of its own; write a difference in K")
        operands.append(("number", Fraction(str(parts[0])) * unit.scale, unit.dimension))
        return operands[-1]
    if kind == "call":
        function, arguments = str(parts[0]), [_node(part, names, operands) for part in parts[1:]]
        if (function == "abs") != (len(arguments) == 1):
            raise FormulaError("abs takes one value, min and max take several")
        return (function, *arguments)
    return (str(kind), *(_node(part, names, operands) for part in parts))


def _plain(name: str, measurement: Measurement) -> Fraction:
    number = finite(measurement.value)
    if number is None:
        raise FormulaError(f"{name} is not a finite number")
    if number.adjusted() >= MOST_DIGITS:
        raise FormulaError(f"{name} has more than {MOST_DIGITS} digits")
    return Fraction(number)


def _wanted(unit: str | None) -> Unit:
    return ONE if unit is None else unit_of(unit)


@lru_cache(maxsize=512)
def _fitted(read: Formula, units: tuple[str | None, ...], unit: str | None) -> tuple[tuple[Fraction, Fraction], ...]:
    """What takes each measurement to base units: a factor and a summand.

    A temperature in degC or degF is a number on a scale. It is taken over to the scale of ``unit``, where a difference
    is what people mean by it; in a comparison it is a temperature in K.
    """
    wanted = _wanted(unit)
    found = [_wanted(one) for one in units]
    dimensions = {name: one.dimension for name, one in zip(read.names, found, strict=True)}
    dimension = _dimension(read.left, dimensions)
    if read.right is not None:
        _same(dimension, _dimension(read.right, dimensions), "compared")
        return tuple((one.scale, one.offset) for one in found)
    if dimension != wanted.dimension:
        raise FormulaError(f"the value of {read.text} is not in {unit}" if unit else f"{read.text} needs a unit")
    for name, one, text in zip(read.names, found, units, strict=True):
        if one.offset and one.dimension != wanted.dimension:
            raise FormulaError(f"{name} in {text} has a zero of its own: give the criterion a unit of temperature")
    return tuple(
        (one.scale, one.offset - wanted.offset if one.dimension == wanted.dimension else one.offset) for one in found
    )


def _number(node: Node, numbers: Mapping[str, Fraction]) -> Fraction:
    kind = node[0]
    if kind == "number":
        constant: Fraction = node[1]
        return constant
    if kind == "name":
        return numbers[node[1]]
    first, *others = [_number(part, numbers) for part in node[1:]]
    if kind == "negative":
        return -first
    if kind == "abs":
        return abs(first)
    if kind in ("min", "max"):
        return min(first, *others) if kind == "min" else max(first, *others)
    if kind == "divide" and others[0] == 0:
        raise FormulaError("division by zero")
    return _ARITHMETIC[kind](first, others[0])


_ARITHMETIC: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
}


def _dimension(node: Node, dimensions: Mapping[str, Dimension]) -> Dimension:
    """What a step measures. Raises FormulaError where units do not fit."""
    kind = node[0]
    if kind == "number":
        constant: Dimension = node[2]
        return constant
    if kind == "name":
        return dimensions[node[1]]
    first, *others = [_dimension(part, dimensions) for part in node[1:]]
    if kind in ("multiply", "divide"):
        return multiplied(first, others[0], 1 if kind == "multiply" else -1)
    for other in others:
        _same(first, other, "added or compared")
    return first


def _same(one: Dimension, other: Dimension, what: str) -> None:
    if one != other:
        raise FormulaError(f"units do not fit: {_told(one)} and {_told(other)} cannot be {what}")


def _told(dimension: Dimension) -> str:
    return " ".join(f"{base}^{power}" if power != 1 else base for base, power in dimension) or "a plain number"
