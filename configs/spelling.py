"""How values may be written on the command line, beyond what tyro takes.

Whole numbers also as 1e5; several of them apart, or with commas: 1 4 or 1,4; switches as --report,
--no-report, or --report False.
"""

import re
import typing
from collections.abc import Sequence

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from common import UserError

TRUTH = ("True", "False")

RULES = ConstructorRegistry()
"""For `tyro.cli`."""


def whole(text: str) -> int:
    """A whole number, also as 1e5; ValueError for anything else."""
    value = float(text) if re.fullmatch(r"[+-]?\d+(\.\d*)?[eE]\+?\d+", text) else int(text)
    if value != int(value):
        raise UserError(f"expected a whole number, received {text}")
    return int(value)


def wholes(texts: Sequence[str]) -> tuple[int, ...]:
    """Whole numbers, apart or with commas or spaces between them."""
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


def switched(args: Sequence[str], names: set[str]) -> list[str]:
    """The arguments, with --flag as --flag True and --no-flag, or --of.no-flag, as --flag False.

    Args:
      names: flags that are true or false.
    Raises:
      UserError: where another value than True or False follows such a flag.
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
