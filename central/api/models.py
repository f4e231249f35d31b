"""What bodies have in common: strict in what is taken, the rows' own columns in what is given."""

from collections.abc import Iterable
from enum import Enum
from typing import Annotated, Any, Self

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Text = Annotated[str, StringConstraints(strip_whitespace=True)]
"""A text without space around it."""
Code = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=50)]
"""A code of 1 to 50 characters."""
Whole = Annotated[int, Field(gt=0, le=2**31 - 1)]
"""A whole number above 0 that an INTEGER column holds."""


class Body(BaseModel):
    """What a request holds. A key it does not know is refused with its name, never left out in silence."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    def values(self) -> dict[str, Any]:
        """What is to be written, by column. Of an update (a class whose fields all have defaults) what was given."""
        update = not any(field.is_required() for field in type(self).model_fields.values())
        found = self.model_dump(exclude_unset=update)
        return {name: value.value if isinstance(value, Enum) else value for name, value in found.items()}


class Out(BaseModel):
    """What an answer holds, from a row of the same names."""

    model_config = ConfigDict(from_attributes=True)

    @classmethod
    def of(cls, row: sa.RowMapping) -> Self:
        """From a row that has more columns."""
        return cls.model_validate(dict(row))

    @classmethod
    def many(cls, rows: Iterable[sa.RowMapping]) -> list[Self]:
        """The same of each."""
        return [cls.of(row) for row in rows]
