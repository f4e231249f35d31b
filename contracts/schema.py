"""Publishes the contracts as JSON Schema: ``python -m contracts.schema`` writes ``contracts/schema/*.json``.

``--check`` writes nothing, names what is stale and exits with 1.
"""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from contracts.criteria import Publication
from contracts.digest import RouteDigest
from contracts.envelope import Birth, Commit, RecordsMessage
from contracts.facts import decision_adapter
from contracts.interlock import answer_adapter, question_adapter
from contracts.permit import PermitRecord
from contracts.record import ProcessRecord

FOLDER = Path(__file__).parent / "schema"
_PUBLISHED: dict[str, TypeAdapter[Any]] = {
    "records": TypeAdapter(RecordsMessage),
    "commit": TypeAdapter(Commit),
    "birth": TypeAdapter(Birth),
    "process_record": TypeAdapter(ProcessRecord),
    "criteria": TypeAdapter(Publication),
    "decision": decision_adapter,
    "permit_record": TypeAdapter(PermitRecord),
    "interlock": question_adapter,
    "permits": answer_adapter,
    "route": TypeAdapter(RouteDigest),
}


def published() -> dict[str, str]:
    """File name -> the JSON Schema as it should be."""
    return {
        f"{name}.json": json.dumps(adapter.json_schema(mode="serialization"), indent=2, sort_keys=True) + "\n"
        for name, adapter in _PUBLISHED.items()
    }


def stale(folder: Path = FOLDER) -> list[str]:
    """Names of published files that are missing, different, or published no more."""
    wanted = published()
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


def main(arguments: list[str]) -> int:
    """Write the files, or check them. The exit code."""
    if "--check" in arguments:
        wrong = stale()
        for name in wrong:
            print(f"contracts/schema/{name} is stale: run python -m contracts.schema")
        return 1 if wrong else 0
    FOLDER.mkdir(exist_ok=True)
    for name, text in published().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
