"""Environments of gymnax and navix, against the libraries' own stepping."""

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common import EnvironmentFailed, UserError
from envs import EnvConfig, make, make_vector
from envs.pure import PureEnv, make_pure, of_library
from envs.pure.of_library import imported


@pytest.fixture(autouse=True)
def loose() -> Any:
    """The libraries broadcast and use keys as they like."""
    with jax.numpy_rank_promotion("allow"), jax.debug_key_reuse(False):
        yield


def library(package: str) -> Any:
    """The package, or the test is left out where it is not installed: it is an extra."""
    try:
        return imported(package)
    except UserError as error:
        pytest.skip(str(error))


def carried(env: PureEnv) -> None:
    """A step gives back a state that may stand in place of the first one, without running any."""
    key = jax.random.key(0)
    first = jax.eval_shape(env.reset, key)
    sample = env.action_space.sample()
    moved = jax.eval_shape(env.step, first, jnp.asarray(sample), key)
    for was, now in zip(*map(jax.tree.leaves, (first, moved.state)), strict=True):
        assert (was.shape, was.dtype) == (now.shape, now.dtype)
    assert (moved.reward.shape, moved.terminated.shape) == ((), ())
    seen = jax.eval_shape(env.observe, first)
    assert (seen.shape, seen.dtype) == (env.observation_space.shape, env.observation_space.dtype)


def test_gymnax_can_be_carried() -> None:
    names = [name for name in library("gymnax").registered_envs if "MNIST" not in name]  # downloads
    for name in names[::7]:
        carried(make_pure(f"gymnax:{name}"))


@pytest.mark.slow
def test_navix_can_be_carried() -> None:
    for name in sorted(library("navix").registry())[::20]:
        carried(make_pure(f"navix:{name}"))


@pytest.mark.parametrize("name", ["CartPole-v1", "MountainCarContinuous-v0", "FrozenLake-misc"])
def test_gymnax_is_stepped_as_it_steps_itself(name: str) -> None:
    theirs, params = library("gymnax").make(name)
    ours = make_pure(f"gymnax:{name}")
    step, own_step = jax.jit(ours.step), jax.jit(theirs.step)
    state, (seen, own) = ours.reset(jax.random.key(1)), theirs.reset_env(jax.random.key(1), params)
    ends = 0
    for key in jax.random.split(jax.random.key(2), 40):
        action = jnp.asarray(ours.action_space.sample())
        step_key, reset_key = jax.random.split(key)
        state, reward, terminated = step(state, action, step_key)
        _, own, own_reward, own_terminated, _, info = own_step(key, own, action, params)
        seen = jnp.atleast_1d(info["final_observation"])
        if name == "FrozenLake-misc":
            seen = jnp.arange(16) == seen
        np.testing.assert_allclose(ours.observe(state), seen, atol=1e-6)
        np.testing.assert_allclose(reward, own_reward, atol=1e-6)
        assert bool(terminated) == bool(own_terminated)
        if terminated:
            ends, state = ends + 1, ours.reset(reset_key)
    assert ends or name == "MountainCarContinuous-v0"


def test_navix_is_stepped_as_it_steps_itself() -> None:
    navix = library("navix")
    seen = navix.observations.symbolic_first_person
    theirs = navix.make("Navix-MemoryS7-v0", observation_fn=seen, max_steps=12)
    ours = make_pure("navix:Navix-MemoryS7-v0", max_steps=12)
    assert ours.length == 12 and ours.action_space == gymnasium.spaces.Discrete(7)
    step, own_step = jax.jit(ours.step), jax.jit(theirs.step)
    key, ends = jax.random.key(3), []
    own = jax.jit(theirs.reset)(key)
    state, time = own, 0
    for action in np.random.default_rng(0).choice([0, 1, 2, 2, 2, 2], 60):
        time += 1
        state, reward, terminated = step(state, jnp.asarray(action), key)
        own = own_step(own, jnp.asarray(action))
        cells = np.asarray(own.observation).reshape(-1, 3).astype(int)
        want = [np.eye(256)[cells[:, i]][:, :n] for i, n in enumerate((11, 6, 4))]
        np.testing.assert_array_equal(ours.observe(state), np.concatenate(want, axis=1).ravel())
        assert float(reward) == float(own.reward)
        assert bool(terminated) == (int(own.step_type) == 2)
        if terminated or time == ours.length:
            assert int(own.step_type) > 0
            ends.append(bool(terminated))
            own = own_step(own, jnp.asarray(0))
            state, time = own, 0
    assert {True, False} == set(ends)


def test_an_episode_of_gymnasium_ends_by_a_terminal_or_by_the_limit() -> None:
    library("gymnax")
    env = make("gymnax:CartPole-v1", max_steps_in_episode=12)
    ends = set()
    for seed in range(8):
        env.reset(seed=seed)
        for step in range(1, 13):
            *_, terminated, truncated, _ = env.step(seed % 2 if seed < 4 else step % 2)
            if terminated or truncated:
                ends.add((terminated, truncated, step == 12))
                break
    assert (True, False, False) in ends and (False, True, True) in ends


def test_the_agents_vector_shares_one_program() -> None:
    library("gymnax")
    envs = make_vector(EnvConfig(name="gymnax:FrozenLake-misc"), 2, seed=0)
    obs, _ = envs.reset()
    np.testing.assert_array_equal(obs["observation"], np.eye(16)[[0, 0]])
    one, other = (env.unwrapped for env in envs.envs)
    assert one.env is other.env and one._step is other._step
    envs.close()


def test_what_a_library_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    library("gymnax"), library("navix")
    with pytest.raises(UserError, match="did you mean 'CartPole-v1'"):
        make("gymnax:CartPole-v0")
    with pytest.raises(UserError, match="did you mean 'max_steps_in_episode'"):
        make("gymnax:CartPole-v1", max_steps=3)
    with pytest.raises(UserError, match="did you mean 'Navix-MemoryS7-v0'"):
        make("navix:Navix-Memory-S7-v0")
    with pytest.raises(UserError, match="observation of navix.*received 'rgb'"):
        make("navix:Navix-MemoryS7-v0", observation="rgb")
    with pytest.raises(EnvironmentFailed, match="gymnax:MNISTBandit-bsuite: its constructor"):
        make("gymnax:MNISTBandit-bsuite")


def test_a_library_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'gymnax'")

    monkeypatch.setattr(of_library.importlib, "import_module", nothing)
    with pytest.raises(UserError, match=r"package gymnax .*pip install '.\[gymnax\]'"):
        imported("gymnax")
