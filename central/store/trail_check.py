"""Verifying the audit trail: every row against its seal, every seal against the one before, the chain against anchors.

What it rests on is the anchors alone. Everything in the database could have been made anew by whoever may do anything
there; a hash that is kept elsewhere cannot.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from central.store import trail_rows
from central.store.chain import FORM, Anchor, Rows, Seal, beginning
from central.store.tables import audit_seals

MOST_TOLD = 50
_PAGE = 500
Progress = Callable[[int, int], None]
"""Called with rows verified and rows there are."""


@dataclass
class TrailCheck:
    """What came of it. ``anchored``: rows up to the last anchor; ``later``: sealed after it; ``unsealed``: in no
    seal."""

    rows: int = 0
    seals: int = 0
    anchors: int = 0
    anchored: int = 0
    later: int = 0
    unsealed: int = 0
    wrong: int = 0
    told: list[str] = field(default_factory=list)

    def find(self, text: str) -> None:
        """Something is not as it was sealed."""
        self.wrong += 1
        if len(self.told) < MOST_TOLD:
            self.told.append(text)


def check(
    connection: sa.Connection,
    epoch: str,
    anchors: Mapping[int, Anchor],
    progress: Progress,
) -> TrailCheck:
    """Verify the whole trail, in one transaction. ``anchors`` are those of this database, by the seal's number."""
    found = TrailCheck(anchors=len(anchors))
    total = connection.execute(sa.select(sa.func.max(audit_seals.c.total))).scalar() or 0
    before: Seal | None = None
    good: Anchor | None = None
    forged = False
    for page in _readable(found, _pages(connection)):
        after = None if before is None else before.last_id
        rows = _Taken(trail_rows.lines(connection, after, page[-1].last_id))
        for seal in page:
            _chained(found, seal, before, epoch)
            _complete(found, seal, rows)
            anchor = anchors.get(seal.number)
            if anchor is not None and anchor.hash == seal.hash and not forged:
                good, found.anchored = anchor, seal.total
            elif anchor is not None and not forged:
                forged = True  # every later one differs too
                found.find(_forged(anchor, good))
            before = seal
        found.seals += len(page)
        progress(found.rows, total)
    _tail(found, before, anchors)
    found.later = max(0, (0 if before is None else before.total) - found.anchored)
    after = None if before is None else before.last_id
    found.unsealed = sum(1 for _ in trail_rows.lines(connection, after))
    return found


def _readable(found: TrailCheck, pages: Iterator[list[Seal]]) -> Iterator[list[Seal]]:
    """The pages up to one that holds what is no seal: SQLite keeps any kind of value in any column."""
    try:
        for page in pages:
            for seal in page:
                seal.reckoned()
            yield page
    except (TypeError, ValueError, AttributeError) as error:
        found.find(f"seals cannot be read, they were changed: {error}")


def _pages(connection: sa.Connection) -> Iterator[list[Seal]]:
    after = -(2**63)
    while True:
        wanted = sa.select(audit_seals).where(audit_seals.c.number > after).order_by(audit_seals.c.number)
        page = [Seal(**row) for row in connection.execute(wanted.limit(_PAGE)).mappings()]
        if not page:
            return
        yield page
        after = page[-1].number


class _Taken:
    """Rows in order of id, taken up to one id after the other."""

    def __init__(self, lines: Iterator[tuple[int, bytes]]) -> None:
        self._lines = lines
        self._next = next(lines, None)

    def upto(self, last_id: int) -> Iterable[tuple[int, bytes]]:
        while self._next is not None and self._next[0] <= last_id:
            yield self._next
            self._next = next(self._lines, None)


def _chained(found: TrailCheck, seal: Seal, before: Seal | None, epoch: str) -> None:
    """Is the seal the one behind ``before``, and unchanged?"""
    number = 1 if before is None else before.number + 1
    if seal.number != number:
        found.find(f"seal {number} is missing: {seal.number} is next")
    elif seal.previous != (beginning(epoch) if before is None else before.hash):
        found.find(f"seal {seal.number} does not follow the one before it: one of them was made anew")
    if seal.first_id != (1 if before is None else before.last_id + 1):
        found.find(f"seal {seal.number} begins with row {seal.first_id}, where the one before it did not end")
    if seal.total != seal.rows + (0 if before is None else before.total):
        found.find(f"seal {seal.number} counts {seal.total} rows up to it, which is not what the seals before it count")
    if seal.form != FORM:
        found.find(f"seal {seal.number} is of form {seal.form}, which this version does not know")
    elif seal.hash != seal.reckoned():
        found.find(f"seal {seal.number} was changed")


def _complete(found: TrailCheck, seal: Seal, taken: _Taken) -> None:
    """Are the rows those the seal was made over?"""
    rows = Rows.of(taken.upto(seal.last_id))
    found.rows += rows.rows
    if rows.digest == seal.digest and rows.rows == seal.rows:
        return
    there, sealed = rows.marked(), seal.marked()
    differences = [
        *((row_id, "was removed") for row_id in sealed.keys() - there.keys()),
        *((row_id, "was inserted") for row_id in there.keys() - sealed.keys()),
        *((row_id, "was changed") for row_id in there.keys() & sealed.keys() if there[row_id] != sealed[row_id]),
    ]
    for row_id, what in sorted(differences):
        found.find(f"row {row_id} {what} after it was sealed (seal {seal.number}, {seal.sealed_at.isoformat()})")
    if not differences:
        found.find(f"the rows {seal.first_id} to {seal.last_id} are not those of seal {seal.number}")


def _forged(anchor: Anchor, good: Anchor | None) -> str:
    low = 1 if good is None else good.last_id + 1
    return (
        f"seal {anchor.number} is not the one that was anchored: the chain was made anew; rows with ids from {low} to"
        f" {anchor.last_id} are not what they were on {anchor.sealed_at.isoformat()}, and no later seal can be trusted"
    )


def _tail(found: TrailCheck, last: Seal | None, anchors: Mapping[int, Anchor]) -> None:
    there = 0 if last is None else last.number
    beyond = [anchor for number, anchor in anchors.items() if number > there]
    if beyond:
        cut = max(beyond, key=lambda one: one.number)
        found.find(
            f"the chain ends with seal {there}, and seal {cut.number} was anchored: its end was cut off; {cut.total}"
            f" rows, up to id {cut.last_id}, were there on {cut.sealed_at.isoformat()}"
        )
