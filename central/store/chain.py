"""The chain over the audit trail: how rows become seals and seals a chain. Pure; one form, numbered (FORM).

A *seal* covers the rows of ``audit_logs`` with ids from ``first_id`` to ``last_id``. A row is hashed as the line of
text the database gives for it (``trail_rows``), a seal over its rows' digests in order of id and over the seal before
it. So the hash of one seal stands for every row up to it, how many they are, and their order. An *anchor* is such a
hash kept where whoever can write the database cannot.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Self

from pydantic import Field

from contracts.base import Contract, MessageVersion, UtcTime

if TYPE_CHECKING:
    from hashlib import _Hash

FORM = 1
_MARK = struct.Struct(">q8s")
_SHORT = 8


class Anchor(Contract):
    """What is kept outside the database of a seal: a line of the anchor file, and the retained message."""

    v: MessageVersion = 1
    epoch: str
    number: int = Field(ge=1)
    last_id: int
    total: int = Field(ge=0)
    hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    sealed_at: UtcTime


@dataclass(frozen=True)
class Seal:
    """One link. ``marks`` are each row's id and shortened digest; they name the row that was changed."""

    number: int
    first_id: int
    last_id: int
    rows: int
    total: int
    digest: str
    marks: bytes
    sealed_at: datetime
    previous: str
    hash: str
    form: int = FORM

    def reckoned(self) -> str:
        """The hash this seal must have."""
        text = (
            f"{self.form} {self.number} {self.first_id:d} {self.last_id:d} {self.rows:d} {self.total:d} {self.digest}"
            f" {sha256(self.marks).hexdigest()} {self.sealed_at.astimezone(UTC).isoformat()} {self.previous}"
        )
        return sha256(text.encode()).hexdigest()

    def anchor(self, epoch: str) -> Anchor:
        """What is kept of it outside the database that ``epoch`` names."""
        return Anchor(
            epoch=epoch,
            number=self.number,
            last_id=self.last_id,
            total=self.total,
            hash=self.hash,
            sealed_at=self.sealed_at,
        )

    def marked(self) -> dict[int, bytes]:
        """The rows it was made over: id -> shortened digest."""
        whole = len(self.marks) // _MARK.size * _MARK.size
        return dict(_MARK.iter_unpack(self.marks[:whole]))


@dataclass
class Rows:
    """The rows of one seal, taken one after the other in order of id."""

    rows: int = 0
    last_id: int = 0
    _digest: "_Hash" = field(default_factory=sha256)
    _marks: list[bytes] = field(default_factory=list)

    @classmethod
    def of(cls, lines: Iterable[tuple[int, bytes]]) -> Self:
        """All of these."""
        found = cls()
        for row_id, line in lines:
            found.add(row_id, line)
        return found

    def add(self, row_id: int, line: bytes) -> None:
        """The next one."""
        digest = sha256(line).digest()
        self._digest.update(digest)
        self._marks.append(_MARK.pack(row_id, digest[:_SHORT]))
        self.rows += 1
        self.last_id = row_id

    @property
    def digest(self) -> str:
        """Over all of them."""
        return self._digest.hexdigest()

    @property
    def marks(self) -> bytes:
        """Their ids and shortened digests."""
        return b"".join(self._marks)

    def marked(self) -> dict[int, bytes]:
        """The same, by id."""
        return dict(_MARK.unpack(mark) for mark in self._marks)


def beginning(epoch: str) -> str:
    """What the first seal of a database follows: so no chain fits another database."""
    return sha256(f"neurohub audit chain of {epoch}".encode()).hexdigest()


def next_seal(before: Seal | None, epoch: str, rows: Rows, last_id: int, at: datetime) -> Seal:
    """The seal over these rows, up to ``last_id``, behind ``before``."""
    seal = Seal(
        number=1 if before is None else before.number + 1,
        first_id=1 if before is None else before.last_id + 1,
        last_id=last_id,
        rows=rows.rows,
        total=rows.rows + (0 if before is None else before.total),
        digest=rows.digest,
        marks=rows.marks,
        sealed_at=at,
        previous=beginning(epoch) if before is None else before.hash,
        hash="",
    )
    return Seal(**{**vars(seal), "hash": seal.reckoned()})
