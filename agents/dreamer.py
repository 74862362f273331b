"""The agent: world model, heads, actor and critic in one module, one loss, one update, one policy. DESIGN §4.

``agent_loss`` is what ``worldmodel.learner.make_update`` descends; ``make_policy`` is the jitted
``policy(params, carry, obs, is_first, key) -> (carry, action)`` that acts with the same weights.
Read next: ``train_agent.py``, the loop round it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, PRNGKeyArray

from agents.actions import ActionCodec, ActionDistribution, ActionSample, ChunkCodec
from agents.actor_critic import (
    ActorCriticConfig,
    BehaviourState,
    actor_loss,
    behaviour_targets,
    critic_loss,
    return_scale,
    update_entropy_scale,
    update_range,
)
from agents.heads import Bernoulli, TwoHot, bernoulli_loss, two_hot_loss, two_hot_mean
from agents.imagination import Trajectory, imagine_path
from agents.returns import window_targets
from worldmodel import clock
from worldmodel.clockwork import ClockworkConfig, ClockworkVAE, ObsShapes
from worldmodel.filter import FilterCarry, check_replan, filter_step, initial_carry
from worldmodel.learner import Aux, Loss, Metrics, Params, join
from worldmodel.level import Belief, State
from worldmodel.networks import MLP
from worldmodel.objective import ObjectiveConfig, masked_mean, model_loss, tick_masks
from worldmodel.records import Records


@dataclass(frozen=True)
class AgentConfig:
    """Settings of the agent."""

    model: ClockworkConfig = field(default_factory=ClockworkConfig)
    """World model."""
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    """The world model's loss."""
    behaviour: ActorCriticConfig = field(default_factory=ActorCriticConfig)
    """Actor and critic."""
    actions: ActionDistribution = field(default_factory=ActionDistribution)
    """Distributions of primitive actions."""
    replan: int = 1
    """r: environment steps between plans, in collection and evaluation; divides K. DESIGN §4, "Acting"."""


class Agent(nnx.Module):
    """World model, heads on its top state, actor and critic.

    Raises:
      ValueError: on settings that exclude each other, see ``check_agent``.
    """

    def __init__(
        self, config: AgentConfig, obs_shapes: ObsShapes, codec: ActionCodec, rngs: nnx.Rngs
    ):
        check_agent(config)
        self.config = config
        self.model = ClockworkVAE(config.model, obs_shapes, codec.width, rngs)
        self.codec = ChunkCodec(codec, self.model.stride)
        b = config.behaviour
        kind: dict[str, Any] = {
            "layers": b.layers, "act": config.model.act, "norm": config.model.norm, "rngs": rngs,
        }  # fmt: skip
        self.reward = TwoHot(self.model.features, b.hidden, dtype=config.model.dtype, **kind)
        self.cont = Bernoulli(self.model.features, b.hidden, dtype=config.model.dtype, **kind)
        self.critic = TwoHot(self.model.features, b.hidden, dtype=config.model.dtype, **kind)
        self.actor = MLP(
            self.model.features,
            b.hidden,
            self.codec.outputs,
            dtype=jnp.dtype(config.model.dtype),
            zero=True,
            **kind,
        )

    def predict_reward(self, features: Array) -> Array:
        """Window reward, environment units."""
        return two_hot_mean(self.reward(features))

    def predict_cont(self, features: Array) -> Array:
        """Window continuation in [0, 1]."""
        return jax.nn.sigmoid(self.cont(features))

    def predict_value(self, features: Array) -> Array:
        """Critic's value, environment units."""
        return two_hot_mean(self.critic(features))

    def act(self, features: Array, key: PRNGKeyArray) -> ActionSample:
        """Abstract action sampled from the actor, with the configured gradient."""
        return self.codec.sample(self.actor(features), key, self.config.behaviour.gradient)


def check_agent(config: AgentConfig) -> None:
    """Raises ValueError on settings that cannot train."""
    strides = clock.check_strides(config.model.strides)
    check_replan(strides[-1], config.replan)
    b = config.behaviour
    if b.horizon < 1:
        raise ValueError(
            f"horizon: expected 1 or more imagined ticks of the top clock, received {b.horizon}"
        )
    for name, low, high in (
        ("discount", 0.0, 1.0),
        ("lam", 0.0, 1.0),
        ("entropy_target", 0.0, 1.0),
    ):
        if not low <= getattr(b, name) <= high:
            raise ValueError(
                f"{name}: expected between {low:g} and {high:g}, received {getattr(b, name)}"
            )
    if config.model.window != "causal":
        raise ValueError(
            "window: an agent needs 'causal', received 'lookahead': acting cannot see frames to come"
        )


def initial_aux(params: Params) -> BehaviourState:
    """Aux before the first update."""
    slow = jax.tree.map(jnp.array, params["critic"])
    return BehaviourState(slow, jnp.zeros(()), jnp.zeros(()), jnp.log(jnp.asarray(3e-3)))


def make_loss(graph: nnx.GraphDef) -> Loss:
    """The agent's loss as ``learner.make_update`` takes it, over ``Records`` [B, lead+T, ...]."""

    def loss(
        params: Params, aux: Aux, records: Records, key: PRNGKeyArray
    ) -> tuple[Array, tuple[Aux, Metrics]]:
        agent = join(graph, params)
        frozen = join(graph, jax.lax.stop_gradient(params))  # behaviour never moves the model
        slow = join(graph, {**jax.lax.stop_gradient(params), "critic": aux.slow_critic}).critic
        noise_key, fill_key, start_key, path_key = jax.random.split(key, 4)
        records = fill_absorbing(records, fill_key)
        model = agent.model
        noise = model.draw_noise(
            noise_key, records.mask.shape[0], records.mask.shape[1] - model.lead
        )
        beliefs = model.observe(records, noise)
        world, metrics = model_loss(model, records, beliefs, agent.config.objective)
        heads, head_metrics = head_loss(agent, records, beliefs)
        start, alive = draw_starts(agent, records, beliefs, start_key)
        path = imagine_path(
            frozen.model, agent.act, frozen.predict_reward, frozen.predict_cont, start, alive,
            agent.config.behaviour.horizon, path_key,
        )  # fmt: skip
        behaviour, aux, behaviour_metrics = behaviour_loss(agent, frozen, slow, path, aux)
        total = world + heads + behaviour
        metrics = {**metrics, **head_metrics, **behaviour_metrics, "loss/total": total}
        metrics["window_reward/gap"] = (
            metrics["window_reward/imagined"] - metrics["window_reward/realised"]
        )
        return total, (aux, metrics)

    return loss


def fill_absorbing(records: Records, key: PRNGKeyArray) -> Records:
    """Gives absorbing steps actions drawn from the batch: after a terminal any action leads nowhere, and imagination,
    which plans whole windows, will ask for any."""
    batch, length = records.mask.shape
    rows = jax.random.randint(key, (batch, length), 0, batch)
    drawn = records.action[rows, jnp.arange(length)]
    return records._replace(action=jnp.where(records.mask[..., None] > 0, records.action, drawn))


def head_loss(agent: Agent, records: Records, beliefs: tuple[Belief, ...]) -> tuple[Array, Metrics]:
    """Window reward and continuation heads on the top's beliefs, where the window is known."""
    model, config = agent.model, agent.config
    targets = jax.vmap(
        lambda r, t, f, m: window_targets(r, t, f, m, model.stride, config.behaviour.discount)
    )(records.reward, records.terminal, records.is_first, records.mask)
    cut = 1 if config.model.all_phases else model.stride
    targets = jax.tree.map(lambda x: x[:, model.lead :: cut], targets)
    features = beliefs[-1].state.features
    logits = agent.reward(features)
    reward = masked_mean(two_hot_loss(logits, targets.reward), targets.valid)
    cont = masked_mean(bernoulli_loss(agent.cont(features), targets.cont), targets.valid)
    metrics = {
        "loss/reward": reward,
        "loss/cont": cont,
        "window_reward/realised": masked_mean(targets.reward, targets.valid),
        "window_reward/error": masked_mean(
            jnp.abs(two_hot_mean(logits) - targets.reward), targets.valid
        ),
    }
    return reward + cont, metrics


class Starts(NamedTuple):
    """Where imagination starts."""

    state: State
    alive: Array


def draw_starts(
    agent: Agent, records: Records, beliefs: tuple[Belief, ...], key: PRNGKeyArray
) -> Starts:
    """Top states of the batch, without gradient; at most ``starts`` of them, those of real, non-terminal steps alive."""
    model = agent.model
    cut = 1 if agent.config.model.all_phases else model.stride
    main = records.after(model.lead)
    alive = (main.mask * (1.0 - main.terminal))[:, ::cut].reshape(-1)
    state = jax.tree.map(
        lambda x: x.reshape(-1, x.shape[-1]), jax.lax.stop_gradient(beliefs[-1].state)
    )
    limit = agent.config.behaviour.starts
    if alive.shape[0] > limit:
        chosen = jax.random.permutation(key, alive.shape[0])[:limit]
        state, alive = jax.tree.map(lambda x: x[chosen], (state, alive))
    return Starts(state, alive)


def behaviour_loss(
    agent: Agent, frozen: Agent, slow: TwoHot, path: Trajectory, aux: BehaviourState
) -> tuple[Array, BehaviourState, Metrics]:
    """Actor and critic on imagined paths; the critic learns from features without gradient."""
    config, stride = agent.config.behaviour, agent.model.stride
    value = frozen.predict_value(path.features)
    targets = behaviour_targets(path, value, stride, config)
    aux = update_range(
        aux, jax.lax.stop_gradient(targets.returns), targets.weight, config.scale_rate
    )
    actor = actor_loss(path, targets, aux, agent.codec.codec.primitives * stride, config)
    features = jax.lax.stop_gradient(path.features[:, :-1])
    critic = critic_loss(agent.critic(features), slow(features), targets, config)
    spread = jax.lax.stop_gradient(
        masked_mean(agent.codec.spread(agent.actor(features[:, 0])), path.alive)
    )
    metrics = {
        "loss/actor": actor,
        "loss/critic": critic,
        "actor/spread": spread,
        "actor/entropy_scale": jnp.exp(aux.log_entropy_scale),
        "actor/return_scale": return_scale(aux),
        "return/imagined": masked_mean(targets.returns[:, 0], path.alive),
        "value": masked_mean(value[:, 0], path.alive),
        "window_reward/imagined": masked_mean(path.reward[:, 0], path.alive),
    }
    aux = update_entropy_scale(aux, spread, config)
    rate, critic_params = config.slow_rate, nnx.to_pure_dict(nnx.state(frozen.critic, nnx.Param))
    slow_params = jax.tree.map(lambda s, c: s + rate * (c - s), aux.slow_critic, critic_params)
    return actor + critic, aux._replace(slow_critic=slow_params), metrics


class PolicyCarry(NamedTuple):
    """Memory of the acting agent, per environment."""

    filter: FilterCarry
    plan: Array  # [N, K, A] the chunk being executed
    step: Array  # [N] steps of it done
    action: Array  # [N, A] last action


Act = Callable[
    [Params, PolicyCarry, dict[str, Array], Bool[Array, " N"], PRNGKeyArray],
    tuple[PolicyCarry, Array],
]


def make_policy(graph: nnx.GraphDef, replan: int, greedy: bool) -> Act:
    """Jitted ``policy(params, carry, obs, is_first, key) -> (carry, action)`` over a batch of environments.

    Args:
      graph: of ``learner.split(agent)``.
      replan: r, environment steps of each plan that are executed; divides K.
      greedy: act by modes instead of samples.
    """

    @jax.jit
    def policy(
        params: Params,
        carry: PolicyCarry,
        obs: dict[str, Array],
        is_first: Array,
        key: PRNGKeyArray,
    ) -> tuple[PolicyCarry, Array]:
        agent = join(graph, params)
        noise_key, act_key = jax.random.split(key)
        noise = agent.model.latent.noise(noise_key, is_first.shape)
        filtered, due = filter_step(
            agent.model, carry.filter, obs, carry.action, is_first, noise, replan
        )
        outputs = agent.actor(filtered.belief.features)
        chunk = (
            agent.codec.mode(outputs)
            if greedy
            else agent.codec.sample(outputs, act_key, "reinforce").flat
        )
        plan = jnp.where(due[:, None, None], agent.codec.slots(chunk), carry.plan)
        step = jnp.where(due, 0, carry.step)
        action = plan[jnp.arange(step.shape[0]), step]
        return PolicyCarry(filtered, plan, step + 1, action), action

    return policy


def initial_policy(agent: Agent, batch: int, replan: int) -> PolicyCarry:
    """Carry of ``batch`` environments before their first observation."""
    width = agent.codec.codec.width
    carry = initial_carry(agent.model, batch, replan)
    zeros = jnp.zeros((batch, agent.model.stride, width))
    return PolicyCarry(carry, zeros, jnp.zeros(batch, jnp.int32), jnp.zeros((batch, width)))
