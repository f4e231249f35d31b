"""LOT and serial numbers: their parts (domain.md, Identity)."""

import re
from dataclasses import dataclass
from datetime import date
from typing import Literal

_LOT = re.compile(r"WF-KR-([0-9]{2})([0-9]{2})([0-9]{2})([DN])-([0-9]{3})")
_SERIAL_IN_LOT = re.compile(r"(WF-KR-[0-9]{6}[DN]-[0-9]{3})-([0-9]{4})")


@dataclass(frozen=True)
class LotParts:
    """What a LOT number says: the production date (site time), the shift, the number within both."""

    production_date: date
    shift: Literal["D", "N"]
    number: int


def lot_parts(lot_number: str) -> LotParts | None:
    """The parts of a LOT number, or None when it is impossible (no such day, number 000)."""
    match = _LOT.fullmatch(lot_number)
    if match is None or int(match[5]) < 1:
        return None
    try:
        production_date = date(2000 + int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return None
    return LotParts(production_date, "D" if match[4] == "D" else "N", int(match[5]))


def lot_of_serial(serial_number: str) -> tuple[str, int] | None:
    """LOT number and sequence in it, for serial numbers made of both (``WF-KR-241118D-001-0001``); else None."""
    match = _SERIAL_IN_LOT.fullmatch(serial_number)
    if match is None or lot_parts(match[1]) is None:
        return None
    return match[1], int(match[2])
