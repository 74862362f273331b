"""Which environments are made by a name that a file gives rather than the user: a run's, say.

Whoever reads a run has not read its settings, and it may be a stranger's. So reading one imports
nothing that it names and calls nothing but what is registered here, or is a `gymnasium.Env` of a
module that is loaded already; options are numbers and words, which name no file and no module.
Everything else is made once the user has said the environment's name as well.

Read next: `registry.py`, what a name stands for.
"""

import re
import sys
from pathlib import Path

import gymnasium

from common import UserError
from envs.config import NAVIGATE, EnvConfig
from envs.plugins import plugin_of
from envs.registry import FAMILIES

PLAIN = re.compile(r"[\w.+\-, =\[\]()]*")  # numbers, words, lists of numbers, jump=1


def check_named(config: EnvConfig, said: str | None, source: Path) -> None:
    """Refuses to make an environment that a file names, before anything is imported or called.

    Args:
      config: what the file holds.
      said: the environment's name as the user gives it; None: not at all.
      source: the file, or the directory that it lies in, for the message.
    Raises:
      UserError: for a name, or options, that could run code or open files and that the user has not
        said; and where the user says another name.
    """
    if said == config.name:
        return
    if said is not None:
        raise UserError(
            f"env: expected {config.name!r}, the environment of {source}, received {said!r}; "
            "leave out --env, or give that name"
        )
    if config.minerl_python is not None:
        raise UserError(
            f"{source}: expected no program to run, received minerl_python="
            f"{config.minerl_python!r}; if you trust it, repeat the name: --env {config.name}"
        )
    if not _known(config.name):
        raise UserError(
            f"{source}: expected an environment that is registered here, received "
            f"{config.name!r}, which names code from elsewhere; if you trust it, repeat the name: "
            f"--env {config.name}"
        )
    for key, text in config.options.items():
        if not PLAIN.fullmatch(text):
            raise UserError(
                f"{source}: expected options of {config.name!r} that are numbers or words, "
                f"received {key}={text!r}; if you trust it, repeat the name: --env {config.name}"
            )


def said_again(config: EnvConfig) -> tuple[str, ...]:
    """The flags by which a command that reads a run of this environment may make it."""
    try:
        check_named(config, None, Path())
    except UserError:
        return "--env", config.name
    return ()


def _known(name: str) -> bool:
    """Whether a name is registered, or of a class of environments that is loaded already."""
    scheme, _, rest = name.partition(":")
    if name == NAVIGATE:
        return True
    if scheme == "gym":  # its own MODULE:ID imports the module
        return rest in gymnasium.registry or plugin_of(rest) is not None
    if scheme in FAMILIES:
        return True
    found = vars(sys.modules.get(scheme)).get(rest) if scheme in sys.modules else None
    return isinstance(found, type) and issubclass(found, gymnasium.Env)
