"""Command line: presets first, then every field as a flag (tyro); errors are one line, code 2.

Every number is checked against the bounds of its field (`common/fields.py`). Read next:
`settings.py`, the list of settings; `spelling.py`, how values may be written.
"""

import contextlib
import io
import re
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import tyro

from common import UserError, check_bounds
from common.entry import fail
from configs.presets import resolve
from configs.schema import TrainConfig, check
from configs.settings import (
    AGENT_FIRST,
    WIDTH,
    Setting,
    check_flags,
    check_once,
    check_pairs,
    first_lines,
    settings,
)
from configs.spelling import RULES, separated, switched, wholes, words
from envs import placed

EXAMPLES = """Examples:
  {program} --env minerl_navigate
  {program} --env gym:CartPole-v1 --strides 1 2 --logdir runs/cartpole
  {program} --env pure:pendulum --seeds 0 1 2     several seeds as one compiled program
  {program} --eval RUN --episodes 20              evaluate a run

Resume a stopped run with --logdir RUN; it keeps its settings. Train one run on several processes
with --hosts ADDRESS:PORT,INDEX,COUNT (docs/scaling.md)."""
"""Examples in the help of `parse_train`."""

T = TypeVar("T")
Run = TypeVar("Run")


class Help(NamedTuple):
    """The text that `--help` shows before the list of settings."""

    first: Sequence[str] = ()  # names of the main settings
    examples: str = ""  # {program} stands for the command as called
    also: Sequence[str] = ()  # flags that are read elsewhere

    def text(self, cls: Any, known: Sequence[Setting]) -> str:
        """The docstring, the main settings and the examples."""
        most = "Main settings (and their defaults):\n" + first_lines(known, self.first)
        doc = textwrap.fill(" ".join((cls.__doc__ or "").split()), WIDTH)
        parts = [doc, most * bool(self.first), self.examples.format(program=program())]
        return "\n\n".join(filter(None, parts))


NOTHING = Help()


def program() -> str:
    """The current command as the user calls it."""
    called = sys.argv[0]
    return called if " " in called else f"python {Path(called).name}"


def parse_train(
    args: Sequence[str],
    accelerator: bool,
    dtype: Literal["float32", "bfloat16"],
    kept: Callable[[Path, str | None], TrainConfig | None] | None = None,
) -> TrainConfig:
    """Parse the settings of `train_agent.py` from its flags.

    Args:
      kept: maps (`--logdir`, `--env` or None) to the settings of the run there, which flags then
        override in place of a preset's; None if there is no run. A program, unlike a command,
        gives no ``kept``, and may let a flag override an earlier one.
    Raises:
      UserError: on settings that cannot run, one line with the remedy; what `kept` raises.
      SystemExit: 0 after --help; 2 on a wrong flag, after printing a line.
    """

    def base(preset: str | None, env: str | None, size: str | None) -> TrainConfig:
        return resolve(preset or "auto", env, size or "auto", accelerator, dtype)

    given = expand(args, TrainConfig)
    logdir, env, seed = choices(given, ("logdir", "env.name", "seed"))
    if seed is not None and "," in seed:
        raise UserError(
            f"--seed: expected a whole number, received {seed!r}; for several seeds: --seeds {seed}"
        )
    before = kept(Path(logdir), env) if kept is not None and logdir is not None else None
    first = before or base(*choices(given, ("preset", "env.name", "size")))
    about = Help(AGENT_FIRST, EXAMPLES, ("eval", "seeds", "hosts"))
    auto = "preset", "size"
    config = parse_run(first, given, auto, about, lambda c: c.env.name, kept is not None)
    config = replace(config, env=replace(config.env, name=placed(config.env.name)))
    check(config)
    donor, recordings = config.init_from, config.recordings  # to be found from every directory
    config = replace(config, init_from=donor and donor.absolute())
    return replace(config, recordings=recordings and recordings.absolute())


def take_seeds(args: Sequence[str]) -> tuple[list[int], list[str]]:
    """Split off the numbers of `--seeds`, such as `0 1 2` or `0,1,2`, from all other arguments.

    Raises:
      UserError: for `--seeds` without numbers, or beside `--seed`.
    """
    seeds: list[int] = []
    rest: list[str] = []
    inside = False
    for arg in args:
        flag, _, value = arg.partition("=")
        if arg.startswith("--"):
            inside = flag == "--seeds"
        if not inside:
            rest.append(arg)
        elif text := value if flag == "--seeds" else arg:
            try:
                seeds += wholes([text])
            except ValueError as error:
                raise UserError(
                    f"seeds: expected whole numbers, received {text!r}; for example --seeds 0 1 2"
                ) from error
    if not seeds and len(rest) < len(args):
        raise UserError("seeds: expected whole numbers, received none; for example --seeds 0 1 2")
    if seeds and any(arg.partition("=")[0] == "--seed" for arg in rest):
        raise UserError("seed: expected one of --seed and --seeds, received both; leave out --seed")
    if any(seed < 0 for seed in seeds):
        raise UserError(f"seeds: expected 0 or more, received {min(seeds)}")
    return seeds, rest


def choices(args: Sequence[str], names: Sequence[str]) -> list[str | None]:
    """Values of the flags that determine the defaults of all others; None for those not given."""
    given: dict[str, str] = {}
    for here, following in zip(args, [*args, ""][1:], strict=True):
        flag, equals, value = here.partition("=")
        given[flag] = value if equals else following
    return [given.get(f"--{name}") for name in names]


def parse_run(
    base: Run,
    args: Sequence[str],
    auto: Sequence[str],
    about: Help,
    name: Callable[[Run], str],
    once: bool,
) -> Run:
    """Parse the settings of a run: flags override what its preset fills in.

    Args:
      base: the settings implied by the preset, the size and the device.
      args: flags, short ones expanded.
      auto: names of flags whose value `auto` has been resolved in `base`.
      about: help text beside the settings.
      name: gives the name from which the default directory's name is made.
      once: as for `parse`.
    """
    if once:
        check_once(args, list(settings(base)), "seeds" in about.also)  # `auto` among them
    (seed,) = choices(args, ("seed",))  # runs of other seeds may start in the same second
    parts = [
        _slug(name(base)),
        time.strftime("%Y%m%d-%H%M%S"),
        *([f"seed{_slug(seed)}"] if seed else []),
    ]
    logdir = Path("runs") / "-".join(parts)
    rest = without_auto(list(args), tuple(f"--{flag}" for flag in auto))
    default = replace(base, logdir=logdir)  # type: ignore[type-var]
    return parse(type(base), rest, default=default, about=about, once=once)


def parse(
    cls: Callable[..., T],
    args: Sequence[str],
    default: T | None = None,
    markers: tuple[Any, ...] = (),
    about: Help = NOTHING,
    once: bool = True,
    **options: Any,
) -> T:
    """Parse settings by `tyro.cli`; errors are one line on standard error and exit code 2.

    Args:
      cls: the dataclass of the settings.
      args: flags, short ones expanded.
      default: the settings that flags override; None: the dataclass's defaults.
      markers: markers of `tyro.conf`.
      about: help text beside the settings.
      once: whether to refuse a flag that is given twice; otherwise, the last counts.
      options: options of `tyro.cli`.
    Raises:
      UserError: for an unknown flag, or a number out of its field's bounds.
      SystemExit: 0 after --help; 2 on a wrong flag, after printing a line.
    """
    captured = io.StringIO()
    extra: dict[str, Any] = {} if default is None else {"default": _unnamed(default)}
    config = (tyro.conf.FlagConversionOff, *markers)
    known = list(settings(default or cls, tyro.conf.OmitArgPrefixes not in markers))
    extra |= {"description": about.text(cls, known)} | options
    given = switched(args, {one.name for one in known if one.kind is bool})
    check_flags(given, known, about.also)
    if once:
        check_once(given, known, "seeds" in about.also)
    check_pairs(given, known)
    given = separated(given, {flag for one in known if words(one.kind) for flag in one.flags})
    try:
        with contextlib.redirect_stderr(captured):
            parsed: T = tyro.cli(cls, args=given, config=config, registry=RULES, **extra)
    except SystemExit as error:
        if error.code in (0, None):
            raise
        fail(one_line(captured.getvalue()))
    parsed = parsed if default is None else _over(default, parsed)
    check_bounds(parsed)
    return parsed


def _unnamed(default: T) -> T:
    """Empty the dict-valued settings, since tyro would accept no keys beyond those present."""
    changed: dict[str, Any] = {
        one.name: {} if isinstance(value, dict) else _unnamed(value)
        for one in fields(default)  # type: ignore[arg-type]
        if isinstance(value := getattr(default, one.name), dict) or is_dataclass(value)
    }
    return replace(default, **changed)  # type: ignore[type-var]


def _over(default: Any, given: T) -> T:
    """Merge dict-valued settings over those of the default, which keep the keys not given."""
    changed: dict[str, Any] = {}
    for one in fields(given):  # type: ignore[arg-type]
        old, new = getattr(default, one.name), getattr(given, one.name)
        if isinstance(new, dict):
            changed[one.name] = {**old, **new}
        elif is_dataclass(new):
            changed[one.name] = _over(old, new)
    return replace(given, **changed)  # type: ignore[type-var]


def expand(args: Sequence[str], config: Any) -> list[str]:
    """Expand the short flags of a dataclass, including those in the form --flag=value."""
    short = {flag: f"--{one.name}" for one in settings(config) for flag in one.short}
    parts = [arg.partition("=") for arg in args]
    return [short.get(flag, flag) + equals + value for flag, equals, value in parts]


def one_line(text: str) -> str:
    """Convert tyro's boxed message to one line."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    line = " ".join(re.sub(r"[╭╮╰╯│─━]|(?<!\S)-{3,}(?!\S)", " ", text).split())  # lines of a box
    line = re.sub(
        r"^(Parsing error|Unrecognized options|Required options|Value error)\s+", "", line
    )
    line = re.sub(r"^Error parsing (\S+): (.*(?=expected a whole number))?", r"\1: ", line)
    line = re.sub(r"\s*Argument helptext: .*$", "", line)
    return re.sub(r"\s*For full helptext.*$", "", line) + "; see --help"


def without_auto(args: list[str], flags: tuple[str, ...]) -> list[str]:
    """Remove the given flags from the arguments where their value is `auto`."""
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
