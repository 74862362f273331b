"""The world model's own loss, without an agent: what video pretraining descends. CW-VAE eq. 5.

``make_loss`` is what ``learner.make_update`` takes, as the agent's is. With *streams* the states at
a clip's end are carried to the clip that follows it, without gradient (``aux`` holds them), so that
levels whose stride is a large part of a clip are trained over many ticks all the same.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, PRNGKeyArray

from worldmodel.clockwork import ClockworkVAE
from worldmodel.learner import Aux, Loss, Metrics, Params, join
from worldmodel.level import State
from worldmodel.objective import ObjectiveConfig, model_loss
from worldmodel.observations import estimate_scale
from worldmodel.records import Records


class Clips(NamedTuple):
    """A batch of video."""

    records: Records  # [B, lead+T, ...]
    continues: Bool[Array, " B"]  # the clip goes on where the row's last ended; else from zeros


class PretrainAux(NamedTuple):
    """What is carried from update to update."""

    carry: tuple[State, ...]  # per level [B, ·]; without streams []


def initial_aux(model: ClockworkVAE, batch: int, streams: bool) -> PretrainAux:
    """Aux before the first update. Of the model only shapes are read."""
    levels = model.levels if streams else []
    return PretrainAux(tuple(level.initial((batch,)) for level in levels))


def make_loss(graph: nnx.GraphDef, config: ObjectiveConfig, streams: bool) -> Loss:
    """The world model's loss over ``Clips``, as ``learner.make_update`` takes it."""

    def loss(
        params: Params, aux: Aux, clips: Clips, key: PRNGKeyArray
    ) -> tuple[Array, tuple[Aux, Metrics]]:
        model: ClockworkVAE = join(graph, params)
        records, length = clips.records, clips.records.mask.shape[1] - model.lead
        noise = model.draw_noise(key, records.mask.shape[0], length)
        carry = carried(aux.carry, clips.continues) if streams else None
        beliefs = model.observe(records, noise, carry=carry)
        total, metrics = model_loss(model, records, beliefs, config)
        if streams:
            last = tuple(jax.tree.map(lambda x: x[:, -1], belief.state) for belief in beliefs)
            aux = PretrainAux(jax.lax.stop_gradient(last))
        return total, (aux, {**metrics, "loss/total": total})

    return loss


def estimate(params: Params, clips: Clips) -> Params:
    """The parameters that are estimated from a batch, as ``learner.make_update`` takes it."""
    return estimate_scale(params, clips.records.obs, clips.records.mask)


def carried(carry: tuple[State, ...], continues: Bool[Array, " B"]) -> tuple[State, ...]:
    """Zeros where a row does not go on."""
    return jax.tree.map(lambda x: jnp.where(continues[:, None], x, 0.0), carry)
