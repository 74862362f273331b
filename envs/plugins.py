"""Packages that bring environments to Gymnasium's registry: which ids are whose, how to get them.

A package that brings ids registers them when it is imported, so whoever names an id of it would
have to know that. `bring` imports what an id needs, or names the command that installs it. Add a
row for a new package. Read next: `registry.py`, which calls it.
"""

import importlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium

from common import UserError
from envs.grids import GridCategories

Wrap = Callable[[gymnasium.Env[Any, Any]], gymnasium.Env[Any, Any]]


class Plugin(NamedTuple):
    """One package."""

    ids: str  # regular expression of a whole id
    module: str  # whose import registers them, or without which they do not run
    install: str  # argument of pip install
    wrap: Wrap | None = None  # what tells more of its observations than their space does


CONTROL = "Ant|HalfCheetah|Hopper|Humanoid|HumanoidStandup|InvertedDoublePendulum|InvertedPendulum"
CONTROL += "|Pusher|Reacher|Swimmer|Walker2d"

ROBOTS = "Adroit|AntMaze_|Fetch|FrankaKitchen|HandManipulate|HandReach|PointMaze_"
"""Of Gymnasium-Robotics, in which most of Minari's data sets were recorded."""

PLUGINS = (
    Plugin(r"ALE/.+", "ale_py", "ale-py"),
    Plugin(r"(MiniGrid|BabyAI)-.+", "minigrid", "minigrid", GridCategories),
    Plugin(r"[Vv]izdoom.+", "vizdoom.gymnasium_wrapper", "vizdoom"),
    Plugin(r"MiniWorld-.+", "miniworld", "miniworld"),
    Plugin(r"Crafter(NoReward)?-v1", "envs.crafter", "crafter"),
    Plugin(r"(LunarLander(Continuous)?|BipedalWalker(Hardcore)?|CarRacing)-v\d+", "Box2D",
           '"gymnasium[box2d]"'),
    Plugin(rf"({ROBOTS}).*-v\d+", "gymnasium_robotics", "gymnasium-robotics"),
    Plugin(rf"({CONTROL})-v\d+", "mujoco", '"gymnasium[mujoco]"'),
)  # fmt: skip
"""Who brings which ids."""


def plugin_of(env_id: str) -> Plugin | None:
    """The package that brings an id; None for Gymnasium's own ones and for unknown ones."""
    return next((plugin for plugin in PLUGINS if re.fullmatch(plugin.ids, env_id)), None)


def bring(env_id: str) -> Plugin | None:
    """Imports what an id needs, and says what that was.

    Raises:
      UserError: where it is not installed, with the command that installs it.
    """
    plugin = plugin_of(env_id)
    if plugin is not None:
        try:
            importlib.import_module(plugin.module)
        except ImportError as error:
            raise UserError(
                f"environment gym:{env_id}: expected the package that brings it, received "
                f"{' '.join(str(error).split())}; pip install {plugin.install}"
            ) from error
    return plugin
