"""The compiled program: what it remembers, how it cuts sequences, and what an update does."""

from collections.abc import Iterator
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
from agents.compiled import CompiledRun, Orders, RunState, Schedule, choose
from agents.config import AgentConfig
from agents.memory import Memory, cut_sequence, of_episodes, resized, rewards, sample
from envs.pure import PureEnv, Transition
from tests.replay.slow_sequences import slow_slots
from worldmodel.clockwork import ClockworkConfig
from worldmodel.learner import SKIPPED, OptimizerConfig, make_optimizer

STRIDE, LENGTH, ENVS, TIME, ROUNDS = 2, 6, 3, 7, 20


class Count(PureEnv):
    """Observes the time and the action that led there; rewards the time. Environments whose number
    is drawn as 1 end in a terminal state after 4 steps."""

    length, terminates = TIME, True
    observation_space, action_space = spaces.Box(-9, 9, (2,)), spaces.Box(-1, 1, (1,))

    def reset(self, key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        """Time 0."""
        return jnp.zeros(()), jnp.zeros(()), jax.random.bernoulli(key)

    def step(self, state: tuple[Array, ...], action: Array, key: PRNGKeyArray) -> Transition:
        """One later."""
        time = state[0] + 1
        return Transition((time, action[0], state[2]), time, state[2] & (time == 4))

    def observe(self, state: tuple[Array, ...]) -> Array:
        """Time and action."""
        return jnp.stack(state[:2])


class Choices(Count):
    """Two actions, of which the second pays 1; never terminates."""

    terminates, action_space = False, spaces.Discrete(2)

    def step(self, state: tuple[Array, ...], action: Array, key: PRNGKeyArray) -> Transition:
        """One later."""
        moved = (state[0] + 1, action.astype(jnp.float32), state[2])
        return Transition(moved, moved[1], jnp.zeros((), bool))


class Drawn(Count):
    """Shows at its start a number that was drawn; pays what was done; never terminates."""

    terminates = False

    def reset(self, key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        """Time 0."""
        return jnp.zeros(()), jax.random.uniform(key), jnp.zeros((), bool)

    def step(self, state: tuple[Array, ...], action: Array, key: PRNGKeyArray) -> Transition:
        """One later."""
        moved = (state[0] + 1, action[0], state[2])
        return Transition(moved, action[0], jnp.zeros((), bool))


def make_run(env: PureEnv) -> CompiledRun:
    config = AgentConfig(
        model=ClockworkConfig(
            strides=(1, STRIDE), stoch=3, deter=8, hidden=8, embed=6, scale_vectors=True
        ),
        behaviour=ActorCriticConfig(horizon=6),
        keep_plan=0.5,
    )
    codec = ActionCodec(env.action_space)

    def make(key: PRNGKeyArray) -> Agent:
        return Agent(config, {"observation": (2,)}, codec, nnx.Rngs(key))

    return CompiledRun(
        nnx.eval_shape(make, jax.random.key(0)),
        make,
        env,
        make_optimizer(OptimizerConfig(), apart=("actor", "critic")),
        Schedule(rounds=ROUNDS, num_envs=ENVS, batch=4, length=LENGTH),
    )


def orders(rounds: int, updates: int = 0, steps: int = 0, learned: int = 0) -> Orders:
    """So many updates after the last of the rounds."""
    plan = np.zeros(ROUNDS, np.int32)
    plan[rounds - 1] = updates
    return Orders(jnp.int32(rounds), jnp.asarray(plan), jnp.int32(steps), jnp.int32(learned))


@pytest.fixture(scope="module", autouse=True)
def same_keys() -> Iterator[None]:
    """Programs are given the same keys twice, on purpose, to be compared."""
    with jax.debug_key_reuse(False):
        yield


@pytest.fixture(scope="module")
def run() -> CompiledRun:
    return make_run(Count())


@pytest.fixture(scope="module")
def advance(run: CompiledRun) -> Any:
    """Two runs as one program."""
    go = jax.jit(jax.vmap(run.advance, in_axes=(0, 0, None, 0)))
    return lambda state, keys, orders, target: go(state, keys, orders, {"entropy_target": target})


KEYS, TARGETS = jax.random.split(jax.random.key(4), 2), jnp.array([0.0, 1.0])


@pytest.fixture(scope="module")
def begun(run: CompiledRun) -> RunState:
    """Two runs from the same start, before their first step."""
    return jax.jit(partial(jax.lax.map, run.initial))(jnp.stack([jax.random.key(0)] * 2))


@pytest.fixture(scope="module")
def collected(advance: Any, begun: RunState) -> tuple[Any, Any]:
    """After 15 rounds without an update."""
    return advance(begun, KEYS, orders(15), TARGETS)


def one(state: Any, number: int = 0) -> Any:
    return jax.tree.map(lambda x: x[number], state)


def lengths(memory: Memory) -> np.ndarray:
    return np.asarray(memory.steps[: int(memory.begun)])


def test_memory_is_in_the_arrival_convention(collected: tuple[Any, Any]) -> None:
    seen_short = seen_whole = 0
    for number in range(2):
        state, report = one(collected, number)
        memory = state.memory
        assert int(memory.time) == 16 and lengths(memory).sum() == 16 * ENVS
        assert not np.any(memory.steps[int(memory.begun) :])
        for row, steps in enumerate(lengths(memory)):
            at = int(memory.stream[row]), slice(int(memory.start[row]), None)
            obs, action, reward, terminal = (
                np.asarray(getattr(memory, name)[at])[:steps]
                for name in ("obs", "action", "reward", "terminal")
            )
            np.testing.assert_array_equal(obs[:, 0], np.arange(steps))
            np.testing.assert_array_equal(reward, np.arange(steps))
            np.testing.assert_allclose(obs[:, 1], action[:, 0], atol=1e-6)
            marks = action[:, 1]
            assert not action[0].any() and np.abs(action[1:, 0]).min(initial=1) > 0
            assert set(marks[1:].tolist()) <= {0, 1} and marks[1:2].all()
            assert not np.any((marks[1:-1] == 0) & (marks[2:] == 0))  # K = 2
            assert not terminal[:-1].any() and terminal.sum() == (steps == 5 and terminal[-1])
            seen_short, seen_whole = seen_short + terminal.sum(), seen_whole + (steps == TIME + 1)
        over = np.asarray(report.ended).T  # [N, R]
        scores = np.concatenate([report.score.T[i][over[i]] for i in range(ENVS)])
        steps = np.concatenate([report.length.T[i][over[i]] for i in range(ENVS)])
        assert set(steps) <= {4, TIME} and over.sum() == int(memory.begun) - (
            ENVS - np.asarray(state.acting.last).sum()
        )
        np.testing.assert_allclose(scores, steps * (steps + 1) / 2)
        for row, steps in enumerate(lengths(memory)):
            np.testing.assert_array_equal(rewards(memory, row), np.arange(steps))
    assert seen_short and seen_whole


def plain(memory: Memory, rows: tuple[int, ...], block: int) -> dict[str, np.ndarray]:
    """The sequence slot by slot."""
    steps = lengths(memory)[list(rows)]
    slots = slow_slots(block * STRIDE, steps[0], iter(steps[1:]), STRIDE, LENGTH)
    names = ("time", "action", "reward", "terminal", "first", "mask")
    out = {name: np.zeros(len(slots)) for name in names}
    for slot, held in enumerate(slots):
        if held is not None:
            number, time, real = held
            row = rows[number]
            source = int(memory.stream[row]), int(memory.start[row]) + time
            out["time"][slot], out["mask"][slot] = time, real
            out["first"][slot] = real and time == 0
            out["action"][slot] = real * memory.action[source][0]
            out["reward"][slot] = real * memory.reward[source]
            out["terminal"][slot] = real * memory.terminal[source]
    return out


def test_sequences_are_cut_by_the_rule_of_all_samplers(collected: tuple[Any, Any]) -> None:
    memory = one(collected[0]).memory
    cut = jax.jit(lambda rows, block: cut_sequence(memory, rows, block, STRIDE, LENGTH))
    ends = 0
    for rows in ((0, 1, 2), (1, 4, 0), (3, 2, 1), (4, 3, 5), (2, 5, 3)):
        for block in range(-(-(lengths(memory)[rows[0]] + STRIDE - 1) // STRIDE)):
            got = cut(jnp.array(rows), jnp.int32(block))
            want = plain(memory, rows, block)
            where = f"rows {rows}, block {block}"
            np.testing.assert_array_equal(got.obs["observation"][:, 0], want["time"], where)
            np.testing.assert_array_equal(got.mask, want["mask"], where)
            np.testing.assert_array_equal(got.is_first, want["first"], where)
            np.testing.assert_array_equal(got.reward, want["reward"], where)
            np.testing.assert_allclose(got.action[:, 0], want["action"], err_msg=where)
            np.testing.assert_array_equal(got.action_mask, want["mask"], where)
            np.testing.assert_array_equal(got.terminal, want["terminal"], where)
            ends += int(got.terminal.sum())
    assert ends


def test_every_record_so_far_is_drawn_equally_often(collected: tuple[Any, Any]) -> None:
    memory = one(collected[0]).memory
    draw = jax.jit(jax.vmap(lambda key: sample(memory, key, 4, LENGTH, STRIDE)))
    records = draw(jax.random.split(jax.random.key(5), 2000))
    records = jax.tree.map(lambda x: x[:, :, STRIDE - 1 :], records)
    times = np.asarray(records.obs["observation"][..., 0])[np.asarray(records.mask) > 0]
    there = np.bincount(np.concatenate([np.arange(n) for n in lengths(memory)]))
    counts = np.bincount(times.astype(int)) / there
    assert counts.mean() > 500
    np.testing.assert_allclose(counts / counts.mean(), 1, atol=0.05)


def test_a_memory_is_resized_and_goes_on(collected: tuple[Any, Any]) -> None:
    memory = one(collected[0]).memory
    trimmed = resized(memory, int(memory.time), int(memory.begun))
    assert trimmed.reward.shape == (ENVS, 16) and trimmed.steps.shape == (int(memory.begun),)
    back = resized(trimmed, memory.reward.shape[1], len(memory.steps))
    for was, now in zip(memory, back, strict=True):
        np.testing.assert_array_equal(was, now)
    time, begun = int(memory.time), int(memory.begun)
    for records, episodes in ((time - 1, begun), (time, begun - 1)):
        with pytest.raises(ValueError, match="memory: expected room for its 16 records per stream"):
            resized(memory, records, episodes)


def test_whole_episodes_are_a_memory() -> None:
    obs = jnp.arange(24.0).reshape(3, 8, 1)
    memory = of_episodes(obs, 2 * obs, 3 * obs[..., 0])
    got = cut_sequence(memory, jnp.array([1, 2, 0]), jnp.int32(1), STRIDE, 6)
    np.testing.assert_array_equal(got.obs["observation"][:, 0], [9, 10, 11, 12, 13, 14, 15])
    np.testing.assert_array_equal(got.reward, 3 * got.obs["observation"][:, 0])
    assert not got.is_first.any() and got.mask.all()


def test_portions_and_vmapped_runs_are_one_single_run(
    run: CompiledRun, advance: Any, begun: RunState
) -> None:
    """However the rounds are portioned, and whatever runs beside."""
    plan = orders(9)._replace(updates=jnp.asarray([0] * 6 + [1, 1, 1] + [0] * 11, jnp.int32))
    together, _ = advance(begun, KEYS, plan, TARGETS)
    state, _ = advance(begun, KEYS, orders(7, 1), TARGETS)
    state, _ = advance(state, KEYS, orders(1, 1, 7, 1), TARGETS)
    state, _ = advance(state, KEYS, orders(1, 1, 8, 2), TARGETS)
    for was, now in zip(jax.tree.leaves(together), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(was, now)
    swap = jnp.array([1, 0])
    swapped, _ = advance(begun, KEYS[swap], plan, TARGETS[swap])
    for was, now in zip(jax.tree.leaves(together), jax.tree.leaves(swapped), strict=True):
        np.testing.assert_array_equal(was, now[swap])
    params = together.train.params
    evaluate = partial(run.evaluate, count=5, most=100, greedy=True)
    played = jax.jit(jax.vmap(evaluate, (0, None)))(params, jax.random.key(9))
    assert set(np.ravel(played.length)) == {4, TIME} and not played.cut.any()
    np.testing.assert_allclose(played.score, played.length * (played.length + 1) / 2)
    assert np.isfinite(played.foreseen).all()
    gamma = run.agent.config.behaviour.discount
    want = [sum(gamma**t * (t + 1) for t in range(n)) for n in np.ravel(played.length)]
    np.testing.assert_allclose(np.ravel(played.discounted), want, rtol=1e-5)


@pytest.fixture(scope="module")
def learned(advance: Any, collected: tuple[Any, Any]) -> Any:
    """One round and update more, with entropy targets 0 and 1."""
    return advance(collected[0], KEYS, orders(1, 1, 15), TARGETS)


def test_behaviour_settings_can_differ_between_vmapped_runs(learned: Any) -> None:
    """A factor's bonus rises by ENTROPY_RATE per update and unit of its target."""
    low, high = learned[0].train.aux.log_entropy_scale
    np.testing.assert_allclose(high - low, ENTROPY_RATE, rtol=0.5)


def test_each_update_moves_the_scale_of_vectors(learned: Any, collected: Any) -> None:
    before = collected[0].train.params["model"]["scale"]
    after = learned[0].train.params["model"]["scale"]
    assert not before["batches"].any()
    np.testing.assert_array_equal(after["batches"], [1, 1])
    assert np.abs(after["mean"]["observation"]).min() > 0


def test_updates_that_are_not_finite_are_counted_and_change_nothing(
    advance: Any, collected: tuple[Any, Any]
) -> None:
    state = collected[0]
    reward = state.memory.reward.at[1].set(jnp.nan)
    state = state._replace(memory=state.memory._replace(reward=reward))
    after, report = advance(state, KEYS, orders(1, 2, 15), TARGETS)
    np.testing.assert_array_equal(report.skipped, [0, 2])
    np.testing.assert_array_equal(report.in_row, [0, 2])
    np.testing.assert_array_equal(after.in_row, [0, 2])
    assert SKIPPED not in report.metrics
    np.testing.assert_array_equal(np.isfinite(report.metrics["loss/total"]), [True, False])
    for was, now in zip(*map(jax.tree.leaves, (state.train, after.train)), strict=True):
        np.testing.assert_array_equal(was[1], now[1])


def test_discrete_actions_are_what_was_chosen() -> None:
    run = make_run(Choices())
    state = jax.jit(run.initial)(jax.random.key(0))
    act = jax.jit(run.act)
    for key in jax.random.split(jax.random.key(1), 12):
        state, *_ = act(state, key)
    memory = state.memory
    for row, steps in enumerate(lengths(memory)):
        at = int(memory.stream[row]), slice(int(memory.start[row]), None)
        obs, action, reward = (np.asarray(x[at])[1:steps] for x in memory[:3])
        np.testing.assert_array_equal(action[:, :2], np.eye(2)[obs[:, 1].astype(int)])
        np.testing.assert_array_equal(reward, obs[:, 1])
    assert set(np.ravel(memory.reward)) == {0, 1}
    assert len(memory.steps) == ENVS * (1 + -(-(ROUNDS + 1) // (TIME + 1)))


def test_each_step_is_drawn_anew(collected: tuple[Any, Any]) -> None:
    """The actor's mean is 0 at first: what is done is its noise, in every round its own."""
    memory = one(collected[0]).memory
    ends = [int(memory.start[row]) + steps for row, steps in enumerate(lengths(memory))]
    rows = zip(memory.stream, memory.start, ends, strict=False)
    done = np.concatenate([memory.action[n, start + 1 : end, 0] for n, start, end in rows])
    done = done[np.abs(done) < 1]  # the others were clipped
    assert len(np.unique(done)) == len(done) > 10 * ENVS


def test_each_episode_begins_anew() -> None:
    """At a start of its own, in every environment."""
    run = make_run(Drawn())
    state = jax.jit(run.initial)(jax.random.key(0))
    act = jax.jit(run.act)
    for key in jax.random.split(jax.random.key(1), 2 * (TIME + 1)):
        state, *_ = act(state, key)
    memory = jax.tree.map(np.asarray, state.memory)
    rows = range(int(memory.begun))
    starts = {float(memory.obs[memory.stream[row], memory.start[row], 1]) for row in rows}
    assert len(starts) == len(rows) == 3 * ENVS


def test_what_is_sampled_is_not_greedy_and_what_is_cut_is_told() -> None:
    """Whoever plays, and for however long: what the critic foresees at the start is not 0 here."""
    run = make_run(Drawn())
    params = jax.jit(run.initial)(jax.random.key(0)).train.params

    def off_zero(x: Array) -> Array:
        return x + jnp.linspace(0.0, 1.0, x.size).reshape(x.shape)

    params = params | {"critic": jax.tree.map(off_zero, params["critic"])}
    play = partial(run.evaluate, count=4)
    greedy, sampled, short = (
        jax.jit(partial(play, most=most, greedy=which))(params, jax.random.key(5))
        for most, which in ((99, True), (99, False), (3, True))
    )
    assert (greedy.score != sampled.score).all() and not greedy.cut.any()
    assert short.cut.all() and (short.length == 3).all()
    assert (np.abs(greedy.foreseen) > 0).all()
    np.testing.assert_array_equal(greedy.foreseen, short.foreseen)


def test_states_are_chosen_environment_by_environment() -> None:
    which = jnp.array([True, False])
    found = choose(which, {"x": jnp.ones((2, 3))}, {"x": jnp.zeros((2, 3))})
    np.testing.assert_array_equal(found["x"], [[1, 1, 1], [0, 0, 0]])


def test_a_schedule_that_cannot_run_says_so() -> None:
    with pytest.raises(ValueError, match="batch: expected 1 or more"):
        Schedule(10, 1, 0, 4)
