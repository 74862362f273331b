"""Convolutions agree with the library's own, values and gradients, whatever the batch."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.convolutions import library, library_transpose
from worldmodel.convolutions import (
    depth_to_space,
    gradient_by_library,
    gradient_by_products,
    space_to_depth,
    strided_conv,
    strided_conv_transpose,
)

Conv = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


@pytest.mark.parametrize(
    ("ours", "theirs", "size", "kernel", "channels", "batch"),
    [
        (strided_conv, library, 14, 4, 3, 2),  # fewer images than a group
        (strided_conv, library, 14, 4, 3, 9),  # two groups of 4 images and one left over
        (strided_conv, library, 14, 4, 9, 4),  # narrow: forward the library's
        (strided_conv, library, 31, 4, 3, 4),  # last row and column unread
        (strided_conv, library, 12, 2, 3, 8),
        (strided_conv, library, 15, 5, 3, 8),
        (strided_conv, library, 10, 4, 3, 8),  # small: the library's
        (strided_conv_transpose, library_transpose, 1, 5, 3, 2),  # a dense layer
        (strided_conv_transpose, library_transpose, 5, 5, 3, 17),
        (strided_conv_transpose, library_transpose, 13, 6, 9, 5),
    ],
)
def test_convolutions(
    ours: Conv, theirs: Conv, size: int, kernel: int, channels: int, batch: int
) -> None:
    keys = jax.random.split(jax.random.key(size), 3)
    arrays = (
        jax.random.normal(keys[0], (batch, size, size, channels)),
        jax.random.normal(keys[1], (kernel, kernel, channels, 4)),
        jax.random.normal(keys[2], (4,)),
    )

    def value_and_grads(conv: Conv) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        def total(*arrays: jax.Array) -> tuple[jax.Array, jax.Array]:
            y = conv(*arrays)
            return jnp.sum(jnp.sin(y)), y

        grads, y = jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True))(*arrays)
        return y, grads

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5 * float(jnp.abs(b).max())),
        value_and_grads(ours),
        value_and_grads(theirs),
    )


@pytest.mark.parametrize(("k", "images"), [(4, 8), (5, 3), (6, 11)])
def test_kernel_gradient_of_every_back_end(k: int, images: int) -> None:
    """What a CPU runs, what others run, and the sum itself."""
    keys = jax.random.split(jax.random.key(k))
    fine = jax.random.normal(keys[0], (images, 16 + k % 2, 16 + k % 2, 3))
    side = (fine.shape[1] - k) // 2 + 1
    coarse = jax.random.normal(keys[1], (images, side, side, 2))
    plain = np.zeros((k, k, 3, 2))
    for p in range(k):
        for q in range(k):
            met = np.asarray(fine)[:, p : p + 2 * side : 2, q : q + 2 * side : 2]
            plain[p, q] = np.einsum("nija,nijb->ab", met[:, :side, :side], coarse)
    for gradient in (gradient_by_products, gradient_by_library):
        compiled = jax.jit(gradient, static_argnums=2)
        np.testing.assert_allclose(compiled(fine, coarse, k), plain, atol=1e-4)
        half = [jnp.asarray(x, jnp.bfloat16) for x in (fine, coarse)]
        rounded = [jnp.asarray(x, jnp.float32) for x in half]
        ours, exact = compiled(*half, k), compiled(*rounded, k)
        assert ours.dtype == jnp.float32
        np.testing.assert_allclose(ours, exact, atol=1e-4)


HALF, FULL = jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.float32)


@pytest.mark.parametrize(
    ("conv", "size", "tolerance"),
    [
        (strided_conv, 14, 1e-4),
        (strided_conv_transpose, 6, 1e-4),
        (strided_conv_transpose, 1, 2**-8),  # a dense layer, rounded once when all is added up
    ],
)
def test_half_precision_adds_up_in_full(conv: Conv, size: int, tolerance: float) -> None:
    """Products in bfloat16; gradients of kernel and bias as of the same numbers in float32."""
    x = jax.random.normal(jax.random.key(0), (64, size, size, 2)).astype(HALF)
    kernel = jax.random.normal(jax.random.key(1), (4, 4, 2, 5)).astype(HALF).astype(FULL)
    y, back = jax.vjp(jax.jit(conv), x, kernel, jnp.zeros(5))
    dy = jax.random.uniform(jax.random.key(2), y.shape, HALF)
    dx, *ours = back(dy)
    assert y.dtype == dx.dtype == HALF and {g.dtype for g in ours} == {FULL}
    _, back = jax.vjp(jax.jit(conv), x.astype(FULL), kernel, jnp.zeros(5))
    for a, b in zip(ours, back(dy.astype(FULL))[1:], strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance * float(jnp.abs(b).max()))


def test_space_to_depth() -> None:
    """Row-major order of the 2×2 block, then the channel; and back."""
    x = jnp.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    packed = space_to_depth(x)
    np.testing.assert_array_equal(
        packed[1, 1, 2], np.concatenate([x[1, 2, 4], x[1, 2, 5], x[1, 3, 4], x[1, 3, 5]])
    )
    np.testing.assert_array_equal(depth_to_space(packed), x)
