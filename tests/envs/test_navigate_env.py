"""Navigate: the exact spaces, Gymnasium's own checks, determinism, rewards and hands."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from envs.navigate import NavigateEnv
from envs.navigate import blocks as B
from envs.navigate import physics as P
from envs.navigate.env import PLACE

FLOOR = 20
ENV_ID = "test/Navigate-v0"


def sampled(env, count, seed=0):
    env.action_space.seed(seed)
    return [env.action_space.sample() for _ in range(count)]


def test_spaces_are_those_of_minerl_navigate():
    env = NavigateEnv()
    assert env.observation_space == spaces.Dict(
        {
            "pov": spaces.Box(0, 255, (64, 64, 3), np.uint8),
            "compass": spaces.Dict({"angle": spaces.Box(-180, 180, (), np.float32)}),
            "inventory": spaces.Dict({"dirt": spaces.Box(0, 2304, (), np.int32)}),
        }
    )
    keys = ("attack", "back", "forward", "jump", "left", "right", "sneak", "sprint")
    assert env.action_space == spaces.Dict(
        {
            **{key: spaces.Discrete(2) for key in keys},
            "camera": spaces.Box(-180, 180, (2,), np.float32),
            "place": spaces.Discrete(2),
        }
    )
    assert PLACE == ("none", "dirt")


# MineRL's camera is ±180 degrees, and Gymnasium advises ±1.
@pytest.mark.filterwarnings("ignore:.*we recommend using a symmetric and normalized space")
def test_passes_gymnasiums_check_env():
    gymnasium.register(ENV_ID, entry_point=NavigateEnv)
    try:
        check_env(gymnasium.make(ENV_ID, disable_env_checker=True).unwrapped)
    finally:
        del gymnasium.registry[ENV_ID]


def test_same_seed_and_actions_give_the_same_episode():
    def episode(seed):
        env = NavigateEnv(dense=True)
        frames, rewards = [env.reset(seed=seed)[0]], []
        for action in sampled(env, 60):
            obs, reward, *_ = env.step(action)
            frames.append(obs)
            rewards.append(reward)
        return frames, rewards

    (frames, rewards), (again, rewards_again) = episode(7), episode(7)
    assert rewards == rewards_again
    for obs, same in zip(frames, again, strict=True):
        np.testing.assert_array_equal(obs["pov"], same["pov"])
        assert obs["compass"]["angle"] == same["compass"]["angle"]
    assert not np.array_equal(frames[0]["pov"], episode(8)[0][0]["pov"])


def test_worlds_after_the_first_do_not_depend_on_the_policy():
    def third_world(actions):
        env = NavigateEnv()
        env.reset(seed=3)
        for action in actions:
            env.step(action)
        env.reset()
        return env.reset()[0]["pov"]

    busy = sampled(NavigateEnv(), 20)
    np.testing.assert_array_equal(third_world([]), third_world(busy))


def test_dense_reward_telescopes_to_the_decrease_of_distance():
    env = NavigateEnv(dense=True)
    _, info = env.reset(seed=1)
    before, total = info["target_distance"], 0.0
    for action in sampled(env, 300):
        camera = 0.02 * action["camera"]
        _, reward, _, _, info = env.step({**action, "camera": camera, "forward": 1, "back": 0})
        total += reward
    assert abs(before - info["target_distance"]) > 3
    assert total == pytest.approx(before - info["target_distance"], abs=1e-9)


def test_sparse_reward_is_zero_until_the_goal(flat_env, act):
    flat_env.dense = False
    assert flat_env.step(act(forward=1))[1] == 0.0


@pytest.mark.parametrize("dense", [False, True])
def test_the_goal_pays_100_once_and_ends_the_episode(dense, act):
    env = NavigateEnv(dense=dense)
    env.reset(seed=2)
    env.body[[P.X, P.Y, P.Z]] = env.task.goal + (0.0, 1.0, 0.0)  # standing on the goal block
    env.task.distance = env.task.target_distance(env.body)
    _, reward, terminated, truncated, info = env.step(act())
    assert terminated and not truncated and info["success"]
    assert reward == pytest.approx(100.0, abs=0.2 if dense else 0.0)
    assert env.step(act())[1] == pytest.approx(0.0, abs=0.2 if dense else 0.0)


def test_time_runs_out_after_6000_ticks_without_a_terminal(flat_env, act):
    """And no sooner: the ticks before the last three are counted as done."""
    assert NavigateEnv().time_limit == 6000
    flat_env.frames = 5997
    ends = [flat_env.step(act())[2:] for _ in range(3)]
    assert [end[:2] for end in ends] == [(False, False), (False, False), (False, True)]
    assert ends[-1][2]["success"] is False


def test_reaching_the_goal_on_the_last_tick_is_a_terminal_and_no_time_limit(act):
    env = NavigateEnv(time_limit=1)
    env.reset(seed=2)
    env.body[[P.X, P.Y, P.Z]] = env.task.goal + (0.0, 1.0, 0.0)
    assert env.step(act())[2:4] == (True, False)


@pytest.mark.parametrize(
    ("key", "axis", "sign"),
    [
        ("forward", P.Z, 1),
        ("back", P.Z, -1),
        ("left", P.X, 1),
        ("right", P.X, -1),
        ("jump", P.Y, 1),
    ],
)
def test_a_key_moves_the_player_its_way(flat_env, act, key, axis, sign):
    """Who looks south; left is east."""
    before = flat_env.body[axis]
    for _ in range(6):
        flat_env.step(act(**{key: 1}))
    assert sign * (flat_env.body[axis] - before) > 0.5


def test_a_positive_turn_is_to_the_right(flat_env, act):
    flat_env.step(act(camera=(0, 30)))
    assert flat_env.body[P.YAW] == 30  # from south towards west


def test_digging_grass_takes_18_ticks_and_gives_a_dirt(flat_env, act):
    flat_env.step(act(camera=(90, 0)))  # straight down
    for _ in range(17):
        obs, *_ = flat_env.step(act(attack=1))
        assert obs["inventory"]["dirt"] == 0
    obs, *_ = flat_env.step(act(attack=1))
    assert obs["inventory"]["dirt"] == 1
    assert flat_env.world.blocks[100, 100, FLOOR] == B.AIR
    assert flat_env.world.top[100, 100] == FLOOR
    for _ in range(12):
        flat_env.step(act())
    assert flat_env.body[P.Y] == pytest.approx(FLOOR)


def test_digging_starts_anew_when_attack_is_released(flat_env, act):
    flat_env.step(act(camera=(90, 0)))
    for pressed in [1] * 17 + [0] + [1] * 17:
        obs, *_ = flat_env.step(act(attack=pressed))
    assert obs["inventory"]["dirt"] == 0


def test_the_goal_cannot_be_dug(flat_env, act):
    flat_env.world.blocks[100, 102, FLOOR + 1 : FLOOR + 3] = B.GOAL
    for _ in range(1000):
        flat_env.step(act(attack=1))
    assert flat_env.world.blocks[100, 102, FLOOR + 2] == B.GOAL


def test_placing_uses_up_dirt_and_builds(flat_env, act):
    flat_env.dirt = 2
    flat_env.step(act(camera=(45, 0)))
    obs, *_ = flat_env.step(act(place=1))
    assert obs["inventory"]["dirt"] == 1
    assert flat_env.world.blocks[100, 102, FLOOR + 1] == B.DIRT
    assert flat_env.world.top[100, 102] == FLOOR + 2
    flat_env.step(act(place=1))  # too soon after the last
    assert flat_env.dirt == 1


def test_nothing_is_placed_without_dirt_nor_into_the_player(flat_env, act):
    flat_env.step(act(camera=(45, 0)))
    flat_env.step(act(place=1))
    assert flat_env.world.blocks[100, 102, FLOOR + 1] == B.AIR
    flat_env.dirt = 1
    flat_env.step(act(camera=(45, 0)))  # straight down: the cell is the player's own
    flat_env.step(act(place=1))
    assert flat_env.dirt == 1


def test_the_pitch_stops_at_straight_down(flat_env, act):
    for _ in range(3):
        flat_env.step(act(camera=(80, 0)))
    assert flat_env.body[P.PITCH] == 90


def test_rejects_a_camera_that_is_not_a_number(flat_env, act):
    with pytest.raises(ValueError, match="within ±180 degrees"):
        flat_env.step(act(camera=(float("nan"), 0)))


@pytest.mark.parametrize("options", [{"time_limit": 0}, {"render_size": 0}])
def test_rejects_limits_below_one(options):
    with pytest.raises(ValueError, match="at least 1"):
        NavigateEnv(**options)


@pytest.mark.parametrize("distance", [0.0, 257.0, float("nan")])
def test_rejects_a_goal_outside_the_world(distance):
    with pytest.raises(ValueError, match="goal_distance of 1 to 256 blocks"):
        NavigateEnv(goal_distance=distance)


def test_rejects_an_unknown_render_mode():
    with pytest.raises(ValueError, match="rgb_array"):
        NavigateEnv(render_mode="human")
