"""The scans agree with a slow plain loop: one tick, one sequence at a time, windows by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from worldmodel import ClockworkVAE, Records, State
from worldmodel.level import Level

SETTINGS = [
    {"strides": (1, 2, 8)},
    {"strides": (1, 2, 4), "window": "lookahead", "architecture": "original"},
    {"strides": (1, 2), "latent": "categorical"},
    *[
        pytest.param(setting, marks=pytest.mark.slow)
        for setting in (
            {"strides": (1,)},
            {"strides": (1, 4)},
            {"strides": (1, 2, 4), "window": "lookahead"},
            {"strides": (1, 1, 2), "actions": 0},
        )
    ],
]


def step_of(level: Level, observing: bool) -> Any:
    """One tick of a level, compiled once: (state, context, actions, embedding, noise) to state."""

    @jax.jit
    def step(
        state: State,
        context: jax.Array | None,
        action: jax.Array | None,
        embed: jax.Array | None,
        noise: jax.Array,
    ) -> State:
        drive = level.drive(context, action)
        if observing:
            return level.filter_step(state, drive, embed, noise)
        return level.imagine_step(state, drive, noise)

    return step


def unknown_action(model: ClockworkVAE) -> jax.Array:
    """The learned unknown action, [A]; a model without actions has none."""
    return jnp.zeros(0) if model.unknown_action is None else model.unknown_action[...]


class Slow:
    """One sequence of a batch as lists over time; ``lead`` is the index of main time 0."""

    def __init__(self, model: ClockworkVAE, records: Records, row: int):
        self.model, self.lead = model, model.lead
        frames = model.frame_embeddings(records.obs)
        self.frames = [np.asarray(x[row]) for x in frames]
        self.first, self.mask = np.asarray(records.is_first[row]), np.asarray(records.mask[row])
        known, unknown = np.asarray(records.action_mask[row]), unknown_action(model)
        self.action = [
            np.zeros(model.action_width) if first else np.asarray(a if k else unknown)
            for a, k, first in zip(records.action[row], known, self.first, strict=True)
        ]
        self.episode = np.cumsum(self.first)

    def window(self, level: int, index: int) -> list[int | None]:
        """Indices of a tick's window in order; None outside the sequence or the episode."""
        stride = self.model.strides[level]
        start = index - stride + 1 if self.model.config.window == "causal" else index
        inside = [
            0 <= s < len(self.mask) and self.episode[s] == self.episode[index]
            for s in range(start, start + stride)
        ]
        return [
            s if ok else None for s, ok in zip(range(start, start + stride), inside, strict=True)
        ]

    def embed(self, level: int, index: int) -> np.ndarray:
        frames, causal = self.frames[level], self.model.config.window == "causal"
        total = np.zeros_like(frames[0])
        for s in self.window(level, index):
            if s is not None and self.mask[s]:
                total = total + frames[s]
        newest = max(s for s in range(index + 1) if self.mask[s]) if causal else 0
        if self.model.strides[level] == 1:
            return frames[newest] if causal else total
        return np.concatenate([frames[newest], total]) if causal else total

    def actions(self, level: int, index: int) -> np.ndarray:
        """Unreal ones are zeros looking ahead; causal ones stand as they are."""
        causal = self.model.config.window == "causal"
        zero = np.zeros(self.model.action_width)
        return np.concatenate(
            [
                self.action[s] if s is not None and (causal or self.mask[s]) else zero
                for s in self.window(level, index)
            ]
        )


def observe_slowly(
    model: ClockworkVAE, records: Records, noise: tuple[jax.Array, ...]
) -> list[list[dict[int, State]]]:
    """[row][level] → {main time: state}."""
    steps = [step_of(level, observing=True) for level in model.levels]
    return [
        _observe_row(model, Slow(model, records, row), [x[row] for x in noise], steps)
        for row in range(records.mask.shape[0])
    ]


def _observe_row(
    model: ClockworkVAE, slow: Slow, noise: list[jax.Array], steps: list[Any]
) -> list[dict[int, State]]:
    states: list[dict[int, State]] = [{} for _ in model.strides]
    length = len(slow.mask) - slow.lead
    for level in reversed(range(len(model.strides))):
        stride = model.strides[level]
        for n, time in enumerate(range(0, length, 1 if model.phased(level) else stride)):
            index = slow.lead + time
            before = states[level].get(time - stride)
            if before is None or slow.episode[index - stride] != slow.episode[index]:
                before = model.top.initial((1,))
            context = None
            if level < model.upper:
                upper = model.strides[level + 1]
                context = states[level + 1][time // upper * upper].features
            action = slow.actions(level, index)[None] if model.action_width else None
            embed = slow.embed(level, index)[None]
            states[level][time] = steps[level](
                before, context, action, embed, noise[level][n][None]
            )
    return states


def records_of(cases: Any, model: ClockworkVAE, length: int) -> Records:
    """Two rows: two episodes and unknown actions; one that starts in the lead-in, padded inside."""
    stride = model.stride
    a = cases.records(model, 1, length, 1, firsts=(0, stride))
    b = cases.records(model, 1, length, 2, firsts=(2 * stride,))
    b = b._replace(mask=b.mask.at[0, model.lead + stride + 1 : model.lead + 2 * stride].set(0))
    if stride > 2 and model.lead:
        b = b._replace(is_first=b.is_first.at[0, 1].set(True), mask=b.mask.at[0, 0].set(0))
    records = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), a, b)
    known = jax.random.bernoulli(jax.random.key(5), 0.7, records.mask.shape)
    return records._replace(action_mask=known.astype(jnp.float32))


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: "-".join(map(str, s.values())))
def test_observe_and_imagine_as_plain_loops(cases: Any, setting: dict[str, Any]) -> None:
    model = cases.model(**setting)
    length = 3 * model.stride if model.stride > 1 else 6
    if setting.get("window") == "lookahead":
        length -= 1  # the last windows are cut short
    records = records_of(cases, model, length)
    noise = model.draw_noise(jax.random.key(1), 2, length)
    beliefs = jax.jit(model.observe)(records, noise)
    slow = observe_slowly(model, records, noise)
    for level, belief in enumerate(beliefs):
        stacked = [stack(row[level]) for row in slow]
        expected = jax.tree.map(lambda *x: jnp.stack(x), *stacked)
        cases.close(belief.state, expected, 1e-5)
    check_imagine(cases, model, model.states_at(beliefs, 2 * model.stride))


def stack(states: dict[int, State]) -> State:
    return jax.tree.map(lambda *x: jnp.concatenate(x), *[states[t] for t in sorted(states)])


def check_imagine(cases: Any, model: ClockworkVAE, states: tuple[State, ...]) -> None:
    """Two top windows further, with some actions unknown."""
    length = 2 * model.stride
    keys = jax.random.split(jax.random.key(2), 3)
    action = jax.random.normal(keys[0], (2, length, model.action_width))
    known = jax.random.bernoulli(keys[1], 0.7, (2, length)).astype(jnp.float32)
    noise = model.imagination_noise(keys[2], 2, length)
    fast = jax.jit(model.imagine)(states, action, known, noise)
    slow = imagine_slowly(model, states, action, known, noise)
    cases.close(fast, slow, 1e-5)


def imagine_slowly(
    model: ClockworkVAE,
    start: tuple[State, ...],
    action: jax.Array,
    known: jax.Array,
    noise: tuple[jax.Array, ...],
) -> tuple[State, ...]:
    """Causal: step i (from 1) leads to time i, and a tick at time i has the actions since its last;
    looking ahead: ticks from time 0, each with the actions of the block that it opens."""
    causal, length = model.config.window == "causal", action.shape[1]
    action = jnp.where(
        known[..., None] > 0, action, jnp.broadcast_to(unknown_action(model), action.shape)
    )
    result: dict[int, dict[int, State]] = {}
    for level in reversed(range(len(model.strides))):
        stride, step = model.strides[level], step_of(model.levels[level], observing=False)
        times = range(stride, length + 1, stride) if causal else range(0, length, stride)
        state, result[level] = start[level], {0: start[level]} if causal else {}
        for n, time in enumerate(times):
            context = None
            if level < model.upper:
                upper = model.strides[level + 1]
                context = result[level + 1][time // upper * upper].features
            first = time - stride if causal else time
            chunk = action[:, first : first + stride].reshape(2, -1)
            state = step(
                state, context, chunk if model.action_width else None, None, noise[level][:, n]
            )
            result[level][time] = state
    return tuple(
        stack_time([s for time, s in sorted(result[level].items()) if time or not causal])
        for level in range(len(model.strides))
    )


def stack_time(states: list[State]) -> State:
    return jax.tree.map(lambda *x: jnp.stack(x, axis=1), *states)
