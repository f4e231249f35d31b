"""Which keys a settings model takes at a place of the file: the ground of "expected one of" and "did you mean"."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from documents.document import MappingNode, Node, ScalarNode


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
