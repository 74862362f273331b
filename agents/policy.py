"""Acting: one jitted function over a batch of environments, each with its own clock.

Every step filters one observation; every r-th step of an episode plans anew. Of a chunk of K
actions the first r are executed: r = K is the plain open-loop semi-MDP. With `keep_plan` the agent
goes on with some plans for longer. A learned code is decoded step by step from level 1's belief, so
the levels below the top are filtered as well.
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
    plan: Array  # [N, W] the abstract action being executed
    step: Array  # [N] steps of it done
    action: Array  # [N, A] last action, as the model reads it (``ChunkCodec``)
    normal: Array  # [N, K, A] standard normal numbers of the plan's steps, where correlated
    lower: LowerCarry | None = None  # levels below the top, where a decoder reads level 1


Act = Callable[[Params, PolicyCarry, Any, Any, PRNGKeyArray], tuple[PolicyCarry, Array]]


def make_policy(graph: nnx.GraphDef, replan: int, greedy: bool) -> Act:
    """Jitted ``policy(params, carry, obs, is_first, key) -> (carry, action)``; actions [N, A] flat,
    with their mark where plans are marked (``ChunkCodec``).

    An action given for an observation with ``is_first`` leads to the record after it, as any other.

    Args:
      graph: of ``learner.split(agent)``.
      replan: r, environment steps of each plan that are executed; divides K.
      greedy: act by modes instead of samples. Beliefs, and which plans are kept, are drawn either
        way.
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
        features, normal = filtered.belief.features, carry.normal
        rho, keep = agent.config.noise_correlation, agent.config.keep_plan
        if keep > 0 and agent.model.stride > replan:
            keep_key, plan_key = jax.random.split(plan_key)
            kept = jax.random.bernoulli(keep_key, keep, due.shape)
            due &= is_first | ~kept | (carry.step + replan > agent.model.stride)
        if greedy:
            new = agent.codec.mode(agent.actor(features))
        elif isinstance(agent.codec, ChunkCodec) and rho > 0:
            last = normal[jnp.arange(due.shape[0]), carry.step - 1]
            fresh = jax.random.normal(plan_key, normal.shape)
            normals = correlated(last, fresh, is_first, rho)
            new = agent.codec.act(agent.actor(features), normals)
            normal = jnp.where(due[:, None, None], normals, normal)
        else:
            new = agent.act(features, plan_key).flat
        plan, step = jnp.where(due[:, None], new, carry.plan), jnp.where(due, 0, carry.step)
        if isinstance(agent.codec, ChunkCodec):
            action = agent.codec.slots(plan)[jnp.arange(step.shape[0]), step]
            return PolicyCarry(filtered, plan, step + 1, action, normal), action
        assert carry.lower is not None
        noise = agent.model.latent.noise(keys[0], (is_first.shape[0], agent.model.upper))
        lower = lower_step(agent.model, carry.lower, filtered, obs, is_first, noise)
        seen = level1(lower, filtered).features
        normal = correlated(normal[:, 0], jax.random.normal(keys[1], normal.shape), is_first, rho)
        action = agent.codec.react(seen, plan, step, None if greedy else normal[:, 0])
        return PolicyCarry(filtered, plan, step + 1, action, normal, lower), action

    return policy


def correlated(
    last: Float[Array, "N A"], fresh: Float[Array, "N K A"], is_first: Bool[Array, " N"], rho: float
) -> Float[Array, "N K A"]:
    """n_t = ρ n_{t-1} + √(1-ρ²) ξ_t over K steps, at an episode's first step ξ_t.

    Exploration that goes on in one direction, whatever is planned in between: ``last`` are the
    numbers of the last step before these. Standard normal for any ρ, so each action by itself is
    distributed as with ρ = 0. Source: docs/adr/0012.
    """
    drive = (1 - rho**2) ** 0.5 * fresh
    found = [jnp.where(is_first[:, None], fresh[:, 0], rho * last + drive[:, 0])]
    for slot in range(1, fresh.shape[1]):
        found.append(rho * found[-1] + drive[:, slot])
    return jnp.stack(found, axis=1)


def initial_policy(agent: Agent, batch: int, replan: int) -> PolicyCarry:
    """Carry of ``batch`` environments before their first observation."""
    carry = initial_carry(agent.model, batch, replan)
    chunk = isinstance(agent.codec, ChunkCodec)
    lower = None if chunk else initial_lower(agent.model, batch)
    plan = jnp.zeros((batch, agent.codec.width))
    action = jnp.zeros((batch, agent.model.action_width))
    normal = jnp.zeros((batch, agent.model.stride if chunk else 1, agent.codec.codec.width))
    return PolicyCarry(carry, plan, jnp.zeros(batch, jnp.int32), action, normal, lower)
