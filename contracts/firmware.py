"""The firmware that a product model wants on its units, as its specifications name it."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError

from contracts.base import Contract

Version = Annotated[str, Field(min_length=1, max_length=100)]
Checksum = Annotated[str, Field(min_length=1, max_length=200)]


class Firmware(Contract):
    """Compared with what the flasher reports letter by letter: the checksum is written as the flasher writes it."""

    version: Version
    checksum: Checksum | None = None

    @classmethod
    def of(cls, specifications: Mapping[str, Any] | None) -> Self | None:
        """``{"firmware": {"version": "v1.2.3", "checksum": "9f86d081"}}`` or ``{"firmware": "v1.2.3"}``. None: nothing
        is named, or nothing that is a version; what has to be equal to it is an ERROR then."""
        wanted = None if specifications is None else specifications.get("firmware")
        if isinstance(wanted, str):
            wanted = {"version": wanted}
        if not isinstance(wanted, Mapping):
            return None
        try:
            return cls(version=wanted.get("version"), checksum=wanted.get("checksum"))
        except ValidationError:
            return None
