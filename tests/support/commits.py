"""What central says of a stream, and what becomes of it in an outbox."""

from datetime import UTC, datetime
from typing import Any

from agent.outbox import Outbox
from contracts.envelope import Commit, Contents, Range


def commit_of(stream_id: str, up_to: int, *ranges: Range, **more: Any) -> Commit:
    """Central has everything up to a number, and these ranges above it."""
    said = {"epoch": "e", "at": datetime.now(UTC), **more}
    return Commit(stream_id=stream_id, committed_seq=up_to, ranges=ranges, **said)


async def settle(outbox: Outbox, commit: Commit) -> int:
    """Central has taken from here all that it has, and nothing else, and is heard again after that; answers how many
    records that settled."""
    settled = await outbox.settle(commit.stream_id, [(1, commit.committed_seq), *commit.ranges])
    await outbox.take_back(commit)
    outbox.central_at = datetime.now(UTC)
    return settled.records


def holding(commit: Commit, first: int, *entries: str) -> Commit:
    """The answer that says what central holds from this number on."""
    return commit.model_copy(update={"contents": Contents(first=first, digests=entries)})
