"""Strided convolutions that are quick on a CPU too, gradients included.

XLA's own CPU gradients of these take two to six times as long for the same numbers
(benchmarks/results/convolutions.md), so both are written here. That of the input is the other of
the two functions; that of the kernel is one matrix product per tap, over a few images at a time,
so that what it copies stays in the processor's cache. Other back ends keep the library's.

Products are computed in the precision of x; kernels and biases, and so their gradients, may have a
higher one.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from worldmodel.precision import add_bias

AXES = ("NHWC", "HWIO", "NHWC")
FEW = 8  # channels below which 2×2 blocks are gathered first: an image's three fill no vector
TOGETHER = 8  # images whose part of a kernel's gradient is one product; 8 to 32 measured alike


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
    k, _, a, b = kernel.shape
    kernel = kernel.astype(x.dtype)
    if a < FEW and k % 2 == 0 and x.shape[1] % 2 == x.shape[2] % 2 == 0:
        x, k, stride = space_to_depth(x), k // 2, 1
        kernel = kernel.reshape(k, 2, k, 2, a, b).transpose(0, 2, 1, 3, 4, 5)
        kernel = kernel.reshape(k, k, 4 * a, b)
    else:
        stride = 2
    return lax.conv_general_dilated(x, kernel, (stride, stride), "VALID", dimension_numbers=AXES)


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
    """Each 2×2 block of y is one position of a convolution with stride 1 and 4b channels."""
    k, _, a, b = kernel.shape
    taps = (k + 1) // 2
    kernel = jnp.pad(kernel.astype(x.dtype), ((0, 2 * taps - k), (0, 2 * taps - k), (0, 0), (0, 0)))
    kernel = kernel.reshape(taps, 2, taps, 2, a, b)[::-1, :, ::-1]  # x[i-d] meets kernel[2d+c]
    kernel = kernel.transpose(0, 2, 4, 1, 3, 5).reshape(taps, taps, a, 4 * b)
    around = [(taps - 1, taps - 1)] * 2
    y = lax.conv_general_dilated(x, kernel, (1, 1), around, dimension_numbers=AXES)
    return depth_to_space(y)[:, : 2 * x.shape[1] + k - 2, : 2 * x.shape[2] + k - 2]


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
    """Gradient of both kernels: Σ_{n,i,j} fine[n, 2i+p, 2j+q] coarse[n, i, j]ᵀ, in float32."""
    cpu, default = partial(by_taps, k=k), partial(by_library, k=k)
    gradient: Array = lax.platform_dependent(fine, coarse, cpu=cpu, default=default)
    return gradient


def by_taps(fine: Array, coarse: Array, k: int) -> Array:
    """``kernel_gradient``, a few images at a time, one matrix product per tap."""
    whole = len(fine) // TOGETHER * TOGETHER
    fines, coarses = (x[:whole].reshape(-1, TOGETHER, *x.shape[1:]) for x in (fine, coarse))

    def add(total: Array, group: tuple[Array, Array]) -> tuple[Array, None]:
        return total + _taps(*group, k=k), None

    start = jnp.zeros((k, k, fine.shape[-1], coarse.shape[-1]), jnp.float32)
    total, _ = lax.scan(add, start, (fines, coarses))
    return total if whole == len(fine) else total + _taps(fine[whole:], coarse[whole:], k)


def _taps(fine: Array, coarse: Array, k: int) -> Array:
    (_, height, width, a), (_, h, w, b) = fine.shape, coarse.shape
    taps = (k + 1) // 2
    read = 2 * (h + taps - 1), 2 * (w + taps - 1)  # rows and columns of `fine`; odd k: one too many
    more = [(0, max(0, n - m)) for n, m in zip(read, (height, width), strict=True)]
    fine = space_to_depth(jnp.pad(fine, ((0, 0), *more, (0, 0)))[:, : read[0], : read[1]])
    columns = coarse.reshape(-1, b)
    gradient = jnp.stack(
        [
            jnp.matmul(
                fine[:, p : p + h, q : q + w].reshape(-1, 4 * a).T,
                columns,
                preferred_element_type=jnp.float32,
            )
            for p in range(taps)
            for q in range(taps)
        ]
    ).reshape(taps, taps, 2, 2, a, b)
    return gradient.transpose(0, 2, 1, 3, 4, 5).reshape(2 * taps, 2 * taps, a, b)[:k, :k]


def by_library(fine: Array, coarse: Array, k: int) -> Array:
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
