"""What of a stream is on its way to central, and what goes next. Knows the outbox; nothing of brokers and messages.

New results go first: what is new since central was heard has a lane of its own, and waits for one batch of the
backlog at most. Central accepts numbers in any order and says what it has as ranges.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from agent.outbox import Outbox, Row
from contracts.envelope import MAX_MESSAGE_BYTES, Commit, Range

BATCH_RECORDS = 250
"""Records of one lane that are on their way, and so in one message, at most."""
HEADER_BYTES = 1024
BATCH_BYTES = MAX_MESSAGE_BYTES - HEADER_BYTES
LONGEST_SILENCE_S = 300.0
"""While central says nothing, what it lacks is sent again, and again after twice as long; this is the longest wait."""


@dataclass
class Lane:
    """A part of a stream, sent in order. ``after``: everything of it up to here has been sent."""

    after: int = 0
    under_way: dict[int, float] = field(default_factory=dict)
    """Sent and not yet committed: seq -> when."""
    _sizes: dict[int, int] = field(default_factory=dict)

    def sent(self, rows: Iterable[Row], at: float) -> None:
        """These are under way."""
        for row in rows:
            self.under_way[row.seq] = at
            self._sizes[row.seq] = len(row.body)
            self.after = max(self.after, row.seq)

    def arrived(self, taken: Sequence[Range]) -> list[float]:
        """What central has taken of it is under way no more; returns when that was sent."""
        arrived = [seq for seq in self.under_way if any(first <= seq <= last for first, last in taken)]
        for seq in arrived:
            del self._sizes[seq]
        return [self.under_way.pop(seq) for seq in arrived]

    def room(self) -> tuple[int, int] | None:
        """Records and bytes that may be sent beside what is under way; None while that is half a batch or more."""
        rows, size = BATCH_RECORDS - len(self.under_way), BATCH_BYTES - sum(self._sizes.values())
        return (rows, size) if 2 * rows > BATCH_RECORDS and 2 * size > BATCH_BYTES else None


class Delivery:
    """One stream's way to central.

    ``commit`` is what central last said of it; None while it is not told what of that is ours: nothing is sent then.
    Of a stream that is written no more everything is backlog.
    """

    def __init__(self, outbox: Outbox, stream_id: str, resend_after_s: float) -> None:
        self._outbox = outbox
        self._resend_after_s = resend_after_s
        self._patience_s = resend_after_s
        self._progress_at = math.inf
        self._fresh = Lane()
        self._backlog = Lane()
        self._backlog_ends = 0
        self.stream_id = stream_id
        self.commit: Commit | None = None

    def take(self, taken: Sequence[Range], now: float) -> float | None:
        """Central has taken these from us. Returns when the newest of what was sent once was sent, if known."""
        oldest = self._oldest
        self._backlog.arrived(taken)
        # Only the fresh lane sends everything once: what arrived of it was under way for as long as it took.
        measured = max(self._fresh.arrived(taken), default=None)
        if self._oldest != oldest:
            self._progress_at, self._patience_s = now, self._resend_after_s
        return measured

    async def adopt(self, commit: Commit, last_seq: int) -> None:
        """Go by what central says it has: all that is not settled here is to be sent. Raises StoreError."""
        if self.commit is None or commit.takes_back(self.commit):
            # A first word, or a central that knows less than before or asks again: begin at what it lacks.
            await self._outbox.take_back(commit)
            self._begin_again(last_seq)
        elif (told := self.commit.told_through) < commit.told_through and await self._outbox.take_back(commit, told):
            # As holes are filled, central tells of more: some of that it lacks.
            self._begin_again(last_seq)
        self.commit = commit

    def hold(self) -> None:
        """Send nothing until central has said what of this stream is ours."""
        self.commit = None
        self._fresh, self._backlog = Lane(), Lane()

    async def next_batch(self, last_seq: int) -> tuple[Lane, list[Row]] | None:
        """What to send next, within the bounds of a message, or one record beyond them; None: nothing for now."""
        if self.commit is None:
            return None
        if last_seq - self._fresh.after > BATCH_RECORDS:
            # Too much to be called new: it becomes backlog, so that what comes after it need not wait for it.
            if not self._has_backlog:
                self._backlog.after = self._fresh.after
            self._backlog_ends = self._fresh.after = last_seq
        if self._fresh.after < last_seq and (room := BATCH_RECORDS - len(self._fresh.under_way)) > 0:
            rows = await self._outbox.unsettled(self.stream_id, self._fresh.after, max_rows=room, max_bytes=BATCH_BYTES)
            if rows:
                return self._fresh, rows
        return await self._next_of_backlog()

    def silent_for_too_long(self, now: float) -> tuple[int, int] | None:
        """First and last of what has been under way for so long that it must be sent again, or None."""
        if self._oldest is None or now < self.due_at:
            return None
        return self._oldest, max(self._fresh.after, self._backlog.after)

    def send_again(self, last_seq: int, now: float) -> None:
        """Begin at what central lacks; the next time after a longer silence."""
        self._begin_again(last_seq)
        self._patience_s = min(2 * self._patience_s, max(LONGEST_SILENCE_S, self._resend_after_s))
        self._progress_at = now

    @property
    def due_at(self) -> float:
        """When, without progress, what is under way must be sent again."""
        return self._progress_at + self._patience_s if self._oldest is not None else math.inf

    def sent(self, lane: Lane, rows: list[Row], now: float) -> None:
        """These are under way."""
        if self._oldest is None:
            self._progress_at = now
        lane.sent(rows, now)

    def passed_over(self, lane: Lane, seq: int) -> None:
        """This one cannot be sent."""
        lane.after = max(lane.after, seq)

    @property
    def backlog_is_under_way(self) -> bool:
        """True while a batch of the backlog is not committed yet."""
        return bool(self._backlog.under_way)

    @property
    def _oldest(self) -> int | None:
        """What has been under way for longest."""
        lanes = [next(iter(lane.under_way.items()), None) for lane in (self._fresh, self._backlog)]
        waiting = [(at, seq) for item in lanes if item is not None for seq, at in [item]]
        return min(waiting)[1] if waiting else None

    @property
    def _has_backlog(self) -> bool:
        return self._backlog.after < self._backlog_ends

    async def _next_of_backlog(self) -> tuple[Lane, list[Row]] | None:
        # One batch at a time: a result that is made now waits behind no more than that.
        while self._has_backlog and (room := self._backlog.room()) is not None:
            rows = await self._outbox.unsettled(
                self.stream_id, self._backlog.after, up_to=self._backlog_ends, max_rows=room[0], max_bytes=room[1]
            )
            if not rows:
                self._backlog.after = self._backlog_ends
                return None
            waiting = [row for row in rows if row.seq not in self._fresh.under_way]
            if waiting:
                return self._backlog, waiting
            self._backlog.after = rows[-1].seq
        return None

    def _begin_again(self, last_seq: int) -> None:
        self._backlog = Lane()
        self._backlog_ends = last_seq
        self._fresh = Lane(last_seq)
