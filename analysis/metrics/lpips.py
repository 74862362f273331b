"""Learned perceptual distance of frames (LPIPS, version 0.1), AlexNet or VGG-16. Zhang et al. 2018.

The weights are not part of this project. With the `lpips` package and PyTorch installed, this code
writes the file that ``load_lpips`` reads (net="vgg" for VGG-16)::

  import lpips, numpy
  state = lpips.LPIPS(net="alex").state_dict()
  numpy.savez("lpips_alex.npz", **{name: value.numpy() for name, value in state.items()})

The file contains arrays only, nothing that could run code. Convolutions are named as in the
package: `net.slice2.3.weight` is [out, in, k, k].
"""

from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from common import UserError

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Per-channel mean and deviation that normalize frames in [-1, 1] (the package's ScalingLayer)."""


class Conv(NamedTuple):
    """One convolution and its place in the network."""

    name: str  # without the prefix `net.`
    kernel: int  # pixels
    stride: int
    padding: int
    pool: tuple[int, int] | None  # kernel and stride of the max pooling before it
    tap: bool  # whether its rectified output is compared


def _vgg() -> tuple[Conv, ...]:
    slices = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
    return tuple(
        Conv(
            f"slice{level}.{n}",
            3,
            1,
            1,
            (2, 2) if level > 1 and n == numbers[0] else None,
            n == numbers[-1],
        )
        for level, numbers in enumerate(slices, 1)
        for n in numbers
    )


NETS: dict[str, tuple[Conv, ...]] = {
    "alex": (
        Conv("slice1.0", 11, 4, 2, None, True),
        Conv("slice2.3", 5, 1, 2, (3, 2), True),
        Conv("slice3.6", 3, 1, 1, (3, 2), True),
        Conv("slice4.8", 3, 1, 1, None, True),
        Conv("slice5.10", 3, 1, 1, None, True),
    ),
    "vgg": _vgg(),
}


class LpipsWeights(NamedTuple):
    """Arrays of one network, a pytree; their number identifies the network."""

    kernels: tuple[Array, ...]  # [out, in, k, k], in order
    biases: tuple[Array, ...]  # [out]
    heads: tuple[Array, ...]  # [channels] of every compared layer

    @property
    def net(self) -> str:
        """`alex` or `vgg`."""
        return next(name for name, convs in NETS.items() if len(convs) == len(self.kernels))


def load_lpips(path: Path) -> LpipsWeights:
    """Load weights written as described in this module's docstring.

    Raises:
      UserError: if the file is missing or not an .npz, or contains neither network.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except (OSError, ValueError, BadZipFile, TypeError) as error:
        raise UserError(
            f"lpips weights: expected an .npz file of arrays, received {path}: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}; "
            "analysis/metrics/lpips.py says how to write it"
        ) from error
    net = next((name for name, convs in NETS.items() if _key(convs[-1]) in arrays), None)
    if net is None:
        raise UserError(
            f"lpips weights: expected {_key(NETS['alex'][-1])!r} (AlexNet) or "
            f"{_key(NETS['vgg'][-1])!r} (VGG-16) in {path}, received {sorted(arrays)[:4]}; write "
            "the whole state of lpips.LPIPS, network and linear heads"
        )
    return _checked(arrays, NETS[net], path)


def _key(conv: Conv) -> str:
    return f"net.{conv.name}.weight"


def _checked(arrays: dict[str, np.ndarray], convs: tuple[Conv, ...], path: Path) -> LpipsWeights:
    """The arrays in order, each checked to have the shape that its predecessor requires."""
    channels = 3
    kernels: list[Array] = []
    biases: list[Array] = []
    heads: list[Array] = []
    for conv in convs:
        kernel = _array(arrays, _key(conv), (None, channels, conv.kernel, conv.kernel), path)
        channels = kernel.shape[0]
        kernels.append(kernel)
        biases.append(_array(arrays, f"net.{conv.name}.bias", (channels,), path))
        if conv.tap:
            name = f"lin{len(heads)}.model.1.weight"
            heads.append(_array(arrays, name, (1, channels, 1, 1), path).reshape(-1))
    return LpipsWeights(tuple(kernels), tuple(biases), tuple(heads))


def _array(
    arrays: dict[str, np.ndarray], name: str, shape: tuple[int | None, ...], path: Path
) -> Array:
    found = arrays.get(name)
    if (
        found is None
        or found.ndim != len(shape)
        or any(want not in (None, have) for want, have in zip(shape, found.shape, strict=True))
    ):
        shown = "no such array" if found is None else found.shape
        raise UserError(
            f"lpips weights: expected {name!r} of shape {shape} in {path}, received {shown}; write "
            "the whole state of lpips.LPIPS, network and linear heads"
        )
    return jnp.asarray(found, jnp.float32)


def lpips(
    weights: LpipsWeights, true: Float[Array, "n h w C"], predicted: Float[Array, "n h w C"]
) -> Float[Array, " n"]:
    """Distance of every pair of frames, pixel values in [0, 1]; a single channel is repeated.

    d = Σ_l mean_{h,w} Σ_c w_lc (φ_lc(x)/|φ_l(x)| - φ_lc(y)/|φ_l(y)|)²

    φ_l: rectified features of compared layer l, |·| over channels. Zhang et al. 2018, eq. 1.

    Raises:
      UserError: if the frames have neither one nor three channels.
    """
    total = jnp.zeros(true.shape[0])
    for head, x, y in zip(
        weights.heads, features(weights, true), features(weights, predicted), strict=True
    ):
        total += jnp.einsum(
            "nchw,c->nhw", jnp.square(x - y), head, precision=jax.lax.Precision.HIGHEST
        ).mean((1, 2))
    return total


def features(weights: LpipsWeights, frames: Float[Array, "n h w C"]) -> list[Array]:
    """Unit-length features of the compared layers, [n, channels, h', w'] each."""
    if frames.shape[-1] not in (1, 3):
        raise UserError(
            f"lpips: expected frames of 1 or 3 channels, received {frames.shape[-1]}; leave out "
            "--lpips-weights"
        )
    frames = jnp.broadcast_to(frames, (*frames.shape[:-1], 3))
    shift, scale = (jnp.array(z).reshape(1, 1, 1, 3) for z in (SHIFT, SCALE))
    x = jnp.moveaxis((2 * frames - 1 - shift) / scale, -1, 1)
    taps = []
    for conv, kernel, bias in zip(NETS[weights.net], weights.kernels, weights.biases, strict=True):
        x = jax.nn.relu(
            convolve(x if conv.pool is None else pool(x, *conv.pool), conv, kernel, bias)
        )
        if conv.tap:
            taps.append(x / (jnp.sqrt(jnp.square(x).sum(1, keepdims=True)) + 1e-10))
    return taps


def convolve(x: Array, conv: Conv, kernel: Array, bias: Array) -> Array:
    """Correlation, [n, in, h, w] to [n, out, h', w'], in full float32."""
    edges = [(conv.padding, conv.padding)] * 2
    y = jax.lax.conv_general_dilated(
        x, kernel, (conv.stride, conv.stride), edges, precision=jax.lax.Precision.HIGHEST
    )
    return y + bias.reshape(1, -1, 1, 1)


def pool(x: Array, size: int, stride: int) -> Array:
    """Maximum over windows of ``size`` pixels every ``stride`` pixels, without padding."""
    return jax.lax.reduce_window(
        x, -jnp.inf, jax.lax.max, (1, 1, size, size), (1, 1, stride, stride), "VALID"
    )
