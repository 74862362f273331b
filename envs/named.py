"""Which environments may be made from a name that comes from a file, such as a run's settings.

A user who loads a run has usually not read its settings, and the run may be a stranger's. Loading
one therefore imports no module that it names, and calls only what is registered here or is a
`gymnasium.Env` in a module that is already loaded; options must be numbers and words, which name
no file or module. Anything else is made only if the user repeats the environment's name; that of a
class in a file of theirs they may give with any path, and it is made from there.

Read next: `registry.py`, what a name stands for.
"""

import re
import sys
from dataclasses import replace
from pathlib import Path

import gymnasium

from common import UserError
from envs.config import NAVIGATE, EnvConfig
from envs.plugins import plugin_of
from envs.registry import FAMILIES, own_file

PLAIN = re.compile(r"[\w.+\-, =\[\]()]*")  # numbers, words, lists of numbers, jump=1


def check_named(config: EnvConfig, said: str | None, source: Path) -> None:
    """Check that an environment named by a file may be made, before anything is imported or called.

    Args:
      config: settings from the file.
      said: the environment's name as given by the user; None if not given.
      source: the file, or the directory that contains it, for error messages.
    Raises:
      UserError: for a name, or options, that could run code or open files, unless the user has
        repeated the name; or if the user gives another name.
    """
    if said is not None and placed(said) == placed(config.name):
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


def as_said(config: EnvConfig, said: str | None, source: Path) -> EnvConfig:
    """Settings whose environment may be made: that named by the file or, of a class in a file of
    the user's own, the one at the path that the user gave, where the file may lie by now.

    Args, Raises: as for `check_named`.
    """
    if said is not None and same_env(said, config.name):
        config = replace(config, name=placed(said))
    check_named(config, said, source)
    return config


def same_env(one: str, other: str) -> bool:
    """Whether two names are equal, or name the same class in files of the same name."""
    return without_folder(one) == without_folder(other)


def placed(name: str) -> str:
    """A name FILE.py:Class with the absolute path of the file, if it exists, so that it means the
    same from every directory; any other name unchanged."""
    found = own_file(name)
    if found is None or not found[1] or not Path(found[0]).is_file():
        return name
    file = Path(found[0])
    return f"{file.parent.resolve() / file.name}:{found[1]}"


def without_folder(name: str) -> str:
    """A name FILE.py:Class without the folder of the file; any other name unchanged."""
    found = own_file(name)
    return name if found is None else f"{Path(found[0]).name}:{found[1]}"


def said_again(config: EnvConfig) -> tuple[str, ...]:
    """Flags that a command needs to load a run with this environment; () if none are needed."""
    try:
        check_named(config, None, Path())
    except UserError:
        return "--env", config.name
    return ()


def _known(name: str) -> bool:
    """Whether a name is registered, or is an environment class that is already loaded."""
    scheme, _, rest = name.partition(":")
    if name == NAVIGATE:
        return True
    if scheme == "gym":  # Gymnasium's MODULE:ID would import the module
        return rest in gymnasium.registry or plugin_of(rest) is not None
    if scheme in FAMILIES:
        return True
    found = vars(sys.modules.get(scheme)).get(rest) if scheme in sys.modules else None
    return isinstance(found, type) and issubclass(found, gymnasium.Env)
