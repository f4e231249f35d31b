"""PermitRecord: one answer to "may this unit run here?", as it was given at the machine, kept, sent and stored.

It stands in the station's stream beside the results, numbered with them: what was permitted before which result is
known from the stream alone.
"""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, StrictInt, StrictStr, model_validator

from contracts.base import Contract, LotNumber, Name, ProcessCode, SerialNumber, StationId, UtcTime
from contracts.criteria import CriteriaRevision
from contracts.firmware import Checksum, Version
from contracts.record import Part, ProcessRecord
from contracts.refusals import RefusalCode

RequestId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
"""One question of one station: a UUID in 32 hexadecimal digits."""

PermitNumber = Annotated[int, Field(ge=1, le=2**62)]
"""Central's number of a request. They rise with time; of one unit's permits the higher one was given later."""


class DecidedBy(StrEnum):
    """Who decided. ``DIGEST``: the station, by what central last published of the LOT; ``RULE``: the station, by its
    own rule alone, because that says nothing of the unit; ``STATION``: no question of the route (a golden sample, a
    number nobody can read)."""

    CENTRAL = "CENTRAL"
    DIGEST = "DIGEST"
    RULE = "RULE"
    STATION = "STATION"


class PermitRecord(Contract):
    """One answer, complete in itself.

    ``request_number`` is the machine's own number of its request. ``permit`` is central's number, None where central
    did not decide. ``flagged``: permitted although nothing at hand proved that the unit may run here. ``refusal`` is
    given exactly when it was not granted. ``asked`` is what the machine asked about, where that is no serial number.
    ``by_http``: central's answer came over HTTP; otherwise it came over MQTT. ``asked_at`` and ``answered_at`` are the
    station's clock.
    """

    kind: Literal["permit"]
    station: StationId
    process: ProcessCode
    machine: Name
    part: Part = Part.PRODUCT
    serial_number: SerialNumber | None = None
    lot_number: LotNumber | None = None
    product_model: str | None = None
    asked: Annotated[str, Field(max_length=200)] | None = None

    request_id: RequestId
    request_number: StrictBool | StrictInt | StrictStr | None = None
    granted: bool
    decided_by: DecidedBy
    by_http: bool = False
    permit: PermitNumber | None = None
    flagged: bool = False
    refusal: RefusalCode | None = None
    detail: Annotated[str, Field(max_length=500)] | None = None
    attempt: Annotated[int, Field(ge=1)] | None = None
    reject_label: bool = False
    criteria_revision: CriteriaRevision | None = None
    firmware: Version | None = None
    firmware_checksum: Checksum | None = None

    asked_at: UtcTime
    answered_at: UtcTime
    clock_offset_seconds: float | None = None
    software: str | None = None

    @model_validator(mode="after")
    def _is_an_answer(self) -> Self:
        if self.granted == (self.refusal is not None):
            raise ValueError("refusal is given exactly when it was not granted")
        if self.granted and self.serial_number is None:
            raise ValueError("a permit names its unit")
        return self

    @property
    def offline(self) -> bool:
        """Central was not asked, or did not answer in time."""
        return self.decided_by in (DecidedBy.DIGEST, DecidedBy.RULE)


StationRecord = Annotated[ProcessRecord | PermitRecord, Field(union_mode="left_to_right")]
"""What a station's stream holds. A permit says so by its ``kind``; a result, which is older, has none."""
