"""Acting: one jitted function over a batch of environments, each with its own clock.

Every step filters one observation; every r-th step of an episode plans again, and the first r steps
of each plan are executed: r = K is the plain open-loop semi-MDP. With `keep_plan`, the agent keeps
some plans for longer. The codec (``codec.py``) defines what a plan is and the action of each of its
steps; if it reacts to level 1's belief, the levels below the top are filtered too.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from agents.agent import Agent
from worldmodel.filter import FilterCarry, filter_step, initial_carry
from worldmodel.learner import Params, join
from worldmodel.lower import LowerCarry, initial_lower, level1, lower_step


class PolicyCarry(NamedTuple):
    """Memory of the acting agent, per environment."""

    filter: FilterCarry
    plan: Array  # [N, Q] the plan being executed (``Codec.plan``)
    step: Array  # [N] steps of it already done
    action: Array  # [N, C] last action, as the model reads it
    normal: Array  # [N, A] standard normal noise with which it was drawn
    lower: LowerCarry | None  # levels below the top, if the codec reads level 1


Act = Callable[[Params, PolicyCarry, Any, Any, PRNGKeyArray], tuple[PolicyCarry, Array]]


def make_policy(graph: nnx.GraphDef, replan: int, greedy: bool) -> Act:
    """Jitted ``policy(params, carry, obs, is_first, key) -> (carry, action)``; actions [N, A] flat,
    with their mark if plans are marked (``Codec.join``).

    An action for an observation with ``is_first`` leads to the record after it, like any other.

    Args:
      graph: from ``learner.split(agent)``.
      replan: r, environment steps of each plan that are executed; divides K.
      greedy: act by modes instead of samples. Beliefs, and which plans are kept, are sampled
        either way.
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
        model, codec, config = agent.model, agent.codec, agent.config
        keys = split_keys(key, codec.closed_loop)
        noise = model.latent.noise(keys.filter, is_first.shape)
        filtered, due = filter_step(model, carry.filter, obs, carry.action, is_first, noise, replan)
        if config.keep_plan > 0 and config.plan_steps > replan:
            kept = jax.random.bernoulli(keys.keep, config.keep_probability, due.shape)
            due &= is_first | ~kept | (carry.step + replan > config.plan_steps)
        top = filtered.belief.features
        new = codec.plan(agent.actor(top), top, None if greedy else keys.plan)
        plan, step = jnp.where(due[:, None], new, carry.plan), jnp.where(due, 0, carry.step)
        seen, lower = top, carry.lower
        if lower is not None:
            noise = model.latent.noise(keys.lower, (is_first.shape[0], model.upper))
            lower = lower_step(model, lower, filtered, obs, is_first, noise)
            seen = level1(lower, filtered).features
        fresh = jax.random.normal(keys.react, carry.normal.shape)
        normal = correlated(carry.normal, fresh, is_first, config.noise_correlation)
        action = codec.react(plan, seen, step, None if greedy else normal)
        return PolicyCarry(filtered, plan, step + 1, action, normal, lower), action

    return policy


class Keys(NamedTuple):
    """Keys for one step of acting."""

    filter: PRNGKeyArray
    keep: PRNGKeyArray
    plan: PRNGKeyArray
    lower: PRNGKeyArray
    react: PRNGKeyArray


def split_keys(key: PRNGKeyArray, closed_loop: bool) -> Keys:
    """Keys for what is drawn in a step. In closed loop they are split in another order, so that
    recorded evaluations of either kind come out as they were."""
    noise_key, act_key = jax.random.split(key)
    if closed_loop:
        first, lower, react = jax.random.split(act_key, 3)
        keep, plan = jax.random.split(first)
    else:
        keep, rest = jax.random.split(act_key)
        plan, lower, react = jax.random.split(rest, 3)
    return Keys(noise_key, keep, plan, lower, react)


def correlated(
    last: Float[Array, "N A"], fresh: Float[Array, "N A"], is_first: Bool[Array, " N"], rho: float
) -> Float[Array, "N A"]:
    """n_t = ρ n_{t-1} + √(1-ρ²) ξ_t; at an episode's first step, ξ_t.

    Exploration continues in one direction, whatever is planned in between. n_t is standard normal
    for any ρ, so each action on its own is distributed as with ρ = 0. Source: docs/adr/0012.
    """
    drawn = rho * last + (1 - rho**2) ** 0.5 * fresh
    return jnp.where(is_first[:, None], fresh, drawn)


def initial_policy(agent: Agent, batch: int, replan: int) -> PolicyCarry:
    """Carry of ``batch`` environments before their first observation."""
    model, codec = agent.model, agent.codec
    return PolicyCarry(
        filter=initial_carry(model, batch, replan),
        plan=jnp.zeros((batch, codec.plan_width)),
        step=jnp.zeros(batch, jnp.int32),
        action=jnp.zeros((batch, model.action_width)),
        normal=jnp.zeros((batch, codec.actions.width)),
        lower=initial_lower(model, batch) if codec.closed_loop else None,
    )
