"""Quarantine: what is wrong in itself, kept whole with its reason, each thing once."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

import sqlalchemy as sa

from central.store.statements import insert_once, rows_where
from central.store.tables import quarantine
from contracts.errors import DataError
from contracts.topics import StationTopics, parse

RETRIED, DISCARDED = "RETRIED", "DISCARDED"
"""What a person can do about a thing in quarantine; it stays there, whole."""

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
        """What makes it the same thing when it is sent again: content, stream, range and whose it was taken for; else
        content and topic.

        What is refused to one station is not yet refused to another. Other content under a known number is the same
        whoever brings it.
        """
        found = parse(self.topic)
        place = self.stream_id or self.topic
        if self.stream_id is not None and self.reason != OTHER_CONTENT:
            place += f" {found[0].station if found else self.topic}"
        place += f"\n{self.first_seq}\n{self.last_seq}\n"
        return sha256(place.encode() + self.payload).hexdigest()


@dataclass(frozen=True)
class Quarantined:
    """What is kept of one thing, but for its bytes. ``station`` is that of the topic, "" where it is no station's."""

    id: int
    received_at: datetime
    topic: str
    station: str
    stream_id: str | None
    first_seq: int | None
    last_seq: int | None
    reason: str
    settled_as: str | None
    settled_by: str | None
    settled_because: str | None
    settled_at: datetime | None
    size: int


@dataclass(frozen=True)
class QuarantinedWhole(Quarantined):
    """The same, with the bytes as they came."""

    payload: bytes


def listed(
    connection: sa.Connection, station: str | None, limit: int, skip: int = 0, *, settled: bool = False
) -> tuple[list[Quarantined], int]:
    """The newest ``limit`` of them after ``skip``, of every station or of one; and how many there are. Those that
    people have settled only where they are asked for."""
    mine: sa.ColumnElement[bool] = sa.true() if settled else quarantine.c.settled_as.is_(None)
    if station is not None:
        beneath = StationTopics("%", "%", re.sub(r"([\\%_])", r"\\\1", station)).records
        mine &= quarantine.c.topic.like(beneath.removesuffix("records") + "%", escape="\\")
    total = connection.execute(sa.select(sa.func.count()).select_from(quarantine).where(mine)).scalar_one()
    newest = sa.select(*_TOLD).where(mine).order_by(quarantine.c.id.desc()).offset(skip).limit(limit)
    return [Quarantined(**_told(row)) for row in connection.execute(newest).mappings()], total


def whole(connection: sa.Connection, entry: int) -> QuarantinedWhole:
    """One of them. Raises DataError where there is none of this id."""
    wanted = sa.select(*_TOLD, quarantine.c.payload).where(quarantine.c.id == entry)
    row = connection.execute(wanted).mappings().one_or_none()
    if row is None:
        raise DataError(
            f"nothing in quarantine has the id {entry}: neurohub-central quarantine list tells those it has"
        )
    return QuarantinedWhole(**_told(row), payload=row["payload"])


def settle(connection: sa.Connection, entry: int, done: str, author: str, reason: str, now: datetime) -> None:
    """Say what a person did about one of them. Raises DataError where that was said before."""
    open_one = (quarantine.c.id == entry) & quarantine.c.settled_as.is_(None)
    values = {"settled_as": done, "settled_by": author, "settled_because": reason, "settled_at": now}
    if not connection.execute(sa.update(quarantine).where(open_one).values(**values)).rowcount:
        before = whole(connection, entry)
        raise DataError(f"quarantine {entry} was {before.settled_as} by {before.settled_by}: {before.settled_because}")


_TOLD = (
    *(
        quarantine.c[name]
        for name in (
            "id",
            "received_at",
            "topic",
            "stream_id",
            "first_seq",
            "last_seq",
            "reason",
            "settled_as",
            "settled_by",
            "settled_because",
            "settled_at",
        )
    ),
    sa.func.length(quarantine.c.payload).label("size"),
)


def _told(row: sa.RowMapping) -> dict[str, Any]:
    found = parse(row["topic"])
    return {column.name: row[column.name] for column in _TOLD} | {"station": found[0].station if found else ""}


def quarantine_once(connection: sa.Connection, entries: Sequence[Entry], now: datetime) -> list[Entry]:
    """Keep the entries that are not there yet; answers them."""
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
    return [by_key[key] for key in sorted(new)]


def in_quarantine(connection: sa.Connection, keys: Iterable[str]) -> set[str]:
    """Which of these keys are kept already."""
    column = quarantine.c.entry_key
    return {row["entry_key"] for row in rows_where(connection, sa.select(column), column, sorted(keys))}
