"""Command line: presets first, then every field as a flag (tyro); a mistake is one line, code 2."""

import argparse
import contextlib
import io
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

import tyro

from configs.presets import resolve
from configs.schema import TrainConfig, check

SHORT = {
    "--env": "--env.name",
    "--strides": "--agent.model.strides",
    "--horizon": "--agent.behaviour.horizon",
    "--replan": "--agent.replan",
}

EPILOG = """Short for: --env = --env.name, --strides = --agent.model.strides (environment steps per
tick of each level), --horizon = --agent.behaviour.horizon (imagined ticks of the top clock),
--replan = --agent.replan (environment steps). Other use: --eval RUN [--episodes N] [--output FILE]
evaluates a run."""

T = TypeVar("T")


def parse_train(
    args: Sequence[str], accelerator: bool, dtype: Literal["float32", "bfloat16"]
) -> TrainConfig:
    """Settings of `train_agent.py` from its flags.

    Raises:
      ValueError: on settings that cannot run, one line with the remedy.
      SystemExit: 0 after --help; 2 on a wrong flag, whose line has been printed.
    """
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ("preset", "env", "env.name", "size"):
        first.add_argument(f"--{flag}", dest=flag, nargs="?")
    known, _ = first.parse_known_args(list(args))
    chosen = vars(known)
    name = chosen["env"] or chosen["env.name"]
    base = resolve(chosen["preset"] or "auto", name, chosen["size"] or "auto", accelerator, dtype)
    default = Path("runs") / f"{_slug(base.env.name)}-{time.strftime('%Y%m%d-%H%M%S')}"
    base = replace(base, logdir=default)
    # `auto` is resolved above; tyro sees what it became
    rest = without_auto(expand(args), ("--preset", "--size"))
    config = parse(
        TrainConfig, rest, default=base, description=f"{TrainConfig.__doc__}\n\n{EPILOG}"
    )
    check(config)
    return config


def parse(cls: type[T], args: Sequence[str], default: T | None = None, **options: Any) -> T:
    """`tyro.cli` whose errors are one line on standard error and exit code 2."""
    captured = io.StringIO()
    extra: dict[str, Any] = {} if default is None else {"default": default}
    try:
        with contextlib.redirect_stderr(captured):
            parsed: T = tyro.cli(
                cls, args=list(args), config=(tyro.conf.FlagConversionOff,), **extra, **options
            )
            return parsed
    except SystemExit as error:
        if error.code in (0, None):
            raise
        fail(one_line(captured.getvalue()))


def fail(line: str) -> NoReturn:
    """Prints one line and exits with 2."""
    print("error: " + " ".join(line.split()), file=sys.stderr)
    raise SystemExit(2)


def expand(args: Sequence[str], short: Mapping[str, str] = SHORT) -> list[str]:
    """Short flags written out, also in the form --flag=value."""
    parts = [arg.partition("=") for arg in args]
    return [short.get(flag, flag) + equals + value for flag, equals, value in parts]


def one_line(text: str) -> str:
    """tyro's boxed message as one line."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    words = re.sub(r"[╭╮╰╯│─━]", " ", text).split()
    line = " ".join(words)
    line = re.sub(r"^(Parsing error|Unrecognized options|Required options)\s+", "", line)
    return re.sub(r"\s*For full helptext.*$", "", line) + "; see --help"


def without_auto(args: list[str], flags: tuple[str, ...]) -> list[str]:
    """Arguments without those flags whose value is `auto`."""
    result, skip = [], False
    for here, following in zip(args, [*args, ""][1:], strict=True):
        if skip:
            skip = False
        elif here in flags and following == "auto":
            skip = True
        elif here not in [f"{flag}=auto" for flag in flags]:
            result.append(here)
    return result


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")
