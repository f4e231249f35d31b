"""Keeps each protocol's README true: ``python -m drivers.reference`` writes its table of keys and its sample.

With the name of a plug-in and its folder, ``python -m drivers.reference seamcam FOLDER``, it does so for that one.
The table is made from the settings model: a field's meaning is the docstring under it. ``--check`` writes nothing,
names what is not current or has no meaning, and exits with 1.
"""

import contextlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from contracts.duration import Duration, write_duration
from drivers.registry import OURS, protocols

FOLDER = Path(__file__).parent
_DURATION = TypeAdapter(Duration).json_schema()["pattern"]
_SIZES = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))
_LIMITS = (
    ("minimum", "at least"),
    ("exclusiveMinimum", "more than"),
    ("maximum", "at most"),
    ("exclusiveMaximum", "less than"),
)


@dataclass(frozen=True)
class Key:
    """One YAML key: where it stands, and what may stand there. ``only`` says with which other keys it exists."""

    path: str
    type: str
    default: str
    meaning: str
    only: tuple[str, ...] = ()


def keys(model: type[BaseModel]) -> list[Key]:
    """Every key below a settings model, in the model's order, those of all branches of a union among them."""
    schema = model.model_json_schema(by_alias=True)
    return _merged(_Walk(schema.get("$defs", {})).keys_of(schema, "", ()))


def table(found: Iterable[Key]) -> str:
    """The keys as a Markdown table."""
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key in found:
        where = f" ({' or '.join(key.only)})" if key.only else ""
        cells = (f"`{key.path}`{where}", key.type, key.default, key.meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def current(readme: str, model: type[BaseModel], sample: str) -> str:
    """The README as it should be. Raises ValueError where a marker is missing."""
    readme = between(readme, "keys", table(keys(model)))
    return between(readme, "sample", f"```yaml\n{sample.rstrip()}\n```")


def between(text: str, name: str, content: str) -> str:
    """The page with this content between the marks of this name. Raises ValueError where a mark is missing."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    place = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if len(place.findall(text)) != 1:
        raise ValueError(f"it needs the lines {begin} and {end} once, where the {name} shall stand")
    return place.sub(lambda _: f"{begin}\n{content}\n{end}", text)


def problems(name: str, model: type[BaseModel], folder: Path) -> list[str]:
    """What is wrong with the README and the sample in a protocol's folder, each with its remedy."""
    found = [
        f"{name}: key {key.path} has no meaning: write a docstring under its field in settings.py"
        for key in keys(model)
        if not key.meaning
    ]
    needed = (folder / "README.md", folder / "sample.yaml")
    missing = [f"{name}: {path} is missing" for path in needed if not path.is_file()]
    if missing:
        return found + missing
    readme = (folder / "README.md").read_text(encoding="utf-8")
    try:
        if current(readme, model, (folder / "sample.yaml").read_text(encoding="utf-8")) != readme:
            found.append(f"{name}: {folder / 'README.md'} is not current: run python -m drivers.reference")
    except ValueError as error:
        found.append(f"{name}: {folder / 'README.md'}: {error}")
    return found


def write(model: type[BaseModel], folder: Path) -> None:
    """Bring the README up to date. A folder that ``problems`` finds incomplete stays as it is."""
    readme, sample = folder / "README.md", folder / "sample.yaml"
    with contextlib.suppress(FileNotFoundError, ValueError):
        text = current(readme.read_text(encoding="utf-8"), model, sample.read_text(encoding="utf-8"))
        readme.write_text(text, encoding="utf-8")


class _Walk:
    """Goes through a JSON Schema; ``inside`` are the models it stands in, for one that holds itself."""

    def __init__(self, definitions: Mapping[str, Any], inside: tuple[str, ...] = ()) -> None:
        self._definitions = definitions
        self._inside = inside

    def keys_of(self, schema: Mapping[str, Any], prefix: str, only: tuple[str, ...]) -> Iterator[Key]:
        """The keys of one model and of all below it."""
        required = schema.get("required", ())
        for name, node in schema["properties"].items():
            path = f"{prefix}{name}"
            below = list(self._models(node, path))
            default = "required" if name in required else self._default(node, below)
            meaning = node.get("description") or (below[0][1].get("description", "") if len(below) == 1 else "")
            yield Key(path, self._type(node), default, _plain(meaning), only)
            for reference, model, place, condition in below:
                if reference not in self._inside:
                    inner = _Walk(self._definitions, (*self._inside, reference))
                    yield from inner.keys_of(model, f"{place}.", condition or only)

    def _models(self, node: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any], str, Any]]:
        """Every model that may stand here: its name, itself, where its keys stand, and when it is meant."""
        alternatives = _alternatives(node)
        of_keys = [one for one in alternatives if "$ref" in one and "properties" in self._definition(one)]
        tags = {reference: tag for tag, reference in node.get("discriminator", {}).get("mapping", {}).items()}
        for one in alternatives:
            if one in of_keys:
                model = self._definition(one)
                condition: tuple[str, ...] = ()
                if one["$ref"] in tags:
                    condition = (f"`{node['discriminator']['propertyName']}: {tags[one['$ref']]}`",)
                elif len(of_keys) > 1:
                    condition = (self._needs(one, of_keys),)
                yield one["$ref"], model, path, condition
            elif "$ref" in one:
                yield from self._models(self._definition(one), path)
            elif one.get("type") == "array":
                yield from self._models(one.get("items", {}), f"{path}[]")
            elif isinstance(one.get("additionalProperties"), Mapping):
                name = path.rpartition(".")[2].removesuffix("s")
                yield from self._models(one["additionalProperties"], f"{path}.<{name}>")

    def _needs(self, one: Mapping[str, Any], branches: list[Mapping[str, Any]]) -> str:
        """Which keys tell this branch of a union from the others, where no single key decides."""
        needed = list(self._definition(one).get("required", ()))
        word = "with"
        if not needed:
            word = "without"
            needed = list(
                dict.fromkeys(key for branch in branches for key in self._definition(branch).get("required", ()))
            )
        return f"{word} " + ", ".join(f"`{name}`" for name in needed)

    def _default(self, node: Mapping[str, Any], below: list[tuple[str, Mapping[str, Any], str, Any]]) -> str:
        value = node.get("default")
        if value is None or value == {}:
            return "none"
        if isinstance(value, Mapping):
            own = {
                name: field.get("default") for _, model, _, _ in below for name, field in model["properties"].items()
            }
            other = [
                f"`{name}: {_written(given)}`"
                for name, given in value.items()
                if given not in (own.get(name), f"{own.get(name)}s")
            ]
            return ", but ".join(["as below", *other])
        if any(one.get("pattern") == _DURATION for one in _alternatives(node)) and isinstance(value, int | float):
            return f"`{write_duration(float(value))}`"
        if node.get("format") == "size":
            return f"`{_size(int(value))}`"
        if value == [] and below:
            return "none"
        return f"`{json.dumps(value, ensure_ascii=False)}`"

    def _type(self, node: Mapping[str, Any]) -> str:
        words = [self._word(one) for one in _alternatives(node)]
        if "number" in words:
            words = [word for word in words if word != "whole number"]
        return " or ".join(dict.fromkeys(words))

    def _word(self, node: Mapping[str, Any]) -> str:
        if "$ref" in node:
            model = self._definition(node)
            return "keys" if "properties" in model else self._type(model)
        if "anyOf" in node:
            return self._type(node)
        if "const" in node or "enum" in node:
            return ", ".join(f"`{_written(value)}`" for value in node.get("enum", [node.get("const")]))
        kind = node.get("type")
        if kind == "array":
            items = self._type(node.get("items", {}))
            return "list of keys" if items == "keys" else f"list of: {items}"
        if kind == "object":
            return "keys by name"
        if kind == "string":
            if node.get("pattern") == _DURATION:
                return "duration"
            if node.get("format") == "size":
                return "size"
            return f"text of at most {node['maxLength']} characters" if "maxLength" in node else "text"
        if kind in ("integer", "number"):
            word = "whole number" if kind == "integer" else "number"
            if "minimum" in node and "maximum" in node:
                return f"{word} {node['minimum']} to {node['maximum']}"
            return ", ".join([word, *(f"{words} {node[limit]}" for limit, words in _LIMITS if limit in node)])
        return "true or false" if kind == "boolean" else "anything"

    def _definition(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._definitions[node["$ref"].rpartition("/")[2]]
        return found


def _alternatives(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What may stand here, nothing (null) left out."""
    found: list[Mapping[str, Any]] = node.get("anyOf") or node.get("oneOf") or [node]
    return [one for one in found if one.get("type") != "null"]


def _size(count: int) -> str:
    unit, length = next((unit, length) for unit, length in _SIZES if count >= length)
    return f"{count / length:g}{unit}"


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _plain(docstring: str) -> str:
    return " ".join(docstring.replace("``", "`").split())


def _merged(found: Iterable[Key]) -> list[Key]:
    """A key that is the same in several branches of a union once, with the branches it is in."""
    merged: dict[Key, Key] = {}
    for key in found:
        plain = replace(key, only=())
        kept = merged.setdefault(plain, key)
        merged[plain] = replace(kept, only=tuple(dict.fromkeys((*kept.only, *key.only))))
    return list(merged.values())


def main(arguments: list[str]) -> int:
    """Write the READMEs, or check them. The exit code."""
    wrong: list[str] = []
    named = [argument for argument in arguments if argument != "--check"]
    folders = {named[0]: Path(named[1])} if named else {name: FOLDER / name for name in OURS}
    for name, folder in folders.items():
        model = protocols()[name].settings()
        if "--check" not in arguments:
            write(model, folder)
        wrong += problems(name, model, folder)
    for problem in wrong:
        print(problem)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
