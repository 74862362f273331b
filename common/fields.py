"""Declarations of settings: bounds, whether they may change on resume, what older runs did.

All of it is part of the type of the dataclass field:

    batch: MayChange[Count] = 16                              # 1 or more; may differ on resume
    min_std: Annotated[float, Gt(0), Lt(1)] = 0.1             # bounds of annotated_types
    keep_bias: Annotated[float, Before(0.0)] = 1.0            # a run that lacks it used 0

`check_bounds` refuses values out of bounds, and choices that a `Literal` lacks, anywhere in a
nested config. Settings that were removed, renamed or merged no longer have a field; they are listed
in `configs/before.py`. Read next: that file, and `training/config_io.py`, which reads the settings
of old and new runs.
"""

import math
import typing
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Ge, Gt, Le, Lt, MultipleOf

from common.errors import UserError

T = TypeVar("T")
Bound = Ge | Gt | Le | Lt | MultipleOf

MAY_CHANGE = "may change on resume"


@dataclass(frozen=True)
class Before:
    """The behaviour of runs written before the field existed, as a value of the field."""

    value: Any


Count = Annotated[int, Ge(1)]
CountOrZero = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]
MayChange = Annotated[T, MAY_CHANGE]


def check_bounds(config: Any, path: str = "") -> None:
    """Check every number of a config, including nested ones, against the bounds of its field, and
    every choice against its `Literal`.

    Args:
      config: a dataclass.
      path: its place in a larger config, such as `agent.model`.
    Raises:
      UserError: for the first setting that is out of bounds, nan, infinite or not among its
        choices; gives its name, allowed values and value, and the flag that sets it.
    """
    for field, hint in _declared(type(config)):
        value, name = getattr(config, field.name), _at(path, field.name)
        if is_dataclass(value):
            check_bounds(value, name)
        else:
            _check_value(value, hint, field, name)


def changeable(config: type[Any], path: str = "") -> set[str]:
    """Paths of the settings that may change when a run is resumed."""
    found = set()
    for field, hint in _declared(config):
        name = _at(path, field.name)
        if MAY_CHANGE in _metadata(hint):
            found.add(name)
        for kind in _kinds(hint):
            found |= changeable(kind, name) if _nests(kind) else set()
    return found


def before(config: type[Any]) -> dict[str, Any]:
    """The `Before` values of the fields that have one, by name."""
    return {
        field.name: mark.value
        for field, hint in _declared(config)
        for mark in _metadata(hint)
        if isinstance(mark, Before)
    }


def _check_value(value: Any, hint: Any, field: Field[Any], name: str) -> None:
    _check_choice(value, hint, name)
    if isinstance(value, tuple):
        inner = [kind for member in _kinds(hint) for kind in typing.get_args(member)]
        for item in value:
            _check_value(item, inner[0] if inner else Any, field, name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    bounds = _bounds(hint)
    flag = f"--{name.replace('_', '-')}"
    usual = "" if field.default in (MISSING, None) else f"; the default is {field.default}"
    if not math.isfinite(value):
        raise UserError(
            f"{name}: expected a finite number, received {value}; set {flag} to one{usual}"
        )
    low = next((mark for mark in bounds if isinstance(mark, Ge | Gt)), None)
    high = next((mark for mark in bounds if isinstance(mark, Le | Lt)), None)
    steps = [
        f"a multiple of {mark.multiple_of} " for mark in bounds if isinstance(mark, MultipleOf)
    ]
    wrong = [bound for bound in bounds if not _holds(value, bound)]
    if wrong:
        change = "raise" if low in wrong else "lower" if high in wrong else "change"
        raise UserError(
            f"{name}: expected {''.join(steps)}{_words(low, high)}, received {value:g}; "
            f"{change} {flag}{usual}"
        )


def _check_choice(value: Any, hint: Any, name: str) -> None:
    """Raise UserError if the field is one of a few literals, or None, and the value is not."""
    kinds = _kinds(hint)
    if value is None and type(None) in kinds:
        return
    literals = [kind for kind in kinds if kind is not type(None)]
    choices = [choice for kind in literals for choice in typing.get_args(kind)]
    if all(typing.get_origin(kind) is Literal for kind in literals) and value not in choices:
        raise UserError(
            f"{name}: expected {' or '.join(map(str, choices))}, received {value}; "
            f"set --{name.replace('_', '-')} to one of these"
        )


def _bounds(hint: Any) -> list[Bound]:
    marks = [mark for kind in (hint, *_union(hint)) for mark in _metadata(kind)]
    return [mark for mark in marks if isinstance(mark, Bound)]


def _holds(value: Any, bound: Bound) -> bool:
    match bound:
        case MultipleOf(step):
            return bool(value % step == 0)
        case Ge(least):
            return bool(value >= least)
        case Gt(least):
            return bool(value > least)
        case Le(most):
            return bool(value <= most)
        case Lt(most):
            return bool(value < most)


def _words(low: Ge | Gt | None, high: Le | Lt | None) -> str:
    """The bounds in words: `1 or more`, `above 0`, `from 0 to below 1`."""
    least = "" if low is None else f"{low.ge} or more" if isinstance(low, Ge) else f"above {low.gt}"
    if high is None:
        return least
    most = f"{high.le}" if isinstance(high, Le) else f"below {high.lt}"
    if low is None:
        return f"{most} or less" if isinstance(high, Le) else most
    start = f"from {low.ge}" if isinstance(low, Ge) else least
    return f"{start} to {most}"


def _declared(config: type[Any]) -> Iterator[tuple[Field[Any], Any]]:
    """The fields that the constructor takes, with their types as declared."""
    hints = typing.get_type_hints(config, include_extras=True)
    return ((field, hints[field.name]) for field in fields(config) if field.init)


def _metadata(hint: Any) -> tuple[Any, ...]:
    return getattr(hint, "__metadata__", ())


def _bare(hint: Any) -> Any:
    """The type that an `Annotated` one wraps."""
    return hint.__origin__ if _metadata(hint) else hint


def _union(hint: Any) -> tuple[Any, ...]:
    """The members of a union, as declared; empty for any other type."""
    bare = _bare(hint)
    is_union = typing.get_origin(bare) in (typing.Union, type(int | None))
    return typing.get_args(bare) if is_union else ()


def _kinds(hint: Any) -> list[Any]:
    """The types that a value may have, without their metadata."""
    return [_bare(kind) for kind in _union(hint) or (hint,)]


def _nests(kind: Any) -> bool:
    return isinstance(kind, type) and is_dataclass(kind)


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
