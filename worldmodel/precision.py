"""Products in bfloat16, sums in float32: what is added up over a batch keeps all its digits.

bfloat16 has 8 bits of precision. A matrix product adds up in float32 by itself, but the gradient of
a bias, which is a plain sum over rows, pixels and ticks, would be added up in the precision of what
it was added to.
"""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array


def add_bias(x: Array, bias: Array) -> Array:
    """[..., n] + [n] in the precision of ``x``; the bias's gradient is summed in its own."""
    return x + jnp.broadcast_to(bias, x.shape).astype(x.dtype)


class Linear(nnx.Linear):
    """nnx's own, but that the bias's gradient is summed in float32 whatever ``dtype`` is."""

    def __call__(self, inputs: Array, out_sharding: Any = None) -> Array:
        """[..., inputs] to [..., outputs] in ``dtype``."""
        x, kernel = self.promote_dtype((inputs, self.kernel[...]), dtype=self.dtype)
        last = (((x.ndim - 1,), (0,)), ((), ()))
        y = lax.dot_general(x, kernel, last, out_sharding=out_sharding)
        return y if self.bias is None else add_bias(y, self.bias[...])
