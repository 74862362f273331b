"""Agents that learn probes through the real replay store, sampler, environments and policy.

Agents of several seeds learn side by side in one program: each from its own first parameters, in
its own environments, out of its own replay.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from agents import ActionCodec, ActorCriticConfig, Agent, AgentConfig
from agents.dreamer import initial_aux, make_loss
from agents.driver import AgentAct, Collector, Stepper, play
from agents.policy import Act, initial_policy, make_policy
from envs import EnvConfig, make_vector
from replay import Field, ReplayConfig, ReplayStore, SequenceSampler, standard_fields
from tests.agents.probes import Probe
from worldmodel import ClockworkConfig, OptimizerConfig, Records, make_optimizer, make_update
from worldmodel.learner import initial_state, split

ENVS, PREFILL, RATIO, BATCH, LENGTH = 8, 2_000, 4, 16, 8  # RATIO: environment steps per update
WIDTH, STARTS = 32, 64
EVERY, MOST = 100, 1_500  # updates between evaluations, and at the most
SEEN = 999  # seed of the environments of evaluations


class Learned(NamedTuple):
    """Of one seed: what its evaluations said in order, and the updates after which two in a row had
    been enough; None if they never were."""

    found: list[Any]
    updates: int | None


@dataclass(frozen=True)
class Kit:
    """What the probes of one setting share: an agent and its compiled programs, over all seeds."""

    agent: Agent
    codec: ActionCodec
    initial: Any  # of keys [S] to training states
    update: Any
    sampled: Any
    greedy: dict[int, Any]  # by the interval between plans, none of which is kept for longer

    @property
    def stride(self) -> int:
        return self.agent.model.stride

    def stepper(self, env: EnvConfig, size: int, seed: int) -> Stepper:
        return Stepper(make_vector(env, size, seed), self.codec, self.agent.model.action_width)

    def carry(self, seeds: int, envs: int, replan: int) -> Any:
        """Each agent's memory of its own environments, [S, N, ...]."""
        one = initial_policy(self.agent, envs, replan)
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (seeds, *x.shape)), one)

    def scores(self, params: Any, replan: int, env: EnvConfig, episodes: int) -> np.ndarray:
        """Mean greedy returns of each seed's agent, planned anew every so many steps."""
        seeds = len(jax.tree.leaves(params)[0])
        stepper = self.stepper(env, seeds * episodes, SEEN)
        carry = self.carry(seeds, episodes, replan)
        act = AgentAct(together(self.greedy[replan]), params, carry, jax.random.key(5))
        found = [episode.score for episode in play(stepper, act).episodes]
        stepper.envs.close()
        return np.reshape(found, (seeds, episodes)).mean(1)


def together(policy: Any) -> Act:
    """A policy of agents [S], as one of all their environments, each agent's in a row."""

    def act(params: Any, carry: Any, obs: Any, is_first: Any, key: Any) -> tuple[Any, Any]:
        keys = jax.random.split(key, len(jax.tree.leaves(params)[0]))
        obs, is_first = jax.tree.map(
            lambda x: x.reshape(len(keys), -1, *x.shape[1:]), (obs, is_first)
        )
        carry, action = policy(params, carry, obs, is_first, keys)
        return carry, action.reshape(-1, action.shape[-1])

    return act


class Stores(NamedTuple):
    """Each seed's replay; takes the records of all their environments."""

    each: list[ReplayStore]

    def append(self, stream: int, record: dict[str, np.ndarray], last: bool) -> None:
        """Of the agent whose environment it is."""
        self.each[stream // ENVS].append(stream % ENVS, record, last)


def make_kit(
    strides: tuple[int, ...],
    codec: str = "chunk",
    apart: tuple[str, ...] = (),
    keep_plan: float = 0.0,
) -> Kit:
    """Of a small agent on these clocks; gradients of parts ``apart`` are clipped by themselves.

    Plans that collection goes on with are marked, as in the general preset.
    """
    stride = strides[-1]
    model = ClockworkConfig(
        strides=strides, deter=WIDTH, hidden=WIDTH, embed=WIDTH, stoch=8, vector_std=0.1
    )
    behaviour = ActorCriticConfig(horizon=max(4 * stride, 8), discount=0.95, starts=STARTS)
    actions = ActionCodec(Probe.action_space)
    config = AgentConfig(model=model, behaviour=behaviour, codec=codec, keep_plan=keep_plan)

    def make(key: Any) -> Agent:
        return Agent(config, {"observation": (4,)}, actions, nnx.Rngs(key))

    agent = nnx.eval_shape(make, jax.random.key(0))
    graph, _ = split(agent)
    optimizer = make_optimizer(OptimizerConfig(lr=3e-3, warmup=20), apart)

    def initial(key: Any) -> Any:
        params = split(make(key))[1]
        return initial_state(params, initial_aux(params, agent), optimizer)

    def compiled(function: Any, **options: Any) -> Any:
        return jax.jit(jax.vmap(function), **options)

    update = compiled(make_update(make_loss(graph), optimizer), donate_argnums=0)
    sampled = compiled(make_policy(graph, 1, greedy=False))
    agent.config = replace(config, keep_plan=0.0)
    anew, _ = split(agent)
    greedy = {replan: compiled(make_policy(anew, replan, greedy=True)) for replan in {1, stride}}
    return Kit(agent, actions, jax.jit(jax.vmap(initial)), update, sampled, greedy)


def learn(
    kit: Kit,
    env: EnvConfig,
    seeds: list[int],
    folder: Path,
    evaluate: Callable[[Any], list[Any]],
    enough: Callable[[Any], bool],
    behave: Any = None,
    most: int = MOST,
) -> list[Learned]:
    """Trains until of every seed two evaluations in a row were enough, or the updates are spent.

    Args:
      seeds: of the first parameters, the environments, and all that is drawn.
      evaluate: of all seeds' parameters, to what is found of each.
      behave: collects in place of the agents.
      most: updates.
    """
    keys = jax.vmap(jax.random.key)(jnp.array(seeds))
    states, count = kit.initial(keys), len(seeds)
    fields = standard_fields({"observation": Field((4,), "float32")}, kit.agent.model.action_width)
    stores = Stores(
        [ReplayStore(folder / str(s), fields, ReplayConfig(chunk_steps=32)) for s in seeds]
    )
    stepper = kit.stepper(env, ENVS * count, ENVS * seeds[0])
    policy = behave or together(kit.sampled)
    collector = Collector(stepper, policy, kit.carry(count, ENVS, 1), stores).begin()
    shape = {"batch": BATCH, "length": LENGTH, "stride": kit.stride}
    samplers = [
        SequenceSampler(store, **shape, seed=s) for s, store in zip(seeds, stores.each, strict=True)
    ]
    learned = [Learned([], None) for _ in seeds]
    updates = steps = 0
    while updates < most and any(one.updates is None for one in learned):
        collector.step(states.params, jax.random.fold_in(keys[0], steps))
        steps += ENVS
        while updates < min(most, (steps - PREFILL) // RATIO):
            drawn = [Records(**sampler.sample()) for sampler in samplers]
            batch = jax.tree.map(lambda *x: np.stack(x), *drawn)
            update_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, most * ENVS + updates)
            states, _ = kit.update(states, batch, update_keys)
            updates += 1
            if updates % EVERY == 0:
                found = evaluate(states.params)
                learned = [
                    judged(one, new, enough, updates)
                    for one, new in zip(learned, found, strict=True)
                ]
    stepper.envs.close()
    for store in stores.each:
        store.close()
    return learned


def judged(one: Learned, new: Any, enough: Callable[[Any], bool], updates: int) -> Learned:
    """With one evaluation more; what had been enough stays so."""
    found = [*one.found, new]
    passed = one.updates is None and len(found) > 1 and all(map(enough, found[-2:]))
    return Learned(found, updates if passed else one.updates)


def left(learned: list[Learned], most: int = MOST) -> list[float]:
    """Of each seed the share of the updates that it did not need; below 0 where it never passed."""
    return [-1.0 if one.updates is None else 1 - one.updates / most for one in learned]
