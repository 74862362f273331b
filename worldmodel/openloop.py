"""Open-loop prediction: filter a context, roll out every level's prior, and decode. CW-VAE §3.

The videos of imagined futures come from here, in training (`runs/`) and in `imagine.py`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from common import UserError
from worldmodel.clockwork import ClockworkVAE
from worldmodel.level import State
from worldmodel.records import Records
from worldmodel.video_model import VideoModel, open_loop


class OpenLoop(NamedTuple):
    """True and predicted values of the observations that the model decodes, over the same times:
    images uint8, vectors in their own units."""

    true: dict[str, Array]  # [B, n, ...]
    predicted: dict[
        str, Array
    ]  # [B, n, ...] reconstructions up to the context's end, then imagined
    context: int  # number of frames at the start that were seen


def predict(
    model: ClockworkVAE,
    records: Records,
    context: int,
    key: PRNGKeyArray,
    top: State | None = None,
) -> OpenLoop:
    """Open-loop prediction of an agent's sequences from their first steps, under recorded actions.

    Args:
      records: [B, lead+T, ...].
      context: a multiple of the top stride K, the main time of the last frame that is seen.
      top: states of the top level at its imagined ticks, [B, H, ·], if they come from elsewhere.
    Returns:
      Times 0 … context + H·K: as many whole windows as the records or ``top`` contain.
    Raises:
      UserError: if no whole window follows the context.
    """
    length = records.mask.shape[1] - model.lead
    ticks = (length - 1 - context) // model.stride if top is None else top.h.shape[1]
    if ticks < 1:
        raise UserError(
            f"predict: expected at least one window of {model.stride} steps after the context of "
            f"{context}, received sequences of {length}; shorten the context"
        )
    batch, last = records.mask.shape[0], context + ticks * model.stride
    filter_key, imagine_key = jax.random.split(key)
    beliefs = model.observe(records, model.draw_noise(filter_key, batch, length))
    states = model.states_at(beliefs, context)
    main = records.after(model.lead)
    noise = model.imagination_noise(imagine_key, batch, last - context)
    future = slice(context + 1, last + 1)
    imagined = model.imagine(
        states, main.action[:, future], main.action_mask[:, future], noise, top
    )
    seen = beliefs[0].state.features[:, : context + 1]
    features = jnp.concatenate([seen, imagined[0].features], axis=1)
    true = {name: main.obs[name][:, : last + 1] for name in model.predicted}
    return OpenLoop(true, model.to_observations(model.decode(features)), context + 1)


def predict_video(model: VideoModel, records: Records, context: int, key: PRNGKeyArray) -> OpenLoop:
    """Open-loop prediction of videos from their first frames, under the recorded actions.

    Args:
      records: [B, T, ...] from each video's first frame on, without lead-in.
      context: frames seen, a multiple of ``model.block``.
    Returns:
      All times from the first for which the model has features to the end.
    Raises:
      UserError: if no frame follows the context.
    """
    length = records.mask.shape[1]
    if not 0 < context < length:
        raise UserError(
            f"predict: expected a context of 1 to {length - 1} frames in sequences of {length}, "
            f"received {context}; shorten the context"
        )
    filtered, rolled = open_loop(model, records, context, length - context, key)
    means = model.decode(jnp.concatenate([filtered.features, rolled.features], axis=1))
    shown = filtered.features.shape[1]
    true = {name: records.obs[name][:, context - shown :] for name in means}
    return OpenLoop(true, model.to_observations(means), shown)
