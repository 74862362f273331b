"""Names, back ends, and the vector of environments that the agent trains on."""

import importlib.util

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from configs.presets import OF_ENVIRONMENT, of_environment
from envs import EnvConfig, describe_backend, make, make_agent_env, make_vector
from envs.config import NAVIGATE
from envs.minerl import adapter
from envs.navigate import NavigateEnv, physics
from envs.registry import FAMILIES, Family


def test_makes_the_three_kinds_of_names():
    assert isinstance(make("minerl_navigate", dense=True), NavigateEnv)
    assert make("gym:CartPole-v1").spec.id == "CartPole-v1"
    env = make("gymnasium.envs.classic_control.pendulum:PendulumEnv", g=3.0)
    assert env.g == 3.0


def test_a_family_is_a_row_of_the_table(monkeypatch):
    """One of one's own, in one file: made, named in messages, with a preset for all of it."""

    class Walk(gymnasium.Env):
        observation_space = action_space = spaces.Discrete(4)

        def __init__(self, name, side):
            self.name, self.side = name, side

        def reset(self, *, seed=None, options=None):
            return 0, {}

        def step(self, action):
            return action, 1.0, False, False, {}

    family = Family(
        "walk:NAME",
        lambda name, options: Walk(name, **options),
        defaults=lambda config: {"side": config.image_size},
    )
    monkeypatch.setitem(FAMILIES, "walk", family)
    monkeypatch.setitem(OF_ENVIRONMENT, "walk:", "dmc_pixels")
    env = make_agent_env(EnvConfig("walk:here", image_size=48)).unwrapped
    assert (env.name, env.side) == ("here", 48)
    assert make_agent_env(EnvConfig("walk:here", options={"side": "3"})).unwrapped.side == 3
    with pytest.raises(ValueError, match="walk:NAME"):
        make("nonsense")
    with pytest.raises(ValueError, match="pixels with gym:ID or dmc:DOMAIN_TASK, received 'walk"):
        make_agent_env(EnvConfig("walk:here", pixels=True))
    assert (
        of_environment("walk:here") == "dmc_pixels" and of_environment("dmc:walker_walk") == "dmc"
    )


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("minerl_navigat", "did you mean 'minerl_navigate'"),
        ("CartPole-v1", "did you mean 'gym:CartPole-v1'"),
        ("gym:CartPoll-v1", "did you mean 'gym:CartPole-v1'"),
        ("gym:", "gym:ID"),
        ("nonsense", "minerl_navigate, gym:ID"),
        ("no.such_module:Env", "No module named 'no'"),
        ("envs.navigate:Missing", "no attribute 'Missing'"),
        ("envs.navigate:observation_space", "to make a gymnasium.Env, received Dict"),
    ],
)
def test_unknown_names_say_what_is_known(name, hint):
    with pytest.raises(ValueError, match=f"expected .*{hint}"):
        make(name)


@pytest.mark.parametrize(
    "name", ["minerl_navigate", "gym:CartPole-v1", "envs.navigate:NavigateEnv"]
)
def test_options_an_environment_does_not_take_are_rejected(name):
    with pytest.raises(ValueError, match="wings"):
        make(name, wings=2)


def test_auto_uses_the_builtin_world_where_minerl_is_missing(monkeypatch):
    monkeypatch.setattr(adapter.importlib.util, "find_spec", lambda name: None)
    line = describe_backend(EnvConfig())
    assert "builtin" in line and "minerl and gym" in line and "\n" not in line
    with pytest.raises(ValueError, match="--env.minerl-python .* or use backend 'builtin'"):
        make("minerl_navigate", backend="minerl")


def test_auto_uses_minerl_where_it_can_be_imported(monkeypatch):
    found = importlib.util.find_spec("gymnasium")
    monkeypatch.setattr(adapter.importlib.util, "find_spec", lambda name: found)
    assert "minerl: the minerl package is installed" in describe_backend(EnvConfig())
    assert "builtin: as asked" in describe_backend(EnvConfig(backend="builtin"))


def test_an_unknown_backend_is_rejected():
    with pytest.raises(ValueError, match="backend auto, builtin or minerl"):
        make("minerl_navigate", backend="malmo")


def navigate(**changes):
    return EnvConfig(**{"backend": "builtin", "time_limit": 3, **changes})


def test_vector_observations_are_canonical_and_actions_their_own():
    envs = make_vector(navigate(), 2, seed=0)
    obs, _ = envs.reset()
    assert {name: (x.shape, x.dtype.name) for name, x in obs.items()} == {
        "pov": ((2, 64, 64, 3), "uint8"),
        "compass.needle": ((2, 2), "float32"),
        "inventory.dirt": ((2, 1), "float32"),
    }
    assert envs.single_action_space["camera"] == spaces.Box(-15, 15, (2,), np.float32)
    assert envs.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP


def test_the_step_after_the_end_returns_the_reset_record():
    envs = make_vector(navigate(), 2, seed=0)
    first = envs.reset()[0]["pov"].copy()
    envs.action_space.seed(0)
    for frame in range(1, 4):
        obs, reward, terminated, truncated, infos = envs.step(envs.action_space.sample())
        assert truncated.all() == (frame == 3) and not terminated.any()
    assert infos["_success"].all() and not infos["success"].any()
    obs, reward, terminated, truncated, _ = envs.step(envs.action_space.sample())
    assert (reward == 0).all() and not (terminated | truncated).any()
    assert (obs["inventory.dirt"] == 0).all() and not np.array_equal(obs["pov"], first)
    assert all(env.unwrapped.frames == 0 for env in envs.envs)


def test_success_shows_in_the_vectors_infos():
    envs = make_vector(navigate(), 2, seed=0)
    envs.reset()
    lucky = envs.envs[1].unwrapped
    place = [physics.X, physics.Y, physics.Z]
    lucky.body[place] = lucky.task.goal + (0, 1, 0)
    idle = {key: np.zeros_like(value) for key, value in envs.action_space.sample().items()}
    *_, terminated, _, infos = envs.step(idle)
    assert infos["success"].tolist() == [False, True] == terminated.tolist()


def test_the_seed_decides_the_first_reset_and_all_after_it():
    def frames(seed):
        envs = make_vector(navigate(), 2, seed)
        envs.action_space.seed(0)
        seen = [envs.reset()[0]["pov"].copy()]
        seen += [envs.step(envs.action_space.sample())[0]["pov"].copy() for _ in range(5)]
        return np.stack(seen)

    np.testing.assert_array_equal(frames(5), frames(5))
    other = frames(6)
    assert not np.array_equal(frames(5), other)
    np.testing.assert_array_equal(frames(5)[0, 1], other[0, 0])  # environment i: seed + i


@pytest.mark.parametrize(("repeat", "limit", "steps"), [(1, 6, 6), (4, 6, 2)])
def test_time_limits_count_ticks_whatever_the_action_repeat(repeat, limit, steps):
    for name in ("minerl_navigate", "gym:Pendulum-v1"):
        env = make_agent_env(navigate(name=name, time_limit=limit, action_repeat=repeat))
        env.reset(seed=0)
        env.action_space.seed(0)
        ends = [env.step(env.action_space.sample())[3] for _ in range(steps)]
        assert ends == [False] * (steps - 1) + [True]


def test_the_options_of_a_config_are_read_as_literals():
    name = "gymnasium.envs.classic_control.pendulum:PendulumEnv"
    env = make_agent_env(EnvConfig(name=name, options={"g": "3.5", "render_mode": "rgb_array"}))
    assert env.unwrapped.g == 3.5 and env.unwrapped.render_mode == "rgb_array"


def test_image_size_reaches_the_agent():
    env = make_agent_env(navigate(image_size=32))
    assert env.reset(seed=0)[0]["pov"].shape == (32, 32, 3)


def test_options_of_navigate_reach_it():
    env = make_agent_env(navigate(options={"goal_distance": "16"}))
    env.reset(seed=0)
    task, body = env.unwrapped.task, env.unwrapped.body
    assert task.goal_distance(body) == pytest.approx(16.0, abs=0.75)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"options": {"camera_limit": "200"}}, "camera_limit: .* received 200"),
        ({"options": {"camera_limit": "far"}}, "camera_limit: expected above 0 to 180"),
        ({"options": {"dense": "1"}}, "dense: expected True or False, received 1"),
        ({"options": {"goal_distance": "0"}}, "goal_distance"),
        ({"options": {"gaol_distance": "16"}}, "minerl_navigate"),
        ({"action_repeat": 0}, "action_repeat"),
        (
            {"image_size": 0},
            "image_size: expected a multiple of 16 from 32 to 128, received 0; raise",
        ),
        ({"image_size": 84}, "image_size: .*, received 84; change --env.image-size; the default"),
        ({"image_size": 256}, "image_size: .*, received 256; lower --env.image-size; the default"),
        ({"time_limit": 0}, "time_limit"),
        ({"name": "gym:Pendulum-v1", "time_limit": 0}, "time_limit"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        make_agent_env(navigate(**change))


def test_a_vector_needs_an_environment():
    with pytest.raises(ValueError, match="num_envs: expected 1 or more"):
        make_vector(EnvConfig(), 0, seed=0)


def test_the_default_is_navigate():
    assert EnvConfig().name == NAVIGATE and gymnasium.__version__.startswith("1.")


def test_held_keys_are_given_as_pairs():
    env = make_vector(navigate(options={"held_keys": "jump=1 attack=0"}), 1, 0)
    assert not {"jump", "attack"} & set(env.single_action_space.spaces)
    env.close()
    with pytest.raises(ValueError, match="held_keys: expected keys and their values, such as"):
        make_vector(navigate(options={"held_keys": "jump"}), 1, 0)
