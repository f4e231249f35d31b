"""What editors complete and explain a station's file by: ``python -m agent.schema`` writes ``config/schema.json``.

A JSON Schema (draft 2020-12) made from the settings models: a key's description is the docstring under its field. It
knows the keys, not how they fit together: that is ``neurohub-agent check``. ``--check`` writes nothing, names what
is not current or has no description, and exits with 1.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from agent.settings.machine import MachineKeys
from agent.settings.sizes import Size, write_size
from agent.settings.station import StationKeys
from contracts.criteria import Criterion
from contracts.duration import Duration, write_duration
from drivers.registry import OURS, ProtocolFolder

FILE = Path(__file__).parents[1] / "config" / "schema.json"
_REFERENCE = "#/$defs/"
_WRITTEN: Mapping[str, Callable[[Any], str]] = {
    TypeAdapter(Duration).json_schema()["pattern"]: write_duration,
    TypeAdapter(Size).json_schema()["pattern"]: write_size,
}
"""Pattern of a value that is written with its unit -> how a default is."""


def station_schema(folders: Mapping[str, ProtocolFolder] = OURS) -> dict[str, Any]:
    """The schema of a station's file whose machines speak these protocols."""
    models = {name: folder.settings() for name, folder in folders.items()}
    wanted: list[type[BaseModel]] = [StationKeys, MachineKeys, Criterion, *models.values()]
    references, found = models_json_schema([(model, "validation") for model in wanted], by_alias=True)
    definitions = {name: _tidy(model) for name, model in found["$defs"].items()}
    names = {model: references[model, "validation"]["$ref"].removeprefix(_REFERENCE) for model in wanted}
    common = definitions.pop(names[MachineKeys])
    for protocol, model in models.items():
        definitions[names[model]] = _of_both(common, definitions[names[model]], protocol)
    station = definitions.pop(names[StationKeys])
    machine = {
        "type": "object",
        "required": ["protocol"],
        "properties": {"protocol": {**common["properties"]["protocol"], "enum": list(models)}},
        "allOf": [
            {
                "if": {"properties": {"protocol": {"const": protocol}}, "required": ["protocol"]},
                "then": {"$ref": _REFERENCE + names[model]},
            }
            for protocol, model in models.items()
        ],
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A station of NeuroHub Edge",
        "type": "object",
        "additionalProperties": False,
        "required": [*station["required"], "machines"],
        "properties": {
            **station["properties"],
            "machines": {
                "type": "object",
                "minProperties": 1,
                "description": "The station's machines, by name: letters, digits, _ and -, at most 32.",
                "additionalProperties": machine,
            },
            "criteria": {
                "type": ["object", "null"],
                "description": "What a good unit is, by measurement, until central publishes a revision.",
                "additionalProperties": {"$ref": _REFERENCE + names[Criterion]},
            },
        },
        "$defs": definitions,
    }


def text(folders: Mapping[str, ProtocolFolder] = OURS) -> str:
    """The file as it should be."""
    return json.dumps(station_schema(folders), indent=1, ensure_ascii=False) + "\n"


def undescribed(schema: Mapping[str, Any]) -> list[str]:
    """Keys that no editor could explain, as ``model.key``."""
    found = [f"station.{key}" for key, node in schema["properties"].items() if not _description(schema, node)]
    for name, model in schema["$defs"].items():
        found += [
            f"{name}.{key}" for key, node in model.get("properties", {}).items() if not _description(schema, node)
        ]
    return sorted(found)


def problems(file: Path = FILE) -> list[str]:
    """What is wrong with the written file, each with its remedy."""
    found = [f"{key} has no description: write a docstring under its field" for key in undescribed(station_schema())]
    if not file.is_file() or file.read_text(encoding="utf-8") != text():
        found.append(f"{file} is not current: run python -m agent.schema")
    return found


def _description(schema: Mapping[str, Any], node: Mapping[str, Any]) -> str:
    """A key's own description, or that of the model that stands there."""
    told = node.get("description")
    for one in (node, *_below(node)):
        if not told and "$ref" in one:
            told = schema["$defs"][one["$ref"].removeprefix(_REFERENCE)].get("description")
    return told or ""


def _below(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The alternatives of a value, and the values of a list or of keys by name."""
    for one in (*node.get("anyOf", ()), *node.get("oneOf", ()), node.get("items"), node.get("additionalProperties")):
        if isinstance(one, Mapping):
            yield one
            yield from _below(one)


def _of_both(common: Mapping[str, Any], own: Mapping[str, Any], protocol: str) -> dict[str, Any]:
    """A machine of a protocol: its own keys, and those that every machine has."""
    properties = {**common["properties"], **own["properties"]}
    properties["protocol"] = {**common["properties"]["protocol"], "const": protocol}
    properties["protocol"].pop("type", None)
    required = [*common["required"], *own.get("required", ())]
    return {**own, "properties": properties, "required": list(dict.fromkeys(required)), "additionalProperties": False}


def _tidy(node: Any) -> Any:
    """For people at an editor: no titles, no nulls to choose, texts in plain words, defaults as they are written."""
    if isinstance(node, list):
        return [_tidy(one) for one in node]
    if not isinstance(node, dict):
        return node
    tidied: dict[str, Any] = {}
    for key, value in node.items():
        if key == "properties":
            tidied[key] = {name: _tidy(one) for name, one in value.items()}
        elif key == "description":
            tidied[key] = " ".join(value.replace("``", "`").split())
        elif key in ("const", "enum", "required", "mapping"):
            tidied[key] = value
        elif key == "discriminator" or (key == "title" and isinstance(value, str)):
            continue
        else:
            tidied[key] = _tidy(value)
    return _with_default(_without_null(tidied))


def _without_null(node: dict[str, Any]) -> dict[str, Any]:
    alternatives = [one for one in node.get("anyOf", ()) if one != {"type": "null"}]
    if len(alternatives) == 1:
        return {**{key: value for key, value in node.items() if key != "anyOf"}, **alternatives[0]} | (
            {"description": node["description"]} if "description" in node else {}
        )
    return node | {"anyOf": alternatives} if alternatives else node


def _with_default(node: dict[str, Any]) -> dict[str, Any]:
    """Defaults that are keys of their own are told there; nothing is no default to offer."""
    if "default" not in node:
        return node
    default, rest = node["default"], {key: value for key, value in node.items() if key != "default"}
    if default is None or isinstance(default, dict):
        return rest
    write = _WRITTEN.get(rest.get("pattern", ""))
    return {**rest, "default": write(default) if write is not None and not isinstance(default, str) else default}


def main(arguments: list[str]) -> int:
    """Write the file, or check it. The exit code."""
    if "--check" not in arguments:
        FILE.write_text(text(), encoding="utf-8")
    wrong = problems()
    for problem in wrong:
        print(problem)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
