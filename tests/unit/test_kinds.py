"""A value read is of a kind the settings told: else `check` refuses a rule that works, or passes one that cannot."""

from typing import Any, get_args

from hypothesis import given
from hypothesis import strategies as st

from contracts.measurement import Scalar
from drivers.base import PointValue
from drivers.fields.settings import FieldPoint
from drivers.fields.values import value_of_scalar, value_of_text
from drivers.kinds import kinds_of
from drivers.modbus.codec import decode
from drivers.modbus.registers import ModbusPoint, RegisterType

SIZES = {"string": {"length": 4}, "bcd_time": {"layout": "YYMMDDhhmmss"}}
MODBUS: list[dict[str, Any]] = [
    *({"holding_register": 0, "type": kind} | SIZES.get(kind, {}) for kind in get_args(RegisterType) if kind != "bool"),
    {"coil": 0},
    {"discrete_input": 0},
    {"holding_register": 0, "bit": 3},
    {"holding_register": 0, "type": "int16", "scale": 0.1},
    {"holding_register": 0, "type": "bcd16", "values": {"1": "OK", "2": True, "3": 7}},
]
FIELDS: list[dict[str, Any]] = [
    {"key": "a", "type": "string"},
    {"key": "a", "type": "int"},
    {"key": "a", "type": "float", "scale": 0.1},
    {"key": "a", "type": "boolean"},
    {"key": "a", "type": "int", "bit": 0},
    {"key": "a", "type": "int", "mask": 6},
    {"key": "a", "values": {"1": "OK", "2": True, "3": 7}},
]


@given(st.sampled_from(MODBUS), st.lists(st.integers(0, 0xFFFF), min_size=4, max_size=4))
def test_a_register_holds_what_its_settings_say(keys: dict[str, Any], words: list[int]) -> None:
    point = ModbusPoint.model_validate(keys)

    assert _is_told(decode(point, words[: point.count]), point)


@given(
    st.sampled_from(FIELDS),
    st.text("0123456789.,-+eE OKokyes", max_size=6) | st.integers(-5, 5) | st.floats(-5, 5) | st.booleans(),
)
def test_a_message_holds_what_its_settings_say(keys: dict[str, Any], value: Scalar) -> None:
    point = FieldPoint.model_validate(keys)
    found = value_of_text(value, point) if isinstance(value, str) else value_of_scalar(value, point)

    # A number with its own unit is a text still; parsing makes it a number.
    assert _is_told(found, point) or (point.type in ("int", "float") and isinstance(found.value, str))


def _is_told(found: PointValue, point: ModbusPoint | FieldPoint) -> bool:
    return found.value is None or (not isinstance(found.value, list) and kinds_of(found.value) <= point.kinds)
