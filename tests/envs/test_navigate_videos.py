"""Recorded walks: what the agent's environment gives for the same actions, and true factors."""

from dataclasses import replace

import numpy as np
import pytest

from envs import EnvConfig
from envs.navigate.grid import SIZE
from envs.navigate.videos import NavigateVideos, world_seed
from envs.navigate.world import generate
from envs.vector import make_agent_env

RAW = EnvConfig(options={"dense": "False"}, backend="builtin")
HELD = {"camera_limit": "5", "held_keys": "jump=1 attack=0 place=0 sneak=0 back=0"}
AGENT = replace(RAW, action_repeat=4, options=HELD)  # the preset's
TO_THE_GOAL = 2  # an episode of seed 0 whose player finds the goal within 500 steps


@pytest.fixture(scope="module")
def endless():
    """500 of the agent's steps, on past the goal."""
    return NavigateVideos(AGENT, length=500).episode(TO_THE_GOAL, seed=0)


@pytest.fixture(scope="module")
def ending():
    """The same walk, ended by the goal."""
    return NavigateVideos(AGENT, length=500, endless=False).episode(TO_THE_GOAL, seed=0)


def assert_is_what_the_environment_gives(episode, config, index):
    """Replays the recorded actions through the agent's own environment."""
    env = make_agent_env(config)
    obs, _ = env.reset(seed=world_seed(index, 0))
    reward, terminated, truncated, steps = 0.0, False, False, len(episode.reward)
    for t in range(steps):
        if t:
            assert not terminated and not truncated
            action = {key: x[t] for key, x in episode.action.items()}
            assert env.action_space.contains(action)
            obs, reward, terminated, truncated, _ = env.step(action)
        assert obs.keys() == episode.obs.keys()
        for name, value in obs.items():
            np.testing.assert_array_equal(episode.obs[name][t], value, err_msg=f"{name} {t}")
            assert episode.obs[name].dtype == value.dtype
        assert episode.reward[t] == np.float32(reward)
        assert episode.terminal[t] == terminated
    return truncated


def test_the_agents_records_are_those_of_its_environment(ending) -> None:
    assert_is_what_the_environment_gives(ending, AGENT, TO_THE_GOAL)
    assert ending.terminal.tolist() == [False] * (len(ending.reward) - 1) + [True]
    assert ending.reward[-1] > 90 and ending.factors["goals"].tolist()[-2:] == [0, 1]


def test_the_raw_records_are_those_of_the_raw_environment() -> None:
    config = replace(RAW, time_limit=120)
    episode = NavigateVideos(config, length=500, endless=False).episode(0, 0)
    assert len(episode.reward) == 121 and not episode.terminal.any()  # the reset and 120 frames
    assert assert_is_what_the_environment_gives(episode, config, 0)


def test_an_endless_walk_goes_on_where_the_other_ends(endless, ending) -> None:
    end = len(ending.reward) - 1
    assert len(endless.reward) == 500 and not endless.terminal.any()
    for name in endless.obs:
        np.testing.assert_array_equal(endless.obs[name][:end], ending.obs[name][:end])
    np.testing.assert_array_equal(endless.reward[:end], ending.reward[:end])
    goals = endless.factors["goals"]
    assert goals[end] == 1 and goals[-1] >= 1
    found = np.flatnonzero(np.diff(goals)) + 1
    assert (endless.reward[found] > 90).all()
    others = np.setdiff1d(np.arange(500), found)
    assert np.abs(endless.reward[others]).max() < 4  # blocks in four frames


def test_shapes_and_types(endless) -> None:
    shapes = {name: (x.shape, str(x.dtype)) for name, x in endless.obs.items()}
    assert shapes == {
        "pov": ((500, 64, 64, 3), "uint8"),
        "compass.needle": ((500, 2), "float32"),
        "inventory.dirt": ((500, 1), "float32"),
    }
    assert set(endless.action) == {"camera", "forward", "left", "right", "sprint"}
    assert all(not x[0].any() for x in endless.action.values()) and endless.reward[0] == 0


def test_an_action_stands_beside_what_it_led_to(endless) -> None:
    """yaw_t = yaw_{t-1} + 4 Δyaw_t, and the pitch likewise: 4 frames of the action of record t."""
    view, turn = endless.factors["view"].astype(float), 4 * endless.action["camera"].astype(float)
    off = (np.diff(view[:, 0]) - turn[1:, 1] + 180) % 360 - 180
    np.testing.assert_allclose(off, 0, atol=1e-3)
    np.testing.assert_allclose(np.diff(view[:, 1]), turn[1:, 0], atol=1e-3)


def test_position_and_biome_are_true(endless) -> None:
    env = make_agent_env(AGENT)
    env.reset(seed=world_seed(TO_THE_GOAL, 0))
    position, biome = endless.factors["position"], endless.factors["biome"]
    start = [env.unwrapped.body[axis] for axis in (0, 1, 2)]
    np.testing.assert_allclose(position[0], start, rtol=1e-6)
    world = generate(int(np.random.default_rng(world_seed(TO_THE_GOAL, 0)).integers(2**31)))
    x, z = (np.floor(position[:, axis]).astype(int) % SIZE for axis in (0, 2))
    assert (world.biome[x, z] == biome).mean() > 0.99  # float32 may round over a column's edge


def test_the_player_mostly_walks_straight_ahead(endless) -> None:
    position = endless.factors["position"]
    strides = np.hypot(*np.diff(position[:, [0, 2]], axis=0).T)
    assert endless.action["forward"].mean() > 0.6 and strides.mean() > 0.3
    assert np.median(np.abs(endless.action["camera"][:, 1])) < 2


def test_an_episode_depends_on_options_seed_and_number_alone() -> None:
    source = NavigateVideos(RAW, length=12)
    every = list(source.episodes(3, seed=4))
    again = next(iter(NavigateVideos(RAW, length=12).episodes(1, seed=4, first=2)))
    for part, same in zip(every[2][:2], again[:2], strict=True):
        for name in part:
            np.testing.assert_array_equal(part[name], same[name])
    assert (every[1].obs["pov"] != again.obs["pov"]).any()
    assert (source.episode(2, seed=5).obs["pov"] != again.obs["pov"]).any()


@pytest.mark.parametrize("blocks", [64, 16])
def test_the_old_goal_is_gone_and_the_new_one_is_64_blocks_off_or_as_asked(blocks) -> None:
    options = {} if blocks == 64 else {"goal_distance": str(blocks)}
    source = NavigateVideos(replace(RAW, options=options))
    player = source._player()
    player.reset(seed=1)
    old = tuple(np.floor(player.task.goal).astype(int))
    player.body[:3] = player.task.goal
    player.set_next_goal()
    assert player.world.blocks[old[0] % SIZE, old[2] % SIZE, old[1]] == 0
    assert player.task.goal_distance(player.body) == pytest.approx(blocks, abs=1)


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="length: expected 1 step"):
        NavigateVideos(RAW, length=0)
    for config in (replace(RAW, name="gym:CartPole-v1"), replace(RAW, backend="minerl")):
        with pytest.raises(ValueError, match="builtin back end"):
            NavigateVideos(config)
    for index, seed in ((-1, 0), (0, -1)):
        with pytest.raises(ValueError, match="0 or more"):
            NavigateVideos(RAW).episode(index, seed)
