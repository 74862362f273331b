"""What a published SSIM or PSNR means: two protocols, never mixed in one table.

``cwvae``: as in the original CW-VAE and SVG, scikit-image 0.18 on floats with no range given: that
is, range 2, a flat 7×7 window, unbiased variances, PSNR at range 1; computed per channel, then
averaged; predictions are not clipped.
``standard``: as in Wang et al. and TECO: Gaussian window 11, sigma 1.5, range 1; SSIM is averaged
over channels, PSNR computed over all of them; predictions are clipped to [0, 1].
Read next: `analysis/video/frames.py`, which scores whole videos.
"""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from analysis.metrics.lpips import LpipsWeights, lpips
from analysis.metrics.ssim import gaussian_window, psnr, ssim, uniform_window

ProtocolName = Literal["cwvae", "standard"]


@dataclass(frozen=True)
class Protocol:
    """How frames are compared."""

    name: ProtocolName
    """Label of the results."""
    window: tuple[float, ...]
    """SSIM's weights along each axis."""
    unbiased: bool
    """Whether SSIM's variances are divided by n-1."""
    ssim_range: float
    """SSIM's range of pixel values; white is 1."""
    psnr_by_channel: bool
    """Whether PSNR is computed per channel and averaged (in dB), or else over all channels."""
    clip: bool
    """Whether predictions are clipped to [0, 1] first."""
    words: str
    """The same in one line of text."""


PROTOCOLS: dict[str, Protocol] = {
    "cwvae": Protocol(
        name="cwvae",
        window=uniform_window(7),
        unbiased=True,
        ssim_range=2.0,
        psnr_by_channel=True,
        clip=False,
        words="cwvae: SSIM with a flat 7x7 window at range 2, PSNR at range 1 per channel, "
        "predictions not clipped (as the original CW-VAE and SVG)",
    ),
    "standard": Protocol(
        name="standard",
        window=gaussian_window(11, 1.5),
        unbiased=False,
        ssim_range=1.0,
        psnr_by_channel=False,
        clip=True,
        words="standard: SSIM with a Gaussian window 11/1.5 at range 1, PSNR at range 1, "
        "predictions clipped to [0, 1]",
    ),
}


def compare_frames(
    protocol: Protocol,
    weights: LpipsWeights | None,
    true: Float[Array, "n h w C"],
    predicted: Float[Array, "n h w C"],
) -> dict[str, Float[Array, " n"]]:
    """``ssim``, ``psnr`` and, given weights, ``lpips`` of every pair of frames.

    Args:
      protocol: of SSIM and PSNR; LPIPS always uses clipped frames.
      weights: of LPIPS.
      true: pixel values in [0, 1].
      predicted: pixel values as the model outputs them.
    """
    clipped, count = jnp.clip(predicted, 0, 1), true.shape[0]
    x, y = true, clipped if protocol.clip else predicted
    planes = [jnp.moveaxis(z, -1, 1).reshape(-1, *z.shape[1:3]) for z in (x, y)]  # [n·C, h, w]
    structure = jax.vmap(lambda a, b: _ssim(protocol, a, b))(*planes).reshape(count, -1).mean(1)
    if protocol.psnr_by_channel:
        peak = jax.vmap(psnr)(*planes).reshape(count, -1).mean(1)
    else:
        peak = jax.vmap(psnr)(x, y)
    scores = {"ssim": structure, "psnr": peak}
    if weights is not None:
        scores["lpips"] = lpips(weights, true, clipped)
    return scores


def _ssim(protocol: Protocol, true: Array, predicted: Array) -> Array:
    return ssim(true, predicted, protocol.window, protocol.unbiased, protocol.ssim_range)
