"""The compiled program: what it remembers, how it cuts sequences, and that it learns."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from gymnasium import spaces
from jaxtyping import Array, PRNGKeyArray

from agents.actions import ActionCodec
from agents.actor_critic import ENTROPY_RATE, ActorCriticConfig
from agents.agent import Agent
from agents.compiled import (
    CompiledRun,
    Episodes,
    RunState,
    Schedule,
    cut_sequence,
    means,
    recorded,
)
from agents.config import AgentConfig
from envs.pure import PureEnv, Transition
from tests.replay.slow_sequences import slow_slots
from worldmodel.clockwork import ClockworkConfig
from worldmodel.learner import SKIPPED, OptimizerConfig, make_optimizer

STRIDE, LENGTH, ENVS, TIME = 2, 6, 3, 7
BOX = spaces.Box(-1, 1, (1,))


class Count(PureEnv):
    """Observes the time and the action that led there; rewards the time."""

    length, observation_space, action_space = TIME, spaces.Box(-9, 9, (2,)), BOX

    def reset(self, key: PRNGKeyArray) -> tuple[Array, Array]:
        """Time 0."""
        return jnp.zeros(()), jnp.zeros(())

    def step(self, state: tuple[Array, Array], action: Array, key: PRNGKeyArray) -> Transition:
        """One later."""
        return Transition((state[0] + 1, action[0]), state[0] + 1, jnp.zeros((), bool))

    def observe(self, state: tuple[Array, Array]) -> Array:
        """Time and action."""
        return jnp.stack(state)


@pytest.fixture(scope="module")
def run() -> CompiledRun:
    config = AgentConfig(
        model=ClockworkConfig(
            strides=(1, STRIDE), stoch=3, deter=8, hidden=8, embed=6, scale_vectors=True
        ),
        behaviour=ActorCriticConfig(horizon=6, hidden=8),
        keep_plan=0.5,
    )
    codec = ActionCodec(BOX)

    def make(key: PRNGKeyArray) -> Agent:
        return Agent(config, {"observation": (2,)}, codec, nnx.Rngs(key))

    return CompiledRun(
        nnx.eval_shape(make, jax.random.key(0)),
        make,
        Count(),
        make_optimizer(OptimizerConfig(), apart=("actor", "critic")),
        Schedule(steps=60, num_envs=ENVS, updates=1, batch=4, length=LENGTH),
    )


@pytest.fixture(scope="module")
def collected(run: CompiledRun) -> RunState:
    """After 10 rounds: one finished episode of each environment, 3 steps of the next."""
    state = jax.jit(run.initial)(jax.random.key(0))
    advance = jax.jit(lambda s, k: run.advance(s, k, rounds=10, learn=False)[0])
    return advance(state, jax.random.key(1))


def test_memory_is_in_the_arrival_convention(collected: RunState) -> None:
    memory = collected.episodes
    assert (int(memory.begun), int(memory.time)) == (2, 3)
    steps = recorded(memory, ENVS).reshape(-1, ENVS)
    np.testing.assert_array_equal(steps[:3], [[TIME + 1] * ENVS, [4] * ENVS, [0] * ENVS])
    for row in range(2 * ENVS):
        last = TIME if row < ENVS else 3
        np.testing.assert_array_equal(memory.obs[row, : last + 1, 0], np.arange(last + 1))
        np.testing.assert_array_equal(memory.reward[row, : last + 1], np.arange(last + 1))
        np.testing.assert_allclose(memory.obs[row, :, 1], memory.action[row, :, 0], atol=1e-6)
        assert float(memory.action[row, 0, 0]) == 0
        marks = memory.action[row, :, 1]
        assert np.abs(memory.action[row, 1 : last + 1, 0]).min() > 0
        assert set(marks.tolist()) <= {0, 1} and float(marks[1]) == 1 and float(marks[0]) == 0
        assert not np.any((marks[1:last] == 0) & (marks[2 : last + 1] == 0))  # K = 2
        assert not np.any(memory.obs[row, last + 1 :])


def plain(memory: Episodes, rows: tuple[int, ...], block: int) -> dict[str, np.ndarray]:
    """The sequence slot by slot."""
    steps = [TIME + 1 if r < ENVS else 4 for r in rows]
    slots = slow_slots(block * STRIDE, steps[0], iter(steps[1:]), STRIDE, LENGTH)
    out = {k: np.zeros(len(slots)) for k in ("time", "action", "reward", "first", "mask")}
    for slot, held in enumerate(slots):
        if held is not None:
            number, time, real = held
            out["time"][slot], out["mask"][slot] = time, real
            out["first"][slot] = real and time == 0
            out["action"][slot] = real * memory.action[rows[number], time, 0]
            out["reward"][slot] = real * memory.reward[rows[number], time]
    return out


def test_sequences_are_cut_by_the_rule_of_all_samplers(collected: RunState) -> None:
    memory = collected.episodes
    steps = recorded(memory, ENVS)
    cut = jax.jit(lambda *at: cut_sequence(memory, steps, *at, STRIDE, LENGTH))
    for rows in ((0, 1, 2), (1, 4, 0), (3, 2, 1), (4, 3, 5)):
        for block in range(5 if rows[0] < ENVS else 3):
            got = cut(jnp.array(rows), jnp.int32(block))
            want = plain(memory, rows, block)
            where = f"rows {rows}, block {block}"
            np.testing.assert_array_equal(got.obs["observation"][:, 0], want["time"], where)
            np.testing.assert_array_equal(got.mask, want["mask"], where)
            np.testing.assert_array_equal(got.is_first, want["first"], where)
            np.testing.assert_array_equal(got.reward, want["reward"], where)
            np.testing.assert_allclose(got.action[:, 0], want["action"], err_msg=where)
            np.testing.assert_array_equal(got.action_mask, want["mask"], where)
            assert not got.terminal.any()


def test_every_record_so_far_is_drawn_equally_often(run: CompiledRun, collected: RunState) -> None:
    """Times 0 to 3 are in six episodes, three of them at their end, the others in three."""
    draw = jax.jit(jax.vmap(lambda key: run.sample(collected.episodes, key)))
    records = draw(jax.random.split(jax.random.key(5), 2000))
    records = jax.tree.map(lambda x: x[:, :, STRIDE - 1 :], records)
    times = np.asarray(records.obs["observation"][..., 0])[np.asarray(records.mask) > 0]
    counts = np.bincount(times.astype(int), minlength=TIME + 1) / [2, 2, 2, 2, 1, 1, 1, 1]
    assert counts.mean() > 1000
    np.testing.assert_allclose(counts / counts.mean(), 1, atol=0.05)


def test_vmapped_runs_are_single_runs(run: CompiledRun) -> None:
    firsts, keys = jax.random.split(jax.random.key(3), (2, 2))

    def whole(state: RunState, key: PRNGKeyArray) -> tuple[Any, Array]:
        advance_key, last = jax.random.split(key)
        state, _ = run.advance(state, advance_key, rounds=9, learn=False)
        return state.episodes, run.evaluate(state.train.params, last, 2)

    with jax.debug_key_reuse(False):  # it takes vmap's both branches of a cond for two uses
        states = jax.jit(partial(jax.lax.map, run.initial))(firsts)
        together = jax.jit(jax.vmap(whole))(states, keys)
    alone = jax.jit(whole)(jax.tree.map(lambda x: x[1], states), keys[1])
    for one, both in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
        np.testing.assert_allclose(both[1], one, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(together[1], sum(range(TIME + 1)))  # rewards of an episode


@pytest.fixture(scope="module")
def learned(run: CompiledRun, collected: RunState) -> Any:
    """The state of learning and the metrics after one more round, with entropy targets 0 and 1, and
    with rewards that are no numbers."""

    def moved(target: Array, reward: Array) -> Any:
        episodes = collected.episodes._replace(reward=collected.episodes.reward + reward)
        state, metrics = run.advance(
            collected._replace(episodes=episodes),
            jax.random.key(0),
            rounds=1,
            learn=True,
            behaviour={"entropy_target": target},
        )
        return state.train, metrics

    with jax.debug_key_reuse(False):
        return jax.jit(jax.vmap(moved))(jnp.array([0.0, 1.0, 0.0]), jnp.array([0, 0, jnp.nan]))


def test_behaviour_settings_can_differ_between_vmapped_runs(learned: Any) -> None:
    """A factor's bonus rises by ENTROPY_RATE per update and unit of its target."""
    low, high, _ = learned[0].aux.log_entropy_scale
    np.testing.assert_allclose(high - low, ENTROPY_RATE, rtol=1e-3)


def test_each_update_moves_the_scale_of_vectors(learned: Any, collected: RunState) -> None:
    before = collected.train.params["model"]["scale"]
    after = jax.tree.map(lambda x: x[:2], learned[0].params["model"]["scale"])
    assert float(before["batches"]) == 0
    np.testing.assert_array_equal(after["batches"], [1, 1])
    assert np.abs(after["mean"]["observation"]).min() > 0


def test_updates_that_are_not_finite_are_counted_and_change_nothing(
    learned: Any, collected: RunState
) -> None:
    state, metrics = learned
    np.testing.assert_array_equal(metrics[SKIPPED], [0, 0, 1])
    np.testing.assert_array_equal(np.isfinite(metrics["loss/total"]), [True, True, False])
    for before, after in zip(*map(jax.tree.leaves, (collected.train, state)), strict=True):
        np.testing.assert_array_equal(before, after[2])


def test_means_are_of_the_updates_that_were_not_skipped() -> None:
    metrics = {"x": jnp.array([[1.0, 2.0], [jnp.nan, 6.0]]), SKIPPED: jnp.array([[0, 0], [1, 0]])}
    assert {name: float(value) for name, value in means(metrics).items()} == {"x": 3.0, SKIPPED: 1}


def test_a_schedule_that_cannot_run_says_so(run: CompiledRun) -> None:
    with pytest.raises(ValueError, match="batch: expected 1 or more"):
        Schedule(10, 1, 1, 0, 4).check(Count())
