"""The online filter is the trained filter: one observation at a time, the beliefs of `observe`.

Several environments at once, each with its own clock: their episodes have different lengths and end
at different times. docs/design.md, Plans.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from worldmodel import ClockworkVAE, Records, State
from worldmodel.filter import check_replan, filter_step, initial_carry

EPISODES = ((9, 1, 16), (26,), (3, 11, 12))  # lengths, per environment
STEPS = 26
REPLANS = [
    ((1, 4), 1),
    ((1, 2, 8), 2),
    *[
        pytest.param(strides, replan, marks=pytest.mark.slow)
        for strides, replan in (((1,), 1), ((1, 4), 2), ((1, 4), 4), ((1, 2, 8), 1), ((1, 2, 8), 8))
    ],
]


class Stream(NamedTuple):
    """What the environments gave, [STEPS, N, ...], and the noise of the filter."""

    vector: jax.Array
    action: jax.Array
    is_first: jax.Array
    noise: jax.Array


class Episode(NamedTuple):
    """Where an episode lies in the stream."""

    row: int
    start: int
    length: int


def episodes() -> list[Episode]:
    return [
        Episode(row, sum(lengths[:n]), length)
        for row, lengths in enumerate(EPISODES)
        for n, length in enumerate(lengths)
    ]


def stream_of(model: ClockworkVAE) -> Stream:
    """Random numbers; the actions given at resets are not 0, for the filter must ignore them."""
    keys, rows = jax.random.split(jax.random.key(0), 3), len(EPISODES)
    is_first = np.zeros((STEPS, rows), bool)
    for episode in episodes():
        is_first[episode.start, episode.row] = True
    return Stream(
        vector=jax.random.normal(keys[0], (STEPS, rows, 3)),
        action=jax.random.normal(keys[1], (STEPS, rows, model.action_width)),
        is_first=jnp.asarray(is_first),
        noise=model.latent.noise(keys[2], (STEPS, rows)),
    )


def filter_stream(model: ClockworkVAE, stream: Stream, replan: int) -> tuple[State, np.ndarray]:
    """The filter's belief after every step, and whether a chain ticked. [STEPS, N, ·]."""

    @jax.jit
    def run(stream: Stream) -> tuple[State, jax.Array]:
        def step(carry: Any, now: Stream) -> tuple[Any, tuple[State, jax.Array]]:
            obs = {"vector": now.vector}
            carry, due = filter_step(model, carry, obs, now.action, now.is_first, now.noise, replan)
            return carry, (carry.belief, due)

        return jax.lax.scan(step, initial_carry(model, len(EPISODES), replan), stream)[1]

    return jax.device_get(run(stream))


def recorded(
    model: ClockworkVAE, stream: Stream, parts: list[tuple[Episode, int]], length: int
) -> tuple[Records, jax.Array]:
    """Rows of records with a lead-in, and the stream's noise at their times, [B, length, ...].

    Each part is an episode and the step of it at main time 0; what lies before is lead-in as far as
    it exists, what would lie behind is padding.
    """
    rows = []
    for episode, phase in parts:
        steps = np.arange(phase - model.lead, phase + length)
        real = (steps >= 0) & (steps < episode.length)
        index = episode.start + np.clip(steps, 0, episode.length - 1)
        took = jax.tree.map(lambda x, i=index, r=episode.row: np.asarray(x)[i, r], stream)
        rows.append((took, steps == 0, real))
    took, first, real = jax.tree.map(lambda *x: jnp.asarray(np.stack(x)), *rows)
    mask = real.astype(jnp.float32)
    records = Records(
        obs={"vector": took.vector},
        action=jnp.where((real & ~first)[..., None], took.action, 0.0),
        action_mask=mask,
        reward=jnp.zeros_like(mask),
        terminal=jnp.zeros_like(real),
        is_first=first,
        mask=mask,
    )
    return records, took.noise[:, model.lead :]


def top_states(model: ClockworkVAE, records: Records, top_noise: jax.Array) -> State:
    """The top's states in `observe`, at every main time."""
    lower = model.draw_noise(jax.random.key(9), *top_noise.shape[:2])[:-1]
    return jax.jit(model.observe)(records, (*lower, top_noise))[-1].state


def whole(length: int, stride: int) -> int:
    return -(-length // stride) * stride


@pytest.mark.parametrize(("strides", "replan"), REPLANS)
def test_filter_is_observe_at_every_phase(
    cases: Any, strides: tuple[int, ...], replan: int
) -> None:
    """All K chains by time index, across ends of episodes; r = 1, 2, K."""
    model = cases.model(strides=strides)
    stream = stream_of(model)
    belief, due = filter_stream(model, stream, replan)
    parts = [(episode, 0) for episode in episodes()]
    records, noise = recorded(model, stream, parts, whole(STEPS, model.stride))
    states = top_states(model, records, noise)
    for n, episode in enumerate(episodes()):
        online = np.arange(episode.start, episode.start + episode.length), episode.row
        steps = np.arange(episode.length)
        np.testing.assert_array_equal(due[online], steps % replan == 0)
        held = steps - steps % replan  # between ticks of its chains, the newest chain's belief
        cases.close(cases.at(belief, online), cases.at(states, (n, held)), 1e-4)


@pytest.mark.parametrize("strides", [(1, 4), (1, 2, 8)])
def test_filter_is_observe_of_a_sequence_from_any_phase(
    cases: Any, strides: tuple[int, ...]
) -> None:
    """The first chain of sequences that start at phase p and have their past as lead-in: the
    stream's chain p, which begins there as well."""
    model = cases.model(strides=strides)
    stream = stream_of(model)
    belief, _ = filter_stream(model, stream, replan=1)
    longest = Episode(1, 0, 26)
    parts = [(longest, phase) for phase in range(model.stride)]
    records, noise = recorded(model, stream, parts, 16)
    states, times = top_states(model, records, noise), np.arange(0, 16, model.stride)
    for phase in range(model.stride):
        online = cases.at(belief, (phase + times, longest.row))
        cases.close(online, cases.at(states, (phase, times)), 1e-4)


def test_filter_is_observe_of_packed_episodes(cases: Any) -> None:
    """Two episodes in one sequence, the first padded to a multiple of K."""
    model = cases.model(strides=(1, 4))
    stream = stream_of(model)
    belief, _ = filter_stream(model, stream, replan=1)
    first, second = Episode(0, 0, 9), Episode(2, 14, 12)
    a, b = (recorded(model, stream, [(e, 0)], whole(e.length, 4)) for e in (first, second))
    b = jax.tree.map(lambda x: x[:, model.lead :], b[0]), b[1]
    records, noise = jax.tree.map(lambda x, y: jnp.concatenate([x, y], axis=1), a, b)
    states = top_states(model, records, noise)
    for episode, at in ((first, 0), (second, 12)):
        online = np.arange(episode.start, episode.start + episode.length), episode.row
        recorded_at = 0, np.arange(at, at + episode.length)
        cases.close(cases.at(belief, online), cases.at(states, recorded_at), 1e-4)


def test_the_memory_is_small_states_and_no_frames(cases: Any) -> None:
    """Also without actions: whatever the stride, one sum and one state per chain."""
    model = cases.model(strides=(1, 4), actions=0)
    carry = initial_carry(model, 2, 2)
    stream = stream_of(model)
    carry, due = filter_step(
        model, carry, {"vector": stream.vector[0, :2]}, stream.action[0, :2],
        jnp.array([True, True]), stream.noise[0, :2], 2,
    )  # fmt: skip
    assert due.tolist() == [True, True]
    assert carry.chains.h.shape == (2, 2, model.config.deter)
    assert carry.sums.shape == (2, 2, model.config.embed)


@pytest.mark.parametrize("replan", [0, 3, 8, -1])
def test_replan_divides_the_stride(replan: int) -> None:
    with pytest.raises(ValueError, match="replan: expected a divisor of the top stride 4"):
        check_replan(4, replan)


def test_no_filter_looks_ahead(cases: Any) -> None:
    with pytest.raises(ValueError, match="expected a model with window 'causal'"):
        initial_carry(cases.model(window="lookahead"), 1, 1)
