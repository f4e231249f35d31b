"""What central holds under the numbers of a stream: two agents that write in it tell their records apart by it."""

from collections import defaultdict

import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError

from central.store.ledger import Ledger
from central.store.quarantined import OTHER_CONTENT
from central.store.tables import facts, quarantine
from contracts.envelope import DIGEST_DIGITS, UNKNOWN_CONTENT, Contents, Numbered
from contracts.permit import StationRecord
from contracts.record import digest, digest_of
from contracts.topics import parse

PAGE = 2000
"""Numbers told of in one answer: it has to fit a message."""

_kept: TypeAdapter[StationRecord | Numbered] = TypeAdapter(StationRecord | Numbered)


def contents(connection: sa.Connection, ledger: Ledger, first: int) -> Contents:
    """What is held from this number on, up to the highest that has arrived or a page of them."""
    last = min(ledger.highest, first + PAGE - 1)
    held: defaultdict[int, set[str]] = defaultdict(set)
    stream_id = ledger.claim.stream_id
    kept = sa.select(facts.c.seq, facts.c.digest).where(
        facts.c.stream_id == stream_id, facts.c.seq.between(first, last), facts.c.digest.is_not(None)
    )
    for seq, known in connection.execute(kept):
        held[seq].add(known[:DIGEST_DIGITS])
    apart = sa.select(quarantine.c.first_seq, quarantine.c.topic, quarantine.c.reason, quarantine.c.payload).where(
        quarantine.c.stream_id == stream_id,
        quarantine.c.first_seq.between(first, last),
        quarantine.c.first_seq == quarantine.c.last_seq,
    )
    for seq, topic, reason, payload in connection.execute(apart):
        if reason != OTHER_CONTENT and _station(topic) != ledger.claim.station:
            continue  # refused to another, on a copy of this outbox perhaps: by this station it is a result
        # What was in dispute stands there in the bytes its digest is of, whatever version wrote them.
        sent = digest_of(payload) if reason == OTHER_CONTENT else _digest(payload)
        held[seq].add(UNKNOWN_CONTENT if sent is None else sent[:DIGEST_DIGITS])
    return Contents(first=first, digests=tuple(_told(ledger, seq, held[seq]) for seq in range(first, last + 1)))


def _station(topic: str) -> str | None:
    found = parse(topic)
    return None if found is None else found[0].station


def _digest(payload: bytes) -> str | None:
    """The digest a record was sent with, by what quarantine keeps of it: the record, or its place in a message."""
    try:
        found = _kept.validate_json(payload)
    except ValidationError:
        return None
    return digest(found.record if isinstance(found, Numbered) else found)


def _told(ledger: Ledger, seq: int, digests: set[str]) -> str:
    if not digests and ledger.has(seq):
        return UNKNOWN_CONTENT
    return " ".join(sorted(digests))
