"""Products in bfloat16, sums in float32: sums over a batch keep all their digits.

bfloat16 has 8 bits of precision. A matrix product accumulates in float32 by itself, but the
gradient of a bias, which is a plain sum over rows, pixels and ticks, would be accumulated in the
precision of the array that the bias is added to.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array


def add_bias(x: Array, bias: Array) -> Array:
    """[..., n] + [n] in the precision of ``x``; the bias's gradient is summed in the bias's own."""
    return x + jnp.broadcast_to(bias, x.shape).astype(x.dtype)


class Linear(nnx.Linear):
    """``nnx.Linear``, except that the bias's gradient is summed in float32 for any ``dtype``."""

    watch: "Watch | None" = None

    def __call__(self, inputs: Array, out_sharding: Any = None) -> Array:
        """[..., inputs] to [..., outputs] in ``dtype``."""
        x, kernel = self.promote_dtype((inputs, self.kernel[...]), dtype=self.dtype)
        if self.watch is not None:
            y = self.watch.product(x, kernel)
        else:
            y = product(x, kernel, out_sharding)
        return y if self.bias is None else add_bias(y, self.bias[...])


class Watch:
    """Observes one product of a layer: its input, and the gradient that reaches its output.

    Args:
      turned: the transposed kernel, from which the gradient of the input is computed; the kernel
        itself gets no gradient from this product.
      probe: an array of the output's shape. It changes nothing, and its gradient is the output's.
    """

    def __init__(self, turned: Array | None = None, probe: Array | None = None) -> None:
        self.turned, self.probe = turned, probe
        self.calls = 0
        self.read: Array | None = None  # the layer's input
        self.output: Array | None = None  # and its output

    def product(self, x: Array, kernel: Array) -> Array:
        """The layer's product, whose input and output are kept."""
        known = self.turned is not None and self.probe is not None
        y = probed(x, kernel, self.turned, self.probe) if known else product(x, kernel)
        self.calls, self.read, self.output = self.calls + 1, jax.lax.stop_gradient(x), y
        return y


class RMSNorm(nnx.RMSNorm):
    """``nnx.RMSNorm``, with a gradient whose sums over units are products (``normalised``)."""

    def __call__(self, x: Array, mask: Array | None = None) -> Array:
        """[..., n] in ``dtype``; sums in float32."""
        if mask is not None or self.scale is None:
            return super().__call__(x, mask=mask)
        y = normalised(x.astype(jnp.float32), self.scale[...], self.epsilon)
        return y if self.dtype is None else y.astype(self.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def normalised(x: Array, scale: Array, epsilon: float) -> Array:
    """x / √(mean x² + ε) · scale, [..., n].

    With n̂ the normalised x, δ the gradient of the output and r = 1/√(mean x² + ε), the gradients
    are dx = r (δ·scale - n̂ mean(δ·scale·n̂)) and dscale = Σ δ n̂. Sums over units are written as
    products, because XLA writes out every input of a reduction on a CPU, broadcast scales included.
    """
    return _normalised_fwd(x, scale, epsilon)[0]


def _normalised_fwd(x: Array, scale: Array, epsilon: float) -> tuple[Array, tuple[Array, ...]]:
    inverse = jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + epsilon)
    unit = x * inverse
    return unit * jnp.broadcast_to(scale, unit.shape), (unit, inverse, scale)


def _normalised_bwd(
    epsilon: float, kept: tuple[Array, Array, Array], dy: Array
) -> tuple[Array, Array]:
    unit, inverse, scale = kept
    both = dy * unit
    along = jnp.matmul(both, scale / scale.shape[0], precision="highest")[..., None]
    dx = inverse * (dy * jnp.broadcast_to(scale, dy.shape) - unit * along)
    return dx, jnp.sum(both.reshape(-1, scale.shape[0]), axis=0)


normalised.defvjp(_normalised_fwd, _normalised_bwd)


def product(x: Array, kernel: Array, out_sharding: Any = None) -> Array:
    """[..., n] and [n, m] to [..., m]."""
    last = (((x.ndim - 1,), (0,)), ((), ()))
    return lax.dot_general(x, kernel, last, out_sharding=out_sharding)


@jax.custom_vjp
def probed(x: Array, kernel: Array, turned: Array, probe: Array) -> Array:
    """``product``, with a gradient for x and the probe only."""
    return product(x, kernel)


def _probed_fwd(x: Array, kernel: Array, turned: Array, probe: Array) -> tuple[Array, Array]:
    return product(x, kernel), turned


def _probed_bwd(turned: Array, dy: Array) -> tuple[Array, None, None, Array]:
    return product(dy, turned), None, None, dy


probed.defvjp(_probed_fwd, _probed_bwd)
