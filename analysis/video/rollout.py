"""Open-loop prediction of many samples over long horizons, as latent states. CW-VAE §3.

A state takes a hundredth of the memory of its frame: the states of all samples are made at once
(one scan per level), and ``frames.py`` draws and scores them some frames at a time.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from common import UserError
from worldmodel.clockwork import ClockworkVAE
from worldmodel.level import State
from worldmodel.records import Records


def check_context(model: ClockworkVAE, context: int) -> None:
    """Raises UserError, with the remedy, where a model cannot start after ``context`` frames.

    Looking ahead, only whole blocks of the top level have been seen (as in the original code);
    a causal model starts anywhere.
    """
    stride, fits = model.stride, usable_context(model, context)
    if fits != context or context < 1:
        choices = [str(n) for n in (fits, -(-max(context, 1) // stride) * stride) if n]
        raise UserError(
            f"context: expected a positive multiple of the top stride {stride} frames, received "
            f"{context}; set --context {' or '.join(choices)}"
        )


def usable_context(model: ClockworkVAE, context: int) -> int:
    """The most of the last ``context`` frames that the model can start after: whole blocks."""
    if model.config.window == "lookahead":
        return max(context, 0) // model.stride * model.stride
    return context


def imagine_samples(
    model: ClockworkVAE,
    records: Records,
    context: int,
    horizon: int,
    samples: int,
    key: PRNGKeyArray,
    blind: tuple[int, ...] = (),
) -> Float[Array, "N B H F"]:
    """Features of level 1 at the ``horizon`` frames after the context, ``samples`` times.

    Every sample has its own posterior of the context and its own future. The model rolls whole
    windows of its top level; what is past the horizon is cut.

    Args:
      records: [B, T, ...] from the first frame of every video on, without lead-in, T at least
        ``context``; where they go on, their actions are followed, and are unknown after their end.
        Of observations only the context is read.
      context: frames seen.
      blind: levels, from 0, that see none of them (``blindfold.py``).
    Raises:
      UserError: where the model cannot start after ``context`` frames.
    """
    check_context(model, context)
    steps = -(-horizon // model.stride) * model.stride
    action, known = (
        from_to(x, context, context + steps) for x in (records.action, records.action_mask)
    )

    def sample(key: PRNGKeyArray) -> Array:
        filter_key, imagine_key = jax.random.split(key)
        states = filter_context(model, records, context, filter_key, blind)
        noise = model.imagination_noise(imagine_key, known.shape[0], steps)
        return model.imagine(states, action, known, noise)[0].features[:, :horizon]

    return jax.vmap(sample)(jax.random.split(key, samples))


def filter_context(
    model: ClockworkVAE,
    records: Records,
    context: int,
    key: PRNGKeyArray,
    blind: tuple[int, ...] = (),
) -> tuple[State, ...]:
    """Every level's state after the first ``context`` records, level 1 first, [B, ·] each.

    Levels in ``blind`` (from 0) see none of them (``blindfold.py``).

    A causal model's clock is laid so that its top level ticks at the last of them: the first frames
    are its lead-in, as in training.
    """
    lookahead = model.config.window == "lookahead"
    last = 0 if lookahead else (context - 1) // model.stride * model.stride  # main time
    before = model.lead - (context - 1 - last) if not lookahead else 0
    after = 0 if lookahead else model.stride - 1

    def pad(x: Array) -> Array:
        return jnp.pad(x[:, :context], [(0, 0), (before, after), *[(0, 0)] * (x.ndim - 2)])

    seen = jax.tree.map(pad, records)
    batch, length = seen.mask.shape[0], seen.mask.shape[1] - model.lead
    beliefs = model.observe(seen, model.draw_noise(key, batch, length), blind)
    return model.states_at(beliefs, context if lookahead else last)


def from_to(x: Array, start: int, stop: int) -> Array:
    """x[:, start:stop], zeros where it does not reach that far."""
    x = x[:, start:stop]
    return jnp.pad(x, [(0, 0), (0, stop - start - x.shape[1]), *[(0, 0)] * (x.ndim - 2)])
