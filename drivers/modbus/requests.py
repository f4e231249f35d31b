"""What is asked of a device, and how its answer is known from another's. Pure; the messages themselves are pymodbus's.

An answer over a serial line carries no number. All that tells whose it is are the device, the function code and the
size, and for a write what it repeats of the request (Modbus Application Protocol V1.1b3, 6 and 7).
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Self

from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest, WriteSingleCoilRequest
from pymodbus.pdu.register_message import (
    MaskWriteRegisterRequest,
    ReadHoldingRegistersRequest,
    ReadInputRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from drivers.modbus.addresses import Table

_READ: Mapping[Table, type[ModbusPDU]] = {
    "holding_register": ReadHoldingRegistersRequest,
    "input_register": ReadInputRegistersRequest,
    "coil": ReadCoilsRequest,
    "discrete_input": ReadDiscreteInputsRequest,
}
READS: Mapping[Table, int] = {table: pdu.function_code for table, pdu in _READ.items()}
"""Function code that reads each table."""
FAILED = 0x80
"""Set in the function code of an exception."""


@dataclass(frozen=True)
class Request:
    """One request: its ``function`` code, the whole ``pdu``, and what a good answer begins with and how long it is."""

    function: int
    pdu: bytes
    begins: bytes
    size: int

    @classmethod
    @cache
    def read(cls, table: Table, start: int, count: int) -> Self:
        """``count`` registers or bits of a table from ``start``."""
        request = _READ[table](address=start, count=count)
        is_bit = table in ("coil", "discrete_input")
        size = (count + 7) // 8 if is_bit else count * 2
        return cls._of(request, bytes((request.function_code, size)), 2 + size)

    @classmethod
    def write_coil(cls, address: int, on: bool) -> Self:
        """Set one coil. The answer repeats the request."""
        return cls._repeated(WriteSingleCoilRequest(address=address, bits=[on]))

    @classmethod
    def write_register(cls, address: int, word: int) -> Self:
        """Set one register by the request small devices know. The answer repeats the request."""
        return cls._repeated(WriteSingleRegisterRequest(address=address, registers=[word]))

    @classmethod
    def write_registers(cls, address: int, words: Sequence[int]) -> Self:
        """Set registers. The answer repeats where and how many."""
        request = WriteMultipleRegistersRequest(address=address, registers=list(words))
        return cls._of(request, struct.pack(">BHH", request.function_code, address, len(words)), 5)

    @classmethod
    def write_bits(cls, address: int, keep: int, set_: int) -> Self:
        """Change some bits of a register: those not in ``keep`` become those of ``set_``. The answer repeats it."""
        return cls._repeated(MaskWriteRegisterRequest(address=address, and_mask=keep, or_mask=set_))

    @classmethod
    def _repeated(cls, request: ModbusPDU) -> Self:
        pdu = _bytes(request)
        return cls(request.function_code, pdu, pdu, len(pdu))

    @classmethod
    def _of(cls, request: ModbusPDU, begins: bytes, size: int) -> Self:
        return cls(request.function_code, _bytes(request), begins, size)

    def size_of_answer(self, head: bytes) -> int | None:
        """Length of the answer that begins with ``head``, an exception's too; None where it is none to this request.

        The less of it there is, the less can be told.
        """
        if head[:1] == bytes((self.function | FAILED,)):
            return 2
        return self.size if self.begins.startswith(head[: len(self.begins)]) else None

    def is_answered_by(self, pdu: bytes) -> bool:
        """Whether this is its whole answer, or an exception."""
        return bool(pdu) and self.size_of_answer(pdu) == len(pdu)


def exception_in(pdu: bytes) -> int | None:
    """The code of an answer that is an exception."""
    return pdu[1] if pdu[0] & FAILED else None


def words_in(pdu: bytes) -> list[int]:
    """The registers of a good answer to a read."""
    return list(struct.unpack(f">{(len(pdu) - 2) // 2}H", pdu[2:]))


def bits_in(pdu: bytes) -> list[int]:
    """The bits of a good answer to a read, filled up to whole bytes."""
    return [byte >> place & 1 for byte in pdu[2:] for place in range(8)]


def _bytes(request: ModbusPDU) -> bytes:
    return bytes((request.function_code,)) + request.encode()
