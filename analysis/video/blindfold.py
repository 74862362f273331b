"""What a prediction loses without a level: the open loop, with levels left blind over the context.

A level is blinded "by not feeding it with observations" (TALD Figure 11; CW-VAE §3.6, Figure 7).
Its state is not put to zeros: at every one of its ticks its stochastic variables are drawn from the
prior rather than the posterior, given its own recurrent state and the level above; all other levels
see the context. From there on the future is rolled as ever. What the prediction then gets wrong,
only that level had known.

Prior entropy over an open-loop horizon says how certain a level is of what comes. TALD §4.6,
Figure 10. Read next: `inspection.py`, which asks this of every level.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from analysis.video.frames import draw_frames
from analysis.video.rollout import check_context, filter_context, from_to
from common import UserError
from worldmodel.clockwork import ClockworkVAE
from worldmodel.level import State
from worldmodel.records import Records


def open_loop(
    model: ClockworkVAE,
    records: Records,
    context: int,
    horizon: int,
    key: PRNGKeyArray,
    blind: tuple[int, ...] = (),
) -> tuple[State, ...]:
    """Filters the context, levels in ``blind`` by their prior, then rolls every level's prior.

    The same key and horizon give the same noise whoever is blind: futures differ by what was seen
    alone.

    Args:
      records: [B, T, ...] from the first frame of every video on, without lead-in, T at least
        ``context``; of what follows only actions are read, unknown where the records end.
      context: frames seen.
      horizon: H, frames to predict; whole windows of the top level are.
      blind: levels, from 0.
    Returns:
      States per level, level 1 first, [B, ⌈H/K⌉·K/K_l, ·], from the first frame not seen on.
    Raises:
      UserError: if the horizon is not positive, the model cannot start after the context, or there
        is no such level.
    """
    if horizon < 1:
        raise UserError(f"horizon: expected 1 frame or more, received {horizon}; raise it")
    if not set(blind) <= set(range(len(model.levels))):
        raise UserError(
            f"blind: expected levels 0 to {len(model.levels) - 1}, received {blind}; count from 0"
        )
    check_context(model, context)
    filter_key, imagine_key = jax.random.split(key)
    states = filter_context(model, records, context, filter_key, blind)
    steps = -(-horizon // model.stride) * model.stride
    action, known = (
        from_to(x, context, context + steps) for x in (records.action, records.action_mask)
    )
    noise = model.imagination_noise(imagine_key, known.shape[0], steps)
    return model.imagine(states, action, known, noise)


def prior_entropy(
    model: ClockworkVAE, states: tuple[State, ...], horizon: int
) -> Float[Array, "B H L"]:
    """Entropy of every level's prior in nats at every frame, held between its ticks. TALD Fig. 10.

    H[p(z | h)] of the state that each tick was drawn from; differential, so it may be negative.

    Args:
      states: of ``open_loop``.
      horizon: H, frames wanted.
    """
    columns = []
    for level, state, stride in zip(model.levels, states, model.strides, strict=True):
        entropy = model.latent.entropy(level.prior(state.h))
        columns.append(jnp.repeat(entropy, stride, axis=1)[:, :horizon])
    return jnp.stack(columns, axis=2)


def predicted_images(
    model: ClockworkVAE, states: tuple[State, ...], horizon: int, name: str, chunk: int
) -> Array:
    """Frames of image ``name``, uint8 [B, H, S, S, C], ``chunk`` decoded at once."""
    features = states[0].features[:, :horizon]
    return draw_frames(lambda part: model.decode(part)[name], features, chunk)
