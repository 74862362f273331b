"""Scores of predicted videos, whose frames are drawn and compared in chunks.

A thousand frames of a hundred samples do not fit into memory; what they are drawn from (latent
states, or frame numbers) does. So predictions exist only within a chunk, on the accelerator, and
only their scores are returned. Read next: ``references.py``, uninformed predictions.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from analysis.metrics.lpips import LpipsWeights
from analysis.metrics.protocols import Protocol, compare_frames
from worldmodel.observations import pixels
from worldmodel.video_model import to_bytes


def score_frames(
    protocol: Protocol,
    weights: LpipsWeights | None,
    draw: Callable[[Any], Array],
    source: Any,
    true: Array,
    chunk: int,
) -> dict[str, Array]:
    """Scores of every predicted frame, [N, B, H] by name of the metric.

    Args:
      protocol: how frames are compared.
      weights: of LPIPS; None leaves it out.
      draw: maps rows [n, ...] of ``source`` to frames [n, h, w, C], pixel values.
      source: what frames are drawn from, a pytree of [N, B, H, ...]: N samples of B videos.
      true: uint8 [B, H, h, w, C].
      chunk: frames drawn at once.
    """
    shape = jax.tree.leaves(source)[0].shape[:3]
    count = shape[1] * shape[2]
    frames = true.reshape(count, *true.shape[2:])
    rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[3:]), source)

    def compare(inputs: tuple[Any, Array]) -> dict[str, Array]:
        part, number = inputs
        return compare_frames(protocol, weights, pixels(frames[number % count]), draw(part))

    scores = in_chunks(compare, (rows, jnp.arange(shape[0] * count)), chunk)
    return jax.tree.map(lambda x: x.reshape(shape), scores)


def frames_at_once() -> int:
    """Number of frames that this device draws at once."""
    return 128 if jax.default_backend() == "cpu" else 1024


def draw_frames(draw: Callable[[Any], Array], source: Any, chunk: int) -> Array:
    """All frames of one sample, clipped and rounded: uint8 [B, H, h, w, C] from [B, H, ...]."""
    shape = jax.tree.leaves(source)[0].shape[:2]
    rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), source)
    frames = in_chunks(lambda part: to_bytes(draw(part)), rows, chunk)
    return frames.reshape(*shape, *frames.shape[1:])


def in_chunks(function: Callable[[Any], Any], rows: Any, chunk: int) -> Any:
    """Apply ``function`` over the leading axis, ``chunk`` rows at a time, sequentially.

    Args:
      function: maps rows [n, ...] to a pytree of [n, ...], each row independently.
      rows: pytree of [count, ...].
      chunk: n; the last chunk is padded with zeros, whose results are dropped.
    """
    count = jax.tree.leaves(rows)[0].shape[0]
    chunk = min(chunk, count)

    def stack(x: Array) -> Array:
        x = jnp.pad(x, [(0, -count % chunk), *[(0, 0)] * (x.ndim - 1)])
        return x.reshape(-1, chunk, *x.shape[1:])

    results = jax.lax.map(function, jax.tree.map(stack, rows))
    return jax.tree.map(lambda y: y.reshape(-1, *y.shape[2:])[:count], results)
