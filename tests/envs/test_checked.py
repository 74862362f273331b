"""Records are checked on arrival; errors of an environment's own code keep their traceback."""

import traceback

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from common import EnvironmentFailed, UserError
from envs import EnvConfig, make_agent_env, make_vector
from envs.checked import Checked, check_start

SPACE = spaces.Dict(
    {
        "box": spaces.Box(-1, 1, (3,), np.float32),
        "image": spaces.Box(0, 255, (8, 8, 3), np.uint8),
        "kind": spaces.Discrete(5, start=2),
        "parts": spaces.MultiDiscrete([2, 3]),
        "bits": spaces.MultiBinary(4),
    }
)


def good():
    return {
        "box": np.zeros(3, np.float32),
        "image": np.zeros((8, 8, 3), np.uint8),
        "kind": 6,
        "parts": np.array([1, 2]),
        "bits": np.array([0, 1, 1, 0], np.int8),
    }


class Scripted(gymnasium.Env):
    """Returns what it is given, from its second step on."""

    observation_space = SPACE
    action_space = spaces.Discrete(2)

    def __init__(self, obs=None, reward=1.0, terminated=False, info=None, raises=None):
        self.given, self.reward, self.terminated = obs or {}, reward, terminated
        self.info, self.raises, self.time = info or {}, raises, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return good(), {}

    def step(self, action):
        self.time += 1
        if self.time < 2:
            return good(), 1.0, False, False, {}
        if self.raises:
            raise self.raises
        return good() | self.given, self.reward, self.terminated, False, self.info


def second_step(**what):
    env = Checked(Scripted(**what), "mine:Env", index=3)
    env.reset(seed=0)
    env.step(0)
    return env.step(0)


@pytest.mark.parametrize(
    ("obs", "key", "expected", "received"),
    [
        ({"box": np.zeros(4, np.float32)}, "box", "shape (3,)", "shape (4,)"),
        ({"box": np.array([1, 2, 3])}, "box", "floats (float32)", "integers"),
        ({"box": np.array([0, np.nan, 0])}, "box", "finite numbers", "nan"),
        ({"box": np.array([0, np.inf, -np.inf])}, "box", "finite numbers", "inf in 2 places"),
        ({"box": np.array([0, 1e300, 0])}, "box", "finite numbers", "1e+300"),
        ({"box": None}, "box", "numbers of shape (3,)", "None"),
        ({"box": "hello"}, "box", "numbers of shape (3,)", "'hello'"),
        ({"image": np.zeros((8, 8, 3))}, "image", "unsigned integers (uint8)", "floats"),
        ({"image": np.full((8, 8, 3), 300)}, "image", "unsigned integers (uint8)", "integers"),
        ({"image": np.zeros((3, 8, 8), np.uint8)}, "image", "shape (8, 8, 3)", "shape (3, 8, 8)"),
        ({"kind": -1}, "kind", "a category of 2 to 6", "-1"),
        ({"kind": 7}, "kind", "a category of 2 to 6", "7"),
        ({"kind": 2.5}, "kind", "integers", "floats"),
        ({"kind": True}, "kind", "integers", "booleans"),
        ({"parts": np.array([0, 3])}, "parts", "a category of 0 to 2", "3 in place 1"),
        ({"parts": np.array([-1, 0])}, "parts", "a category of 0 to 1", "-1 in place 0"),
        ({"bits": np.array([0, 2, 0, 0])}, "bits", "0 or 1", "[0, 2, 0, 0]"),
        ({"bits": np.array([0, 1])}, "bits", "shape (4,)", "shape (2,)"),
    ],
)
def test_an_observation_that_does_not_fit_is_named(obs, key, expected, received):
    with pytest.raises(UserError) as error:
        second_step(obs=obs)
    line = str(error.value)
    assert line.startswith(f"environment mine:Env, index 3, step 2, {key}: expected {expected}")
    assert f"received {received}" in line.replace("array(", "") and "; " in line
    assert "\n" not in line


def test_large_numbers_are_finite():
    """The sum of their squares is not."""
    assert second_step(obs={"box": np.full(3, 3e38, np.float32)})[1] == 1.0


@pytest.mark.parametrize(
    "reward", [None, "1", np.array([1.0, 2.0]), float("nan"), np.array([np.inf]), 1e39]
)
def test_a_reward_is_one_finite_number(reward):
    with pytest.raises(UserError, match="index 3, step 2, reward: expected"):
        second_step(reward=reward)


@pytest.mark.parametrize("reward", [1, 1.0, True, np.float32(1), np.array([1.0]), np.array(1)])
def test_one_number_in_any_form_is_a_reward(reward):
    found = second_step(reward=reward)[1]
    assert found == 1.0 and type(found) is float


def test_terminated_is_true_or_false():
    with pytest.raises(UserError, match="terminated: expected True or False, received None"):
        second_step(terminated=None)
    assert second_step(terminated=np.bool_(True))[2] is True


def test_of_infos_success_alone_is_read():
    info = {"ragged": [np.zeros(2), np.zeros(3)], "is_success": np.array([1.0])}
    assert second_step(info=info)[4] == {"success": True}
    assert second_step(info={"success": False})[4] == {"success": False}
    assert second_step(info={"else": object()})[4] == {}


def test_ragged_infos_do_not_break_a_vector_of_environments():
    envs = make_vector(EnvConfig(name=f"{__name__}:Ragged"), 3, 0)
    envs.reset()
    for _ in range(3):
        envs.step(np.zeros(3, int))
    envs.close()


class Ragged(Scripted):
    """Infos whose arrays differ in length from step to step and among environments."""

    def step(self, action):
        obs, *rest, _ = super().step(action)
        size = int(self.np_random.integers(1, 9))
        return obs, *rest, {"path": np.zeros(size), "names": ["a"] * size, "deep": {"x": [size]}}


@pytest.mark.parametrize("raised", [ValueError("deep"), TypeError("deep"), KeyError("deep")])
def test_an_error_of_the_environments_own_keeps_its_traceback(raised):
    with pytest.raises(EnvironmentFailed) as error:
        second_step(raises=raised)
    said = str(error.value)
    assert said.startswith("environment mine:Env, index 3, step 2: step raised")
    assert type(raised).__name__ in said and "deep" in said
    assert error.value.__cause__ is raised
    last = traceback.extract_tb(raised.__traceback__)[-1]
    assert last.filename == __file__ and last.line == "raise self.raises"


class OldStep(Scripted):
    def step(self, action):
        return good(), 1.0, False, {}


class OldReset(Scripted):
    def reset(self, *, seed=None, options=None):
        return good()


class Seedless(Scripted):
    def reset(self):
        return good(), {}


class Outside(Scripted):
    def reset(self, *, seed=None, options=None):
        return good() | {"box": np.full(3, 7, np.float32)}, {}


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (OldStep, "expected step to return .* terminated, truncated, info.*received 4 values"),
        (OldReset, r"expected reset to return \(observation, info\), received {"),
        (Seedless, r"expected reset\(self, \*, seed=None, options=None\), received reset\(\)"),
        (Outside, "box: expected numbers of -1 to 1, received 7; widen the observation space"),
    ],
)
def test_common_mistakes_are_found_at_the_start(kind, told):
    with pytest.raises(UserError, match=told):
        check_start(Checked(kind(), "mine:Env"))


class AtTheBound(gymnasium.Env):
    """Returns a value of another type than its space has."""

    action_space = spaces.Discrete(2)

    def __init__(self, value, space):
        self.value, self.observation_space = value, space

    def reset(self, *, seed=None, options=None):
        return self.value, {}

    def step(self, action):
        return self.value, 0.0, False, False, {}


def test_bounds_are_those_of_the_spaces_own_numbers():
    """0.7 is more as float64 than as float32; 300 is no byte, and does not become one."""
    check_start(Checked(AtTheBound(np.array([0.7]), spaces.Box(-0.7, 0.7, (1,))), "mine:Env"))
    bytes_ = spaces.Box(0, 255, (1,), np.uint8)
    with pytest.raises(UserError, match="expected numbers of 0 to 255, received 300"):
        check_start(Checked(AtTheBound(np.array([300], np.uint16), bytes_), "mine:Env"))


def test_a_good_environment_starts():
    check_start(Checked(Scripted(), "mine:Env"))


class Raises(Scripted):
    def __init__(self, size=3):
        raise TypeError("mine, not the caller's")


def test_errors_of_a_constructor_are_told_from_wrong_options():
    with pytest.raises(EnvironmentFailed, match="constructor raised TypeError: mine, not"):
        make_agent_env(EnvConfig(name=f"{__name__}:Raises"))
    with pytest.raises(UserError, match="expected options that .* unexpected keyword"):
        make_agent_env(EnvConfig(name=f"{__name__}:Raises", options={"width": "3"}))


def test_an_error_of_a_registered_environments_constructor_is_its_own():
    """Not taken for a wrong id; and a class that tells no signature is called all the same."""
    gymnasium.register("Broken-v0", entry_point=broken)
    with pytest.raises(EnvironmentFailed, match="gym:Broken-v0: its constructor raised ValueErr"):
        make_agent_env(EnvConfig(name="gym:Broken-v0"))
    del gymnasium.registry["Broken-v0"]
    with pytest.raises(EnvironmentFailed, match="builtins:range: its constructor raised TypeErr"):
        make_agent_env(EnvConfig(name="builtins:range"))


def broken(**options):
    raise ValueError("mine")


def test_a_missing_dependency_is_named(tmp_path, monkeypatch):
    (tmp_path / "needs.py").write_text("import surely_not_there\n")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="install surely_not_there, which needs imports"):
        make_agent_env(EnvConfig(name="needs:Env"))
    with pytest.raises(EnvironmentFailed, match="importing broken raised ZeroDivisionError"):
        make_agent_env(EnvConfig(name="broken:Env"))
    with pytest.raises(UserError, match="or name the file: FILE.py:Class"):
        make_agent_env(EnvConfig(name="nowhere_at_all:Env"))
