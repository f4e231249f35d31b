"""Keeps docs/station.md true: ``python -m agent.reference`` writes its tables of keys, made from the settings models.

``--check`` writes nothing, names what is not current or has no meaning, and exits with 1.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from agent.settings.machine import MachineKeys
from agent.settings.station import StationKeys
from drivers.reference import between, keys, table

PAGE = Path(__file__).parents[1] / "docs" / "station.md"
TABLES: Mapping[str, type[BaseModel]] = {"station": StationKeys, "machine": MachineKeys}
"""Which settings model stands between the marks of which name."""


def current(page: str, tables: Mapping[str, type[BaseModel]] = TABLES) -> str:
    """The page as it should be. Raises ValueError where a mark is missing."""
    for name, model in tables.items():
        page = between(page, name, table(keys(model)))
    return page


def problems(page: str, tables: Mapping[str, type[BaseModel]] = TABLES) -> list[str]:
    """What is wrong with the page, each with its remedy."""
    found = [
        f"{name}: key {key.path} has no meaning: write a docstring under its field in {model.__module__}"
        for name, model in tables.items()
        for key in keys(model)
        if not key.meaning
    ]
    try:
        if current(page, tables) != page:
            found.append(f"{PAGE} is not current: run python -m agent.reference")
    except ValueError as error:
        found.append(f"{PAGE}: {error}")
    return found


def main(arguments: list[str]) -> int:
    """Write the page, or check it. The exit code."""
    page = PAGE.read_text(encoding="utf-8")
    if "--check" not in arguments:
        page = current(page)
        PAGE.write_text(page, encoding="utf-8")
    wrong = problems(page)
    for problem in wrong:
        print(problem)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
