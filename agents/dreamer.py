"""The agent's loss: world model, window heads, then actor and critic in imagination.

``make_loss`` makes the loss that ``worldmodel.learner.make_update`` takes: one loss, one update.
Read next: ``imagination.py``, ``returns.py`` and ``actor_critic.py``, its parts.
"""

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from agents.actor_critic import (
    SLOW_RATE,
    ActorCriticConfig,
    BehaviourState,
    actor_loss,
    behaviour_targets,
    critic_loss,
    return_scale,
    update_range,
)
from agents.agent import Agent, newest_decoded
from agents.coarse import coarse, coarse_nll, seen_recently
from agents.config import AgentConfig
from agents.heads import TwoHot, bernoulli_loss, two_hot_loss, two_hot_mean
from agents.imagination import Trajectory, imagine_path
from agents.novelty import bonus, disagreement, ensemble_loss, spread_of, variance_of
from agents.policy import Act, PolicyCarry, initial_policy, make_policy
from agents.returns import WindowTargets, observed_returns, path_weights, window_targets
from common import UserError
from worldmodel import clock
from worldmodel.learner import Aux, Loss, Metrics, Params, join
from worldmodel.level import Belief, State
from worldmodel.objective import masked_mean, model_loss, tick_masks
from worldmodel.observations import estimate_scale
from worldmodel.records import Records

__all__ = [
    "Act",
    "ActorCriticConfig",
    "Agent",
    "AgentConfig",
    "PolicyCarry",
    "behaviour_loss",
    "draw_starts",
    "estimate",
    "fill_absorbing",
    "head_loss",
    "initial_aux",
    "initial_policy",
    "make_loss",
    "make_policy",
]


def initial_aux(params: Params, agent: Agent) -> BehaviourState:
    """Aux before the first update. Only the agent's shapes are read."""
    slow = jax.tree.map(jnp.array, params["critic"])
    weight = np.log(agent.codec.weight)
    scale = jnp.full(agent.codec.parts, weight, jnp.float32)  # not weakly typed: one compile
    return BehaviourState(slow, low=jnp.zeros(()), high=jnp.zeros(()), log_entropy_scale=scale)


def make_loss(graph: nnx.GraphDef, behaviour: Mapping[str, Array] | None = None) -> Loss:
    """The agent's loss as ``learner.make_update`` takes it, over ``Records`` [B, lead+T, ...].

    Args:
      graph: from ``learner.split(agent)``.
      behaviour: numbers that override settings of the agent's ActorCriticConfig. They are traced,
        so programs that differ only in them compile once (``compiled.py``).
    """

    def loss(
        params: Params, aux: Aux, records: Records, key: PRNGKeyArray
    ) -> tuple[Array, tuple[Aux, Metrics]]:
        fixed = jax.lax.stop_gradient(params)  # behaviour never updates the model
        agent: Agent = join(graph, params)
        frozen: Agent = join(graph, fixed)
        if behaviour:
            agent.config = frozen.config = override(agent.config, behaviour)
        slow: TwoHot = join(graph, {**fixed, "critic": aux.slow_critic}).critic
        model, config = agent.model, agent.config
        noise_key, fill_key, start_key, path_key = jax.random.split(key, 4)
        records = fill_absorbing(records, fill_key)
        batch, length = records.mask.shape
        codes = agent.codec.encode(model, records, jax.random.fold_in(key, 4))
        noise = model.draw_noise(noise_key, batch, length - model.lead)
        beliefs = model.observe(records, noise, code=codes.sample)
        world, metrics = model_loss(model, records, beliefs, config.objective)
        heads, head_metrics = head_loss(agent, records, beliefs)
        coding, codec_metrics = agent.codec.loss(model, records, beliefs, codes)
        start, alive = draw_starts(agent, records, beliefs, start_key)
        path = imagine_path(
            frozen.model, agent.act, frozen.predict_reward, frozen.predict_cont, start, alive,
            config.imagined, config.plan_ticks, config.behaviour.discount, path_key,
        )  # fmt: skip
        imagined = masked_mean(path.reward[:, 0], path.alive)  # without a bonus
        if config.novelty > 0:
            exploring, path, novelty_metrics = seek_novelty(agent, frozen, records, beliefs, path)
            heads, head_metrics = heads + exploring, head_metrics | novelty_metrics
        acting, aux, behaviour_metrics = behaviour_loss(agent, frozen, slow, path, aux)
        total = world + (heads + coding) + acting
        behaviour_metrics |= foreseen_returns(frozen, records, beliefs[-1])
        metrics |= {**head_metrics, **codec_metrics, **behaviour_metrics, "loss/total": total}
        gap = imagined - metrics["window_reward/observed"]
        rewards = {"window_reward/imagined": imagined, "window_reward/gap": gap}
        return total, (aux, metrics | rewards)

    return loss


def estimate(params: Params, records: Records) -> Params:
    """Update the parameters estimated from batches; the ``estimate`` of ``learner.make_update``."""
    model = estimate_scale(params["model"], records.obs, records.mask)
    return {**params, "model": model}


def override(config: AgentConfig, numbers: Mapping[str, Array]) -> AgentConfig:
    """``config`` with some settings of the actor-critic replaced by traced numbers.

    Raises:
      UserError: if a name is not one of its settings.
    """
    behaviour = copy(config.behaviour)  # not `replace`: fields are typed as Python numbers
    for name, value in numbers.items():
        if not hasattr(behaviour, name):
            raise UserError(f"behaviour: expected settings of ActorCriticConfig, received {name!r}")
        object.__setattr__(behaviour, name, value)
    return replace(config, behaviour=behaviour)


def fill_absorbing(records: Records, key: PRNGKeyArray) -> Records:
    """Give the absorbing steps after a terminal actions that were taken elsewhere in the batch.

    After a terminal no action has any effect, but imagination, which plans whole windows, may try
    any action there, so the model must have seen them. They count as known (``action_mask`` 1).
    """
    absorbing = jax.vmap(clock.ended)(records.terminal, jax.vmap(clock.segments)(records.is_first))
    absorbing = absorbing & (records.mask == 0)
    taken = records.mask * records.action_mask * (1.0 - records.is_first)
    total = jnp.cumsum(taken.reshape(-1))
    pick = jax.random.uniform(key, taken.shape, maxval=jnp.maximum(total[-1], 1.0))
    drawn = records.action.reshape(-1, records.action.shape[-1])[
        jnp.searchsorted(total, pick, side="right") % total.shape[0]
    ]
    return records._replace(
        action=jnp.where(absorbing[..., None], drawn, records.action),
        action_mask=jnp.where(absorbing, 1.0, records.action_mask),
    )


def known_windows(agent: Agent, records: Records, steps: int | None = None) -> WindowTargets:
    """Rewards and continuations of windows of ``steps``, by default of the top level's stride, that
    end at every tick of the top level, [B, n]."""
    model, config = agent.model, agent.config
    window = steps or model.stride
    labelled = records.mask * records.action_mask  # in video neither actions nor rewards are known
    targets = jax.vmap(
        lambda r, t, f, m: window_targets(r, t, f, m, window, config.behaviour.discount)
    )(records.reward, records.terminal, records.is_first, labelled)
    return jax.tree.map(lambda x: x[:, model.lead :], targets)


def foreseen_returns(frozen: Agent, records: Records, belief: Belief) -> Metrics:
    """Mean observed λ-return of the replayed windows, and the critic's value of the same states.

    The returns end in the critic's own value, so errors common to both ends cancel (adr 13).
    """
    config, stride = frozen.config.behaviour, frozen.model.stride
    value = frozen.predict_value(belief.state.features)
    observed = jax.vmap(
        lambda w, v: observed_returns(w, v, stride, config.discount**stride, config.lam**stride)
    )(known_windows(frozen, records), value)
    return {
        "return/observed": masked_mean(observed.returns, observed.known),
        "return/foreseen": masked_mean(value, observed.known),
    }


def head_loss(agent: Agent, records: Records, beliefs: tuple[Belief, ...]) -> tuple[Array, Metrics]:
    """Loss of the window reward and continuation heads on the top's beliefs, where the window is
    known, and of the auxiliary decoders (``decoder_loss``)."""
    targets = known_windows(agent, records)
    features = beliefs[-1].state.features
    logits = agent.reward(features)
    reward = masked_mean(two_hot_loss(logits, targets.reward), targets.valid)
    cont = masked_mean(bernoulli_loss(agent.cont(features), targets.cont), targets.valid)
    plans = known_windows(agent, records, agent.config.plan_steps)  # as imagination's rewards
    error = jnp.abs(two_hot_mean(logits) - targets.reward)
    foreseen = jax.lax.stop_gradient(foresee_reward(agent, beliefs[-1])) - targets.reward
    metrics = {
        "loss/reward": reward,
        "loss/cont": cont,
        "window_reward/observed": masked_mean(plans.reward, plans.valid),
        "window_reward/error": masked_mean(error, targets.valid),
        "window_reward/foreseen_error": masked_mean(jnp.abs(foreseen), targets.valid),
        "window_reward/foreseen_bias": masked_mean(foreseen, targets.valid),
    }
    decoded, nll = decoder_loss(agent, records, features)
    return reward + cont + decoded, metrics | nll


def decoder_loss(
    agent: Agent, records: Records, features: Float[Array, "B n F"]
) -> tuple[Array, Metrics]:
    """Loss of the auxiliary decoders of the newest observation and of the sum of recent ones, the
    latter times its weight, at every real tick."""
    model, config = agent.model, agent.config
    main = slice(model.lead, None)
    frame, image = coarse(model.units({name: records.obs[name] for name in model.predicted}))
    deviations = image, config.model.image_std, config.model.vector_std
    total, metrics = jnp.zeros(()), {}
    if newest_decoded(config):
        nll = coarse_nll(agent.newest(features), frame[:, main], *deviations)
        metrics["nll/newest"] = masked_mean(nll, records.mask[:, main])
        total = total + metrics["nll/newest"]
    if config.recent_decoder > 0:
        recent, known = seen_recently(frame, records)
        nll = coarse_nll(agent.recent(features), recent[:, main], *deviations)
        metrics["nll/recent"] = masked_mean(nll, (records.mask * known)[:, main])
        total = total + config.recent_decoder * metrics["nll/recent"]
    return total, metrics


def seek_novelty(
    agent: Agent, frozen: Agent, records: Records, beliefs: tuple[Belief, ...], path: Trajectory
) -> tuple[Array, Trajectory, Metrics]:
    """Ensemble loss, imagined paths with the bonus in their rewards, and metrics (``novelty.py``).

    The ensemble reads the top's h and is trained on what arrived at that tick, or last in a window
    that a terminal closes early; the model gets no gradient.
    """
    model, config = agent.model, agent.config
    main = slice(model.lead, None)
    frame, _ = coarse(model.units({name: records.obs[name] for name in model.predicted}))
    frame = jax.vmap(lambda x, real: x[clock.last_real(real)])(frame, records.mask)
    target = jax.lax.stop_gradient(frame[:, main]).reshape(-1, frame.shape[-1])
    mask = tick_masks(model, records)[-1].reshape(-1)
    h = jax.lax.stop_gradient(beliefs[-1].state.h)
    h = h.reshape(-1, h.shape[-1])
    variance = variance_of(target, mask)
    predicted = agent.ensemble(h)
    loss = ensemble_loss(predicted, target, mask, variance)
    replayed = disagreement(spread_of(jax.lax.stop_gradient(predicted)), variance)
    later = path.features[:, 1:, : h.shape[-1]]
    spread = frozen.ensemble.spread(later.reshape(-1, h.shape[-1]))
    imagined = disagreement(spread, variance).reshape(later.shape[:2])
    going = jax.vmap(partial(path_weights, discount=1.0))(path.alive, path.cont)
    extra = bonus(imagined, going, config.novelty, config.plan_steps)
    metrics = {
        "loss/ensemble": loss,
        "novelty/replayed": masked_mean(replayed, mask),
        "novelty/imagined": masked_mean(imagined[:, 0], path.alive),
    }
    return loss, path._replace(reward=path.reward + extra), metrics


def foresee_reward(agent: Agent, belief: Belief) -> Float[Array, "B n"]:
    """Window rewards as imagination would predict them one tick ahead, under the actions taken:
    from the prior's mode in place of the posterior's sample."""
    state = State(belief.state.h, agent.model.latent.mode(belief.prior))
    return agent.predict_reward(state.features)


class Starts(NamedTuple):
    """Where imagination starts."""

    state: State  # [N, ·] of the top level
    alive: Float[Array, " N"]  # 1 where it is a state to act in


def draw_starts(
    agent: Agent, records: Records, beliefs: tuple[Belief, ...], key: PRNGKeyArray
) -> Starts:
    """Up to ``starts`` top states of the batch, without gradient, those to act in preferred.

    A state is one to act in (alive) if its step is real and not terminal.
    """
    model = agent.model
    main = records.after(model.lead)
    alive = (main.mask * (1.0 - main.terminal)).reshape(-1)
    state = jax.tree.map(
        lambda x: x.reshape(-1, x.shape[-1]), jax.lax.stop_gradient(beliefs[-1].state)
    )
    limit = agent.config.behaviour.starts
    if alive.shape[0] > limit:
        _, chosen = jax.lax.top_k(alive + jax.random.uniform(key, alive.shape), limit)
        state, alive = jax.tree.map(lambda x: x[chosen], (state, alive))
    return Starts(state, alive)


def behaviour_loss(
    agent: Agent, frozen: Agent, slow: TwoHot, path: Trajectory, aux: BehaviourState
) -> tuple[Array, BehaviourState, Metrics]:
    """Actor and critic losses on imagined paths; the critic's features carry no gradient."""
    config = agent.config.behaviour
    stop = jax.lax.stop_gradient
    value = frozen.predict_value(path.features)
    targets = behaviour_targets(path, value, agent.config.plan_steps, config)
    aux = update_range(aux, stop(targets.returns), targets.weight)
    actor = actor_loss(path, targets, aux, agent.codec.primitives)
    features = stop(path.features[:, :-1])
    critic = critic_loss(agent.critic(features), slow(features), targets)
    metrics = {
        "loss/actor": actor,
        "loss/critic": critic,
        "actor/return_scale": return_scale(aux),
        "return/imagined": masked_mean(targets.returns[:, 0], path.alive),
        "value": masked_mean(value[:, 0], path.alive),
    }
    outputs = agent.actor(features[:, 0])
    aux, regulated = agent.codec.regulate(aux, outputs, path.entropy[:, 0], path.alive, config)
    critic_params = nnx.to_pure_dict(nnx.state(frozen.critic, nnx.Param))
    slow_params = jax.tree.map(lambda s, c: s + SLOW_RATE * (c - s), aux.slow_critic, critic_params)
    return actor + critic, aux._replace(slow_critic=slow_params), metrics | regulated
