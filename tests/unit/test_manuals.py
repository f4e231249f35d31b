"""What manuals call a thing is told with what to write; what may be written is never refused for a manual's sake."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from documents.shapes import keys_of, parts
from drivers import manuals
from drivers.fields.layout import BinaryType, ByteOrder
from drivers.interlock import Request
from drivers.manuals import line_format, plain
from drivers.modbus.registers import Register, RegisterType
from drivers.modbus.settings import Trigger
from drivers.opcua.settings import DataTrigger, NodeType
from drivers.registry import protocols
from drivers.serial.frame_settings import ChecksumType

TABLES = {
    name: value
    for name, value in vars(manuals).items()
    if name.isupper() and isinstance(value, dict) and not name.startswith("_")
}
CHOICES: list[tuple[Any, dict[str, str]]] = [
    (Literal["N", "E", "O", "M", "S"], manuals.PARITY),
    (Literal["none", "xonxoff", "rtscts", "dsrdtr"], manuals.FLOW_CONTROL),
    (ByteOrder, manuals.ORDER),
    (ChecksumType, manuals.CHECKSUM),
    (RegisterType, manuals.REGISTER_TYPE),
    (BinaryType, manuals.BINARY_TYPE),
    (NodeType, manuals.NODE_TYPE),
]


def models(types: Any, seen: set[Any]) -> Iterator[type[BaseModel]]:
    for one in parts(types):
        for inner in get_args(one) if get_origin(one) is not None else ():
            yield from models(inner, seen)
        if isinstance(one, type) and issubclass(one, BaseModel) and one not in seen:
            seen.add(one)
            yield one
            for field in one.model_fields.values():
                yield from models(field.annotation, seen)


def choices(types: Any) -> list[Any]:
    return [value for one in parts(types) for value in get_args(one)]


@pytest.mark.parametrize(("types", "meanings"), CHOICES)
def test_what_may_be_written_is_taken_and_what_is_proposed_may_be_written(types: Any, meanings: dict[str, str]) -> None:
    allowed = choices(types)
    for value in allowed:
        assert meanings.get(plain(value), value) == value
    for meant in meanings.values():
        proposed = meant.split(",")[0].split(" ")[0]
        assert proposed in {*allowed, "the", "bit:"}, meant


@pytest.mark.parametrize("types", [Request, Trigger, DataTrigger])
def test_every_way_to_signal_may_be_written(types: Any) -> None:
    for way in choices(types.model_fields["on"].annotation):
        more = {"equals": 1} if way == "value" else {}
        assert types.model_validate({"point": "n", "on": way, **more}).on == way


def test_a_spelling_is_looked_up_as_it_is_written() -> None:
    for name, table in TABLES.items():
        assert {plain(spelling) for spelling in table} == set(table), name


def test_a_key_that_is_meant_by_another_name_is_a_key_and_the_name_is_none() -> None:
    seen: set[Any] = set()
    found = [model for folder in protocols().values() for model in models(folder.settings(), seen)]
    named = [model for model in found if getattr(model, "other_names", None)]
    assert len(named) > 10
    keys = {key for model in found for key in keys_of([model], None)}
    for model in named:
        other_names: dict[str, str] = vars(model).get("other_names", {})
        assert {meant for meant in other_names.values() if meant.isidentifier()} <= keys


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("8N1", "bytesize: 8, parity: N, stopbits: 1"),
        ("7-e-2", "bytesize: 7, parity: E, stopbits: 2"),
        ("9600,8,N,1", "baudrate: 9600, bytesize: 8, parity: N, stopbits: 1"),
        ("19200 8E1", "baudrate: 19200, bytesize: 8, parity: E, stopbits: 1"),
        (7e1, "bytesize: 7, parity: E, stopbits: 1"),
        ("even", "E"),
    ],
)
def test_a_whole_line_format_is_taken_apart(written: object, told: str) -> None:
    with pytest.raises(ValidationError, match=f"write {told}"):
        TypeAdapter(Annotated[Any, line_format(manuals.PARITY)]).validate_python(written)


def test_letters_of_a_float_are_told_in_words() -> None:
    for letters, told in {"CDAB": "word_order: little", "BADC": "byte_order: little"}.items():
        with pytest.raises(ValidationError, match=f"unknown value; write {told}"):
            Register.model_validate({"holding_register": 1, "type": "float32", "word_order": letters})
