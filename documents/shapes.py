"""Which keys a settings model takes at a place of the file: the ground of "expected one of" and "did you mean"."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from documents.document import MappingNode, Node, ScalarNode
from documents.issues import did_you_mean


def parts(annotation: Any) -> Iterator[Any]:
    """The single types an annotation stands for: unions opened, ``Annotated`` taken off."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from parts(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for argument in get_args(annotation):
            yield from parts(argument)
    elif hasattr(annotation, "__value__"):
        yield from parts(annotation.__value__)
    else:
        yield annotation


def models_at(annotations: Iterable[Any], node: Node | None) -> list[type[BaseModel]]:
    """The models that may describe ``node``; a fixed key of the file (``transport: tcp``) rules out the others."""
    found = [one for one in annotations if isinstance(one, type) and issubclass(one, BaseModel)]
    fitting = [model for model in found if _fits(model, node)]
    return fitting or found


def below(annotations: Iterable[Any], step: str | int, node: Node | None) -> list[Any]:
    """The types of what stands below ``step``; empty where nothing of that name is known."""
    found: list[Any] = []
    known = list(annotations)
    for model in models_at(known, node):
        for name, field in model.model_fields.items():
            if step == (field.alias or name):
                found.extend(parts(field.annotation))
    for one in known:
        origin, arguments = get_origin(one), get_args(one)
        if not isinstance(origin, type) or not arguments:
            continue
        if issubclass(origin, Mapping) and isinstance(step, str):
            found.extend(parts(arguments[1]))
        elif issubclass(origin, Sequence) and isinstance(step, int):
            found.extend(parts(arguments[0]))
    return found


def keys_of(annotations: Iterable[Any], node: Node | None) -> list[str]:
    """The keys that may stand at this place, in the order of the models."""
    keys: dict[str, None] = {}
    for model in models_at(annotations, node):
        keys.update(dict.fromkeys(field.alias or name for name, field in model.model_fields.items()))
    return list(keys)


def hint_at(annotations: Iterable[Any], node: Node | None, key: str, known: Iterable[str]) -> str | None:
    """What is meant by an unknown key: a model here knows its other name (``other_names``), or it is nearly one of
    ``known``. None: nothing is."""
    other = _other_name(annotations, node, key)
    if other is None:
        return did_you_mean(key, known)
    return meaning(other)


def meaning(meant: str) -> str:
    """What to write instead of another name: one word, or several things."""
    return f"write {meant}" if set(meant) & set(" ,:") else f'did you mean "{meant}"?'


def _other_name(annotations: Iterable[Any], node: Node | None, key: str) -> str | None:
    """Blanks, hyphens, underscores and capitals of the other name are of no matter."""
    plain = re.sub(r"[\s_./&-]+", "", key.casefold())
    for model in models_at(annotations, node):
        names: Mapping[str, str] = getattr(model, "other_names", {})
        meant = names.get(plain)
        if meant is not None and (not meant.isidentifier() or meant in keys_of([model], None)):
            return meant
    return None


def _fits(model: type[BaseModel], node: Node | None) -> bool:
    if not isinstance(node, MappingNode):
        return True
    for name, field in model.model_fields.items():
        if get_origin(field.annotation) is not Literal:
            continue
        value = node.get(field.alias or name)
        if isinstance(value, ScalarNode) and value.value not in get_args(field.annotation):
            return False
    return True
