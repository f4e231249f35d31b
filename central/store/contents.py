"""What central holds under the numbers of a stream: two agents that write in it tell their records apart by it."""

from collections import defaultdict
from hashlib import sha256

import sqlalchemy as sa

from central.store.ledger import Ledger
from central.store.tables import facts, quarantine
from contracts.envelope import DIGEST_DIGITS, UNKNOWN_CONTENT, Contents

PAGE = 2000
"""Numbers told of in one answer: it has to fit a message."""


def contents(connection: sa.Connection, ledger: Ledger, first: int) -> Contents:
    """What is held from this number on, up to the highest that has arrived or a page of them."""
    last = min(ledger.highest, first + PAGE - 1)
    held: defaultdict[int, set[str]] = defaultdict(set)
    stream_id = ledger.claim.stream_id
    kept = sa.select(facts.c.seq, facts.c.digest).where(
        facts.c.stream_id == stream_id, facts.c.seq.between(first, last), facts.c.digest.is_not(None)
    )
    for seq, digest in connection.execute(kept):
        held[seq].add(digest[:DIGEST_DIGITS])
    # A record in quarantine stands there in the bytes its digest is of; a message that could not be read does not.
    apart = sa.select(quarantine.c.first_seq, quarantine.c.last_seq, quarantine.c.payload).where(
        quarantine.c.stream_id == stream_id, quarantine.c.first_seq <= last, quarantine.c.last_seq >= first
    )
    for begins, ends, payload in connection.execute(apart):
        if begins == ends:
            held[begins].add(sha256(payload).hexdigest()[:DIGEST_DIGITS])
    return Contents(first=first, digests=tuple(_told(ledger, seq, held[seq]) for seq in range(first, last + 1)))


def _told(ledger: Ledger, seq: int, digests: set[str]) -> str:
    if not digests and ledger.has(seq):
        return UNKNOWN_CONTENT
    return " ".join(sorted(digests))
