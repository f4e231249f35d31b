"""Registers <-> values: every type in every order, by hand and against pymodbus; whatever stands there, no guess."""

import math
import struct
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pymodbus.client.mixin import ModbusClientMixin

from contracts.measurement import Scalar
from drivers.modbus.codec import decode, encode, encode_point, encode_write, shortest_float32
from drivers.modbus.registers import WIDTHS, ModbusPoint, Write

ORDERS = [("big", "big"), ("big", "little"), ("little", "big"), ("little", "little")]
WHOLE = ["uint16", "int16", "uint32", "int32", "uint64", "int64"]
PEER = ["uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]
words16 = st.integers(0, 0xFFFF)


def point(type_: str | None = None, **keys: Any) -> ModbusPoint:
    """A point with its orders known, as the driver has it."""
    written = {"holding_register": 0, "type": type_, **keys}
    made = ModbusPoint.model_validate({key: value for key, value in written.items() if value is not None})
    orders = {"word_order": made.word_order or "big", "byte_order": made.byte_order or "big"}
    return made.model_copy(update=orders)


def ordered(type_: str, word_order: str, byte_order: str, **keys: Any) -> ModbusPoint:
    """With these orders; a value of one register has no order of words to write."""
    made = point(type_, byte_order=byte_order, **keys)
    return made.model_copy(update={"word_order": word_order})


def bounds(type_: str) -> tuple[int, int]:
    """Least and greatest value of a whole number."""
    bits = 16 * WIDTHS[type_]
    if type_.startswith("bcd"):
        return 0, 10 ** (bits // 4) - 1
    return (0, 2**bits - 1) if type_.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


# -- by hand -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word_order", "byte_order", "words"),
    [
        ("big", "big", [0x4270, 0x6666]),
        ("little", "big", [0x6666, 0x4270]),
        ("big", "little", [0x7042, 0x6666]),
        ("little", "little", [0x6666, 0x7042]),
    ],
    ids=["ABCD", "CDAB", "BADC", "DCBA"],
)
def test_a_float32_in_the_four_orders_makers_use(word_order: str, byte_order: str, words: list[int]) -> None:
    read = ordered("float32", word_order, byte_order)
    assert decode(read, words).value == 60.1
    assert encode(read, 60.1) == words


@pytest.mark.parametrize(
    ("written", "words", "value"),
    [
        ({"type": "int16", "scale": 0.1}, [0xFFFF], -0.1),
        ({"type": "int16", "scale": 0.1, "offset": -20}, [605], 40.5),
        ({"type": "uint16", "scale": 10}, [605], 6050),
        ({"type": "bcd16"}, [0x1234], 1234),
        ({"type": "bcd32"}, [0x0012, 0x3456], 123456),
        ({"type": "uint16", "values": {"1": "OK", "2": "NG"}}, [2], "NG"),
        ({"type": "int16", "values": {"-1": False, "1": True}}, [0xFFFF], False),
        ({"bit": 0}, [0x0001], True),
        ({"bit": 15}, [0x7FFF], False),
        ({"bit": 16, "type": "uint32"}, [0x0001, 0x0000], True),
        ({"type": "string", "length": 6}, [0x534E, 0x2D31, 0x0000], "SN-1"),
        ({"type": "string", "length": 6, "byte_order": "little"}, [0x4E53, 0x312D, 0x2020], "SN-1"),
        ({"type": "string", "length": 4, "bytes_per_register": 1}, [0x53, 0x4E, 0x2D, 0x31], "SN-1"),
        ({"type": "string", "length": 6, "padding": "*"}, [0x534E, 0x2D31, 0x2A2A], "SN-1"),
        ({"type": "string", "length": 4, "encoding": "cp949"}, [0xC7D5, 0xB0DD], "합격"),
        ({"type": "epoch"}, [0x673B, 0x08A0], "2024-11-18T09:28:00+00:00"),
        ({"type": "epoch_ms"}, [0x0000, 0x0193, 0x3E99, 0xB1FA], "2024-11-18T09:28:00.250000+00:00"),
        ({"type": "bcd_time", "layout": "YYMMDDhhmmss"}, [0x2411, 0x1809, 0x3015], "2024-11-18T09:30:15+00:00"),
        (
            {"type": "bcd_time", "layout": "ssmmhhDDMMYY", "time_zone": "Asia/Seoul"},
            [0x1530, 0x0918, 0x1124],
            "2024-11-18T00:30:15+00:00",
        ),
        ({"type": "bcd_time", "layout": "YYYYMMDD"}, [0x2024, 0x1118], "2024-11-18T00:00:00+00:00"),
        ({"type": "bcd_time", "layout": "YYMMDD--"}, [0x2411, 0x1899], "2024-11-18T00:00:00+00:00"),
    ],
)
def test_what_stands_in_registers(written: dict[str, Any], words: list[int], value: Scalar) -> None:
    found = decode(point(**{"type_": written.pop("type", None), **written}), words)
    assert found.problem is None
    assert (found.value, type(found.value)) == (value, type(value))


@pytest.mark.parametrize(
    ("written", "words", "told"),
    [
        ({"type": "float32"}, [0x7FC0, 0], "nan is not a finite number"),
        ({"type": "float64"}, [0x7FF0, 0, 0, 0], "inf is not a finite number"),
        ({"type": "bcd16"}, [0x12A4], "not decimal digits: bytes 12 a4"),
        ({"type": "uint16", "values": {"1": "OK"}}, [7], "7 is not in values: 1"),
        ({"type": "string", "length": 2}, [0xFFFE], "not utf-8 text: bytes ff fe"),
        ({"type": "bcd_time", "layout": "YYMMDD--"}, [0x2413, 0x1800], "no moment: bytes 24 13 18 00"),
        ({"type": "bcd_time", "layout": "YYMMDD--"}, [0x24AA, 0x1800], "no moment"),
        ({"type": "epoch_ms"}, [0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF], "no moment"),
        ({"type": "float64", "scale": 1e300}, [0x7FE0, 0, 0, 0], "scaled is not a finite number"),
    ],
)
def test_what_is_no_value_is_told_with_its_register(written: dict[str, Any], words: list[int], told: str) -> None:
    """Never a number made up: it would be judged, and might pass."""
    found = decode(point(**{"type_": written.pop("type", None), **written}), words)
    assert found.value is None
    assert found.problem is not None
    assert found.problem.startswith("holding_register 0 (40001): ")
    assert told in found.problem
    assert found.original


def test_an_acknowledgement_echoes_and_fills_in() -> None:
    echo = Write.model_validate({"holding_register": 5, "type": "uint16"})
    assert encode_write(echo, {}, 17) == [17]
    assert encode_write(echo, {}, 17.0) == [17]
    named = Write.model_validate({"holding_register": 5, "type": "string", "length": 8, "value": "{code}:{cycle_key}"})
    assert encode_write(named, {"code": "AB"}, 7) == [0x4142, 0x3A37, 0, 0]
    with pytest.raises(KeyError):
        encode_write(named, {"code": None}, 7)
    with pytest.raises(ValueError, match="70000' does not fit uint16"):
        encode_write(echo, {}, 70_000)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("uint16", -1),
        ("uint16", 65_536),
        ("int16", 32_768),
        ("uint16", 1.5),
        ("bcd16", 10_000),
        ("bcd16", -1),
        ("float32", 1e39),
        ("uint16", "x"),
        ("epoch", "1960-01-01"),
        ("epoch", "x"),
    ],
)
def test_what_does_not_fit_is_refused(type_: str, value: Scalar) -> None:
    with pytest.raises(ValueError, match=r"does not fit|Invalid isoformat"):
        encode(point(type_), value)


# -- by law --------------------------------------------------------------------------------------------------------


@given(st.sampled_from([*WHOLE, "bcd16", "bcd32", "bcd64"]), st.sampled_from(ORDERS), st.data())
def test_whole_numbers_come_back(type_: str, orders: tuple[str, str], data: st.DataObject) -> None:
    number = data.draw(st.integers(*bounds(type_)))
    read = ordered(type_, *orders)
    assert decode(read, encode(read, number)).value == number


@given(st.sampled_from(PEER), st.sampled_from(["big", "little"]), st.lists(words16, min_size=4, max_size=4))
def test_pymodbus_reads_the_same(type_: str, word_order: Any, words: list[int]) -> None:
    """A second pair of eyes, which knows the two orders of words."""
    read = ordered(type_, word_order, "big")
    words = words[: read.count]
    peer = ModbusClientMixin.convert_from_registers(
        words, getattr(ModbusClientMixin.DATATYPE, type_.upper()), word_order
    )
    assert isinstance(peer, int | float)
    found = decode(read, words)
    if not math.isfinite(peer):
        assert found.value is None
    elif type_ == "float32":
        assert struct.pack(">f", found.value) == struct.pack(">f", peer)
    else:
        assert found.value == peer


@given(st.sampled_from(PEER), st.lists(words16, min_size=4, max_size=4))
def test_the_order_of_bytes_is_a_swap_in_each_register(type_: str, words: list[int]) -> None:
    big, little = ordered(type_, "big", "big"), ordered(type_, "big", "little")
    words = words[: big.count]
    swapped = [(word & 0xFF) << 8 | word >> 8 for word in words]
    assert decode(big, words) == decode(little, swapped)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_is_the_shortest_decimal_that_reads_back(number: float) -> None:
    found = shortest_float32(number)
    assert struct.pack(">f", found) == struct.pack(">f", number)
    digits = len(f"{found:e}".split("e")[0].rstrip("0").replace("-", "").replace(".", ""))
    if not 1 < digits <= 6:
        return
    shorter = float(f"{number:.{digits - 2}e}")
    assert struct.pack(">f", shorter) != struct.pack(">f", number), "a shorter one reads back too"


@given(
    st.sampled_from(["uint16", "int16", "int32", "float64"]),
    st.integers(-9999, 9999),
    st.integers(0, 4),
    st.integers(-500, 500),
)
def test_a_scaled_value_comes_back_without_dust(type_: str, number: int, decimals: int, offset: int) -> None:
    """60.1, not 60.099999999999994: it is compared with limits."""
    assume(number >= 0 or type_ != "uint16")
    read = point(type_, scale=float(f"1e-{decimals}"), offset=offset)
    value = decode(read, encode(read, number)).value
    assert value == float(f"{number / 10**decimals + offset:.{decimals}f}")
    assert value is not None
    assert not isinstance(value, list)
    assert encode_point(read, value) == encode(read, number)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30), st.sampled_from(["big", "little"]))
def test_texts_come_back(text: str, byte_order: str) -> None:
    assume(text == text.strip())
    read = point("string", length=60, byte_order=byte_order)
    assume(len(text.encode()) <= 60)
    assert decode(read, encode(read, text)).value == text


@given(st.integers(946_684_800, 4_102_444_799))
def test_times_come_back(seconds: int) -> None:
    """From 2000 to 2099."""
    moment = datetime.fromtimestamp(seconds, UTC)
    for read in (point("epoch"), point("epoch_ms"), point("bcd_time", layout="YYYYMMDDhhmmss--")):
        assert decode(read, encode(read, moment.isoformat())).value == moment.isoformat()


POINTS = [
    *(point(type_) for type_ in WIDTHS),
    point(bit=3),
    point("uint16", values={"1": "a"}),
    point("int32", scale=0.001, offset=5),
    point("string", length=7),
    point("string", length=3, bytes_per_register=1, encoding="ascii"),
    point("bcd_time", layout="YYMMDDhhmmss", time_zone="Asia/Seoul"),
]


@given(st.sampled_from(POINTS), st.sampled_from(ORDERS), st.lists(words16, min_size=8, max_size=8))
def test_whatever_stands_there_is_a_value_or_a_problem(
    read: ModbusPoint, orders: tuple[str, str], words: list[int]
) -> None:
    """Nothing raises in the middle of a reading, and no float is left that compares as nothing does."""
    read = read.model_copy(update={"word_order": orders[0], "byte_order": orders[1]})
    found = decode(read, words[: read.count])
    assert (found.value is None) == (found.problem is not None)
    if isinstance(found.value, float):
        assert math.isfinite(found.value)
