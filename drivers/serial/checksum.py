"""Checksums of frames: CRCs by anycrc, the sums here. Pure."""

from functools import lru_cache

import anycrc

from drivers.serial.frame_settings import ChecksumSettings, CrcParameters

_CATALOGUE = {
    "crc8": "CRC8-SMBUS",
    "crc8-maxim": "CRC8-MAXIM-DOW",
    "crc8-sae-j1850": "CRC8-SAE-J1850",
    "crc8-rohc": "CRC8-ROHC",
    "crc16-modbus": "CRC16-MODBUS",
    "crc16-xmodem": "CRC16-XMODEM",
    "crc16-ccitt-false": "CRC16-IBM-3740",
    "crc16-ccitt-1d0f": "CRC16-SPI-FUJITSU",
    "crc16-kermit": "CRC16-KERMIT",
    "crc16-x25": "CRC16-IBM-SDLC",
    "crc16-arc": "CRC16-ARC",
    "crc16-usb": "CRC16-USB",
    "crc16-dnp": "CRC16-DNP",
    "crc16-mcrf4xx": "CRC16-MCRF4XX",
    "crc32": "CRC32-ISO-HDLC",
    "crc32-mpeg2": "CRC32-MPEG-2",
    "crc32-bzip2": "CRC32-BZIP2",
    "crc32c": "CRC32-ISCSI",
    "crc32-posix": "CRC32-CKSUM",
}
"""Our names -> those of Greg Cook's catalogue of CRC algorithms."""


def checksum(data: bytes, settings: ChecksumSettings) -> bytes:
    """The checksum of these bytes, as it stands in a frame."""
    value = _value(data, settings).to_bytes(settings.width, settings.byte_order)
    if settings.notation == "binary":
        return value
    return (value.hex() if settings.notation == "hex" else value.hex().upper()).encode("ascii")


def matches(found: bytes, data: bytes, settings: ChecksumSettings) -> bool:
    """Whether ``found`` is the checksum of these bytes; hexadecimal digits in any case of letters."""
    wanted = checksum(data, settings)
    return found == wanted if settings.notation == "binary" else found.lower() == wanted.lower()


def _value(data: bytes, settings: ChecksumSettings) -> int:
    if settings.crc is not None:
        return int(_crc_of(settings.crc).calc(data))
    match settings.type:
        case "xor":
            value = 0
            for byte in data:
                value ^= byte
            return value
        case "lrc":
            return -sum(data) & 0xFF
        case "lrc16":
            return -sum(data) & 0xFFFF
        case "sum8":
            return sum(data) & 0xFF
        case "sum16":
            return sum(data) & 0xFFFF
    return int(_named(_CATALOGUE[str(settings.type)]).calc(data))


@lru_cache
def _named(name: str) -> anycrc.CRC:
    return anycrc.Model(name)


@lru_cache
def _crc_of(crc: CrcParameters) -> anycrc.CRC:
    return anycrc.CRC(crc.width, crc.poly, crc.init, crc.reflect_in, crc.reflect_out, crc.xor_out)
