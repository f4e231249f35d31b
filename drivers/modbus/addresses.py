"""Where a value is in a device: one of the four tables, and a place in it, written in either of two ways.

``holding_register: 30`` counts from 0, as the protocol does (Modbus Application Protocol V1.1b3, 4.4). Many manuals
count from 1 and put the table's digit before it: 40031. That is ``register: 40031``, a key of its own, because the
number alone says nothing: ``holding_register: 40031`` is an address that exists too. Errors name both.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, StrictInt, StrictStr, model_validator

from drivers.base import Strict

Table = Literal["holding_register", "input_register", "coil", "discrete_input"]
TABLES: tuple[Table, ...] = ("holding_register", "input_register", "coil", "discrete_input")
LAST_ADDRESS = 65535
_DIGIT: Mapping[Table, int] = {"coil": 0, "discrete_input": 1, "input_register": 3, "holding_register": 4}
_TABLE: Mapping[str, Table] = {str(digit): table for table, digit in _DIGIT.items()}
_LAST_OF_FIVE_DIGITS = 9998
"""The last address that is written with five digits (49999); behind it there are six (410000)."""
_NUMBER = re.compile(r"^[0134](?:[0-9]{4}|[0-9]{5})$")

Place = Annotated[int, Field(ge=0, le=LAST_ADDRESS)]


def parse_number(written: int | str) -> tuple[Table, int]:
    """Table and address of a manual's register number. Raises ValueError.

    Five or six digits: 40031 and 400031 are the same. YAML drops leading zeros, so a whole number of up to four
    digits is a coil's; a coil's number of six digits goes in quotes.
    """
    text = f"{written:05d}" if isinstance(written, int) and 0 < written <= 9999 else str(written)
    if not _NUMBER.match(text):
        raise ValueError(
            f"{written} is no register number: 40001 is the first holding register, 30001 the first input register, "
            "10001 the first discrete input, 00001 the first coil, with five or six digits"
        )
    table, place = _TABLE[text[0]], int(text[1:])
    if not 1 <= place <= LAST_ADDRESS + 1:
        raise ValueError(f"{written}: registers are numbered from {text[0]}{1:0{len(text) - 1}d} on, up to 65536")
    return table, place - 1


def number_of(table: Table, address: int, digits: int = 5) -> str:
    """A register's number as a manual writes it: 40031."""
    width = 5 if digits == 6 or address > _LAST_OF_FIVE_DIGITS else 4
    return f"{_DIGIT[table]}{address + 1:0{width}d}"


class Address(Strict):
    """Exactly one of the keys."""

    holding_register: Place | None = None
    """Address of a holding register, counted from 0."""
    input_register: Place | None = None
    """Address of an input register, counted from 0."""
    coil: Place | None = None
    """Address of a coil, counted from 0."""
    discrete_input: Place | None = None
    """Address of a discrete input, counted from 0."""
    register_number: Annotated[StrictInt | StrictStr | None, Field(alias="register")] = None
    """Instead of these: the number of five or six digits in the machine's manual, counted from 1. ``40031`` is

    ``holding_register: 30``, ``30031`` is ``input_register: 30``, ``10031`` is ``discrete_input: 30`` and ``"00031"``
    is ``coil: 30``."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        given = [table for table in TABLES if getattr(self, table) is not None]
        if len(given) + (self.register_number is not None) != 1:
            raise ValueError(f"give exactly one address: {', '.join(TABLES)} or register")
        if self.register_number is not None:
            try:
                parse_number(self.register_number)
            except ValueError as error:
                raise ValueError(f"register: {error}") from None
        return self

    @property
    def table(self) -> Table:
        """Which of the four tables."""
        return self._place[0]

    @property
    def address(self) -> int:
        """The address in its table, from 0."""
        return self._place[1]

    @property
    def is_bit(self) -> bool:
        """True for a coil or a discrete input."""
        return self.table in ("coil", "discrete_input")

    @property
    def is_writable(self) -> bool:
        """True for a holding register or a coil."""
        return self.table in ("holding_register", "coil")

    @property
    def _place(self) -> tuple[Table, int]:
        if self.register_number is not None:
            return parse_number(self.register_number)
        table = next(table for table in TABLES if getattr(self, table) is not None)
        return table, int(getattr(self, table))

    def __str__(self) -> str:
        """As the settings name it first, and the other way behind it."""
        if self.register_number is not None:
            number = number_of(*self._place, digits=len(str(self.register_number)))
            return f"register {number} ({self.table} {self.address})"
        return f"{self.table} {self.address} ({number_of(*self._place)})"
