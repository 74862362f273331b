"""A video model's own loss, without an agent, which video pretraining minimises.

``make_loss`` makes a loss for ``learner.make_update``, as the agent's does. ``aux`` holds what the
model carries from update to update (``video_model.py``): states of streams, counts.
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
    """Aux before the first update. Only the model's shapes are read."""
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
    """Update the parameters estimated from batches; the ``estimate`` of ``learner.make_update``."""
    return estimate_scale(params, clips.records.obs, clips.records.mask)
