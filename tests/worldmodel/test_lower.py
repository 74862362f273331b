"""The levels below the top, filtered online, hold the beliefs of `observe`; codes in place of
actions at the top. The streams of episodes are those of ``test_filter.py``."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.worldmodel.test_filter import STEPS, episodes, recorded, stream_of, whole
from worldmodel import ClockworkVAE, State
from worldmodel.codes import ActionCode
from worldmodel.distributions import Gaussian
from worldmodel.filter import filter_step, initial_carry
from worldmodel.lower import initial_lower, level1, lower_step

CODE, ACTIONS, VECTOR = 5, 2, 3
KIND: dict[str, Any] = {"layers": 1, "act": "silu", "norm": True, "dtype": "float32"}


def coded(cases: Any, strides: tuple[int, ...]) -> ClockworkVAE:
    """A model whose top reads codes."""
    config = cases.config(strides=strides)

    def make() -> ClockworkVAE:
        rngs = nnx.Rngs(0)
        code = ActionCode(strides[-1] * ACTIONS, Gaussian(CODE, 0.1), 8, rngs=rngs, **KIND)
        return ClockworkVAE(config, {"vector": (VECTOR,)}, ACTIONS, rngs, code)

    return cases.lively(make)


def lower_noise(model: ClockworkVAE) -> jax.Array:
    """[STEPS, N, L-1, S]."""
    return model.latent.noise(jax.random.key(3), (STEPS, 3, model.upper))


def filter_lower(model: ClockworkVAE, replan: int) -> tuple[State, ...]:
    """Every level's belief after every step, level 1 first, the top's last. [STEPS, N, ·]."""

    @jax.jit
    def run(stream: Any, noise: jax.Array) -> tuple[State, ...]:
        def step(carry: Any, now: Any) -> Any:
            (top, lower), (x, draws) = carry, now
            obs = {"vector": x.vector}
            top, _ = filter_step(model, top, obs, x.action, x.is_first, x.noise, replan)
            lower = lower_step(model, lower, top, obs, x.is_first, draws)
            assert level1(lower, top) is (*lower.states, top.belief)[0]
            return (top, lower), (*lower.states, top.belief)

        start = initial_carry(model, 3, replan), initial_lower(model, 3)
        states: tuple[State, ...] = jax.lax.scan(step, start, (stream, noise))[1]
        return states

    return jax.device_get(run(stream_of(model), lower_noise(model)))


@pytest.mark.parametrize(
    ("strides", "replan"),
    [
        ((1, 4), 2),
        pytest.param((1, 4), 4, marks=pytest.mark.slow),
        pytest.param((1, 2, 8), 1, marks=pytest.mark.slow),
        pytest.param((1,), 1, marks=pytest.mark.slow),
        pytest.param((1, 4), 1, marks=pytest.mark.slow),
        pytest.param((1, 2, 8), 8, marks=pytest.mark.slow),
    ],
)
def test_all_levels_are_those_of_observe(cases: Any, strides: tuple[int, ...], replan: int) -> None:
    """Each holds its belief between its own ticks, whatever the interval between plans."""
    model = coded(cases, strides)
    online = filter_lower(model, replan)
    stream, noise, length = stream_of(model), lower_noise(model), whole(STEPS, model.stride)
    records, top = recorded(model, stream, [(e, 0) for e in episodes()], length)
    index = [(e.start + np.clip(np.arange(length), 0, e.length - 1), e.row) for e in episodes()]
    lower = jnp.stack([noise[at] for at in index])  # [episodes, length, L-1, S]
    draws = (*(lower[:, ::k, n] for n, k in enumerate(strides[:-1])), top)
    beliefs = jax.jit(model.observe)(records, draws)
    for level, stride in enumerate(strides):
        held = replan if level == model.upper else stride
        tick = 1 if level == model.upper else stride
        for n, e in enumerate(episodes()):
            steps = np.arange(e.length)
            got = cases.at(online[level], (e.start + steps, e.row))
            cases.close(
                got, cases.at(beliefs[level].state, (n, steps // held * held // tick)), 1e-5
            )


def test_the_top_reads_codes_and_the_levels_below_actions(cases: Any) -> None:
    model = coded(cases, (1, 2, 4))
    assert [level.inputs.action for level in model.levels] == [ACTIONS, 2 * ACTIONS, CODE]
    plain = cases.model(strides=(1, 2, 4))
    assert plain.code is None
    chunk = jnp.ones((3, 8))
    np.testing.assert_array_equal(plain.interval(chunk), chunk)
    np.testing.assert_array_equal(model.interval(chunk), model.code(chunk)["mean"])


def test_the_codes_of_observe(cases: Any) -> None:
    """The chunk of each tick is the K actions up to it; its code's mean is what `observe` takes
    unless it is given another, which then moves every level through the top."""
    model = coded(cases, (1, 4))
    records = cases.records(model, 2, 8, 0, firsts=(0,))
    chunks = model.chunks(records)
    action = np.asarray(records.action)
    expected = np.where(np.arange(11)[:, None] < model.lead, 0, action)  # the episode starts at 0
    for time in range(8):
        at = slice(time, time + 4)  # K actions up to main time `time`, behind a lead-in of 3
        np.testing.assert_array_equal(chunks[:, time], expected[:, at].reshape(2, -1))
    noise, observe = model.draw_noise(jax.random.key(0), 2, 8), jax.jit(model.observe)
    given = observe(records, noise, code=model.interval(chunks))
    cases.close(given, observe(records, noise), 1e-6)
    moved = observe(records, noise, code=model.interval(chunks).at[:, 4].add(1.0))
    same = [
        np.asarray(a.state.h == b.state.h).all((0, 2)) for a, b in zip(given, moved, strict=True)
    ]
    np.testing.assert_array_equal(same[1], np.arange(8) != 4)  # of the chain of phase 0 alone
    np.testing.assert_array_equal(same[0], np.arange(8) < 4)


def test_imagination_reads_codes(cases: Any) -> None:
    model = coded(cases, (1, 4))
    states = tuple(level.initial((2,)) for level in model.levels)
    action = jax.random.normal(jax.random.key(0), (2, 8, ACTIONS))
    noise = model.imagination_noise(jax.random.key(1), 2, 8)
    top = jax.jit(model.imagine)(states, action, jnp.ones((2, 8)), noise)[-1]
    state = states[-1]
    for tick in range(2):
        code = model.interval(action[:, 4 * tick : 4 * tick + 4].reshape(2, -1))
        state = model.imagine_top(state, code, noise[-1][:, tick])
        cases.close(state, cases.at(top, (slice(None), tick)), 1e-5)


def test_a_code_of_other_chunks_is_refused(cases: Any) -> None:
    code = ActionCode(6, Gaussian(CODE, 0.1), 8, rngs=nnx.Rngs(0), **KIND)
    with pytest.raises(ValueError, match="code: expected one of chunks of 4 actions of 2 floats"):
        ClockworkVAE(cases.config(), {"vector": (VECTOR,)}, ACTIONS, nnx.Rngs(0), code)
