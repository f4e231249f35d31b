"""May this unit run here? Asked of central within the machine's time, else decided by the station itself.

One for the station: it holds what central last said of the LOTs (on disk too), the blocks of serial numbers, and what
the station itself has done since. An answer that comes when nobody waits for it any more is discarded.
"""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from pydantic import ValidationError

from agent import offline
from agent.numbers import NumberBlocks
from agent.offline import OwnWork, Rule
from agent.outbox import Outbox
from agent.settings import StationSettings
from agent.ways import SecondWay, Ways
from contracts.digest import RouteDigest
from contracts.errors import StoreError
from contracts.interlock import (
    AnyAnswer,
    NumbersAnswer,
    NumbersRequest,
    PermitAnswer,
    PermitRequest,
    PermitReturned,
    answer_adapter,
)
from contracts.permit import DecidedBy
from contracts.processes import BY_CODE
from contracts.record import ProcessRecord
from contracts.refusals import Refusal
from contracts.topics import ALL_ROUTES, StationTopics, lot_of
from messaging.session import Message, Session

log = structlog.get_logger()

ROUTE_NOTE = "route:"
GIVEN_NOTE = "permits without central"
KEPT_DAYS = 60
"""A digest that has not changed for so long is forgotten."""
REFILL_RETRY_S = 10.0
REMEMBERED = 100
"""Questions given up, whose late answers are recognised."""


@dataclass(frozen=True)
class Asked:
    """What a machine wants to know."""

    machine: str
    serial_number: str
    lot_number: str | None
    rule: Rule


@dataclass(frozen=True)
class Decision:
    """Yes or no, and what goes with it. ``notes`` are to be kept with the answer's record."""

    request_id: str
    decided_by: DecidedBy
    refusal: Refusal | None = None
    permit: int | None = None
    flagged: bool = False
    lot_number: str | None = None
    product_model: str | None = None
    attempt: int | None = None
    reject_label: bool = False
    criteria_revision: str | None = None
    firmware: str | None = None
    firmware_checksum: str | None = None
    by_http: bool = False
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def granted(self) -> bool:
        """Whether it may start."""
        return self.refusal is None


class Interlock:
    """Made once; ``attach()`` and ``detach()`` with each connection to the broker, ``heard()`` with its messages."""

    def __init__(self, settings: StationSettings, outbox: Outbox, http: SecondWay | None = None) -> None:
        station = settings.station
        self._station = station
        self._number = BY_CODE[station.process].number
        self._topics = StationTopics(station.site, station.line, station.id)
        self._outbox = outbox
        blocks = {
            machine.name: found.numbers.block
            for machine in settings.machines.values()
            if (found := machine.protocol_settings.asking()) is not None and found.numbers is not None
        }
        self.enabled = any(m.protocol_settings.asking() is not None for m in settings.machines.values())
        self._ways = Ways(self._topics.interlock, http, self._too_late)
        self._given_up: dict[str, bool] = {}
        self._digests: dict[str, RouteDigest] = {}
        self._unkept: dict[str, RouteDigest] = {}
        self._own: dict[str, OwnWork] = {}
        self._given = 0
        self._work = asyncio.Event()
        self.numbers = NumberBlocks(outbox, blocks, self._ask_numbers, self._digests, self._work.set)

    @property
    def topics(self) -> Sequence[str]:
        """What has to be subscribed to."""
        return (self._topics.permits, ALL_ROUTES) if self.enabled else ()

    async def open(self) -> None:
        """Read what the disk knows: digests, numbers, and results that central may not have yet. Raises StoreError."""
        if not self.enabled:
            return
        for name, text in (await self._outbox.notes(ROUTE_NOTE)).items():
            try:
                digest = RouteDigest.model_validate_json(text)
            except ValidationError as error:
                log.warning("route digest on disk not understood", note=name, error=str(error)[:200])
            else:
                self._digests[digest.lot_number] = digest
        await self.numbers.open()
        self._given = int(await self._outbox.note(GIVEN_NOTE) or 0)
        async for body in self._outbox.bodies_unsettled():
            try:
                self.worked(ProcessRecord.model_validate_json(body))
            except ValidationError:
                continue  # a permit, or of another version: it says nothing of the unit's work

    async def run(self) -> None:
        """Keep digests on disk and blocks of numbers filled, until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            try:
                await self._keep_digests()
                filled = await self.numbers.fill(is_connected=self._ways.is_connected)
            except StoreError as error:
                log.warning("what central said is not kept on disk", error=str(error))
                filled = False
            if not filled:
                try:
                    async with asyncio.timeout(REFILL_RETRY_S):
                        await self._work.wait()
                except TimeoutError:
                    pass
                self._work.set()

    # -- the connection ----------------------------------------------------------------------------------------------

    def attach(self, session: Session) -> None:
        """Central may be reached over this session."""
        self._ways.attach(session)
        self._work.set()

    def detach(self) -> None:
        """It may not: whoever waits for an answer takes the second way, or decides by himself at once."""
        self._ways.detach()

    def heard(self, message: Message) -> bool:
        """Take an answer or a digest. False: the message is for somebody else."""
        lot_number = lot_of(message.topic)
        if lot_number is not None:
            self._take_digest(lot_number, message)
            return True
        if message.topic != self._topics.permits:
            return False
        try:
            answer = answer_adapter.validate_json(message.payload)
        except ValidationError as error:
            log.warning("answer not understood", error=str(error)[:300])
            return True
        self._ways.take(answer)
        return True

    # -- decisions ---------------------------------------------------------------------------------------------------

    async def decide(self, asked: Asked, within_s: float) -> Decision:
        """Central's answer within this time, else the station's own. Never raises for want of central."""
        question = PermitRequest(
            **self._common(),
            process=self._station.process,
            machine=asked.machine,
            serial_number=asked.serial_number,
            lot_number=asked.lot_number,
            within_seconds=min(max(within_s, 0.001), 60.0),
        )
        said = await self._ways.ask(question, within_s)
        if isinstance(said.answer, PermitAnswer):
            return self._by_central(said.answer, by_http=said.by_http)
        decision = self._by_itself(question.request_id, asked)
        self._given_up[question.request_id] = decision.granted
        while len(self._given_up) > REMEMBERED:
            del self._given_up[next(iter(self._given_up))]
        return decision

    def give_back(self, serial_number: str, permit: int) -> None:
        """A permit of central's never reached its machine: another station may have the unit."""
        self._ways.give_back(PermitReturned(**self._common(), serial_number=serial_number, permit=permit))

    def worked(self, record: ProcessRecord) -> None:
        """A result is on disk: the station knows it before central does."""
        if self.enabled:
            found = offline.worked(self._own, record, self._digests)
            if found is not None:
                self._own[found[0]] = found[1]

    def _by_central(self, answer: PermitAnswer, *, by_http: bool) -> Decision:
        notes = {}
        if self._given:
            self._given, notes[GIVEN_NOTE] = 0, "0"
        refusal = None if answer.refusal is None else Refusal(answer.refusal, answer.detail or "")
        return Decision(
            request_id=answer.request_id,
            decided_by=DecidedBy.CENTRAL,
            by_http=by_http,
            refusal=refusal,
            permit=answer.permit,
            lot_number=answer.lot_number,
            product_model=answer.product_model,
            attempt=answer.attempt,
            reject_label=answer.reject_label,
            criteria_revision=answer.criteria_revision,
            firmware=answer.firmware,
            firmware_checksum=answer.firmware_checksum,
            notes=notes,
        )

    def _by_itself(self, request_id: str, asked: Asked) -> Decision:
        found = offline.known(asked.serial_number, asked.lot_number, self._number, self._digests, self._own)
        ruling = offline.ruled(found, asked.rule, self._given)
        notes = {}
        if ruling.refusal is None:
            self._given += 1
            notes[GIVEN_NOTE] = str(self._given)
        return Decision(
            request_id=request_id,
            decided_by=ruling.decided_by,
            refusal=ruling.refusal,
            flagged=ruling.flagged,
            lot_number=found.lot_number,
            product_model=found.product_model,
            attempt=found.attempts + 1 if ruling.refusal is None else None,
            reject_label=ruling.refusal is None and found.failed,
            firmware=None if found.firmware is None else found.firmware.version,
            firmware_checksum=None if found.firmware is None else found.firmware.checksum,
            notes=notes,
        )

    def _too_late(self, answer: AnyAnswer) -> None:
        if not isinstance(answer, PermitAnswer):
            log.info("late block of numbers discarded", lot_number=answer.lot_number)
            return
        granted_here = self._given_up.pop(answer.request_id, None)
        log.info("late answer discarded", serial_number=answer.serial_number, granted=answer.granted)
        if answer.granted and granted_here is False:
            self.give_back(answer.serial_number, answer.permit)

    def _common(self) -> dict[str, object]:
        return {
            "site": self._station.site,
            "line": self._station.line,
            "station": self._station.id,
            "request_id": uuid.uuid4().hex,
            "asked_at": datetime.now(UTC),
        }

    # -- digests -----------------------------------------------------------------------------------------------------

    def _take_digest(self, lot_number: str, message: Message) -> None:
        try:
            digest = RouteDigest.model_validate_json(message.payload)
        except ValidationError as error:
            log.warning("route digest not understood", lot_number=lot_number, error=str(error)[:300])
            return
        known = self._digests.get(lot_number)
        if digest.lot_number != lot_number or (known is not None and not digest.replaces(known)):
            return
        self._digests[lot_number] = self._unkept[lot_number] = digest
        self._work.set()

    async def _keep_digests(self) -> None:
        unkept, self._unkept = self._unkept, {}
        for lot_number, digest in unkept.items():
            await self._outbox.keep_note(ROUTE_NOTE + lot_number, digest.encoded().decode())
        before = datetime.now(UTC) - timedelta(days=KEPT_DAYS)
        for lot_number in [lot for lot, digest in self._digests.items() if digest.at < before]:
            del self._digests[lot_number]
            await self._outbox.drop_note(ROUTE_NOTE + lot_number)

    # -- numbers -----------------------------------------------------------------------------------------------------

    async def _ask_numbers(self, lot_number: str, count: int, request_id: str, within_s: float) -> NumbersAnswer | None:
        asked = {**self._common(), "request_id": request_id}
        said = await self._ways.ask(NumbersRequest(**asked, lot_number=lot_number, count=count), within_s)
        return said.answer if isinstance(said.answer, NumbersAnswer) else None
