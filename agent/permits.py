"""One machine's requests: read, decided, kept on disk, and only then answered at the machine."""

import asyncio
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog
from pydantic import TypeAdapter, ValidationError

from agent.clock import CentralClock
from agent.criteria import StationCriteria
from agent.golden import GoldenSamples
from agent.interlock import Asked, Decision, Interlock
from agent.outbox import Outbox
from agent.settings import MachineSettings, StationSettings
from agent.told import Told
from contracts.base import LotNumber, SerialNumber
from contracts.errors import StoreError
from contracts.measurement import Scalar
from contracts.permit import DecidedBy, PermitRecord
from contracts.record import Part, ProcessRecord
from contracts.refusals import Refusal, RefusalCode
from drivers.base import Driver, MachineRequest, Permitting, Reading
from drivers.interlock import AnyInterlock

PERMIT_NOTE = "permit:"
RESERVE = 0.35
"""Of a machine's limit, what is held back for the disk and for writing the answer."""

AGAIN_S = 60.0
"""A request that stands there when listening begins was answered before if that is no longer ago: no machine waits so
long."""
SPENT = frozenset(
    {
        RefusalCode.PROCESS_ALREADY_PASSED,
        RefusalCode.DUPLICATE_PASS_COMPLETE,
        RefusalCode.RETEST_LIMIT_REACHED,
        RefusalCode.REWORK_LIMIT_REACHED,
        RefusalCode.REWORK_NOT_ALLOWED,
    }
)
"""Refusals of a number that some unit bears already: it is taken out of the block, or no other would ever be given."""

_serial: TypeAdapter[str] = TypeAdapter(SerialNumber)
_lot: TypeAdapter[str] = TypeAdapter(LotNumber)


@dataclass(frozen=True)
class Last:
    """The machine's last answer, as it stands on disk. A permit that no result has used yet (``serial_number``) is
    given again when the same request about the same thing stands there as listening begins. One that comes while the
    station listens is another one, whatever its number: a machine that was restarted counts from the beginning."""

    request: Scalar | None = None
    about: str | None = None
    values: Mapping[str, Scalar] | None = None
    serial_number: str | None = None
    permit: int | None = None
    at: float | None = None

    def is_of(self, event: MachineRequest, request: Scalar | None, about: str | None) -> bool:
        """Whether this answered the request that is seen now."""
        is_recent = self.at is not None and abs(event.signalled_at.timestamp() - self.at) <= AGAIN_S
        return event.first and is_recent and (request, about) == (self.request, self.about)

    def as_note(self) -> str:
        """As the outbox keeps it."""
        return json.dumps(self.__dict__)

    @classmethod
    def of_note(cls, note: str | None) -> "Last":
        """The inverse of ``as_note``; nothing where there is none."""
        return cls(**json.loads(note)) if note else cls()


@dataclass(frozen=True)
class _Unit:
    """What a request is about: a unit, or why there is none."""

    serial_number: str | None
    lot_number: str | None
    asked: str | None = None
    refusal: Refusal | None = None
    about: str | None = None
    """What the machine named, before the unit got a number."""


class Permits:
    """What a machine's supervisor does about requests. ``decided_by`` counts answers, by who decided."""

    def __init__(
        self,
        machine: MachineSettings,
        asking: AnyInterlock,
        settings: StationSettings,
        criteria: StationCriteria,
        driver: Driver,
        outbox: Outbox,
        interlock: Interlock,
        software: str,
        clock: CentralClock,
        golden: GoldenSamples | None = None,
    ) -> None:
        self._golden = golden
        self._machine = machine
        self._asking = asking
        self._settings = settings
        self._criteria = criteria
        self._driver = driver
        self._outbox = outbox
        self._interlock = interlock
        self._software = software
        self._clock = clock
        self._log = structlog.get_logger().bind(machine=machine.name)
        self._last: Last | None = None
        self._note = PERMIT_NOTE + machine.name
        self._differing: tuple[str, str] | None = None
        self.late = 0

    async def handle(self, event: MachineRequest) -> None:
        """Answer within the limit, or not at all: silence means no. Raises LinkError where the link is lost."""
        loop = asyncio.get_running_loop()
        passed_s = max(0.0, (datetime.now(UTC) - event.signalled_at).total_seconds())
        deadline = loop.time() + self._asking.limit - min(passed_s, self._asking.limit)
        reading = await self._driver.read(event)
        point = reading.values[self._asking.request.point]
        request = None if isinstance(point.value, list) else point.value
        last = await self._read_last()
        unit = self._unit(reading)
        is_again = self._asking.request.on == "change" and last.is_of(event, request, unit.about)
        if is_again and last.serial_number is not None and last.values is not None:
            await self._write(last.values)
            return
        within_s = deadline - loop.time() - RESERVE * self._asking.limit
        if self._asking.numbers is None:
            await self._answer(event, request, unit, within_s, deadline)
            return
        async with self._interlock.numbers.giving:
            try:
                numbered = await self._numbered(unit, within_s)
            except StoreError as error:
                self._log.error("disk refuses, request not answered", error=str(error))
                return
            within_s = deadline - loop.time() - RESERVE * self._asking.limit
            await self._answer(event, request, numbered, within_s, deadline)

    async def told(self) -> Told:
        """What the machine was told of the unit whose result is to come."""
        last = await self._read_last()
        if last.serial_number is None or last.values is None:
            return Told()
        number = last.serial_number if self._asking.numbers is not None else None
        return Told(last.serial_number, number, last.values)

    async def permit_of(self, record: ProcessRecord) -> tuple[ProcessRecord, Mapping[str, str]]:
        """The record with the number of the permit it was made by, and the note to keep with it: a permit is for one
        result."""
        last = await self._read_last()
        if record.serial_number is None or record.serial_number != last.serial_number:
            return record, {}
        used = replace(last, serial_number=None, permit=None)
        self._last = used
        if last.permit is not None and record.part is Part.PRODUCT:
            record = record.model_copy(update={"permit": last.permit})
        return record, {self._note: used.as_note()}

    # -- one request -------------------------------------------------------------------------------------------------

    async def _answer(
        self, event: MachineRequest, request: Scalar | None, unit: _Unit, within_s: float, deadline: float
    ) -> None:
        loop = asyncio.get_running_loop()
        decision = await self._decide(unit, within_s)
        record = self._record(event, request, unit, decision)
        self._compare_revisions(event, record, decision)
        values = self._values(request, record)
        granted_to = record.serial_number if record.granted else None
        last = Last(request, unit.about, values, granted_to, record.permit, record.answered_at.timestamp())
        notes = {**decision.notes, self._note: last.as_note()}
        lot = unit.lot_number
        number = record.serial_number if record.granted or record.refusal in SPENT else None
        if self._asking.numbers is not None and number and lot:
            notes |= self._interlock.numbers.used_note(lot, number)
        try:
            seq = await self._outbox.append(record, notes=notes)
        except StoreError as error:
            self._log.error("disk refuses, request not answered", error=str(error))
            self._give_back(record)
            return
        self._last = last
        if self._asking.numbers is not None and number and lot:
            self._interlock.numbers.used(lot, number)
        self._log.info(
            "request answered",
            seq=seq,
            serial_number=record.serial_number,
            granted=record.granted,
            refusal=None if record.refusal is None else record.refusal.value,
            decided_by=record.decided_by.value,
            by_http=record.by_http,
        )
        if loop.time() > deadline:
            self.late += 1
            self._log.error("answer came too late for the machine, not written", limit_s=self._asking.limit)
            self._give_back(record)
            return
        try:
            await self._write(values)
        except BaseException:
            self._give_back(record)
            raise

    async def _decide(self, unit: _Unit, within_s: float) -> Decision:
        if unit.refusal is not None or unit.serial_number is None:
            refusal = unit.refusal or Refusal(RefusalCode.REQUEST_NOT_UNDERSTOOD, "no serial number")
            return Decision(_new_id(), DecidedBy.STATION, refusal=refusal)
        if self._settings.part(unit.serial_number) is not Part.PRODUCT:
            return Decision(_new_id(), DecidedBy.STATION)
        due = None if self._golden is None else await self._golden.refusal(datetime.now(UTC))
        if due is not None:
            return Decision(_new_id(), DecidedBy.STATION, refusal=due)
        asked = Asked(self._machine.name, unit.serial_number, unit.lot_number, self._asking.offline)
        return await self._interlock.decide(asked, within_s)

    async def _numbered(self, unit: _Unit, within_s: float) -> _Unit:
        """The unit with the number it shall get."""
        if unit.refusal is not None or unit.lot_number is None:
            return unit
        found = await self._interlock.numbers.next(self._machine.name, unit.lot_number, within_s)
        if isinstance(found, Refusal):
            return replace(unit, refusal=found)
        return replace(unit, serial_number=found)

    def _unit(self, reading: Reading) -> _Unit:
        """What the request names; a number nobody can read is refused by the station itself."""
        texts: dict[str, str | None] = {}
        for key, point_name in (("serial", self._asking.serial_number), ("lot", self._asking.lot_number)):
            point = reading.values.get(point_name) if point_name is not None else None
            has_value = point is not None and point.value is not None and not isinstance(point.value, list)
            texts[key] = str(point.value).strip() if point is not None and has_value else None
        wanted = "lot" if self._asking.numbers is not None else "serial"
        lot, is_wrong = texts["lot"] or None, False
        for key, form in (("serial", _serial), ("lot", _lot)):
            try:
                if texts[key]:
                    form.validate_python(texts[key])
            except ValidationError:
                is_wrong = True
        if is_wrong or not texts[wanted]:
            point = reading.values.get(
                (self._asking.lot_number if wanted == "lot" else self._asking.serial_number) or ""
            )
            shown = texts[wanted] or (point.problem if point is not None else None) or "nothing"
            detail = f"no {'LOT' if wanted == 'lot' else 'serial'} number: {shown}"[:500]
            refusal = Refusal(RefusalCode.REQUEST_NOT_UNDERSTOOD, detail)
            return _Unit(None, None, (texts[wanted] or "")[:200] or None, refusal)
        return _Unit(texts["serial"], lot, about=texts[wanted])

    def _record(self, event: MachineRequest, request: Scalar | None, unit: _Unit, decision: Decision) -> PermitRecord:
        refusal = decision.refusal
        model = decision.product_model or self._settings.product_model
        of_sample = None if self._golden is None else self._golden.criteria_of(unit.serial_number)
        ours = of_sample or self._criteria.for_unit(self._machine, model, event.signalled_at)
        return PermitRecord(
            kind="permit",
            station=self._settings.station.id,
            process=self._settings.station.process,
            machine=self._machine.name,
            part=self._settings.part(unit.serial_number),
            serial_number=unit.serial_number,
            lot_number=decision.lot_number or unit.lot_number,
            product_model=model,
            asked=unit.asked,
            request_id=decision.request_id,
            request_number=request if isinstance(request, bool | int | str) else None,
            granted=decision.granted,
            decided_by=decision.decided_by,
            by_http=decision.by_http,
            permit=decision.permit,
            flagged=decision.flagged,
            refusal=None if refusal is None else refusal.code,
            detail=None if refusal is None else refusal.detail[:500],
            attempt=decision.attempt,
            reject_label=decision.reject_label,
            criteria_revision=decision.criteria_revision or ours.revision,
            firmware=decision.firmware,
            firmware_checksum=decision.firmware_checksum,
            asked_at=event.signalled_at,
            answered_at=datetime.now(UTC),
            clock_offset_seconds=self._clock.offset_s(),
            software=self._software,
        )

    def _compare_revisions(self, event: MachineRequest, record: PermitRecord, decision: Decision) -> None:
        """Central's criteria are told by another way than its permits: a station may not have heard of them yet."""
        if decision.criteria_revision is None or not record.granted or record.part is not Part.PRODUCT:
            return
        ours = self._criteria.for_unit(self._machine, record.product_model, event.signalled_at).revision
        if ours != decision.criteria_revision and (ours, decision.criteria_revision) != self._differing:
            self._differing = ours, decision.criteria_revision
            self._log.warning(
                "central's criteria are not those in force here", central=decision.criteria_revision, here=ours
            )

    def _values(self, request: Scalar | None, record: PermitRecord) -> dict[str, Scalar]:
        code = record.refusal
        return {
            "request": "" if request is None else request,
            "granted": record.granted,
            "serial_number": record.serial_number or "",
            "lot_number": record.lot_number or "",
            "product_model": record.product_model or "",
            "permit": record.permit or 0,
            "attempt": record.attempt or 0,
            "reject_label": record.reject_label,
            "criteria_revision": record.criteria_revision or "",
            "firmware": record.firmware or "",
            "firmware_checksum": record.firmware_checksum or "",
            "code": "" if code is None else code.value,
            "code_number": 0 if code is None else code.number,
            "text_ko": "" if code is None else code.text_ko,
            "text_en": "" if code is None else code.text_en,
        }

    async def _write(self, values: Mapping[str, Scalar]) -> None:
        assert isinstance(self._driver, Permitting), "only a driver that can answer tells of requests"
        await self._driver.answer(values)

    def _give_back(self, record: PermitRecord) -> None:
        """The machine did not get its permit. It asks again; or another station does."""
        if record.permit is not None and record.granted and record.serial_number is not None:
            self._interlock.give_back(record.serial_number, record.permit)

    async def _read_last(self) -> Last:
        if self._last is None:
            self._last = Last.of_note(await self._outbox.note(self._note))
        return self._last


def _new_id() -> str:
    return uuid.uuid4().hex
