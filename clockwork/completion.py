"""Shell completion of `clockwork`: all commands, flags and choices, as a script for the shell.

source <(clockwork completion bash)            # in ~/.bashrc
clockwork completion zsh > DIR/_clockwork      # DIR of zsh's $fpath
clockwork completion fish | source             # in ~/.config/fish/config.fish
"""

import contextlib
import io
from collections.abc import Mapping
from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Union

import tyro

from analysis.agent.episode import AnalyseAgentConfig
from analysis.agent.evaluate import EvalConfig
from analysis.comparison import CompareConfig
from analysis.imagine import ImagineConfig
from analysis.video.evaluate import EvaluateVideoConfig
from analysis.video.findings import AnalyseVideoConfig
from common import UserError
from configs import TrainConfig
from configs.spelling import RULES
from configs.video import PretrainConfig
from recordings.__main__ import Command
from recordings.importers.formats import FORMATS
from training.commands import COMMAND

SHELLS = ("bash", "zsh", "fish")
RUN = [("run", tuple[Path, ...], field(default=()))]  # of either kind: completes the flags of both


def _both(name: str, *kinds: type) -> type:
    return make_dataclass(name, RUN, bases=kinds, frozen=True)


SEEDS = [("seeds", tuple[int, ...], field(default=()))]
SETTINGS: dict[str, type] = {
    "train": make_dataclass("Train", SEEDS, bases=(TrainConfig,), frozen=True),
    "pretrain": PretrainConfig,
    "evaluate": _both("Evaluate", EvalConfig, EvaluateVideoConfig),
    "imagine": ImagineConfig,
    "analyse": _both("Analyse", AnalyseAgentConfig, AnalyseVideoConfig),
    "report": CompareConfig,
}
"""The settings of each command."""


def script(shell: str) -> str:
    """The completion script, to be evaluated or written to a file.

    Raises:
      UserError: for a shell that is not in `SHELLS`.
    """
    if shell not in SHELLS:
        raise UserError(f"completion: expected one of {', '.join(SHELLS)}, received {shell!r}")
    generic: Any = Command
    formats = {name: generic[kind] for name, kind in FORMATS.items()}
    imports = make_dataclass(
        "Import", [("format", Annotated[_one_of(formats), tyro.conf.arg(name="")])], frozen=True
    )
    shells = {name: make_dataclass(name.title(), []) for name in SHELLS}
    completion = make_dataclass(
        "Completion", [("shell", Annotated[_one_of(shells), tyro.conf.arg(name="")])], frozen=True
    )
    printed = io.StringIO()
    markers = (tyro.conf.FlagConversionOff,)
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        tyro.cli(
            _one_of({**SETTINGS, "import": imports, "completion": completion}),
            prog=COMMAND,
            args=["--tyro-write-completion", shell, "-"],
            config=markers,
            registry=RULES,
        )
    return printed.getvalue()


def _one_of(kinds: Mapping[str, Any]) -> Any:
    """A type that tyro parses as subcommands, by name."""
    named = [
        Annotated[kind, tyro.conf.subcommand(name, prefix_name=False)]
        for name, kind in kinds.items()
    ]
    return Union[tuple(named)]  # noqa: UP007  (the number of members varies)
