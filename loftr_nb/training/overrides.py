"""Changing single values of a recipe from the command line, checked by type.

``override(recipe, ["loss.supervision=sparse", "optim.batch=2"])`` returns a new
recipe; a mistyped name or value is an error that names the nearest right ones.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args, get_origin

from ..errors import ConfigError, nearest
from .config import Recipe
from .recipes import recipe_to_dict


def override(recipe: Recipe, changes: Sequence[str]) -> Recipe:
    """The recipe with ``path.to.field=value`` changes applied, all at once.

    At once, because some fields must agree: ``model.initial_dim`` alone cannot
    change, with ``model.block_dims`` it can.

    Raises:
        ConfigError: no ``=``, no such field, a value of the wrong type, or
            fields that contradict each other.
    """
    values = recipe_to_dict(recipe)
    for change in changes:
        name, sep, text = change.partition("=")
        if not sep:
            raise ConfigError(
                f"{change!r} is no override: write field=value, for example "
                "loss.supervision=sparse"
            )
        _require_field(recipe, name)
        _set(values, type(recipe), name.split("."), text, name)
    return from_dict(type(recipe), values)


def from_dict(kind: type, values: dict[str, Any], where: str = "recipe") -> Any:
    """A (nested, frozen) dataclass from what ``recipe_to_dict`` made of it.

    Raises:
        ConfigError: a field that this version does not know, or lacks.
    """
    hints = typing.get_type_hints(kind)
    unknown = set(values) - set(hints)
    if unknown:
        name = sorted(unknown)[0]
        raise ConfigError(f"{where} has no field {name!r}: {nearest(name, hints)}")
    built = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(hints[name]):
            value = from_dict(hints[name], value, f"{where}.{name}")
        elif isinstance(value, list):
            value = tuple(value)
        built[name] = value
    try:
        return kind(**built)
    except TypeError as error:
        raise ConfigError(f"{where} is incomplete: {error}") from error


def field_names(recipe: Recipe) -> list[str]:
    """All names that an override can set, ``optim.lr`` and so on."""
    return list(_walk(recipe, ""))


def differences(old: Recipe, new: Recipe) -> list[str]:
    """What changed between two recipes, one line each: ``optim.lr: 0.1 -> 0.2``."""
    return [
        f"{name}: {_get(old, name)!r} -> {_get(new, name)!r}"
        for name in field_names(new)
        if _get(old, name) != _get(new, name)
    ]


def _get(config: Any, name: str) -> Any:
    for part in name.split("."):
        config = getattr(config, part)
    return config


def _walk(config: Any, prefix: str) -> Iterable[str]:
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(value):
            yield from _walk(value, f"{prefix}{f.name}.")
        else:
            yield prefix + f.name


def _require_field(recipe: Recipe, name: str) -> None:
    names = field_names(recipe)
    if name in names:
        return
    # A bare field name is often meant for one of the groups.
    last = name.split(".")[-1]
    meant = [n for n in names if n.split(".")[-1] == last]
    hint = " or ".join(repr(n) for n in meant)
    hint = f"did you mean {hint}?" if meant else nearest(name, names)
    raise ConfigError(f"no field {name!r} in the recipe: {hint}")


def _set(
    values: dict[str, Any], kind: type, path: list[str], text: str, name: str
) -> None:
    head, *rest = path
    hint = typing.get_type_hints(kind)[head]
    if rest:
        _set(values[head], hint, rest, text, name)
    else:
        values[head] = _parse(text, hint, name)


def _parse(text: str, hint: Any, name: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        if text in args:
            return text
        raise ConfigError(f"{name}={text}: {nearest(text, map(str, args))}")
    if origin is tuple:
        return tuple(_parse(t, args[0], name) for t in text.split(",") if t)
    if origin in (types.UnionType, typing.Union):
        if text.lower() == "none" and type(None) in args:
            return None
        return _parse(text, next(a for a in args if a is not type(None)), name)
    if hint is bool:
        words = {"true": True, "1": True, "yes": True}
        words |= {"false": False, "0": False, "no": False}
        if text.lower() in words:
            return words[text.lower()]
        raise ConfigError(f"{name}={text}: write true or false")
    try:
        return hint(text)
    except ValueError as error:
        raise ConfigError(
            f"{name}={text}: {hint.__name__} expected, such as "
            f"{name}={'8' if hint is int else '0.001'}"
        ) from error
