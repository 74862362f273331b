"""Inspection of one episode of a trained agent: everything the report draws, as plain arrays.

Read next: `analysis/agent/trace.py` and `analysis/agent/what_if.py`, which compute it;
`analysis/agent/analyse.py`, the report.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from agents.dreamer import fill_absorbing
from analysis.agent.held_actions import held_actions
from analysis.agent.trace import Trace, observe_episodes
from analysis.agent.what_if import (
    Futures,
    apart,
    decode_futures,
    imagine_futures,
    return_that_followed,
)
from common import Count, CountOrZero, UserError
from training.build import Built, SaidAgain
from worldmodel.learner import Params
from worldmodel.level import State
from worldmodel.records import Records

Obs = dict[str, np.ndarray]
OWN = "the actor's choice"
DIMENSIONS = {"camera": ("pitch", "yaw")}  # of MineRL's actions, degrees per tick
CLOSE = 200  # environment steps of the close-up that is drawn of a long episode
MOST_HELD = 64  # maximum number of held actions imagined; the rows shown are chosen from these


@dataclass(frozen=True)
class AnalyseAgentConfig:
    """Inspect the hierarchy of a trained agent."""

    run: Path
    """Directory of a train_agent.py run."""
    output: Path | None = None
    """Path of the report, .html; default: `report.html` in the run's directory."""
    episodes: Count = 1
    """Greedy episodes to inspect, each with its own seed, the same seeds as in evaluation."""
    steps: Count = 2_000
    """Maximum number of environment steps inspected per episode."""
    start: CountOrZero = 32
    """Environment step at which the `what if` rollouts start; rounded down to whole windows, and
    earlier if the episode would end before the rollouts do."""
    ticks: Count | None = None
    """Ticks of the top clock to imagine, each K environment steps; default: the horizon that the
    agent learned from."""
    rows: Count = 6
    """Futures shown: the actor's own, and the held actions whose futures differ most."""
    samples: Count = 16
    """Noise samples under which each future is imagined, the same for all futures."""
    columns: Count = 12
    """Frames per row."""
    random: CountOrZero | None = None
    """Episodes with random actions, to compare the agent's return with; default: as many as in the
    run's evaluations."""
    seed: CountOrZero = 0
    """Random seed for environments and noise."""
    env: SaidAgain = None


class WhatIf(NamedTuple):
    """R futures from one time of the episode, one per row, the actor's own first."""

    start: int
    ticks: int
    names: list[str]  # [R]
    obs: Obs  # [R, H·K, ...] at start+1 …, under the first noise sample
    reward: np.ndarray  # [R, H] imagined window reward, mean over noise samples
    value: np.ndarray  # [R, H] value, mean over noise samples
    returns: np.ndarray  # [R, S]
    true: Obs  # [n, ...] what was actually observed from `start` on; n - 1 at most H·K
    observed: float  # return over the same horizon in the episode, nan if it was cut


class View(NamedTuple):
    """A stretch of an episode, as drawn."""

    span: tuple[int, int]  # first time, and the time after the last
    times: np.ndarray  # [n] times of the frames: the middles of n equal parts of the span
    decoded: Obs  # [n, ...] from level 1's belief at those times


class EpisodeInspection(NamedTuple):
    """What is drawn of one episode."""

    trace: Trace  # numpy, without a batch axis
    reward: np.ndarray  # [T] per step
    obs: Obs  # [T, ...]
    terminal: bool
    views: list[View]  # the whole episode and, if it is long, a close-up
    what_if: WhatIf | None
    why_not: str  # why `what_if` is None


class Observed(NamedTuple):
    """What one jitted program computes for an episode."""

    trace: Trace
    decoded: dict[str, jax.Array]  # [1, n, ...]
    starts: tuple[State, ...]  # [1, ·] state of each level


def inspect_episode(
    built: Built, params: Params, records: Records, settings: AnalyseAgentConfig
) -> EpisodeInspection:
    """Inspect one episode.

    Args:
      records: [1, lead+T', ...], padded to whole windows; `padded` gives T'.
    """
    model = built.agent.model
    length = int(np.sum(records.mask))
    main = jax.tree.map(lambda x: np.asarray(x)[0, model.lead :][:length], records)
    wide = sum(x.ndim == 4 for x in main.obs.values()) or 1
    ticks = settings.ticks or built.config.agent.imagined
    room = max(0, length - 1 - ticks * model.stride)  # leaves true frames to compare with
    start = min(settings.start, room) // model.stride * model.stride
    spans = stretches(length, start)
    shown = [spread(*span, max(3, settings.columns // wide)) for span in spans]
    times = jnp.asarray(np.concatenate(shown))
    observed = _observe(built, start, params, records, times, jax.random.key(settings.seed))
    trace, decoded = jax.tree.map(_single, jax.device_get((observed.trace, observed.decoded)))
    ends = np.cumsum([len(x) for x in shown])[:-1]
    parts = {name: np.split(x, ends) for name, x in decoded.items()}
    views = [
        View(span, shown[n], {name: part[n] for name, part in parts.items()})
        for n, span in enumerate(spans)
    ]
    why_not, found = "", None
    try:
        found = what_if(built, params, observed.starts, start, ticks, settings)
    except UserError as error:
        why_not = str(error)
    terminal = bool(main.terminal[-1])
    if found is not None:
        found = _beside(found, built, trace, main, terminal)
    return EpisodeInspection(trace, main.reward, main.obs, terminal, views, found, why_not)


def padded(steps: int, stride: int) -> int:
    """T' of an episode of ``steps`` records: absorbing steps complete the windows of all phases."""
    return -(-(steps + stride - 1) // stride) * stride


def stretches(length: int, start: int) -> list[tuple[int, int]]:
    """The whole episode and, if it is long, a close-up around the start of ``what if``."""
    first = max(0, min(start - CLOSE // 4, length - CLOSE))
    return [(0, length)] + ([(first, first + CLOSE)] if length > 2 * CLOSE else [])


def spread(first: int, last: int, count: int) -> np.ndarray:
    """Middles of ``count`` equal parts of the times in [first, last)."""
    count = min(count, last - first)
    return first + ((np.arange(count) + 0.5) * (last - first) / count).astype(int)


def _single(x: np.ndarray) -> np.ndarray:
    """Drop the batch axis, if there is one."""
    return x[0] if x.ndim > 1 else x


@partial(jax.jit, static_argnums=(0, 1))
def _observe(
    built: Built, start: int, params: Params, records: Records, shown: jax.Array, key: jax.Array
) -> Observed:
    agent = built.join(params)
    model = agent.model
    fill_key, key = jax.random.split(key)
    beliefs, trace = observe_episodes(agent, fill_absorbing(records, fill_key), key)
    features = beliefs[0].state.features[:, shown]
    states = model.states_at(beliefs, start)
    return Observed(trace, model.to_observations(model.decode(features)), states)


def what_if(
    built: Built,
    params: Params,
    starts: tuple[State, ...],
    start: int,
    ticks: int,
    settings: AnalyseAgentConfig,
) -> WhatIf:
    """Futures from the states of all levels at time ``start``, with the true outcome left empty.

    Raises:
      UserError: if no abstract actions can be held.
    """
    held = held_actions(built.codec, MOST_HELD, DIMENSIONS)
    chunks = built.agent.codec.hold(jnp.asarray(np.stack([h.flat for h in held])))
    noise_key, decode_key = jax.random.split(jax.random.key(settings.seed + 1))

    drawn = built.agent.model.latent.noise(noise_key, (settings.samples, ticks))
    futures = _imagine(built, params, starts[-1], chunks, drawn)
    features = np.asarray(futures.states.features.mean(1))  # [R, H, F]
    rows = np.array(apart(features.reshape(len(features), -1), settings.rows))
    futures = jax.tree.map(lambda x: x[rows], futures)

    first = jax.tree.map(lambda x: x[:, 0], (futures.states, futures.chunk))
    obs = _decode(built, params, starts, *first, decode_key)
    obs, reward, value, returns = jax.device_get(
        (obs, futures.reward.mean(1), futures.value.mean(1), futures.returns)
    )
    names = [[OWN, *(h.name for h in held)][row] for row in rows]
    return WhatIf(start, ticks, names, obs, reward, value, returns, {}, float("nan"))


@partial(jax.jit, static_argnums=0)
def _imagine(built: Built, params: Params, *given: Any) -> Futures:
    return imagine_futures(built.join(params), *given)


@partial(jax.jit, static_argnums=0)
def _decode(built: Built, params: Params, *given: Any) -> dict[str, jax.Array]:
    return decode_futures(built.join(params), *given)


def _beside(found: WhatIf, built: Built, trace: Any, main: Any, terminal: bool) -> WhatIf:
    """Add what actually followed in the episode."""
    steps = found.ticks * built.agent.model.stride
    true = {name: main.obs[name][found.start : found.start + steps + 1] for name in found.obs}
    there = np.flatnonzero(trace.time == found.start + steps)
    value = float(trace.value[there[0]]) if len(there) else float("nan")
    discount = built.config.agent.behaviour.discount
    observed = return_that_followed(main.reward, terminal, value, found.start, steps, discount)
    return found._replace(true=true, observed=observed)
