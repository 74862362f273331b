"""Agents that learn probes through the real replay store, sampler, environments and policy."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
from flax import nnx

from agents import ActionCodec, ActorCriticConfig, Agent, AgentConfig
from agents.dreamer import initial_aux, make_loss
from agents.driver import AgentAct, Collector, Stepper, play
from agents.policy import initial_policy, make_policy
from envs import EnvConfig, make_vector
from replay import Field, ReplayConfig, ReplayStore, SequenceSampler, standard_fields
from tests.agents.probes import Probe
from worldmodel import ClockworkConfig, OptimizerConfig, Records, make_optimizer, make_update
from worldmodel.learner import initial_state, split

ENVS, PREFILL, RATIO, BATCH, LENGTH = 8, 2_000, 4, 32, 8  # RATIO: environment steps per update
EVERY, MOST = 100, 1_500  # updates between evaluations, and at the most
SEEN = 999  # seed of the environments of evaluations
LEVEL = os.environ.get("PROBES_XLA_LEVEL", "3")
"""These programs run longer than they compile: an update takes three times as long at level 0."""


class Learned(NamedTuple):
    """What evaluations said in order, and after how many updates the last was."""

    found: list[Any]
    updates: int


@dataclass(frozen=True)
class Kit:
    """What the probes of one setting share: an agent and its compiled programs."""

    agent: Agent
    make: Callable[[int], Agent]  # by seed
    codec: ActionCodec
    optimizer: Any
    update: Any
    sampled: Any
    greedy: dict[int, Any]  # by the interval between plans, none of which is kept for longer

    @property
    def stride(self) -> int:
        return self.agent.model.stride

    def stepper(self, env: EnvConfig, size: int, seed: int) -> Stepper:
        return Stepper(make_vector(env, size, seed), self.codec, self.agent.model.action_width)

    def scores(self, params: Any, replan: int, env: EnvConfig, episodes: int) -> list[float]:
        """Greedy returns, planned anew every so many steps."""
        stepper = self.stepper(env, episodes, SEEN)
        carry = initial_policy(self.agent, episodes, replan)
        act = AgentAct(self.greedy[replan], params, carry, jax.random.key(5))
        found = [episode.score for episode in play(stepper, act).episodes]
        stepper.envs.close()
        return found


def make_kit(
    strides: tuple[int, ...],
    codec: str = "chunk",
    apart: tuple[str, ...] = (),
    keep_plan: float = 0.0,
) -> Kit:
    """Of a small agent on these clocks; gradients of parts ``apart`` are clipped by themselves.

    Plans that collection goes on with are marked, as in the presets of control.
    """
    stride = strides[-1]
    model = ClockworkConfig(strides=strides, deter=64, hidden=64, embed=64, stoch=8, vector_std=0.1)
    behaviour = ActorCriticConfig(horizon=max(4 * stride, 8), discount=0.95, starts=256, hidden=64)
    actions = ActionCodec(Probe.action_space)
    config = AgentConfig(model=model, behaviour=behaviour, codec=codec, keep_plan=keep_plan)

    def make(seed: int) -> Agent:
        return Agent(config, {"observation": (4,)}, actions, nnx.Rngs(seed))

    agent = make(0)
    graph, _ = split(agent)
    optimizer = make_optimizer(OptimizerConfig(lr=3e-3, warmup=20), apart)
    compiled = partial(jax.jit, compiler_options={"xla_backend_optimization_level": int(LEVEL)})
    sampled = compiled(make_policy(graph, 1, greedy=False))
    update = compiled(make_update(make_loss(graph), optimizer), donate_argnums=0)
    agent.config = replace(config, keep_plan=0.0)
    anew, _ = split(agent)
    greedy = {replan: compiled(make_policy(anew, replan, greedy=True)) for replan in {1, stride}}
    return Kit(agent, make, actions, optimizer, update, sampled, greedy)


def learn(
    kit: Kit,
    env: EnvConfig,
    seed: int,
    folder: Path,
    evaluate: Callable[[Any], Any],
    enough: Callable[[Any], bool],
    behave: Any = None,
) -> Learned:
    """Evaluates parameters until two evaluations in a row are enough, or the updates are spent.

    Args:
      seed: of the first parameters, the environments, and all that is drawn.
      behave: collects in place of the agent.
    """
    collect_key, update_key = jax.random.split(jax.random.key(seed))
    params = split(kit.make(seed))[1]
    state = initial_state(params, initial_aux(params, kit.agent), kit.optimizer)
    fields = standard_fields({"observation": Field((4,), "float32")}, kit.agent.model.action_width)
    store = ReplayStore(folder, fields, ReplayConfig(chunk_steps=32))
    stepper = kit.stepper(env, ENVS, seed)
    collector = Collector(
        stepper, behave or kit.sampled, initial_policy(kit.agent, ENVS, 1), store
    ).begin()
    sampler = SequenceSampler(store, batch=BATCH, length=LENGTH, stride=kit.stride, seed=seed)
    found: list[Any] = []
    updates = steps = 0
    while updates < MOST and (len(found) < 2 or not all(map(enough, found[-2:]))):
        collector.step(state.params, jax.random.fold_in(collect_key, steps))
        steps += ENVS
        while updates < min(MOST, (steps - PREFILL) // RATIO):
            batch = Records(**sampler.sample())
            state, _ = kit.update(state, batch, jax.random.fold_in(update_key, updates))
            updates += 1
            if updates % EVERY == 0:
                found.append(evaluate(state.params))
    stepper.envs.close()
    store.close()
    return Learned(found, updates)
