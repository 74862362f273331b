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
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from agents.actions import ChunkCodec
from agents.agent import Agent
from worldmodel.filter import FilterCarry, filter_step, initial_carry
from worldmodel.learner import Params, join
from worldmodel.lower import LowerCarry, initial_lower, level1, lower_step


class PolicyCarry(NamedTuple):
    """Memory of the acting agent, per environment."""

    filter: FilterCarry
    plan: Array  # [N, K·P] numbers of the chunk's distribution, or [N, W] the learned code
    step: Array  # [N] steps of it done
    action: Array  # [N, A] last action
    normal: Array  # [N, A] the standard normal numbers by which it was sampled
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
        plan_key, lower_key, act_key = jax.random.split(act_key, 3)
        noise = agent.model.latent.noise(noise_key, is_first.shape)
        filtered, due = filter_step(
            agent.model, carry.filter, obs, carry.action, is_first, noise, replan
        )
        fresh = jax.random.normal(act_key, carry.normal.shape)
        normal = correlated(carry.normal, fresh, is_first, agent.config.noise_correlation)
        features = filtered.belief.features
        if isinstance(agent.codec, ChunkCodec):
            plan, step = executed(agent.actor(features), due, carry)
            slot = agent.codec.slots(plan)[jnp.arange(step.shape[0]), step]
            codec = agent.codec.codec
            action = codec.mode(slot) if greedy else codec.act(slot, normal)
            return PolicyCarry(filtered, plan, step + 1, action, normal), action
        assert carry.lower is not None
        outputs = agent.actor(features)
        code = agent.codec.mode(outputs) if greedy else agent.act(features, plan_key).flat
        plan, step = executed(code, due, carry)
        noise = agent.model.latent.noise(lower_key, (is_first.shape[0], agent.model.upper))
        lower = lower_step(agent.model, carry.lower, filtered, obs, is_first, noise)
        seen = level1(lower, filtered).features
        action = agent.codec.react(seen, plan, step, None if greedy else normal)
        return PolicyCarry(filtered, plan, step + 1, action, normal, lower), action

    return policy


def correlated(
    last: Float[Array, "N A"], fresh: Float[Array, "N A"], is_first: Bool[Array, " N"], rho: float
) -> Float[Array, "N A"]:
    """n_t = ρ n_{t-1} + √(1-ρ²) ξ_t, at an episode's first step ξ_t: standard normal, any ρ.

    Exploration that goes on in one direction, whatever is planned in between; each action by itself
    is distributed as with ρ = 0. Source: docs/adr/0012.
    """
    return jnp.where(is_first[:, None], fresh, rho * last + (1 - rho**2) ** 0.5 * fresh)


def executed(new: Array, due: Array, carry: PolicyCarry) -> tuple[Array, Array]:
    """What is executed from here on, and how many steps of it are done."""
    return jnp.where(due[:, None], new, carry.plan), jnp.where(due, 0, carry.step)


def initial_policy(agent: Agent, batch: int, replan: int) -> PolicyCarry:
    """Carry of ``batch`` environments before their first observation."""
    width = agent.codec.codec.width
    carry = initial_carry(agent.model, batch, replan)
    lower = None if isinstance(agent.codec, ChunkCodec) else initial_lower(agent.model, batch)
    chunk = isinstance(agent.codec, ChunkCodec)
    plan = jnp.zeros((batch, agent.codec.outputs if chunk else agent.codec.width))
    action, normal = jnp.zeros((batch, width)), jnp.zeros((batch, width))
    return PolicyCarry(carry, plan, jnp.zeros(batch, jnp.int32), action, normal, lower)
