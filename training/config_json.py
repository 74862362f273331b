"""Convert typed dataclasses to JSON and strictly back.

The declared types decide, so that a float stays a float and a tuple a tuple. If a field may be one
of several dataclasses, `_type` in the object names which. Read next: `config_io.py`, which writes
and compares the files.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from common import UserError

TYPE = "_type"
NONE = type(None)


def encode(value: Any, hint: Any, path: str) -> Any:
    """Encode a value declared as `hint` for JSON.

    Raises:
      UserError: for a value that JSON cannot represent; `path` names its field.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _encode_dataclass(value, hint, path)
    if isinstance(value, Mapping):
        return _encode_mapping(value, hint, path)
    if isinstance(value, tuple | list):
        return [encode(item, inner, where) for inner, item, where in _elements(hint, value, path)]
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, Path):
        return str(value)
    if type(value) is int and float in _members(hint) and int not in _members(hint):
        return float(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise UserError(
        f"expected a dataclass, number, string, path, enum, tuple, dict or None in {path}, "
        f"received {type(value).__name__}; store it as one of those"
    )


def decode(hint: Any, value: Any, path: str) -> Any:
    """Decode a value declared as `hint` from JSON; the inverse of `encode`.

    Raises:
      UserError: if the value does not fit `hint`; `path` names its field.
    """
    if hint is Any:
        return value
    members = _members(hint)
    if value is None and NONE in members:
        return None
    members = [member for member in members if member is not NONE]
    if len(members) == 1:
        return _decode_one(members[0], value, path)
    return _decode_union(members, value, path)


def _encode_dataclass(value: Any, hint: Any, path: str) -> dict[str, Any]:
    hints = typing.get_type_hints(type(value))
    fields = {
        field.name: encode(getattr(value, field.name), hints[field.name], _at(path, field.name))
        for field in dataclasses.fields(value)
        if field.init
    }
    several = sum(map(dataclasses.is_dataclass, _members(hint))) > 1
    return ({TYPE: type(value).__name__} if several else {}) | fields


def _encode_mapping(value: Mapping[Any, Any], hint: Any, path: str) -> dict[str, Any]:
    if not all(isinstance(name, str) for name in value):
        raise _unexpected("names that are strings", list(value), path)
    inner = (*_arguments(hint, Mapping), Any, Any)[1]
    return {name: encode(item, inner, _at(path, name)) for name, item in value.items()}


def _decode_union(members: Sequence[Any], value: Any, path: str) -> Any:
    if isinstance(value, dict) and TYPE in value:
        named = {getattr(member, "__name__", ""): member for member in members}
        if value[TYPE] not in named:
            raise _unexpected(f"one of {sorted(named)} under {TYPE}", value[TYPE], path)
        rest = {name: inner for name, inner in value.items() if name != TYPE}
        return _decode_one(named[value[TYPE]], rest, path)
    for member in members:
        try:
            return _decode_one(member, value, path)
        except ValueError:
            continue
    names = " or ".join(_name(member) for member in members)
    raise _unexpected(names, value, path)


def _decode_one(hint: Any, value: Any, path: str) -> Any:
    origin = typing.get_origin(hint) or hint
    if dataclasses.is_dataclass(hint):
        return _decode_dataclass(hint, value, path)
    if origin is typing.Literal:
        choices = typing.get_args(hint)
        if not any(value == choice and type(value) is type(choice) for choice in choices):
            raise _unexpected(f"one of {list(choices)}", value, path)
        return value
    if isinstance(origin, type) and issubclass(origin, Enum):
        if value not in origin.__members__:
            raise _unexpected(f"one of {list(origin.__members__)}", value, path)
        return origin[value]
    if origin in (bool, int, float, str, Path):
        return _decode_scalar(origin, value, path)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _decode_mapping(hint, value, path)
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return _decode_sequence(hint, origin, value, path)
    raise UserError(f"expected a type that JSON can hold for {path}, received {_name(hint)}")


def _decode_dataclass(cls: Any, value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        raise _unexpected(f"an object with the fields of {cls.__name__}", value, path)
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls) if field.init]
    for name in names:
        if name not in value:
            raise UserError(
                f"expected the field {_at(path, name)}, received none; it was written by another "
                "version: use that one (versions.json), or add the field"
            )
    for name in value:
        if name not in names:
            raise UserError(
                f"expected the fields {names} in {path or cls.__name__}, received also {name!r}; "
                "it was written by another version: use that one (versions.json), or remove it"
            )
    return cls(**{name: decode(hints[name], value[name], _at(path, name)) for name in names})


def _decode_scalar(kind: type, value: Any, path: str) -> Any:
    accepted = {float: (int, float), Path: (str,)}.get(kind, (kind,))
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise _unexpected("a path" if kind is Path else _name(kind), value, path)
    return kind(value)


def _decode_mapping(hint: Any, value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _unexpected("an object", value, path)
    inner = (*typing.get_args(hint), Any, Any)[1]
    return {name: decode(inner, item, _at(path, name)) for name, item in value.items()}


def _decode_sequence(hint: Any, origin: type, value: Any, path: str) -> Any:
    if not isinstance(value, list):
        raise _unexpected("a list", value, path)
    items = [decode(inner, item, where) for inner, item, where in _elements(hint, value, path)]
    return items if origin is list else tuple(items)


def _members(hint: Any) -> list[Any]:
    """The types of a union, or the one type."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return list(typing.get_args(hint)) if union else [hint]


def _arguments(hint: Any, kind: type) -> tuple[Any, ...]:
    """Type arguments of the member of `hint` that is a `kind`: (str, int) for dict[str, int]."""
    for member in _members(hint):
        origin = typing.get_origin(member)
        if isinstance(origin, type) and issubclass(origin, kind):
            return typing.get_args(member)
    return ()


def _elements(hint: Any, values: Sequence[Any], path: str) -> list[tuple[Any, Any, str]]:
    """For each element of a tuple or list: its declared type, the element, and its path."""
    hints: Sequence[Any] = _arguments(hint, tuple)
    if not hints or hints[-1] is ...:
        inner = (*_arguments(hint, Sequence), Any)[0]
        hints = [inner] * len(values)
    if len(hints) != len(values):
        raise _unexpected(f"a list of {len(hints)}", values, path)
    places = [f"{path}[{i}]" for i in range(len(values))]
    return list(zip(hints, values, places, strict=True))


def _at(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)


def _name(hint: Any) -> str:
    return getattr(hint, "__name__", None) or str(hint)


def _unexpected(expected: str, received: Any, path: str) -> UserError:
    return UserError(f"expected {expected} in {path or 'the config'}, received {received!r}")
