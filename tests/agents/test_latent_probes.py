"""The latent codec learns: a choice that pays at once, and to react inside a window.

As ``test_probes.py``: through the real store, sampler, environments and policy; one compiled update
for both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from agents import ActionCodec, ActionDistribution, ActorCriticConfig, Agent, AgentConfig
from agents.dreamer import initial_aux, make_loss
from agents.driver import Collector, Stepper, agent_act, play
from agents.policy import initial_policy, make_policy
from envs import EnvConfig, make_vector
from replay import Field, ReplayConfig, ReplayStore, SequenceSampler, standard_fields
from tests.agents.probes import OneStep, Probe, React
from worldmodel import ClockworkConfig, OptimizerConfig, Records, make_optimizer, make_update
from worldmodel.learner import initial_state, split

pytestmark = pytest.mark.usefixtures("unchecked")

STRIDE, ENVS, BATCH, LENGTH = 4, 8, 32, 8
PREFILL, RATIO, EVERY, MOST = 2_000, 4, 100, 1_500
REACTED = 14.0  # return on React that no blind chunk gets: 13 is the most, 16 the best


@dataclass(frozen=True)
class Kit:
    """The agent and its compiled programs."""

    agent: Agent
    codec: ActionCodec
    optimizer: Any
    update: Any
    sampled: Any
    greedy: dict[int, Any]  # by the interval between plans


@pytest.fixture(scope="module")
def kit() -> Kit:
    model = ClockworkConfig(
        strides=(1, STRIDE), deter=64, hidden=64, embed=64, stoch=8, vector_std=0.1
    )
    behaviour = ActorCriticConfig(
        horizon=4, discount=0.95, lam=0.9, starts=256, hidden=64, layers=1
    )
    config = AgentConfig(model=model, behaviour=behaviour, codec="latent")
    codec = ActionCodec(Probe.action_space, ActionDistribution())
    agent = Agent(config, {"observation": (4,)}, codec, nnx.Rngs(0))
    graph, _ = split(agent)
    optimizer = make_optimizer(OptimizerConfig(lr=3e-3, warmup=20), apart=("actor", "critic"))
    greedy = {replan: make_policy(graph, replan, greedy=True) for replan in (1, STRIDE)}
    sampled = make_policy(graph, 1, greedy=False)
    return Kit(agent, codec, optimizer, make_update(make_loss(graph), optimizer), sampled, greedy)


def stepper(kit: Kit, probe: type[Probe], size: int, seed: int) -> Stepper:
    env = EnvConfig(name=f"tests.agents.probes:{probe.__name__}")
    return Stepper(make_vector(env, size, seed), kit.codec)


def evaluate(kit: Kit, params: Any, probe: type[Probe]) -> dict[int, float]:
    """Greedy returns over 16 episodes, by the interval between plans."""
    scores = {}
    for replan, policy in kit.greedy.items():
        envs = stepper(kit, probe, 16, 999)
        act = agent_act(policy, params, initial_policy(kit.agent, 16, replan), jax.random.key(5))
        scores[replan] = float(np.mean([episode.score for episode in play(envs, act).episodes]))
        envs.envs.close()
    return scores


def learn(
    kit: Kit, probe: type[Probe], folder: Path, behave: Any, enough: Callable[[Any], bool]
) -> list[dict[int, float]]:
    """Evaluations until two in a row are enough; `behave` collects instead of the agent, if any."""
    params = jax.tree.map(jnp.copy, split(kit.agent)[1])
    state = initial_state(params, initial_aux(params, kit.agent), kit.optimizer)
    fields = standard_fields({"observation": Field((4,), "float32")}, kit.codec.width)
    store = ReplayStore(folder, fields, ReplayConfig(chunk_steps=32))
    envs = stepper(kit, probe, ENVS, 0)
    collector = Collector(envs, behave or kit.sampled, initial_policy(kit.agent, ENVS, 1), store)
    sampler = SequenceSampler(store, batch=BATCH, length=LENGTH, stride=STRIDE, seed=0)
    scores: list[dict[int, float]] = []
    updates = steps = 0
    while updates < MOST and (len(scores) < 2 or not all(map(enough, scores[-2:]))):
        collector.step(state.params, jax.random.fold_in(jax.random.key(1), steps))
        steps += ENVS
        while updates < min(MOST, (steps - PREFILL) // RATIO):
            batch = Records(**sampler.sample())
            state, _ = kit.update(state, batch, jax.random.fold_in(jax.random.key(2), updates))
            updates += 1
            if updates % EVERY == 0:
                scores.append(evaluate(kit, state.params, probe))
    envs.envs.close()
    store.close()
    return scores


def test_a_choice_that_pays_at_once(kit: Kit, tmp_path: Path) -> None:
    """With re-planning at every step and with whole windows: within 5% of the best."""

    def enough(scores: dict[int, float]) -> bool:
        return min(scores.values()) >= 0.95 * OneStep.best

    scores = learn(kit, OneStep, tmp_path, None, enough)
    assert all(map(enough, scores[-2:])), scores


def follow(
    params: Any, carry: Any, obs: dict[str, np.ndarray], is_first: np.ndarray, key: Any
) -> tuple[Any, np.ndarray]:
    """The cue's move at every step, at a level drawn at random."""
    level = jax.random.uniform(key, (len(is_first), 1), minval=-1.0)
    move = np.eye(2, dtype=np.float32)[(obs["observation"][:, 0] > 0).astype(int)]
    return carry, np.concatenate([level, move], axis=1)


def test_reaction_inside_a_window(kit: Kit, tmp_path: Path) -> None:
    """From behaviour that reacts to each step's cue: the actor picks the level by its code, the
    decoder goes on reacting. With whole windows, to which a chunk would be blind."""

    def enough(scores: dict[int, float]) -> bool:
        return scores[STRIDE] >= REACTED

    scores = learn(kit, React, tmp_path, follow, enough)
    assert all(map(enough, scores[-2:])), scores
