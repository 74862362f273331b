"""Open-loop prediction of many samples over long horizons, as features. CW-VAE §3.

Features take a hundredth of the memory of their frames: those of all samples are computed at once,
and ``frames.py`` draws and scores the frames in chunks.
"""

import jax
from jaxtyping import Array, Float, PRNGKeyArray

from common import UserError
from worldmodel.records import Records
from worldmodel.video_model import VideoModel, open_loop


def check_context(model: VideoModel, context: int) -> None:
    """Raise UserError, with the remedy, if a model cannot start after ``context`` frames."""
    block, fits = model.block, usable_context(model, context)
    if fits != context or context < 1:
        choices = [str(n) for n in (fits, -(-max(context, 1) // block) * block) if n]
        whole = "1 or more" if block == 1 else f"a positive multiple of the top stride {block}"
        raise UserError(
            f"context: expected {whole} frames, received {context}; set --context "
            f"{' or '.join(choices)}"
        )


def usable_context(model: VideoModel, context: int) -> int:
    """How many of the last ``context`` frames the model can start after, at most: whole blocks."""
    return max(context, 0) // model.block * model.block


def imagine_samples(
    model: VideoModel,
    records: Records,
    context: int,
    horizon: int,
    samples: int,
    key: PRNGKeyArray,
    blind: tuple[int, ...] = (),
) -> Float[Array, "N B H ..."]:
    """Features of the ``horizon`` frames after the context, ``samples`` times.

    Every sample draws its own posterior of the context and its own future; the arguments are those
    of ``worldmodel.video_model.open_loop``.

    Raises:
      UserError: if the model cannot start after ``context`` frames.
    """
    check_context(model, context)

    def sample(key: PRNGKeyArray) -> Array:
        return open_loop(model, records, context, horizon, key, blind)[1].features

    return jax.vmap(sample)(jax.random.split(key, samples))
