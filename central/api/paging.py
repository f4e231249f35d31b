"""Lists: ``skip`` and ``limit``, a stable order, and the total in ``X-Total-Count``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import sqlalchemy as sa
from fastapi import Depends, Path, Query, Response

LARGEST_ID = 2**63 - 1
"""Of a BIGINT."""

Id = Annotated[int, Path(ge=1, le=LARGEST_ID)]
"""The id of a row, in a path."""


Item = TypeVar("Item")


@dataclass(frozen=True)
class _Page:
    """Which part of a list is wanted; says the total in the answer's header."""

    skip: int
    limit: int
    response: Response

    def of(self, connection: sa.Connection, statement: sa.Select[Any]) -> Sequence[sa.RowMapping]:
        """The rows of this page. ``statement`` must be ordered by something unique: pages are then disjoint."""
        counted = sa.select(sa.func.count()).select_from(statement.order_by(None).subquery())
        self.total(connection.execute(counted).scalar_one())
        return connection.execute(statement.offset(self.skip).limit(self.limit)).mappings().all()

    def cut(self, found: Sequence[Item]) -> Sequence[Item]:
        """The page of a list that is whole already."""
        self.total(len(found))
        return found[self.skip : self.skip + self.limit]

    def total(self, count: int) -> None:
        """Say how many there are in all."""
        self.response.headers["X-Total-Count"] = str(count)


async def _page(
    response: Response,
    skip: Annotated[int, Query(ge=0, le=LARGEST_ID, description="How many to leave out")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many at most")] = 100,
) -> _Page:
    return _Page(skip, limit, response)


Page = Annotated[_Page, Depends(_page)]
