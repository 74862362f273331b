"""Packages that add environments to Gymnasium's registry: their ids, and how to install them.

Such a package registers its ids when it is imported, which a user who names an id would otherwise
have to know. `bring` imports what an id needs, or names the command that installs it. To support
another package, add a row to `PLUGINS`. Read next: `registry.py`, which calls `bring`.
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

    ids: str  # regular expression that matches a whole id
    module: str  # module that registers the ids when imported, or that they need to run
    install: str  # argument of pip install
    wrap: Wrap | None = None  # wrapper that declares more about observations than their space does


CONTROL = "Ant|HalfCheetah|Hopper|Humanoid|HumanoidStandup|InvertedDoublePendulum|InvertedPendulum"
CONTROL += "|Pusher|Reacher|Swimmer|Walker2d"

ROBOTS = "Adroit|AntMaze_|Fetch|FrankaKitchen|HandManipulate|HandReach|PointMaze_"
"""Ids of Gymnasium-Robotics, with which most of Minari's data sets were recorded."""

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
"""The packages, with the ids that they provide."""


def plugin_of(env_id: str) -> Plugin | None:
    """The package that provides an id; None for Gymnasium's own ids and for unknown ids."""
    return next((plugin for plugin in PLUGINS if re.fullmatch(plugin.ids, env_id)), None)


def bring(env_id: str) -> Plugin | None:
    """Import the package that an id needs, and return it.

    Raises:
      UserError: if the package is not installed, with the command that installs it.
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
