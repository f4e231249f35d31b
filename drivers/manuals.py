"""What manuals and other programs call a thing, and what is written here instead.

None of it is accepted: a settings file says each thing in one way. It is what the error tells a technician to write.
"""

import re
from collections.abc import Callable

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from contracts.base import ALSO_CALLED

Meanings = dict[str, str]
"""A spelling in small letters, without ``-``, ``_``, ``/``, dots and blanks -> what to write."""

_SEPARATORS = re.compile(r"[\s_./&-]+")
_LINE = re.compile(
    r"(?:(?P<baud>[0-9]{3,7})[\s,/;:-]+)?(?P<bits>[5-8])[\s,/-]*(?P<parity>[NEOMS])[\s,/-]*(?P<stop>[12])"
)
"""``8N1``, ``7-E-1``, ``9600,8,N,1``."""

_POWERS_OF_TEN = {float(written): written for written in ("5E1", "6E1", "7E1", "8E1", "5E2", "6E2", "7E2", "8E2")}
"""YAML reads these line formats as numbers."""


def plain(spelling: str) -> str:
    """``Big-Endian`` and ``big_endian`` are one spelling."""
    return _SEPARATORS.sub("", spelling.casefold())


def called(meanings: Meanings) -> BeforeValidator:
    """Refuse these spellings of a value with what to write. Anything else is left to the type."""
    return BeforeValidator(_refuse(lambda value: meanings.get(plain(value))))


def line_format(meanings: Meanings, *, bits: bool = True) -> BeforeValidator:
    """As ``called``, for one setting of a serial line: all of them may have been written there (``8N1``).

    ``bits`` False: the protocol itself says how many data bits there are.
    """

    def meant(value: str) -> str | None:
        return meanings.get(plain(value)) or _line_in_words(value, bits=bits)

    return BeforeValidator(_refuse(meant))


def _refuse(meant: Callable[[str], str | None]) -> Callable[[object], object]:
    def check(value: object) -> object:
        spelled = _POWERS_OF_TEN.get(value) if isinstance(value, float) else value
        wanted = meant(spelled) if isinstance(spelled, str) else None
        if wanted is not None and wanted != value:
            raise PydanticCustomError(ALSO_CALLED, "unknown value; write {meant}", {"meant": wanted})
        return value

    return check


def _line_in_words(value: str, *, bits: bool) -> str | None:
    found = _LINE.fullmatch(value.strip().upper())
    if found is None:
        return None
    keys = {"baudrate": found["baud"], "bytesize": found["bits"] if bits else None}
    keys |= {"parity": found["parity"], "stopbits": found["stop"]}
    return ", ".join(f"{key}: {one}" for key, one in keys.items() if one is not None)


PARITY: Meanings = {
    "none": "N", "no": "N", "off": "N", "n": "N", "even": "E", "e": "E", "odd": "O", "o": "O", "mark": "M", "m": "M",
    "space": "S", "s": "S",
}  # fmt: skip
FLOW_CONTROL: Meanings = {
    "no": "none", "off": "none", "xonxoff": "xonxoff", "xon": "xonxoff", "software": "xonxoff", "sw": "xonxoff",
    "rtscts": "rtscts", "rts": "rtscts", "cts": "rtscts", "hardware": "rtscts", "hw": "rtscts", "dtrdsr": "dsrdtr",
    "dsrdtr": "dsrdtr", "dtr": "dsrdtr",
}  # fmt: skip
_BIG, _LITTLE = "big", "little"
ORDER: Meanings = {
    "bigendian": _BIG, "be": _BIG, "msb": _BIG, "msbfirst": _BIG, "highbytefirst": _BIG, "motorola": _BIG,
    "littleendian": _LITTLE, "le": _LITTLE, "lsb": _LITTLE, "lsbfirst": _LITTLE, "lowbytefirst": _LITTLE,
    "intel": _LITTLE,
}  # fmt: skip
_SWAPPED = "word_order: little"
_BYTES = "byte_order: little"
_LETTERS = {
    "word_order: big (as it is without)": ("abcd", "abcdefgh", "1234"),
    f"{_SWAPPED}": ("cdab", "ghefcdab", "3412"),
    f"{_BYTES}": ("badc", "badcfehg", "2143"),
    f"{_SWAPPED}, {_BYTES}": ("dcba", "hgfedcba", "4321"),
}
REGISTER_ORDER: Meanings = {
    **ORDER,
    **{letters: meant for meant, spellings in _LETTERS.items() for letters in spellings},
    **dict.fromkeys(("mswfirst", "msw", "highwordfirst", "hiword", "normal"), "word_order: big (as it is without)"),
    **dict.fromkeys(
        ("lswfirst", "lsw", "lowwordfirst", "loword", "swapped", "swap", "wordswap", "midlittle"), _SWAPPED
    ),
    **dict.fromkeys(("byteswap", "byteswapped", "midbig", "bigendianbyteswap"), _BYTES),
    **dict.fromkeys(("midlittle", "midlittleendian", "littleendianbyteswap"), _SWAPPED),
    "midbigendian": _BYTES,
}
"""Of a value of several registers: the letters are its bytes, the highest first, in the order they are sent."""
_OF_16 = "the one with the manual's polynomial and start: crc16-modbus (8005, FFFF, as Modbus RTU), crc16-arc (8005, 0)"
_OF_ALL = f"{_OF_16}, crc16-ccitt-false (1021, FFFF), crc16-xmodem (1021, 0)"
_OF_CCITT = "the one with the manual's start: crc16-ccitt-false (FFFF), crc16-xmodem (0), crc16-kermit (0, reflected)"
CHECKSUM: Meanings = {
    **dict.fromkeys(("bcc", "exor", "xor8", "exclusiveor", "longitudinal", "vrc"), "xor"),
    **dict.fromkeys(("sum", "add", "add8", "checksum", "checksum8", "mod256", "modulo256", "arithmetic"), "sum8"),
    **dict.fromkeys(("twoscomplement", "2scomplement", "complement", "negsum"), "lrc"),
    **dict.fromkeys(("crc", "crc16", "crc16ibm", "ansi"), _OF_ALL),
    **dict.fromkeys(("ccitt", "crcccitt", "crc16ccitt", "crc16itu", "itu"), _OF_CCITT),
    **dict.fromkeys(("modbus", "rtu", "crcmodbus", "modbusrtu"), "crc16-modbus"),
    **dict.fromkeys(("xmodem", "zmodem", "crcxmodem"), "crc16-xmodem"),
    **dict.fromkeys(("dallas", "maxim", "onewire", "1wire", "crc8dallas"), "crc8-maxim"),
    **dict.fromkeys(("castagnoli", "crc32castagnoli"), "crc32c"),
}  # fmt: skip
_IEC_NUMBERS = {
    **dict.fromkeys(("word", "uint", "u16", "ushort", "unsigned", "unsignedint", "unsigned16"), "uint16"),
    **dict.fromkeys(("int", "i16", "s16", "short", "signed", "signedint", "integer", "signed16"), "int16"),
    **dict.fromkeys(("dword", "udint", "u32", "ulong", "unsignedlong", "unsigned32"), "uint32"),
    **dict.fromkeys(("dint", "i32", "s32", "long", "signed32"), "int32"),
    **dict.fromkeys(("qword", "lword", "ulint", "u64"), "uint64"),
    **dict.fromkeys(("lint", "i64", "s64"), "int64"),
}
_FLOATS = {"real": 32, "float": 32, "f32": 32, "single": 32, "ieee754": 32, "lreal": 64, "double": 64, "f64": 64}
_TEXTS = ("text", "str", "ascii", "char", "chars")
REGISTER_TYPE: Meanings = {
    **_IEC_NUMBERS,
    **{name: f"float{bits}" for name, bits in _FLOATS.items()},
    **{f"float{letters}": f"float32, {meant}" for meant, (letters, *_) in _LETTERS.items()},
    **dict.fromkeys(_TEXTS, "string"),
    **dict.fromkeys(("bit", "boolean"), "bit: 0 (the lowest bit) to 15"),
    "bcd": "bcd16, bcd32 or bcd64",
}
BINARY_TYPE: Meanings = {
    **_IEC_NUMBERS,
    **{name: f"float{bits}" for name, bits in _FLOATS.items() if name != "float"},
    **dict.fromkeys(("byte", "u8", "uchar", "unsignedchar", "usint"), "uint8"),
    **dict.fromkeys(("i8", "s8", "sbyte", "sint"), "int8"),
    **dict.fromkeys(_TEXTS, "string"),
}
NODE_TYPE: Meanings = {
    **_IEC_NUMBERS,
    **{name: "float" if bits == 32 else "double" for name, bits in _FLOATS.items() if name not in ("float", "double")},
    "float32": "float",
    **dict.fromkeys(("float64", "number"), "double"),
    **dict.fromkeys(("bool", "bit"), "boolean"),
    **dict.fromkeys(_TEXTS, "string"),
}
TRIGGER: Meanings = {
    **dict.fromkeys(("edge", "risingedge", "positiveedge", "rise", "up", "pulse", "high"), "rising"),
    **dict.fromkeys(("changed", "any", "anychange", "datachange"), "change"),
}
VALUE_TRIGGER: Meanings = {
    **TRIGGER,
    **dict.fromkeys(("equals", "equal", "state"), "on: value, with equals"),
    **dict.fromkeys(("falling", "fallingedge", "negativeedge", "low"), "on: value, equals: false (of a number: 0)"),
}
POLICY: Meanings = {
    "none": "nothing here: leave security away, where the server offers no more",
    **dict.fromkeys(("basic256", "basic128rsa15"), "Basic256Sha256, if the server has it: this policy is broken"),
    "aes128sha256rsaoaep": "Aes128_Sha256_RsaOaep",
    "aes256sha256rsapss": "Aes256_Sha256_RsaPss",
}

LINE_KEYS: Meanings = {
    **dict.fromkeys(("baud", "bps", "speed", "bitrate"), "baudrate"),
    **dict.fromkeys(("databits", "bits", "data", "wordlength"), "bytesize"),
    **dict.fromkeys(("stop", "stopbit"), "stopbits"),
    **dict.fromkeys(("com", "comport", "tty", "device", "serialport"), "port"),
    **dict.fromkeys(("flow", "handshake", "handshaking"), "flow_control"),
    **dict.fromkeys(("format", "mode", "framing", "line"), "bytesize, parity and stopbits"),
}
"""Keys of a serial line."""
DEVICE_KEYS: Meanings = {
    **dict.fromkeys(("slave", "slaveid", "slaveaddress", "unit", "unitid", "station", "stationnumber"), "device_id"),
    **dict.fromkeys(("id", "deviceid", "deviceaddress", "node"), "device_id"),
    **dict.fromkeys(("ip", "ipaddress", "hostname", "server"), "host"),
}
"""Keys by which a Modbus device is meant."""
ORDER_KEYS: Meanings = dict.fromkeys(("endian", "endianness", "order", "swap"), "word_order and byte_order")
REGISTER_KEYS: Meanings = {
    **ORDER_KEYS,
    **dict.fromkeys(("reg", "registernumber", "modicon"), "register"),
    **dict.fromkeys(
        ("address", "addr", "function", "functioncode", "fc"),
        "register (as the manual numbers it, 40001), or holding_register (function 3), input_register (4), coil (1), "
        "discrete_input (2), counted from 0",
    ),
    **dict.fromkeys(("datatype", "format"), "type"),
    **dict.fromkeys(("factor", "multiplier", "gain", "divisor"), "scale"),
    **dict.fromkeys(("size", "count", "len"), "length"),
}
"""Keys of a register."""
NODE_KEYS: Meanings = {
    **dict.fromkeys(("node", "id", "tag", "address", "nodeid"), "node_id"),
    "path": "browse_path",
    "datatype": "type",
}
"""Keys of an OPC-UA node."""
MACHINE_KEYS: Meanings = {
    **dict.fromkeys(("registers", "tags", "signals", "nodes", "variables", "fields"), "points"),
    **dict.fromkeys(("ack", "confirm", "handshake"), "acknowledge"),
    **dict.fromkeys(("connection", "link", "interface"), "connect"),
}
"""Keys of a machine, whatever its protocol."""
