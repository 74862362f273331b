"""Strided convolutions that are fast on a CPU too, gradients included.

On a CPU, XLA's own convolutions take one to nine times as long for the same numbers, above all for
the gradients (benchmarks/results/convolutions.md). On a CPU, this module therefore computes
every convolution as matrix products over a few images at a time, so that what they copy stays in
the processor's cache. On 2×2 blocks (space to depth: fine images with a quarter of the positions
and four times the channels), a k×k kernel becomes a t×t kernel with stride 1, t = ⌈k/2⌉. The
kernel's rows are laid side by side in the input of a product and its columns in the output, whose
parts are then shifted and added: this takes three times the memory, where patches take nine times.
Other back ends use the library's convolutions alone.

Products are computed in the precision of x; kernels and biases, and therefore their gradients, may
have a higher one.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from worldmodel.precision import add_bias

Carry = TypeVar("Carry")
Given = TypeVar("Given")
AXES = ("NHWC", "HWIO", "NHWC")
TOGETHER = 4  # images per product; 2 to 8 measured alike
SMALL = 6  # pixels along a coarse map's edge below which products are slower: borders weigh more
NARROW = range(5, 32)  # channel counts for which XLA's convolutions are faster than products


def strided_conv(x: Array, kernel: Array, bias: Array) -> Array:
    """Correlation with stride 2, VALID.

    [N, h, w, a] → [N, h', w', b];   y[i, j] = Σ_{p,q} x[2i+p, 2j+q] kernel[p, q] + bias
    """
    return add_bias(_conv(x, kernel), bias)


def strided_conv_transpose(x: Array, kernel: Array, bias: Array) -> Array:
    """Transposed convolution with stride 2, VALID.

    [N, h, w, a] → [N, 2h+k-2, 2w+k-2, b];   y[m, n] = Σ_{i,j} x[i, j] kernel[m-2i, n-2j] + bias
    """
    k, _, a, b = kernel.shape
    if x.shape[1:3] == (1, 1):  # no overlaps: one dense layer
        columns = kernel.transpose(2, 0, 1, 3).reshape(a, -1).astype(x.dtype)
        y = (x.reshape(-1, a) @ columns).reshape(-1, k, k, b)
    else:
        y = _conv_transpose(x, kernel)
    return add_bias(y, bias)


@jax.custom_vjp
def _conv(x: Array, kernel: Array) -> Array:
    y: Array = lax.platform_dependent(
        x, kernel.astype(x.dtype), cpu=conv_by_products, default=conv_by_library
    )
    return y


def _conv_fwd(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _conv(x, kernel), (x, kernel)


def _conv_bwd(kept: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, kernel = kept
    dx = _conv_transpose(dy, kernel.swapaxes(2, 3))
    unread = [(0, n - m) for n, m in zip(x.shape[1:3], dx.shape[1:3], strict=True)]
    dx = jnp.pad(dx, ((0, 0), *unread, (0, 0)))
    return dx, kernel_gradient(x, dy, kernel.shape[0]).astype(kernel.dtype)


@jax.custom_vjp
def _conv_transpose(x: Array, kernel: Array) -> Array:
    y: Array = lax.platform_dependent(
        x, kernel.astype(x.dtype), cpu=transpose_by_blocks, default=transpose_by_library
    )
    return y


def _conv_transpose_fwd(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _conv_transpose(x, kernel), (x, kernel)


def _conv_transpose_bwd(kept: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, kernel = kept
    gradient = kernel_gradient(dy, x, kernel.shape[0]).swapaxes(2, 3)
    return _conv(dy, kernel.swapaxes(2, 3)), gradient.astype(kernel.dtype)


_conv.defvjp(_conv_fwd, _conv_bwd)
_conv_transpose.defvjp(_conv_transpose_fwd, _conv_transpose_bwd)


def kernel_gradient(
    fine: Float[Array, "N H W a"], coarse: Float[Array, "N h w b"], k: int
) -> Float[Array, "k k a b"]:
    """Gradient of either kernel: Σ_{n,i,j} fine[n, 2i+p, 2j+q] coarse[n, i, j]ᵀ, in float32."""
    cpu, default = partial(gradient_by_products, k=k), partial(gradient_by_library, k=k)
    gradient: Array = lax.platform_dependent(fine, coarse, cpu=cpu, default=default)
    return gradient


def conv_by_library(x: Array, kernel: Array) -> Array:
    """``strided_conv`` without bias."""
    return lax.conv_general_dilated(x, kernel, (2, 2), "VALID", dimension_numbers=AXES)


def transpose_by_library(x: Array, kernel: Array) -> Array:
    """``strided_conv_transpose`` without bias; the kernel is flipped, as the library correlates."""
    return lax.conv_transpose(x, kernel[::-1, ::-1], (2, 2), "VALID", dimension_numbers=AXES)


def gradient_by_library(fine: Array, coarse: Array, k: int) -> Array:
    """``kernel_gradient``, as a correlation over the images with the dilated ``coarse``."""
    gradient = lax.conv_general_dilated(
        fine,
        coarse,
        (1, 1),
        "VALID",
        rhs_dilation=(2, 2),
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
        preferred_element_type=jnp.float32,
    )
    return gradient[:k, :k]


def conv_by_products(x: Array, kernel: Array) -> Array:
    """``conv_by_library`` by matrix products; calls it where products are slower."""
    k, _, a, b = kernel.shape
    h, w = ((n - k) // 2 + 1 for n in x.shape[1:3])
    if w < SMALL or a in NARROW or k % 2:
        return conv_by_library(x, kernel)
    taps = (k + 1) // 2
    matrix = blocks(kernel).transpose(0, 2, 3, 4, 1, 5).reshape(taps * 4 * a, taps * b)

    def some(nothing: None, x: Array) -> tuple[None, Array]:
        y = jnp.matmul(rows(x, k, h, w), matrix, preferred_element_type=jnp.float32)
        parts = [y[:, :, q : q + w, q * b : (q + 1) * b] for q in range(taps)]
        return None, sum(parts[1:], parts[0]).astype(x.dtype)

    return in_groups(some, None, x)[1]


def gradient_by_products(fine: Array, coarse: Array, k: int) -> Array:
    """``kernel_gradient`` by matrix products; small maps use the library."""
    (_, h, w, b), a, taps = coarse.shape, fine.shape[-1], (k + 1) // 2
    if w < SMALL:
        return gradient_by_library(fine, coarse, k)

    wide = 4 * a > b  # faster with the wider side along the product's rows

    def some(total: Array, fine: Array, coarse: Array) -> tuple[Array, None]:
        moved = [jnp.pad(coarse, ((0, 0), (0, 0), (q, taps - 1 - q), (0, 0))) for q in range(taps)]
        columns = jnp.concatenate(moved, -1).reshape(-1, taps * b)
        across = rows(fine, k, h, w).reshape(-1, taps * 4 * a)
        left, right = (columns, across) if wide else (across, columns)
        return total + jnp.matmul(left.T, right, preferred_element_type=jnp.float32), None

    widths = (taps * b, taps * 4 * a) if wide else (taps * 4 * a, taps * b)
    total, _ = in_groups(some, jnp.zeros(widths, jnp.float32), fine, coarse)
    total = (total.T if wide else total).reshape(taps, 2, 2, a, taps, b)
    return total.transpose(0, 1, 4, 2, 3, 5).reshape(2 * taps, 2 * taps, a, b)[:k, :k]


def transpose_by_blocks(x: Array, kernel: Array) -> Array:
    """``transpose_by_library``: each 2×2 block of y is one position of a convolution with stride 1
    and 4b channels."""
    k, _, a, b = kernel.shape
    taps = (k + 1) // 2
    kernel = blocks(kernel)[::-1, ::-1]  # x[i-d] meets kernel[2d+c]
    kernel = kernel.transpose(0, 1, 4, 2, 3, 5).reshape(taps, taps, a, 4 * b)
    around = [(taps - 1, taps - 1)] * 2
    y = lax.conv_general_dilated(x, kernel, (1, 1), around, dimension_numbers=AXES)
    return depth_to_space(y)[:, : 2 * x.shape[1] + k - 2, : 2 * x.shape[2] + k - 2]


def in_groups(
    some: Callable[..., tuple[Carry, Given]], carry: Carry, *arrays: Array
) -> tuple[Carry, Given]:
    """``some(carry, *arrays)`` on TOGETHER images at a time: the last carry, and all outputs."""
    count = len(arrays[0]) // TOGETHER
    whole = [x[: count * TOGETHER].reshape(count, TOGETHER, *x.shape[1:]) for x in arrays]
    carry, given = lax.scan(lambda carry, group: some(carry, *group), carry, whole)
    given = jax.tree.map(lambda y: y.reshape(-1, *y.shape[2:]), given)
    if len(arrays[0]) == count * TOGETHER:
        return carry, given
    carry, more = some(carry, *[x[count * TOGETHER :] for x in arrays])
    return carry, jax.tree.map(lambda *ys: jnp.concatenate(ys), given, more)


def rows(fine: Array, k: int, h: int, w: int) -> Array:
    """Inputs that the kernel's rows meet, side by side: [n, H, W, a] to [n, h, w + t - 1, t·4a]."""
    taps = (k + 1) // 2
    read = 2 * (h + taps - 1), 2 * (w + taps - 1)  # positions of `fine`; odd k: one too many
    more = [(0, max(0, n - m)) for n, m in zip(read, fine.shape[1:3], strict=True)]
    fine = space_to_depth(jnp.pad(fine, ((0, 0), *more, (0, 0)))[:, : read[0], : read[1]])
    return jnp.concatenate([fine[:, p : p + h] for p in range(taps)], -1)


def blocks(kernel: Array) -> Array:
    """[k, k, a, b] to [t, t, 2, 2, a, b], padded with zeros if k is odd."""
    k, _, a, b = kernel.shape
    taps = (k + 1) // 2
    more = (0, 2 * taps - k)
    kernel = jnp.pad(kernel, (more, more, (0, 0), (0, 0)))
    return kernel.reshape(taps, 2, taps, 2, a, b).transpose(0, 2, 1, 3, 4, 5)


def space_to_depth(x: Array) -> Array:
    """[N, 2h, 2w, a] → [N, h, w, 4a], the 2×2 block in row-major order before the channel."""
    n, h, w, a = x.shape
    x = x.reshape(n, h // 2, 2, w // 2, 2, a).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h // 2, w // 2, 4 * a)


def depth_to_space(x: Array) -> Array:
    """[N, h, w, 4a] → [N, 2h, 2w, a], the inverse of ``space_to_depth``."""
    n, h, w, a = x.shape
    x = x.reshape(n, h, w, 2, 2, a // 4).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, 2 * h, 2 * w, a // 4)
