"""The ground every contract model stands on: frozen, strict about unknown keys, UTC times, finite numbers."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

from contracts.patterns import compiled

ALSO_CALLED = "also_called"
"""Type of a PydanticCustomError for a value by another name, as manuals call it: ``meant`` in its context says what to
write."""


class Contract(BaseModel):
    """Base of the models that cross a process boundary."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _to_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("in UTC this is outside the years 1 to 9999") from error


def _compiles(pattern: str) -> str:
    compiled(pattern)
    return pattern


def _whole_number(version: object) -> object:
    """``true`` and ``1.0`` equal 1 in Python, and are not the number of a version."""
    if type(version) is not int:
        raise ValueError(f"{version!r} is not the number of a version")
    return version


MessageVersion = Annotated[Literal[1], BeforeValidator(_whole_number)]
"""The form of a message. Another one is another number."""

RegularExpression = Annotated[str, AfterValidator(_compiles)]
"""A pattern in RE2's notation (contracts/patterns.py)."""

UtcTime = Annotated[AwareDatetime, AfterValidator(_to_utc)]
"""A moment with a time zone, kept in UTC."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")]
"""Name of a machine, point or measurement."""

StationId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]
"""Name of a station, line or site: one level of an MQTT topic."""

ProcessCode = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,49}$")]
"""A process's code, for example ``P03_SENSOR_INSPECTION``."""

LotNumber = Annotated[str, StringConstraints(pattern=r"^WF-KR-[0-9]{6}[DN]-[0-9]{3}$")]
"""``WF-KR-YYMMDD{D|N}-nnn``; see ``contracts.identity`` for its parts."""

SerialNumber = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{2,63}$")]
"""A unit's number. The exact form is the site's choice; this is what every form has in common."""

DefectCode = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,49}$")]
"""A defect's code, for example ``SENSOR_TEMP_FAIL``. The list is data, not code."""

Seq = Annotated[int, Field(ge=1, le=2**62)]
"""A place in a stream: 1, 2, 3 ... without gaps."""

Count = Annotated[int, Field(ge=0, le=2**62)]
"""How many, or the highest seq: 0 is none."""

StreamId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""A stream's name: a UUID in 32 hexadecimal digits, minted when an outbox file is created."""

InstanceId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""A running agent: a UUID in 32 hexadecimal digits, minted when the process starts and never written down."""
