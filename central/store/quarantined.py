"""Quarantine: what is wrong in itself, kept whole with its reason, each thing once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

import sqlalchemy as sa

from central.store.statements import insert_once, rows_where
from central.store.tables import quarantine

OTHER_CONTENT = "other content under the same stream and seq"


@dataclass(frozen=True)
class Entry:
    """One thing for quarantine."""

    topic: str
    stream_id: str | None
    first_seq: int | None
    last_seq: int | None
    reason: str
    payload: bytes

    @property
    def key(self) -> str:
        """What makes it the same thing when it is sent again: content, stream and range; else content and topic."""
        place = f"{self.stream_id or self.topic}\n{self.first_seq}\n{self.last_seq}\n"
        return sha256(place.encode() + self.payload).hexdigest()


def quarantine_once(connection: sa.Connection, entries: Sequence[Entry], now: datetime) -> set[str]:
    """Keep the entries that are not there yet; answers their keys."""
    by_key = {entry.key: entry for entry in entries}
    new = by_key.keys() - in_quarantine(connection, by_key)
    insert_once(
        connection,
        quarantine,
        [
            {
                "entry_key": key,
                "stream_id": by_key[key].stream_id,
                "first_seq": by_key[key].first_seq,
                "last_seq": by_key[key].last_seq,
                "topic": by_key[key].topic,
                "reason": by_key[key].reason.replace("\x00", "\ufffd"),
                "payload": by_key[key].payload,
                "received_at": now,
            }
            for key in sorted(new)
        ],
    )
    return new


def in_quarantine(connection: sa.Connection, keys: Iterable[str]) -> set[str]:
    """Which of these keys are kept already."""
    column = quarantine.c.entry_key
    return {row["entry_key"] for row in rows_where(connection, sa.select(column), column, sorted(keys))}
