"""Open-loop prediction: filter a context, then roll every level's prior, and decode. CW-VAE §3.

What videos of the imagined are made of, in training (`runs/`) and in `imagine.py`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from common import UserError
from worldmodel.clockwork import ClockworkVAE
from worldmodel.level import State
from worldmodel.records import Records


class OpenLoop(NamedTuple):
    """True and predicted observations over the same times, images uint8, vectors in their units;
    of those that the model decodes."""

    true: dict[str, Array]  # [B, n, ...]
    predicted: dict[
        str, Array
    ]  # [B, n, ...] reconstructions up to the context's end, then imagined
    context: int  # frames of it that were seen


def predict(
    model: ClockworkVAE,
    records: Records,
    context: int,
    key: PRNGKeyArray,
    top: State | None = None,
) -> OpenLoop:
    """Open-loop prediction of recorded sequences from their first frames, by the recorded actions.

    Args:
      records: [B, lead+T, ...].
      context: a multiple of the top stride K: causal, the main time of the last frame that is seen;
        looking ahead, the number of frames seen.
      top: states of the top level at its imagined ticks, [B, H, ·], where they come from elsewhere;
        causal only.
    Returns:
      Causal: times 0 … context + H·K, as many whole windows as the records or ``top`` hold.
      Looking ahead: all T times.
    Raises:
      UserError: where no whole window follows the context, or looking ahead no frame.
    """
    if model.config.window == "lookahead":
        return _predict_blocks(model, records, context, key)
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


def _predict_blocks(
    model: ClockworkVAE, records: Records, context: int, key: PRNGKeyArray
) -> OpenLoop:
    """As ``predict``, looking ahead: whole blocks follow the context, the last one cut."""
    batch, length = records.mask.shape
    if not 0 < context < length:
        raise UserError(
            f"predict: expected a context of 1 to {length - 1} frames in sequences of {length}, "
            f"received {context}; shorten the context"
        )
    filter_key, imagine_key = jax.random.split(key)
    seen = jax.tree.map(lambda x: x[:, :context], records)
    beliefs = model.observe(seen, model.draw_noise(filter_key, batch, context))
    states = model.states_at(beliefs, context)
    steps = -(-(length - context) // model.stride) * model.stride
    noise = model.imagination_noise(imagine_key, batch, steps)

    def future(x: Array) -> Array:
        after = [(0, 0), (0, context + steps - length), *[(0, 0)] * (x.ndim - 2)]
        return jnp.pad(x[:, context:], after)

    imagined = model.imagine(states, future(records.action), future(records.action_mask), noise)
    parts = [beliefs[0].state.features, imagined[0].features[:, : length - context]]
    features = jnp.concatenate(parts, axis=1)
    true = {name: records.obs[name] for name in model.predicted}
    return OpenLoop(true, model.to_observations(model.decode(features)), context)
