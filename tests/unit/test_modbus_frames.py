"""Answers found in what a wire brings: cut at every byte, with noise before and between, and never another's."""

import struct
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerAscii, FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU

from drivers.modbus.addresses import TABLES, Table
from drivers.modbus.frames import Ascii, Awaited, CorruptError, Framing, Numbered, Rtu
from drivers.modbus.memory import Memory
from drivers.modbus.requests import Request, bits_in, exception_in, words_in

PEERS = {"rtu": FramerRTU, "ascii": FramerAscii, "numbered": FramerSocket}
SERIAL = ["rtu", "ascii"]


def framing(kind: str) -> Framing:
    return {"rtu": Rtu, "ascii": Ascii, "numbered": Numbered}[kind]()


class Exchange(NamedTuple):
    """A request, and what a device answers to it."""

    awaited: Awaited
    answer: bytes


WORD = struct.Struct(">H")
words = st.integers(0, 0xFFFF)
requests = (
    st.builds(Request.read, st.sampled_from(TABLES), st.integers(0, 12), st.integers(1, 20))
    | st.builds(Request.write_coil, st.integers(0, 12), st.booleans())
    | st.builds(Request.write_register, st.integers(0, 12), words)
    | st.builds(Request.write_bits, st.integers(0, 12), words, words)
    | st.builds(
        lambda start, data: Request.write_registers(start, words_of(data)),
        st.integers(0, 12),
        st.binary(min_size=2, max_size=20),
    )
)


def words_of(data: bytes) -> list[int]:
    """Registers of these bytes: one drawn value, where a list of numbers would be dozens."""
    return [word for (word,) in WORD.iter_unpack(data[: len(data) // 2 * 2])]


def exchange_of(request: Request, data: bytes, device_id: int, number: int) -> Exchange:
    """A device answers that holds these bytes; a request is for one of its tables, so that all may hold the same."""
    memory = Memory()
    for table in TABLES:
        is_bit = table in ("coil", "discrete_input")
        memory.put(table, 0, [byte & 1 for byte in data[:30]] if is_bit else words_of(data))
    return Exchange(Awaited(device_id, request, number), memory.answer(request.pdu))


exchanges = st.builds(
    exchange_of, requests, st.binary(min_size=2, max_size=60), st.integers(1, 247), st.integers(1, 0xFFFF)
)
"""Any request to a device with random registers; it may refuse."""


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The pieces in which a wire may bring it."""
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def hear(wire: Framing, pieces: list[bytes], awaited: Awaited) -> bytes | None:
    """What is found when these pieces come."""
    found: bytes | None = None
    for piece in pieces:
        answer = wire.heard(piece, awaited if found is None else None)
        found = found if answer is None else answer
    return found


cuts = st.lists(st.integers(0, 600), max_size=12)


@given(st.sampled_from(list(PEERS)), exchanges, cuts)
def test_an_answer_is_found_however_the_wire_cuts_it(kind: str, exchange: Exchange, places: list[int]) -> None:
    wire = framing(kind)
    frame = wire.frame(exchange.awaited.device_id, exchange.answer, exchange.awaited.number)
    assert hear(wire, cut(frame, places), exchange.awaited) == exchange.answer


@given(st.sampled_from(SERIAL), exchanges, st.binary(max_size=60), cuts)
def test_noise_before_an_answer_is_skipped(kind: str, exchange: Exchange, noise: bytes, places: list[int]) -> None:
    """Noise that is a sound frame of this device by chance is one in millions."""
    wire = framing(kind)
    frame = wire.frame(exchange.awaited.device_id, exchange.answer, 0)
    assert hear(wire, cut(noise + b"\r\n" + frame, places), exchange.awaited) == exchange.answer


@given(st.sampled_from(SERIAL), exchanges, exchanges, cuts)
def test_the_answer_of_another_device_is_never_taken(
    kind: str, exchange: Exchange, other: Exchange, places: list[int]
) -> None:
    """Its late answer comes while this one is asked."""
    wire = framing(kind)
    device_id = exchange.awaited.device_id
    stranger = device_id % 247 + 1
    late = wire.frame(stranger, other.answer, 0)
    assert hear(wire, cut(late, places), exchange.awaited) is None
    frame = wire.frame(device_id, exchange.answer, 0)
    assert hear(wire, cut(late + frame, places), exchange.awaited) == exchange.answer


@given(st.sampled_from(SERIAL), exchanges, exchanges)
def test_an_answer_to_another_kind_of_request_is_never_taken(kind: str, exchange: Exchange, other: Exchange) -> None:
    """Which is why a device that owes an answer is asked by another function code."""
    if other.answer[0] & 0x7F == exchange.awaited.request.function:
        return
    wire = framing(kind)
    assert hear(wire, [wire.frame(exchange.awaited.device_id, other.answer, 0)], exchange.awaited) is None


@given(exchanges, exchanges, cuts)
def test_a_late_answer_over_tcp_is_told_by_its_number(late: Exchange, exchange: Exchange, places: list[int]) -> None:
    wire = Numbered()
    number = exchange.awaited.number % 0xFFFF + 1
    before = wire.frame(exchange.awaited.device_id, late.answer, number)
    after = wire.frame(exchange.awaited.device_id, exchange.answer, exchange.awaited.number)
    assert hear(wire, cut(before + after, places), exchange.awaited) == exchange.answer


@given(st.sampled_from(SERIAL), exchanges, st.data())
def test_a_spoilt_answer_is_none(kind: str, exchange: Exchange, data: st.DataObject) -> None:
    """One byte is changed. A checksum of 16 bits sees every single error; that of ASCII does too."""
    wire = framing(kind)
    frame = bytearray(wire.frame(exchange.awaited.device_id, exchange.answer, 0))
    place = data.draw(st.integers(0, len(frame) - 1))
    frame[place] ^= data.draw(st.integers(1, 255))
    found = hear(wire, [bytes(frame)], exchange.awaited)
    assert found in (None, exchange.answer)
    if kind == "rtu":
        assert found is None


@given(st.sampled_from(SERIAL), exchanges, st.binary(max_size=400), cuts)
def test_whatever_comes_nothing_breaks(kind: str, exchange: Exchange, junk: bytes, places: list[int]) -> None:
    wire = framing(kind)
    found = hear(wire, cut(junk, places), exchange.awaited)
    assert found is None or exchange.awaited.request.is_answered_by(found)
    wire.strangers()
    wire.forget()
    frame = wire.frame(exchange.awaited.device_id, exchange.answer, 0)
    assert hear(wire, [frame], exchange.awaited) == exchange.answer


@given(st.sampled_from(list(PEERS)), exchanges)
def test_pymodbus_writes_and_reads_the_same_frames(kind: str, exchange: Exchange) -> None:
    """A second pair of eyes: its server reads our requests, its client the answers of our simulator."""
    wire, awaited = framing(kind), exchange.awaited
    server, client = (PEERS[kind](DecodePDU(is_server)) for is_server in (True, False))
    request = wire.frame(awaited.device_id, awaited.request.pdu, awaited.number)
    _, asked = server.handleFrame(request, 0, 0)
    assert asked is not None
    assert server.buildFrame(asked) == request
    frame = wire.frame(awaited.device_id, exchange.answer, awaited.number)
    _, answered = client.handleFrame(frame, awaited.device_id, 0)
    assert answered is not None
    if (code := exception_in(exchange.answer)) is not None:
        assert answered.exception_code == code
    elif awaited.request.function in (3, 4):
        assert answered.registers == words_in(exchange.answer)
    elif awaited.request.function in (1, 2):
        assert answered.bits == [bool(bit) for bit in bits_in(exchange.answer)]


@pytest.mark.parametrize("kind", SERIAL)
def test_a_frame_that_nobody_asked_for_is_noticed(kind: str) -> None:
    """An answer that is late by more than any wait: whoever sent it may owe more."""
    wire = framing(kind)
    frame = wire.frame(7, bytes([3, 2, 0, 9]), 0)
    wire.heard(b"\x00\xff" + b"\r\n" + frame[:4], None)
    assert wire.strangers() == set()
    wire.heard(frame[4:], None)
    assert wire.strangers() == {7}
    wire.forget()
    assert wire.strangers() == set()


@pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request", b"\0\1\0\0\0\0\1\3", b"\0\1\0\0\xff\xff\1\3"])
def test_what_is_no_modbus_tcp_is_told(data: bytes) -> None:
    """Out of step for good: what looks like a message further on would be chance."""
    wire, awaited = Numbered(), Awaited(1, Request.read("coil", 0, 1), 1)
    with pytest.raises(CorruptError):
        wire.heard(data, awaited)
    assert Numbered(datagrams=True).heard(data, awaited) is None


@pytest.mark.parametrize(
    ("table", "count", "pdu", "size"),
    [
        ("holding_register", 2, "0300080002", 6),
        ("input_register", 125, "040008007d", 252),
        ("coil", 9, "0100080009", 4),
        ("discrete_input", 2000, "02000807d0", 252),
    ],
)
def test_requests_are_those_of_the_specification(table: Table, count: int, pdu: str, size: int) -> None:
    request = Request.read(table, 8, count)
    assert (request.pdu.hex(), request.size) == (pdu, size)
