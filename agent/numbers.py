"""Blocks of serial numbers that central reserves for this station: each number is given once, and none is forgotten.

On disk before anything else: the question before it is asked, the block before it is used, and each number's use in
the commit of the permit that names it. A question that was cut off is said again, and gets the same block.
"""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping

import structlog

from agent.outbox import Outbox
from contracts.digest import RouteDigest
from contracts.interlock import NumbersAnswer
from contracts.refusals import Refusal, RefusalCode
from contracts.route_model import LotStatus
from contracts.route_start import may_start_in

log = structlog.get_logger()

NUMBERS_NOTE = "numbers:"
ASKED_NOTE = "asked for numbers:"
TIMEOUT_S = 5.0

Ask = Callable[[str, int, str, float], Awaitable[NumbersAnswer | None]]
"""LOT number, how many, the question's id, within so many seconds -> central's answer; None: it did not answer."""


class NumberBlocks:
    """What the station holds, by LOT. ``blocks`` is how many a machine wants to have, ``digests`` what is known of
    LOTs, ``low`` is called when a block should be filled."""

    def __init__(
        self,
        outbox: Outbox,
        blocks: Mapping[str, int],
        ask: Ask,
        digests: Mapping[str, RouteDigest],
        low: Callable[[], None],
    ) -> None:
        self._outbox = outbox
        self._blocks = blocks
        self._ask = ask
        self._digests = digests
        self._low = low
        self._numbers: dict[str, tuple[str, ...]] = {}
        self._arrived: dict[str, tuple[str, ...]] = {}
        self._wanted: dict[str, int] = {}
        self._asking = asyncio.Lock()
        self.giving = asyncio.Lock()
        """Held from taking a number to keeping the permit that names it."""

    async def open(self) -> None:
        """Read what the disk knows. Raises StoreError."""
        for name, text in (await self._outbox.notes(NUMBERS_NOTE)).items():
            self._numbers[name.removeprefix(NUMBERS_NOTE)] = tuple(json.loads(text))

    async def next(self, machine: str, lot_number: str, within_s: float) -> str | Refusal:
        """The next number of a LOT, for the unit that is to be made now. While ``giving`` is held; the number is used
        once ``used_note`` is kept. Raises StoreError."""
        self._wanted[lot_number] = self._blocks[machine]
        await self._take(lot_number)
        if not self._numbers.get(lot_number):
            refusal = await self._reserve(lot_number, self._blocks[machine], within_s)
            await self._take(lot_number)
            if refusal is not None and not self._numbers.get(lot_number):
                digest = self._digests.get(lot_number)
                lot = None if digest is None else digest.lot()
                found = may_start_in(lot) if lot is not None else None
                return found or refusal
        return self._numbers[lot_number][0]

    def used_note(self, lot_number: str, number: str) -> Mapping[str, str]:
        """What has to be kept with the permit that names this number: it is never given again."""
        return {NUMBERS_NOTE + lot_number: json.dumps(self._without(lot_number, number))}

    def used(self, lot_number: str, number: str) -> None:
        """The permit is on disk."""
        self._numbers[lot_number] = self._without(lot_number, number)
        if self._is_low(lot_number):
            self._low()

    async def fill(self, *, is_connected: bool) -> bool:
        """Fill blocks that are half used. False: central did not answer. Raises StoreError."""
        for lot_number, block in list(self._wanted.items()):
            digest = self._digests.get(lot_number)
            if digest is not None and digest.status is LotStatus.CLOSED:
                await self._forget(lot_number)
            elif is_connected and self._is_low(lot_number):
                count = block - len(self._numbers.get(lot_number, ()))
                refusal = await self._reserve(lot_number, count, TIMEOUT_S)
                async with self.giving:
                    await self._take(lot_number)
                if refusal is not None and refusal.code is RefusalCode.NUMBERS_USED_UP:
                    return False
        return True

    async def _reserve(self, lot_number: str, count: int, within_s: float) -> Refusal | None:
        """Ask for a block, or wait for the answer to the question that is under way. ``giving`` is not needed: while
        central is silent, a machine gets the numbers that are there."""
        deadline = asyncio.get_running_loop().time() + within_s
        silent = Refusal(
            RefusalCode.NUMBERS_USED_UP, f"no number of {lot_number} is reserved here, and central does not answer"
        )
        try:
            async with asyncio.timeout_at(deadline):
                await self._asking.acquire()
        except TimeoutError:
            return silent
        try:
            if lot_number in self._arrived:
                return None
            request_id = await self._outbox.note(ASKED_NOTE + lot_number)
            if request_id is None:
                request_id = uuid.uuid4().hex
                await self._outbox.keep_note(ASKED_NOTE + lot_number, request_id)
            left_s = deadline - asyncio.get_running_loop().time()
            answer = await self._ask(lot_number, count, request_id, left_s)
            if answer is None:
                return silent
            if answer.refusal is not None:
                await self._outbox.drop_note(ASKED_NOTE + lot_number)
                return Refusal(answer.refusal, answer.detail or "")
            self._arrived[lot_number] = answer.numbers
            return None
        finally:
            self._asking.release()

    async def _take(self, lot_number: str) -> None:
        """Put what arrived to what there is, on disk first. While ``giving`` is held: nothing is used meanwhile."""
        arrived = self._arrived.get(lot_number)
        if arrived is None:
            return
        numbers = (*self._numbers.get(lot_number, ()), *arrived)
        kept = {NUMBERS_NOTE + lot_number: json.dumps(numbers), ASKED_NOTE + lot_number: None}
        await self._outbox.change_notes(kept)
        self._numbers[lot_number] = numbers
        del self._arrived[lot_number]

    async def _forget(self, lot_number: str) -> None:
        async with self.giving:
            del self._wanted[lot_number]
            unused = self._numbers.pop(lot_number, ())
            if unused:
                log.info("numbers of a closed LOT stay unused", lot_number=lot_number, numbers=unused)
            await self._outbox.change_notes({NUMBERS_NOTE + lot_number: None, ASKED_NOTE + lot_number: None})

    def _is_low(self, lot_number: str) -> bool:
        return len(self._numbers.get(lot_number, ())) <= self._wanted.get(lot_number, 0) // 2

    def _without(self, lot_number: str, number: str) -> tuple[str, ...]:
        return tuple(one for one in self._numbers.get(lot_number, ()) if one != number)
