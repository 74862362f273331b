"""Products in bfloat16, sums in float32: what is added up over a batch keeps all its digits.

bfloat16 has 8 bits of precision. A matrix product adds up in float32 by itself, but the gradient of
a bias, which is a plain sum over rows, pixels and ticks, would be added up in the precision of what
it was added to.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array


def add_bias(x: Array, bias: Array) -> Array:
    """[..., n] + [n] in the precision of ``x``; the bias's gradient is summed in its own."""
    return x + jnp.broadcast_to(bias, x.shape).astype(x.dtype)


class Linear(nnx.Linear):
    """nnx's own, but that the bias's gradient is summed in float32 whatever ``dtype`` is."""

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
    """Looks at one product of a layer: what it reads, and what gradient reaches its output.

    Args:
      turned: the transposed kernel, by which the gradient of what the layer reads is computed; of
        this product the kernel itself gets none.
      probe: of the output's shape. It changes nothing, and its gradient is the output's.
    """

    def __init__(self, turned: Array | None = None, probe: Array | None = None) -> None:
        self.turned, self.probe = turned, probe
        self.calls = 0
        self.read: Array | None = None  # what the layer has read
        self.output: Array | None = None  # and made of it

    def product(self, x: Array, kernel: Array) -> Array:
        """The layer's."""
        known = self.turned is not None and self.probe is not None
        y = probed(x, kernel, self.turned, self.probe) if known else product(x, kernel)
        self.calls, self.read, self.output = self.calls + 1, jax.lax.stop_gradient(x), y
        return y


def product(x: Array, kernel: Array, out_sharding: Any = None) -> Array:
    """[..., n] and [n, m] to [..., m]."""
    last = (((x.ndim - 1,), (0,)), ((), ()))
    return lax.dot_general(x, kernel, last, out_sharding=out_sharding)


@jax.custom_vjp
def probed(x: Array, kernel: Array, turned: Array, probe: Array) -> Array:
    """``product``, whose gradient goes to x and to the probe."""
    return product(x, kernel)


def _probed_fwd(x: Array, kernel: Array, turned: Array, probe: Array) -> tuple[Array, Array]:
    return product(x, kernel), turned


def _probed_bwd(turned: Array, dy: Array) -> tuple[Array, None, None, Array]:
    return product(dy, turned), None, None, dy


probed.defvjp(_probed_fwd, _probed_bwd)
