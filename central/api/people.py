"""What the fields of a user may hold, whoever enters them."""

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from central.api.models import Text


def _plain(name: str) -> str:
    if not name.isprintable():
        raise ValueError("characters that cannot be seen are not allowed")
    return name


Username = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=3, max_length=50),
    AfterValidator(_plain),
    Field(examples=["operator1"]),
]
Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=254, pattern=r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+$"),
    Field(examples=["operator1@factory.example"]),
]
FullName = Annotated[Text, Field(min_length=1, max_length=100, examples=["Kim Minji"])]
Department = Annotated[Text, Field(max_length=100)]
