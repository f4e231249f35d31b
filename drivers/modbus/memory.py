"""The registers of a simulated device, and how it answers. Pure but for its callbacks."""

import struct
from collections.abc import Callable, Iterable, Mapping

from drivers.modbus.addresses import TABLES, Table
from drivers.modbus.requests import FAILED, READS
from drivers.modbus.settings import MAX_BITS, MAX_REGISTERS

TABLE_OF_READ: Mapping[int, Table] = {function: table for table, function in READS.items()}
_WRITTEN: Mapping[int, Table] = {
    5: "coil",
    15: "coil",
    6: "holding_register",
    16: "holding_register",
    22: "holding_register",
}
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, FAILURE = 1, 2, 3, 4
_ON, _OFF = 0xFF00, 0


class _Refused(Exception):
    """Answered with an exception of this code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Memory:
    """One device's four tables. Registers nobody named are illegal; those of a point in ``unreadable`` fail."""

    def __init__(self) -> None:
        self.tables: Mapping[Table, dict[int, int]] = {table: {} for table in TABLES}
        self.unreadable: set[tuple[Table, int]] = set()
        self.most_registers = MAX_REGISTERS
        self.most_bits = MAX_BITS
        """What it gives at once; more is refused."""
        self.before_read: list[Callable[[Table, range], None]] = []
        """Called when registers are about to be read."""
        self.after_read: list[Callable[[Table, range], None]] = []
        """Called when registers were read, before anything else can be asked."""
        self.after_write: list[Callable[[], None]] = []

    def name(self, table: Table, addresses: Iterable[int]) -> None:
        """There are registers here."""
        for address in addresses:
            self.tables[table].setdefault(address, 0)

    def get(self, table: Table, start: int, count: int) -> list[int]:
        """What stands there."""
        return [self.tables[table][address] for address in range(start, start + count)]

    def put(self, table: Table, start: int, words: Iterable[int]) -> None:
        """The machine itself sets its registers."""
        for address, word in enumerate(words, start):
            self.tables[table][address] = word

    def answer(self, pdu: bytes) -> bytes:
        """To one request (Modbus Application Protocol V1.1b3, 6)."""
        function = pdu[0]
        try:
            if function in TABLE_OF_READ:
                return self._read(pdu)
            return self._write(pdu)
        except _Refused as refused:
            return bytes((function | FAILED, refused.code))
        except (struct.error, IndexError):  # a request that is too short
            return bytes((function | FAILED, ILLEGAL_VALUE))

    def _read(self, pdu: bytes) -> bytes:
        function, start, count = struct.unpack(">BHH", pdu)
        table = TABLE_OF_READ[function]
        is_bits = table in ("coil", "discrete_input")
        if not 1 <= count <= (self.most_bits if is_bits else self.most_registers):
            raise _Refused(ILLEGAL_VALUE)
        self._check(table, range(start, start + count))
        if any((table, address) in self.unreadable for address in range(start, start + count)):
            raise _Refused(FAILURE)
        for callback in self.before_read:
            callback(table, range(start, start + count))
        words = self.get(table, start, count)
        if is_bits:
            number = sum(bool(word) << place for place, word in enumerate(words))
            data = number.to_bytes((count + 7) // 8, "little")
        else:
            data = struct.pack(f">{count}H", *words)
        for callback in self.after_read:
            callback(table, range(start, start + count))
        return bytes((function, len(data))) + data

    def _write(self, pdu: bytes) -> bytes:
        if pdu[0] not in _WRITTEN:
            raise _Refused(ILLEGAL_FUNCTION)
        function, start = struct.unpack(">BH", pdu[:3])
        table, answer = _WRITTEN[function], pdu
        if function in (5, 6):
            (word,) = struct.unpack(">H", pdu[3:])
            if function == 5 and word not in (_ON, _OFF):
                raise _Refused(ILLEGAL_VALUE)
            words = [word if function == 6 else int(word == _ON)]
        elif function == 22:
            keep, set_ = struct.unpack(">HH", pdu[3:])
            self._check(table, range(start, start + 1))
            (held,) = self.get(table, start, 1)
            words = [held & keep | set_ & ~keep & 0xFFFF]
        else:
            (count,) = struct.unpack(">H", pdu[3:5])
            data, answer = pdu[6:], pdu[:5]
            if function == 16:
                words = list(struct.unpack(f">{count}H", data))
            else:
                words = [data[place // 8] >> place % 8 & 1 for place in range(count)]
        self._check(table, range(start, start + len(words)))
        self.put(table, start, words)
        for callback in self.after_write:
            callback()
        return answer

    def _check(self, table: Table, addresses: range) -> None:
        if not addresses or any(address not in self.tables[table] for address in addresses):
            raise _Refused(ILLEGAL_ADDRESS)
