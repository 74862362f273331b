"""Spellings of values on the command line, beyond what tyro accepts.

Integers may be written as 1e5; several of them, or several words, separated by spaces or commas:
1 4 or 1,4; switches as --report, --no-report, or --report False.
"""

import re
import typing
from collections.abc import Sequence
from contextlib import suppress

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from common import UserError

TRUTH = ("True", "False")

RULES = ConstructorRegistry()
"""Registry to pass to `tyro.cli`."""


def whole(text: str) -> int:
    """Parse an integer, which may be written as 1e5; raises UserError for anything else."""
    with suppress(ValueError, OverflowError):
        value = float(text) if re.fullmatch(r"[+-]?\d+(\.\d*)?[eE]\+?\d+", text) else int(text)
        if value == int(value):
            return int(value)
    raise UserError(f"expected a whole number, received {text!r}")


def wholes(texts: Sequence[str]) -> tuple[int, ...]:
    """Parse integers, given as separate texts or separated by commas or spaces."""
    parts = [part for text in texts for part in re.split(r"[,\s]+", text)]
    return tuple(whole(part) for part in parts if part)


@RULES.primitive_rule
def _whole(kind: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[int] | None:
    if kind.type is not int:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT",
        instance_from_str=lambda texts: whole(texts[0]),
        is_instance=lambda value: type(value) is int,
        str_from_instance=lambda value: [str(value)],
    )


@RULES.primitive_rule
def _wholes(kind: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[tuple[int, ...]] | None:
    if typing.get_origin(kind.type) is not tuple:
        return None
    first, *rest = typing.get_args(kind.type)
    if getattr(first, "__origin__", first) is not int or rest != [...]:
        return None
    return PrimitiveConstructorSpec(
        nargs="*",
        metavar="INT [INT ...]",
        instance_from_str=wholes,
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: [str(item) for item in value],
    )


def words(kind: typing.Any) -> bool:
    """Whether a setting is a list of words."""
    if typing.get_origin(kind) is not tuple:
        return False
    first, *_ = typing.get_args(kind)
    return first is str or typing.get_origin(first) is typing.Literal


def separated(args: Sequence[str], flags: set[str]) -> list[str]:
    """Separate the words after the given flags where they have commas."""
    given, inside = list[str](), False
    for arg in args:
        flag, equals, value = arg.partition("=")
        if arg.startswith("--"):
            inside = flag.replace("_", "-") in flags
            given += [flag, *_apart(value)] if inside and equals else [arg]
        else:
            given += _apart(arg) if inside else [arg]
    return given


def _apart(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def switched(args: Sequence[str], names: set[str]) -> list[str]:
    """Rewrite --flag as --flag True, and --no-flag or --of.no-flag as --flag False.

    Args:
      names: names of the Boolean flags.
    Raises:
      UserError: if such a flag is followed by a value other than True or False.
    """
    given = []
    for here, following in zip(args, [*args, ""][1:], strict=True):
        name = here.removeprefix("--").replace("_", "-")
        place, dot, last = name.rpartition(".")
        denied = {name.removeprefix("no-"), place + dot + last.removeprefix("no-")} & names
        if here.startswith("--") and name in names:
            if following and not following.startswith("--") and following not in TRUTH:
                raise UserError(
                    f"{here}: expected True or False, received {following!r}; {here} alone is True"
                )
            given += [here] if following in TRUTH else [here, "True"]
        elif here.startswith("--") and denied:
            given += [f"--{denied.pop()}", "False"]
        else:
            given.append(here)
    return given
