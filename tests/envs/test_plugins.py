"""Packages that bring ids to Gymnasium: each runs where it is installed, and is named where not."""

import importlib

import numpy as np
import pytest
from gymnasium import spaces

from common import UserError
from envs import EnvConfig, make, make_agent_env, plugins
from envs.plugins import PLUGINS, Plugin, plugin_of


@pytest.mark.parametrize(
    ("name", "package", "observed"),
    [
        ("gym:ALE/Pong-v5", "ale_py", {"image": (64, 64, 3)}),
        ("gym:MiniGrid-MemoryS7-v0", "minigrid", {"direction": (4,), "image": (7 * 7 * 21,)}),
        ("gym:BabyAI-GoToObj-v0", "minigrid", {"direction": (4,), "image": (7 * 7 * 21,)}),
        pytest.param(
            *("gym:VizdoomMyWayHome-v1", "vizdoom", {"screen": (64, 64, 3)}), marks=pytest.mark.slow
        ),
        ("gym:Crafter-v1", "crafter", {"image": (64, 64, 3)}),
        ("gym:CarRacing-v3", "Box2D", {"image": (64, 64, 3)}),
        (
            *("gym:PointMaze_UMaze-v3", "gymnasium_robotics"),
            {"achieved_goal": (2,), "desired_goal": (2,), "observation": (4,)},
        ),
        ("gym:MiniWorld-Hallway-v0", "miniworld", {"image": (64, 64, 3)}),
        ("envpool:Pong-v5", "envpool", {"image": (64, 64, 4)}),
        ("envpool:CheetahRun-v1", "envpool", {"position": (8,), "velocity": (9,)}),
        ("envpool:FrozenLake-v1", "envpool", {"observation": (16,)}),
    ],
)
def test_a_packages_environments_run_for_200_steps(name, package, observed, tmp_path, monkeypatch):
    pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)  # ViZDoom writes its settings to where it runs
    env = make_agent_env(EnvConfig(name))
    assert {key: part.shape for key, part in env.observation_space.spaces.items()} == observed
    obs, _ = env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(200):
        assert env.observation_space.contains(obs)
        obs, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            obs, _ = env.reset()
    env.close()


def test_a_missing_package_is_named_with_its_command(monkeypatch):
    row = Plugin(r"Nowhere-.+", "no_such_package", "no-such-package")
    monkeypatch.setattr(plugins, "PLUGINS", (*PLUGINS, row))
    with pytest.raises(UserError, match="gym:Nowhere-v0: .* pip install no-such-package$"):
        make("gym:Nowhere-v0")


@pytest.mark.parametrize(
    ("env_id", "module"),
    [
        ("LunarLander-v3", "Box2D"),
        ("FetchReach-v4", "gymnasium_robotics"),
        ("Humanoid-v5", "mujoco"),
        ("vizdoom.MyWay-v0", "vizdoom"),
    ],
)
def test_ids_and_their_packages(env_id, module):
    assert plugin_of(env_id).module.partition(".")[0] == module
    assert plugin_of("CartPole-v1") is None


def test_minigrids_cells_are_categories():
    """Every number of a view as one of its kind: 49 cells of 11 + 6 + 4."""
    pytest.importorskip("minigrid")
    constants = importlib.import_module("minigrid.core.constants")
    kinds = (constants.OBJECT_TO_IDX, constants.COLOR_TO_IDX, constants.STATE_TO_IDX)
    counts = np.array([len(kind) for kind in kinds])
    env = make("gym:MiniGrid-DoorKey-5x5-v0")
    grid = env.observation_space["image"]
    assert isinstance(grid, spaces.MultiDiscrete) and (grid.nvec >= counts).all()
    obs, _ = env.reset(seed=0)
    assert grid.contains(obs["image"])
    seen = make_agent_env(EnvConfig("gym:MiniGrid-DoorKey-5x5-v0")).reset(seed=0)[0]
    assert seen["image"].sum() == 7 * 7 * 3 and "mission" not in seen


def test_crafter_is_seeded_and_dying_is_terminal():
    pytest.importorskip("crafter")
    env = make("gym:Crafter-v1", length=5)
    first, again = env.reset(seed=3)[0], env.reset(seed=3)[0]
    np.testing.assert_array_equal(first, again)
    assert (env.reset()[0] != first).any()
    ends = [env.step(0)[2:4] for _ in range(5)]
    assert ends == [(False, False)] * 4 + [(False, True)]
    env.reset(seed=3)
    env.unwrapped._env._player.health = 0
    assert env.step(0)[2:4] == (True, False)
