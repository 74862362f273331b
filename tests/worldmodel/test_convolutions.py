"""Convolutions agree with the library's own, values and gradients, whatever the batch."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.convolutions import library, library_transpose
from worldmodel.convolutions import (
    by_library,
    by_taps,
    depth_to_space,
    space_to_depth,
    strided_conv,
    strided_conv_transpose,
)

Conv = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


@pytest.mark.parametrize(
    ("ours", "theirs", "size", "kernel", "channels", "batch"),
    [
        (strided_conv, library, 14, 4, 3, 2),  # 2×2 blocks gathered first
        (strided_conv, library, 14, 4, 9, 9),  # one group of 8 images and one left over
        (strided_conv, library, 31, 4, 3, 2),  # last row and column unread
        (strided_conv, library, 10, 2, 3, 8),
        (strided_conv, library, 11, 5, 3, 8),
        (strided_conv_transpose, library_transpose, 1, 5, 3, 2),  # a dense layer
        (strided_conv_transpose, library_transpose, 5, 5, 3, 17),
        (strided_conv_transpose, library_transpose, 13, 6, 9, 2),
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
    fine = jax.random.normal(keys[0], (images, 8 + k % 2, 8 + k % 2, 3))
    side = (fine.shape[1] - k) // 2 + 1
    coarse = jax.random.normal(keys[1], (images, side, side, 2))
    plain = np.zeros((k, k, 3, 2))
    for p in range(k):
        for q in range(k):
            for i in range(side):
                for j in range(side):
                    plain[p, q] += np.asarray(fine[:, 2 * i + p, 2 * j + q]).T @ coarse[:, i, j]
    for gradient in (by_taps, by_library):
        np.testing.assert_allclose(
            jax.jit(gradient, static_argnums=2)(fine, coarse, k), plain, atol=1e-4
        )


def test_half_precision_keeps_dtypes() -> None:
    """Products in bfloat16, sums over images in float32."""
    x, kernel = jnp.ones((3, 6, 6, 2), jnp.bfloat16), jnp.ones((4, 4, 2, 5), jnp.bfloat16)
    bias = jnp.zeros(5, jnp.bfloat16)
    for conv in (strided_conv, strided_conv_transpose):
        y, back = jax.vjp(conv, x, kernel, bias)
        assert {y.dtype, *(g.dtype for g in back(y))} == {jnp.dtype(jnp.bfloat16)}


def test_space_to_depth() -> None:
    """Row-major order of the 2×2 block, then the channel; and back."""
    x = jnp.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    packed = space_to_depth(x)
    np.testing.assert_array_equal(
        packed[1, 1, 2], np.concatenate([x[1, 2, 4], x[1, 2, 5], x[1, 3, 4], x[1, 3, 5]])
    )
    np.testing.assert_array_equal(depth_to_space(packed), x)
