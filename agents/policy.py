"""Acting: one jitted function over a batch of environments, each with its own clock. DESIGN §4.

Every step filters one observation; every r-th step of an episode plans anew. Of a chunk of K
actions the first r are executed: r = K is the plain open-loop semi-MDP. A learned code is decoded
step by step from level 1's belief, so the levels below the top are filtered as well.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, PRNGKeyArray

from agents.actions import ChunkCodec
from agents.agent import Agent
from worldmodel.filter import FilterCarry, filter_step, initial_carry
from worldmodel.learner import Params, join
from worldmodel.lower import LowerCarry, initial_lower, level1, lower_step


class PolicyCarry(NamedTuple):
    """Memory of the acting agent, per environment."""

    filter: FilterCarry
    plan: Array  # [N, W] the abstract action being executed
    step: Array  # [N] steps of it done
    action: Array  # [N, A] last action
    lower: LowerCarry | None = None  # levels below the top, where a decoder reads level 1


Act = Callable[[Params, PolicyCarry, Any, Any, PRNGKeyArray], tuple[PolicyCarry, Array]]


def make_policy(graph: nnx.GraphDef, replan: int, greedy: bool) -> Act:
    """Jitted ``policy(params, carry, obs, is_first, key) -> (carry, action)``; actions [N, A] flat.

    An action given for an observation with ``is_first`` leads to the record after it, as any other.

    Args:
      graph: of ``learner.split(agent)``.
      replan: r, environment steps of each plan that are executed; divides K.
      greedy: act by modes instead of samples. Beliefs are samples either way.
    """

    @jax.jit
    def policy(
        params: Params,
        carry: PolicyCarry,
        obs: dict[str, Array],
        is_first: Array,
        key: PRNGKeyArray,
    ) -> tuple[PolicyCarry, Array]:
        agent: Agent = join(graph, params)
        noise_key, act_key = jax.random.split(key)
        noise = agent.model.latent.noise(noise_key, is_first.shape)
        filtered, due = filter_step(
            agent.model, carry.filter, obs, carry.action, is_first, noise, replan
        )
        plan_key, *keys = (act_key,) if carry.lower is None else jax.random.split(act_key, 3)
        features = filtered.belief.features
        new = (
            agent.codec.mode(agent.actor(features))
            if greedy
            else agent.act(features, plan_key).flat
        )
        plan, step = jnp.where(due[:, None], new, carry.plan), jnp.where(due, 0, carry.step)
        if isinstance(agent.codec, ChunkCodec):
            action = agent.codec.slots(plan)[jnp.arange(step.shape[0]), step]
            return PolicyCarry(filtered, plan, step + 1, action), action
        assert carry.lower is not None
        noise = agent.model.latent.noise(keys[0], (is_first.shape[0], agent.model.upper))
        lower = lower_step(agent.model, carry.lower, filtered, obs, is_first, noise)
        seen = level1(lower, filtered).features
        action = agent.codec.react(seen, plan, step, None if greedy else keys[1])
        return PolicyCarry(filtered, plan, step + 1, action, lower), action

    return policy


def initial_policy(agent: Agent, batch: int, replan: int) -> PolicyCarry:
    """Carry of ``batch`` environments before their first observation."""
    width = agent.codec.codec.width
    carry = initial_carry(agent.model, batch, replan)
    lower = None if isinstance(agent.codec, ChunkCodec) else initial_lower(agent.model, batch)
    plan, action = jnp.zeros((batch, agent.codec.width)), jnp.zeros((batch, width))
    return PolicyCarry(carry, plan, jnp.zeros(batch, jnp.int32), action, lower)
