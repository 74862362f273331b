"""DeepMind Control from state: names, what a frame returns, ends, seeds, packages."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from envs import EnvConfig, make, make_agent_env, make_vector
from envs import dmc as module
from envs.dmc import DMCEnv, load_suite

ROOT = Path(__file__).resolve().parents[2]
TASKS = (
    "cartpole_swingup",
    "ball_in_cup_catch",
    "walker_walk",
    "cheetah_run",
    "reacher_easy",
    "finger_spin",
)


def rollout(env, seed, frames=5):
    env.action_space.seed(0)
    seen = [env.reset(seed=seed)[0]]
    seen += [env.step(env.action_space.sample())[0] for _ in range(frames)]
    return np.array([np.concatenate(list(obs.values())) for obs in seen])


def test_every_task_of_the_suite_has_one_name():
    tasks = load_suite().ALL_TASKS
    assert len({f"{domain}_{task}" for domain, task in tasks}) == len(tasks) > 45


@pytest.mark.parametrize(
    ("name", "domain", "task"),
    [("walker_walk", "walker", "Walk"), ("ball_in_cup_catch", "ball_in_cup", "BallInCup")],
)
def test_a_name_is_split_where_the_domain_ends(name, domain, task):
    env = make(f"dmc:{name}")
    assert type(env.dm_env.task).__module__ == f"dm_control.suite.{domain}"
    assert make("dmc:humanoid_CMU_stand").action_space.shape == (56,)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cup_catch", "did you mean 'dmc:ball_in_cup_catch'"),
        ("walker", "did you mean 'dmc:walker_"),
        ("qqq", "such as dmc:walker_walk"),
        ("lqr_lqr_2_1", "no limits"),
    ],
)
def test_wrong_tasks_say_what_is_right(name, hint):
    with pytest.raises(ValueError, match=f"expected .*{hint}"):
        make(f"dmc:{name}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0}, "size of at least 1 pixel"),
        ({"camera": 7}, "camera from -1 to 1, received 7"),
        ({"render_mode": "human"}, "render_mode rgb_array"),
        ({"wings": 2}, "wings"),
    ],
)
def test_wrong_options_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        make("dmc:walker_walk", **change)


@pytest.mark.filterwarnings("ignore:.*infinity. This is probably too", "ignore:.*having a spec")
@pytest.mark.parametrize("task", [*TASKS, "quadruped_walk"])
def test_gymnasiums_own_checker_passes(task):
    check_env(DMCEnv(task))


def test_observations_are_dm_controls_arrays_as_float32_vectors_sorted_by_name():
    env = DMCEnv("walker_walk")
    obs, _ = env.reset(seed=0)
    source = env.dm_env.task.get_observation(env.dm_env.physics)
    assert {name: x.shape for name, x in obs.items()} == {
        "height": (1,),
        "orientations": (14,),
        "velocity": (9,),
    }
    assert list(obs) == sorted(source) == list(env.observation_space.spaces)
    for name, value in obs.items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, np.float32(np.ravel(source[name])))


def test_a_tick_is_dm_controls_own():
    """The plain twin: the suite itself, under the same task seed and actions."""
    env = DMCEnv("cheetah_run")
    env.reset(seed=3)
    drawn = int(np.random.default_rng(3).integers(2**32))
    plain = load_suite().load("cheetah", "run", task_kwargs={"random": drawn})
    plain.reset()
    env.action_space.seed(1)
    for _ in range(20):
        action = env.action_space.sample()
        obs, reward, *_ = env.step(action)
        expected = plain.step(action)
        assert reward == expected.reward and 0 <= reward <= 1
        np.testing.assert_array_equal(obs["velocity"], np.float32(expected.observation["velocity"]))


@pytest.mark.parametrize("task", ["cartpole_swingup", "finger_spin"])
def test_an_episode_is_1000_ticks_and_ends_by_truncation(task):
    env = DMCEnv(task)
    env.reset(seed=0)
    action = np.zeros(env.action_space.shape, np.float32)
    ends = [env.step(action)[2:4] for _ in range(1000)]
    assert ends == [(False, False)] * 999 + [(False, True)]
    with pytest.raises(ValueError, match="expected reset"):
        env.step(action)


@pytest.mark.parametrize(("discount", "end"), [(0.0, (True, False)), (1.0, (False, True))])
def test_only_a_discount_of_zero_is_a_terminal(discount, end):
    env = DMCEnv("cartpole_balance")
    env.reset(seed=0)
    action = np.zeros(1, np.float32)
    assert env.step(action)[2:4] == (False, False)
    env.dm_env.task.get_termination = lambda physics: discount
    assert env.step(action)[2:4] == end


def test_actions_are_stretched_onto_the_tasks_bounds_once():
    env = DMCEnv("quadruped_walk")
    assert env.action_space == spaces.Box(-1, 1, (12,), np.float32)
    env.reset(seed=0)
    for value, bound in ((-1, (-1, -1, -0.8)), (1, (1, 1.1, 0.8)), (0, (0, 0.05, 0))):
        env.step(np.full(12, value, np.float32))
        np.testing.assert_allclose(env.dm_env.physics.control()[:3], bound, atol=1e-7)


def test_bounds_of_one_pass_untouched():
    env = DMCEnv("walker_walk")
    env.reset(seed=0)
    action = env.action_space.sample()
    env.step(action)
    np.testing.assert_array_equal(env.dm_env.physics.control(), np.float64(action))


@pytest.mark.parametrize("task", ["cheetah_run", "reacher_easy"])
def test_the_seed_decides_everything(task):
    env = DMCEnv(task)
    first = rollout(env, 5)
    following = rollout(env, None)
    assert not np.array_equal(first, following)
    np.testing.assert_array_equal(rollout(env, 5), first)
    np.testing.assert_array_equal(rollout(env, None), following)
    np.testing.assert_array_equal(rollout(DMCEnv(task), 5), first)
    assert not np.array_equal(rollout(env, 6), first)


def test_environments_of_a_vector_differ():
    envs = make_vector(EnvConfig(name="dmc:reacher_easy"), 2, seed=0)
    obs, _ = envs.reset()
    assert not np.array_equal(*obs["position"])
    np.testing.assert_array_equal(
        obs["position"][1], make("dmc:reacher_easy").reset(seed=1)[0]["position"]
    )
    envs.close()


def test_an_agents_step_holds_the_action_and_sums_the_rewards():
    one = make("dmc:cartpole_balance")
    two = make_agent_env(EnvConfig(name="dmc:cartpole_balance", action_repeat=2))
    one.reset(seed=0), two.reset(seed=0)
    action = np.array([0.3], np.float32)
    rewards = [one.step(action)[1] for _ in range(2)]
    obs, reward, *_ = two.step(action)
    assert reward == sum(rewards) and rewards[0] > 0.5
    ends = [two.step(action)[2:4] for _ in range(499)]
    assert ends == [(False, False)] * 498 + [(False, True)]


@pytest.mark.parametrize("package", module.PINS)
@pytest.mark.parametrize("found", [None, "99.0.0"])
def test_missing_and_other_packages_are_named(monkeypatch, package, found):
    known = module.version

    def version(name):
        if name != package:
            return known(name)
        if found is None:
            raise module.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(module, "version", version)
    line = f"expected {package} {module.PINS[package]} .* received {found or 'none'}: pip install"
    with pytest.raises(ValueError, match=line) as caught:
        make("dmc:walker_walk")
    assert "'.[dmc]'" in str(caught.value) and "\n" not in str(caught.value)


def test_the_extras_pin_what_is_asked_for():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = {f"{package}=={pin}" for package, pin in module.PINS.items()}
    for extra in ("dmc", "test"):
        assert pins <= set(extras["optional-dependencies"][extra])
