"""What a technician may write of a Modbus machine, and what is refused because it cannot be meant."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from drivers.modbus.addresses import LAST_ADDRESS, TABLES, Address, Table, number_of, parse_number
from drivers.modbus.registers import ModbusPoint, SignalRegister, Write
from drivers.modbus.settings import ModbusSettings

HOLDING = {"holding_register": 0}
NUMBER = {**HOLDING, "type": "uint16"}


def refusal(model: Any, written: Mapping[str, Any]) -> str:
    with pytest.raises(ValidationError) as refused:
        model.model_validate(written)
    return str(refused.value)


def machine(**keys: Any) -> dict[str, Any]:
    """A machine with a counter, and these keys beside."""
    points = {"n": NUMBER, "state": {"holding_register": 1, "type": "uint16", "values": {"1": "OK"}}}
    return {
        "connect": {"transport": "tcp", "host": "tester"},
        "trigger": {"point": "n"},
        "points": points,
        **keys,
    }


@pytest.mark.parametrize(
    ("written", "table", "address", "shown"),
    [
        (40001, "holding_register", 0, "register 40001 (holding_register 0)"),
        (400001, "holding_register", 0, "register 400001 (holding_register 0)"),
        ("40031", "holding_register", 30, "register 40031 (holding_register 30)"),
        (30008, "input_register", 7, "register 30008 (input_register 7)"),
        (10005, "discrete_input", 4, "register 10005 (discrete_input 4)"),
        (21, "coil", 20, "register 00021 (coil 20)"),
        ("00021", "coil", 20, "register 00021 (coil 20)"),
        ("000021", "coil", 20, "register 000021 (coil 20)"),
        ("010005", "coil", 10004, "register 010005 (coil 10004)"),
        (465536, "holding_register", 65535, "register 465536 (holding_register 65535)"),
    ],
)
def test_a_manuals_number_is_a_key_of_its_own(written: int | str, table: Table, address: int, shown: str) -> None:
    """It counts from 1 and names the table; holding_register: 40031 is a place of its own, and stays one."""
    found = Address.model_validate({"register": written})
    assert (found.table, found.address, str(found)) == (table, address, shown)
    assert str(Address.model_validate({table: address})).startswith(f"{table} {address} (")


@pytest.mark.parametrize("written", [0, 20001, 50001, 40000, 465537, 4000001, "4001", "x", "", -40001, True, 40001.0])
def test_a_number_that_names_no_register_is_refused(written: Any) -> None:
    assert "register" in refusal(Address, {"register": written})


@given(st.sampled_from(TABLES), st.integers(0, LAST_ADDRESS), st.sampled_from([5, 6]))
def test_a_number_that_is_shown_can_be_written(table: Table, address: int, digits: int) -> None:
    """Copied from an error into the file it means the same."""
    assert parse_number(number_of(table, address, digits)) == (table, address)


def test_exactly_one_address_is_given() -> None:
    for written in ({}, {"coil": 1, "register": 40001}, {"coil": 1, "discrete_input": 1}):
        assert "give exactly one address" in refusal(Address, written)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (HOLDING, "type: a holding_register needs one of"),
        ({"coil": 1, "type": "uint16"}, "type: a coil is one bit"),
        ({"coil": 1, "byte_order": "little"}, "a coil is one bit and has none"),
        ({"coil": 1, "bit": 1}, "a coil is one bit and has none"),
        ({**HOLDING, "bit": 16}, "bit: a uint16 has the bits 0 to 15"),
        ({**HOLDING, "bit": 1, "type": "int16"}, "type: with bit it is one of uint16, uint32, uint64"),
        ({**HOLDING, "type": "string"}, "length: a string has one"),
        ({**NUMBER, "length": 2}, "length: a string has one"),
        ({**NUMBER, "encoding": "cp949"}, "only a string has them"),
        ({**HOLDING, "type": "string", "length": 2, "encoding": "utf-16"}, "no plain letters of one byte"),
        ({**HOLDING, "type": "string", "length": 2, "encoding": "klingon"}, "is no text encoding"),
        ({**HOLDING, "type": "string", "length": 2, "word_order": "little"}, "word_order: a string has none"),
        ({**NUMBER, "word_order": "little"}, "word_order: the value takes one register and has none"),
        ({**HOLDING, "type": "bcd_time"}, "layout: a bcd_time has one"),
        ({**NUMBER, "layout": "YYMMDD--"}, "layout: a bcd_time has one"),
        ({**HOLDING, "type": "bcd_time", "layout": "YYMMDD"}, "four digits fill a register"),
        ({**HOLDING, "type": "bcd_time", "layout": "hhmmssss"}, "each once"),
        ({**HOLDING, "type": "bcd_time", "layout": "hhmm"}, "layout: a time needs year, month and day"),
        ({**HOLDING, "type": "epoch", "time_zone": "Asia/Seoul"}, "time_zone: only a bcd_time has one"),
        (
            {**HOLDING, "type": "bcd_time", "layout": "YYYYMMDD", "time_zone": "Seoul"},
            "'Seoul' is no time zone",
        ),
        ({"holding_register": 65535, "type": "uint32"}, "would end beyond 65535"),
        ({"register": 465536, "type": "uint32"}, "would end beyond 65535"),
        ({**NUMBER, "scale": 0}, "scale: 0 would make every value the same"),
        ({**HOLDING, "bit": 1, "scale": 2}, "scale, offset: only a number has them"),
        ({**HOLDING, "type": "epoch", "offset": 2}, "scale, offset: only a number has them"),
        ({**NUMBER, "values": {"1": "OK"}, "scale": 2}, "values: only a whole number that is not scaled"),
        ({**HOLDING, "type": "float32", "values": {"1": "OK"}}, "values: only a whole number"),
        ({**NUMBER, "values": {"0x10": "OK"}}, "values: the code 0x10 is no whole number"),
        ({**NUMBER, "values": {}}, "at least 1 item"),
    ],
)
def test_a_point_that_cannot_be_meant_is_refused(written: Mapping[str, Any], told: str) -> None:
    assert told in refusal(ModbusPoint, written)


@pytest.mark.parametrize(
    ("model", "written", "told"),
    [
        (Write, {"input_register": 1, "type": "uint16"}, "cannot be written"),
        (Write, {"register": 30001, "type": "uint16"}, "cannot be written"),
        (Write, {"coil": 1}, "value: a coil is written true or false"),
        (Write, {**HOLDING, "type": "float32"}, "an acknowledgement is a whole number or a string"),
        (Write, {**HOLDING, "bit": 1}, "a single bit is a signal of four_phase"),
        (SignalRegister, {"coil": 1, "on": 2}, "only a whole register has values"),
        (SignalRegister, {"coil": 1, "bit": 2}, "a coil is one bit and has none"),
        (SignalRegister, {**HOLDING, "on": 0}, "on, off: they must differ"),
    ],
)
def test_what_cannot_acknowledge_is_refused(model: Any, written: Mapping[str, Any], told: str) -> None:
    assert told in refusal(model, written)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"trigger": {"point": "n", "on": "value"}}, "on: which value? give equals"),
        ({"trigger": {"point": "n", "equals": 1}}, "equals: belongs to on: value"),
        ({"trigger": {"point": "n", "on": "counter", "counter": "n"}}, "the trigger itself is the counter"),
        ({"trigger": {"point": "state", "on": "counter"}}, "a counter is a whole number"),
        ({"trigger": {"point": "n", "poll": "5ms"}}, "greater than or equal to 0.01"),
        ({"source_timestamp": "n"}, "source_timestamp: the point is none of epoch"),
        ({"acknowledge": {}}, "give write or four_phase"),
        (
            {"acknowledge": {"four_phase": {"ready": {"coil": 1}, "ack": {"discrete_input": 1}}}},
            "ack: a discrete_input cannot be written",
        ),
        ({"requests": {"max_registers": 126}}, "less than or equal to 125"),
        (
            {"requests": {"max_registers": 1}, "points": {"n": {"holding_register": 0, "type": "uint32"}}},
            "points.n: it takes 2 registers, more than requests.max_registers",
        ),
        ({"connect": {"transport": "tls", "host": "h"}}, "connect.tls.ca"),
        ({"connect": {"transport": "rtu", "port": "/dev/ttyS0", "device_id": 0}}, "greater than or equal to 1"),
        ({"connect": {"transport": "rtu", "port": "/dev/ttyS0", "bytesize": 7}}, "bytesize"),
    ],
)
def test_a_machine_that_cannot_be_meant_is_refused(keys: Mapping[str, Any], told: str) -> None:
    assert told in refusal(ModbusSettings, machine(**keys))


def test_a_devices_orders_hold_where_a_point_says_nothing() -> None:
    points = {
        "n": NUMBER,
        "a": {"holding_register": 2, "type": "float32"},
        "b": {"holding_register": 4, "type": "float32", "word_order": "big"},
    }
    found = ModbusSettings.model_validate(machine(word_order="little", byte_order="little", points=points))
    orders = {
        name: (found.ordered(point).word_order, found.ordered(point).byte_order) for name, point in found.points.items()
    }
    assert orders["a"] == ("little", "little")
    assert orders["b"] == ("big", "little")


def test_what_machines_on_one_line_have_to_agree_on() -> None:
    rtu = {"transport": "rtu", "port": "/dev/ttyS0", "baudrate": 9600, "device_id": 7, "timeout": "300ms"}
    line = ModbusSettings.model_validate(machine(connect=rtu)).shared_line()
    assert line.name == "/dev/ttyS0"
    assert line.agreed == {"transport": "rtu", "baudrate": 9600, "parity": "N", "stopbits": 1}
    gateway = ModbusSettings.model_validate(machine()).shared_line()
    assert (gateway.name, gateway.agreed) == ("tester:502", {"transport": "tcp"})
