"""Acting: one jitted function over a batch of environments, each with its own clock. DESIGN §4.

Every step filters one observation; every r-th step of an episode plans K actions anew, of which
the first r are executed. r = K is the plain open-loop semi-MDP.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, PRNGKeyArray

from agents.agent import Agent
from worldmodel.filter import FilterCarry, filter_step, initial_carry
from worldmodel.learner import Params, join


class PolicyCarry(NamedTuple):
    """Memory of the acting agent, per environment."""

    filter: FilterCarry
    plan: Array  # [N, K, A] the chunk being executed
    step: Array  # [N] steps of it done
    action: Array  # [N, A] last action


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
        outputs = agent.actor(filtered.belief.features)
        if greedy:
            chunk = agent.codec.mode(outputs)
        else:
            chunk = agent.codec.sample(outputs, act_key, "reinforce").flat
        plan = jnp.where(due[:, None, None], agent.codec.slots(chunk), carry.plan)
        step = jnp.where(due, 0, carry.step)
        action = plan[jnp.arange(step.shape[0]), step]
        return PolicyCarry(filtered, plan, step + 1, action), action

    return policy


def initial_policy(agent: Agent, batch: int, replan: int) -> PolicyCarry:
    """Carry of ``batch`` environments before their first observation."""
    width = agent.codec.codec.width
    carry = initial_carry(agent.model, batch, replan)
    plan = jnp.zeros((batch, agent.model.stride, width))
    return PolicyCarry(carry, plan, jnp.zeros(batch, jnp.int32), jnp.zeros((batch, width)))
