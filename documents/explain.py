"""pydantic's errors as issues: at the line they stand on, in words a technician uses."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from contracts import base
from contracts.criteria import numbers
from contracts.duration import parse_duration, write_duration
from documents.document import Document, MappingNode, Node, ScalarNode, SequenceNode
from documents.issues import Issue, KeyPath, did_you_mean, issue_at, one_of
from documents.scalars import plain_scalar
from documents.shapes import below, hint_at, keys_of, meaning

M = TypeVar("M", bound=BaseModel)

UNKNOWN_NAME = "unknown_name"
"""Type of a PydanticCustomError for a name that is none of its context's ``known``."""

_TYPES = {
    "string_type": "a text",
    "path_type": "a text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "keys with values",
    "mapping_type": "keys with values",
    "model_type": "keys with values",
    "model_attributes_type": "keys with values",
    "none_required": "nothing",
}

_LIMITS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}

_SIZES = {
    "too_short": ("min_length", "a list of at least"),
    "too_long": ("max_length", "a list of at most"),
    "string_too_short": ("min_length", "a text length of at least"),
    "string_too_long": ("max_length", "a text length of at most"),
}

_FORMS = {
    base.Name: "a name of letters, digits, _ - . that begins with a letter",
    base.StationId: "a name of letters, digits, _ - (at most 32)",
    base.ProcessCode: "a process code such as P03_SENSOR_INSPECTION",
    numbers.Percent: "a number, or a percentage such as 5%",
    base.DefectCode: "a defect code of capitals, digits and _ such as SENSOR_TEMP_FAIL",
}
_FORM_OF_PATTERN = {cast(Any, get_args(form)[1]).pattern: text for form, text in _FORMS.items()}

_DECIMAL_COMMA = re.compile(r"[-+]?[0-9]+,[0-9]+")
_KEY_PREFIX = re.compile(r"^([A-Za-z_][\w-]*(?:\.[\w-]+)*): (.+)$", re.DOTALL)


@dataclass(frozen=True)
class _Found:
    """One error of pydantic, brought back to the file: its path, and the union branches on the way."""

    path: KeyPath
    branches: tuple[tuple[KeyPath, str], ...]
    at_key: bool
    error: ErrorDetails
    types: tuple[Any, ...]
    """The types of what holds the last step of the path."""


def validated(
    model: type[M], document: Document, path: KeyPath, issues: list[Issue], keys: Iterable[str] | None = None
) -> M | None:
    """The model made of what stands at ``path`` (of ``keys`` only), or None with the reasons added to ``issues``.

    The values go through JSON, where a list is a tuple and a text a path, and nothing else is converted.
    """
    node = document.node(path)
    plain = None if node is None else node.plain()
    if keys is not None and isinstance(plain, dict):
        wanted = set(keys)
        plain = {key: value for key, value in plain.items() if key in wanted}
    try:
        return model.model_validate_json(json.dumps(plain), strict=True)
    except ValidationError as error:
        issues.extend(_issues(error, model, document, path))
        return None


def described(node: Node | None) -> str:
    """What was found, in words: ``the text "502"``, ``8``, ``a list``."""
    if isinstance(node, MappingNode):
        return "keys with values"
    if isinstance(node, SequenceNode):
        return "a list"
    if node is None or node.value is None:
        return "nothing"
    if isinstance(node.value, bool):
        return str(node.value).lower()
    if isinstance(node.value, str):
        return f"the text {json.dumps(node.value, ensure_ascii=False)}"
    if isinstance(node.value, float) and not math.isfinite(node.value):
        return str(node.value).replace("nan", ".nan").replace("inf", ".inf")
    return str(node.value)


def _issues(error: ValidationError, model: type[BaseModel], document: Document, path: KeyPath) -> list[Issue]:
    found = [_locate(one, model, document.node(path), path) for one in error.errors(include_url=False)]
    found = _best_branches(found)
    by_path: dict[tuple[KeyPath, bool], list[_Found]] = {}
    for one in found:
        by_path.setdefault((one.path, one.at_key), []).append(one)
    meant = {
        (*one.path[:-1], name)
        for one in found
        if one.error["type"] == "extra_forbidden"
        for name in keys_of(one.types, document.node(one.path[:-1]))
        if _meant(one, document) == f'did you mean "{name}"?'
    }
    issues: list[Issue] = []
    for (where, _), group in by_path.items():
        missing = group[0].error["type"] == "missing"
        if missing and where in meant:
            continue
        issues.extend(_explain(group, document))
    return issues


def _locate(error: ErrorDetails, model: type[BaseModel], node: Node | None, start: KeyPath) -> _Found:
    path: list[str | int] = list(start)
    branches: list[tuple[KeyPath, str]] = []
    types: list[Any] = [model]
    holder: list[Any] = types
    at_key = False
    last = len(error["loc"]) - 1
    for place, step in enumerate(error["loc"]):
        inside = below(types, step, node)
        here = isinstance(node, MappingNode) and step in node.entries
        if here and (inside or place == last or not keys_of(types, node)):
            assert isinstance(node, MappingNode)
            path.append(step)
            holder, types, node = types, inside, node.get(str(step))
        elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.items):
            path.append(step)
            holder, types, node = types, inside, node.items[step]
        elif step == "[key]":
            at_key = True
        elif place == last and error["type"] == "missing":
            path.append(step)
            holder, types, node = types, inside, None
        else:
            branches.append((tuple(path), str(step)))
    return _Found(tuple(path), tuple(branches), at_key, error, tuple(holder))


def _best_branches(found: list[_Found]) -> list[_Found]:
    """Of a union's branches, the errors of the one that was most likely meant.

    Where every branch refuses the value as such, all are kept: they become one issue.
    """
    by_union: dict[KeyPath, dict[tuple[str, ...], list[_Found]]] = {}
    for one in found:
        if one.branches:
            union = one.branches[0][0]
            branch = tuple(tag for where, tag in one.branches if where == union)
            by_union.setdefault(union, {}).setdefault(branch, []).append(one)
    dropped: set[int] = set()
    for union, branches in by_union.items():
        deeper = {
            tags: ones
            for tags, ones in branches.items()
            # A model's own check comes last: all of its keys were right by then.
            if any(len(one.path) > len(union) or one.error["type"] == "value_error" for one in ones)
        }
        if not deeper:
            continue
        best = min(deeper, key=lambda tags: (_unknown(deeper[tags]), len(deeper[tags])))
        dropped.update(id(one) for tags, ones in branches.items() if tags != best for one in ones)
    return [one for one in found if id(one) not in dropped]


def _unknown(found: Iterable[_Found]) -> int:
    return sum(one.error["type"] == "extra_forbidden" for one in found)


def _explain(group: list[_Found], document: Document) -> list[Issue]:
    first = group[0]
    path, node = first.path, document.node(first.path)
    kinds = {one.error["type"] for one in group}
    if kinds <= _TYPES.keys():
        return [_wrong_type(group, document)]
    if len(group) > 1 and first.branches:
        first = next(one for one in group if one.error["type"] not in _TYPES)
        group = [first]
    issues: list[Issue] = []
    for one in group:
        kind, context = one.error["type"], one.error.get("ctx", {})
        holder = document.node(path[:-1])
        place = document.place(path, key=one.at_key or kind == "extra_forbidden")
        if kind == "missing":
            issues.append(
                issue_at(document.place(path[:-1]), path, "missing key", expected=_fixed_values(one.types, path[-1]))
            )
        elif kind == "union_tag_not_found":
            key = str(context["discriminator"]).strip("'")
            types = below(one.types, path[-1], holder)
            issues.append(issue_at(place, (*path, key), "missing key", expected=_fixed_values(types, key)))
        elif kind == "extra_forbidden":
            known = keys_of(one.types, holder)
            wanted = one_of(known) if known else None
            issues.append(issue_at(place, path, "unknown key", expected=wanted, hint=_meant(one, document)))
        elif kind == "union_tag_invalid":
            key = str(context["discriminator"]).strip("'")
            inner = document.node((*path, key))
            place = document.place((*path, key))
            issues.append(_not_one_of(place, (*path, key), _quoted(context["expected_tags"]), inner))
        elif kind in ("literal_error", "enum"):
            issues.append(_not_one_of(place, path, _quoted(context["expected"]), node))
        elif kind == base.ALSO_CALLED:
            issues.append(_also_called(place, one, context["meant"], node))
        elif kind == UNKNOWN_NAME:
            issues.append(_not_one_of(place, path, context["known"], node))
        elif kind in _LIMITS:
            name, words = _LIMITS[kind]
            limit = f"{words} {_as_written(context[name], node)}"
            issues.append(issue_at(place, path, "out of range", expected=limit, found=described(node)))
        elif kind in _SIZES:
            name, words = _SIZES[kind]
            size = f"{words} {context[name]}"
            found = described(node) if isinstance(node, ScalarNode) else f"{context['actual_length']}"
            issues.append(issue_at(place, path, "of the wrong length", expected=size, found=found))
        elif kind == "finite_number":
            issues.append(issue_at(place, path, "not a finite number", found=described(node)))
        elif kind == "string_pattern_mismatch":
            form = _FORM_OF_PATTERN.get(context["pattern"], f"a text that matches {context['pattern']}")
            found = f"the key {path[-1]}" if one.at_key else described(node)
            issues.append(issue_at(place, path, "not of the right form", expected=form, found=found))
        else:
            issues.append(_in_its_own_words(one, document))
    return issues


def _meant(one: _Found, document: Document) -> str | None:
    """The hint at the key that is meant by an unknown one: its other name is known, or it is nearly the same."""
    holder = document.node(one.path[:-1])
    return hint_at(one.types, holder, str(one.path[-1]), keys_of(one.types, holder))


def _as_written(limit: object, node: Node | None) -> object:
    """A limit as the value beside it is written: seconds as a duration, where it is one."""
    try:
        parse_duration(node.value if isinstance(node, ScalarNode) else None)
    except ValueError:
        return limit
    return write_duration(limit) if isinstance(limit, int | float) and limit else limit


def _fixed_values(types: Iterable[Any], key: str | int) -> str | None:
    """The values a missing key may have, where they are few."""
    values = [str(value) for one in below(types, key, None) if get_origin(one) is Literal for value in get_args(one)]
    return one_of(dict.fromkeys(values)) if values else None


def _wrong_type(group: list[_Found], document: Document) -> Issue:
    path = group[0].path
    node = document.node(path)
    expected = list(dict.fromkeys(_TYPES[one.error["type"]] for one in group))
    if "a number" in expected and "a whole number" in expected:
        expected.remove("a whole number")
    hint = None
    if isinstance(node, ScalarNode):
        unquoted = plain_scalar(node.value) if isinstance(node.value, str) else node.value
        number = isinstance(unquoted, int | float) and not isinstance(unquoted, bool)
        wants_number = "a number" in expected or "a whole number" in expected
        if isinstance(node.value, str) and ((wants_number and number) or (isinstance(unquoted, bool))):
            hint = "take the quotes away"
        elif isinstance(node.value, str) and wants_number and _DECIMAL_COMMA.fullmatch(node.value):
            hint = f"write {node.value.replace(',', '.')}"
        elif expected == ["a text"] and node.value is not None:
            hint = "put it in quotes"
    elif isinstance(node, MappingNode) and expected[0] == "a text" and _is_a_name_in_braces(node):
        hint = f'put it in quotes: "{{{next(iter(node.entries))}}}"'
    wanted = " or ".join(filter(None, [", ".join(expected[:-1]), expected[-1]]))
    return issue_at(document.place(path), path, "wrong type", expected=wanted, found=described(node), hint=hint)


def _is_a_name_in_braces(node: MappingNode) -> bool:
    """``{cycle_key}`` without quotes is a key without a value."""
    values = [entry.value for entry in node.entries.values()]
    return len(values) == 1 and isinstance(values[0], ScalarNode) and values[0].value is None


def _not_one_of(place: Any, path: KeyPath, known: list[str], node: Node | None) -> Issue:
    hint = did_you_mean(node.value, known) if isinstance(node, ScalarNode) and isinstance(node.value, str) else None
    return issue_at(place, path, "unknown value", expected=one_of(known), found=described(node), hint=hint)


def _also_called(place: Any, one: _Found, meant: str, node: Node | None) -> Issue:
    expected = _fixed_values(one.types, one.path[-1])
    return issue_at(place, one.path, "unknown value", expected=expected, found=described(node), hint=meaning(meant))


def _quoted(expected: str) -> list[str]:
    """The single values of pydantic's ``'tcp', 'rtu' or 'udp'``."""
    return re.findall(r"'([^']*)'", expected) or re.split(r", | or ", expected)


def _in_its_own_words(one: _Found, document: Document) -> Issue:
    """A validator's own text. It may begin with the key path, below its model, of what it is about."""
    path, kind = one.path, one.error["type"]
    context: Mapping[str, Any] = one.error.get("ctx", {})
    text = str(context["error"]) if kind == "value_error" else one.error["msg"]
    prefixed = _KEY_PREFIX.match(text)
    if prefixed is not None:
        inner = (*path, *prefixed[1].split("."))
        if document.node((*path, inner[len(path)])) is not None:
            path, text = inner, prefixed[2]
    node = document.node(path)
    found = described(node) if isinstance(node, ScalarNode) else None
    place = document.place(path, key=one.at_key)
    return issue_at(place, path, text[:1].lower() + text[1:], found=found)
