"""A model of video's own loss, without an agent: what video pretraining descends.

``make_loss`` is what ``learner.make_update`` takes, as the agent's is. ``aux`` holds what the model
hands from update to update (``video_model.py``): states of streams, counts.
"""

from typing import NamedTuple

import jax
from flax import nnx
from jaxtyping import Array, PRNGKeyArray

from worldmodel.learner import Aux, Loss, Metrics, Params, join
from worldmodel.observations import estimate_scale
from worldmodel.video_model import Carry, Clips, VideoModel


class PretrainAux(NamedTuple):
    """What is carried from update to update."""

    carry: Carry


def initial_aux(model: VideoModel, batch: int, streams: bool) -> PretrainAux:
    """Aux before the first update. Of the model only shapes are read."""
    return PretrainAux(model.start(batch, streams))


def make_loss(graph: nnx.GraphDef) -> Loss:
    """A model's loss over ``Clips``, as ``learner.make_update`` takes it."""

    def loss(
        params: Params, aux: Aux, clips: Clips, key: PRNGKeyArray
    ) -> tuple[Array, tuple[Aux, Metrics]]:
        model: VideoModel = join(graph, params)
        total, (carry, metrics) = model.learn(clips, aux.carry, key)
        aux = PretrainAux(jax.lax.stop_gradient(carry))
        return total, (aux, {**metrics, "loss/total": total})

    return loss


def estimate(params: Params, clips: Clips) -> Params:
    """The parameters that are estimated from a batch, as ``learner.make_update`` takes it."""
    return estimate_scale(params, clips.records.obs, clips.records.mask)
