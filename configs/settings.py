"""The settings of a command as a list: flags, default, docstring. Also the ten main settings, and
suggestions for unknown flags.

Read next: `cli.py`, which parses them; `common/fields.py`, their bounds.
"""

import dataclasses
import difflib
import itertools
import re
import shlex
import textwrap
import typing
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import docstring_parser
import tyro

from common import UserError

AGENT_FIRST = (
    "env.name",
    "steps",
    "size",
    "agent.model.strides",
    "agent.behaviour.horizon",
    "updates-per-step",
    "batch",
    "optimizer.lr",
    "seed",
    "logdir",
)
"""The ten main settings of an agent's run."""
VIDEO_FIRST = (
    "data.name",
    "preset",
    "size",
    "model.strides",
    "steps",
    "length",
    "context",
    "batch",
    "seed",
    "logdir",
)
"""The ten main settings of a video model's run."""

WIDTH = 96  # line width of the help that is not tyro's

CALLED = {
    "epochs": "steps",
    "evaluate": "eval",
    "gamma": "agent.behaviour.discount",
    "gpus": "devices",
    "learning-rate": "optimizer.lr",
    "outdir": "logdir",
    "output-dir": "logdir",
    "resume": "logdir",
    "task": "env",
    "timesteps": "steps",
    "total-timesteps": "steps",
    "train-ratio": "updates-per-step",
}
"""Names of settings in other programs, and ours."""

_NAVIGATES = "it is an option of Navigate, such as --env.options"
_CONSTANT = "it is now a constant"
GONE = {
    "agent.actions.min-std": _CONSTANT,
    "agent.behaviour.hidden": "actor and critic are as wide as the model, --agent.model.hidden",
    "agent.burn-in": "it made no difference (docs/adr/0034)",
    "agent.latent.actor-kl": f"{_CONSTANT} of agents/latent.py",
    "agent.latent.kl": f"{_CONSTANT} of agents/latent.py",
    "agent.mark-plans": "plans that are kept are marked, --agent.keep-plan",
    "agent.model.all-phases": "a causal model is trained at every phase",
    "agent.model.keep-bias": "gates are set in environment steps, --agent.model.half-life",
    "agent.replan": "plans are executed whole with --agent.open-loop, or remade at each step",
    "agent.window-decoder": "the sum of recent frames is decoded, --agent.recent-decoder",
    "env.camera-limit": f"{_NAVIGATES} camera_limit 5",
    "env.dense": f"{_NAVIGATES} dense False",
    "env.held-keys": f"{_NAVIGATES} held_keys 'jump=1 attack=0'",
    "episode-starts": "every record is drawn equally often (docs/adr/0023)",
    "eval-steps": "evaluation episodes end at 10 000 steps, or as many as --env.time-limit allows",
    "replay.open-maps": _CONSTANT,
    "video-ratio": "it is now called --recordings-share",
}
"""Settings of earlier versions, and what replaces them."""


class Setting(NamedTuple):
    """One setting of a command."""

    name: str  # long flag without dashes: agent.model.half-life
    kind: Any  # type, without bounds
    short: tuple[str, ...]  # other flags
    default: Any
    text: str  # docstring
    repeats: bool = False  # whether its flag may be given several times, for one value each

    @property
    def flags(self) -> tuple[str, ...]:
        """All flags, short ones first."""
        return (*self.short, f"--{self.name}")


def settings(config: Any, prefixes: bool = True, path: str = "") -> Iterator[Setting]:
    """The settings of a dataclass and of those nested in it, in order of declaration.

    Args:
      config: the dataclass, or an instance, whose values are the defaults.
      prefixes: whether flags of nested settings begin with their path.
      path: that path.
    """
    cls = config if isinstance(config, type) or typing.get_origin(config) else type(config)
    origin: Any = typing.get_origin(cls) or cls
    given = dict(zip(getattr(origin, "__parameters__", ()), typing.get_args(cls), strict=False))
    hints = typing.get_type_hints(origin, include_extras=True)
    texts = {x.arg_name: x.description for x in docstring_parser.parse_from_object(origin).params}
    for field in dataclasses.fields(origin):
        hint = given.get(hints[field.name], hints[field.name])
        marks = getattr(hint, "__metadata__", ())
        kind = hint.__origin__ if marks else hint
        said = next((mark for mark in marks if hasattr(mark, "aliases")), None)  # tyro.conf.arg
        name = path + (getattr(said, "name", None) or field.name).replace("_", "-")
        value = _default(field) if config is cls else getattr(config, field.name)
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            inner = value if isinstance(value, kind) else kind
            yield from settings(inner, prefixes, f"{name}." if prefixes else "")
        else:
            text = getattr(said, "help", None) or texts.get(field.name) or ""
            short = getattr(said, "aliases", None) or ()
            repeats = tyro.conf.UseAppendAction in marks
            yield Setting(name, kind, short, value, " ".join(text.split()), repeats)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def first_lines(known: Iterable[Setting], names: Sequence[str]) -> str:
    """A line per named setting: its shortest flag, the first sentence of its text, its default."""
    by_name = {setting.name: setting for setting in known}
    chosen = [by_name[name] for name in names]
    width = max((len(setting.flags[0]) for setting in chosen), default=0) + 4
    lines = []
    for one in chosen:
        text = f"  {one.flags[0]:<{width - 4}}  {sentence(one.text)} ({shown(one.default)})"
        lines += textwrap.wrap(text, WIDTH, subsequent_indent=" " * width, drop_whitespace=True)
    return "\n".join(lines)


def sentence(text: str) -> str:
    """The first sentence of a text, or its part before the first semicolon, without the full stop
    and without parentheses."""
    plain = re.sub(r"\s*\([^()]*\)", "", text)
    return re.split(r"[.;] ", plain)[0].rstrip(".")


def shown(value: Any) -> str:
    """A value in the form used on the command line."""
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return str(value)


def check_flags(args: Sequence[str], known: Sequence[Setting], also: Sequence[str] = ()) -> None:
    """Raise UserError, with a suggestion, for a flag that belongs to no setting.

    Args:
      args: command-line arguments.
      also: names of flags that are read elsewhere.
    """
    names = [*also, *(flag.removeprefix("--") for one in known for flag in one.flags)]
    for arg in args:
        name = arg.partition("=")[0].removeprefix("--").replace("_", "-")
        if not arg.startswith("--") or name in ("", "help", "help-verbose", *names):
            continue
        if name in GONE:
            raise UserError(f"--{name}: this setting no longer exists: {GONE[name]}")
        close = " or ".join(f"--{one}" for one in meant(name, names))
        hint = f"did you mean {close}?" if close else "see --help"
        raise UserError(
            f"--{name}: expected a setting of this command, received none of that name; {hint}"
        )


def check_once(args: Sequence[str], known: Sequence[Setting], seeds: bool) -> None:
    """Raise UserError if the flag of a setting that takes one is given twice.

    Args:
      args: command-line arguments.
      seeds: whether the command also takes `--seeds`.
    """
    once = {flag: one for one in known if not one.repeats for flag in one.flags}
    given: dict[str, str] = {}
    for place, arg in enumerate(args):
        flag, equals, value = arg.partition("=")
        one = once.get(flag.replace("_", "-"))
        if one is None:
            continue
        rest = itertools.takewhile(lambda x: not x.startswith("--"), args[place + 1 :])
        text = value if equals else shlex.join(rest)
        if one.name in given:
            both, remedy = f"{given[one.name]} and {text}", "leave one out"
            if one.name == "seed" and seeds:
                remedy = f"for several seeds: --seeds {given[one.name]} {text}"
            elif typing.get_origin(one.kind) in (dict, tuple):
                remedy = f"give all values after one: {flag} {given[one.name]} {text}"
            raise UserError(f"{flag}: expected once, received {both}; {remedy}")
        given[one.name] = text


def check_pairs(args: Sequence[str], known: Sequence[Setting]) -> None:
    """Raise UserError if a setting of alternating names and values has an odd number of them."""
    flags = {flag for one in known if typing.get_origin(one.kind) is dict for flag in one.flags}
    for place, arg in enumerate(args):
        if arg in flags:
            rest = args[place + 1 :]
            values = list(itertools.takewhile(lambda x: not x.startswith("--"), rest))
            if len(values) % 2:
                raise UserError(
                    f"{arg}: expected alternating names and values, received {len(values)}: "
                    f"{shlex.join(values)}; put a value of several words in quotes, as in "
                    f"{arg} name 'a value'"
                )


def meant(name: str, names: Sequence[str]) -> list[str]:
    """Names that a flag may stand for: by the same last part, as a synonym, or by spelling."""
    last = {known.rpartition(".")[2]: known for known in reversed(names)}
    if found := [known for known in names if known.rpartition(".")[2] == name]:
        return found[:3]
    if CALLED.get(name) in names:
        return [CALLED[name]]
    close = difflib.get_close_matches(name, [*names, *last], 1, 0.6)
    return [last.get(one, one) for one in close]
