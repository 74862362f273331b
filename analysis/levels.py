"""What each level of the hierarchy holds: its KL, its prior's entropy, and what goes without it.

Three looks inside, per level:

- *KL*: nats that the level takes from the frames of a sequence, an upper bound on what it stores
  there: Σ over the level's active ticks of KL[q ‖ p]. CW-VAE §3.8, Table 1, and §3.9, Figure 8.
- *prior entropy* over an open-loop horizon: how certain the level is of what comes. TALD §4.6,
  Figure 10.
- *reset*: the level is left blind while the context is filtered, "by not feeding it with
  observations" (TALD Figure 11; CW-VAE §3.6, Figure 7). Its state is not put to zeros: at every one
  of its ticks its stochastic variables are drawn from the prior rather than the posterior, given
  its own recurrent state and the level above; all other levels see the context. From there on the
  future is rolled as ever. What the prediction then gets wrong, only that level had known.

Read next: ``identity.py`` and ``rooms.py``, which say what a prediction still knows.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from analysis.frames import draw_frames
from analysis.rollout import check_context, filter_context, from_to
from worldmodel.clockwork import ClockworkVAE
from worldmodel.level import Belief, State
from worldmodel.objective import masked_sum, tick_masks
from worldmodel.records import Records


class LevelTicks(NamedTuple):
    """What one level did at each of its ticks."""

    time: Array  # [n] main times of the ticks, in records after the lead-in; 0 is the first
    kl: Array  # [B, n] KL[q ‖ p] in nats; nan where the tick is no data
    prior_entropy: Array  # [B, n] H[p(z | h)] in nats, differential; nan likewise


def level_ticks(
    model: ClockworkVAE, records: Records, beliefs: tuple[Belief, ...]
) -> tuple[LevelTicks, ...]:
    """KL and prior entropy of every level, level 1 first, at the times of its own ticks.

    Tick n of level l lies at main time n·K_l, of a level at all phases at n. Their mean over ticks
    that are data is ``model_loss``'s `kl/level<l>` and `prior_entropy/level<l>`.

    Args:
      records: [B, lead+T, ...].
      beliefs: of ``model.observe(records, …)``.
    """
    found = []
    for index, (belief, mask) in enumerate(zip(beliefs, tick_masks(model, records), strict=True)):
        measures = (model.latent.kl(belief.post, belief.prior), model.latent.entropy(belief.prior))
        kl, entropy = (jnp.where(mask > 0, x, jnp.nan) for x in measures)
        time = model.alignment(index).every * jnp.arange(mask.shape[1])
        found.append(LevelTicks(time, kl, entropy))
    return tuple(found)


def sequence_kl(
    model: ClockworkVAE, records: Records, beliefs: tuple[Belief, ...]
) -> Float[Array, "B L"]:
    """KL of every level in nats per sequence, summed over its active ticks. CW-VAE Table 1.

    KL_l = Σ_{real ticks j of level l} KL[q_j ‖ p_j]; of a level at all phases, the mean over its K
    chains, each of which is a whole filter.

    Args:
      records: [B, lead+T, ...].
      beliefs: of ``model.observe(records, …)``.
    """
    columns = []
    for index, (belief, mask) in enumerate(zip(beliefs, tick_masks(model, records), strict=True)):
        kl = model.latent.kl(belief.post, belief.prior)
        chains = model.stride if model.phased(index) else 1
        columns.append(jax.vmap(masked_sum)(kl, mask) / chains)
    return jnp.stack(columns, axis=1)


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
      ValueError: if the horizon is not positive, the model cannot start after the context, or there
        is no such level.
    """
    if horizon < 1:
        raise ValueError(f"horizon: expected 1 frame or more, received {horizon}; raise it")
    if not set(blind) <= set(range(len(model.levels))):
        raise ValueError(
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
    """Frames of image ``name``, uint8 [B, H, 64, 64, C], ``chunk`` decoded at once."""
    features = states[0].features[:, :horizon]
    return draw_frames(lambda part: model.decode(part)[name], features, chunk)
