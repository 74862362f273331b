"""The recurrent cell against its equation in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from worldmodel.level import GRU


@pytest.mark.parametrize("keep_bias", [0.0, 2.0])
def test_gru_is_its_equation(keep_bias: float) -> None:
    """u = σ(x_u + h_u + b), h' = u h + (1 - u) tanh(x_c + σ(x_r + h_r) h_c)."""
    cell = GRU(3, 4, keep_bias, jnp.float32, nnx.Rngs(0))
    x, h = (
        jax.random.normal(jax.random.key(1), (2, 3)),
        jax.random.normal(jax.random.key(2), (2, 4)),
    )
    (xu, xr, xc), (hu, hr, hc) = (
        np.split(np.asarray(v) @ np.asarray(part.kernel[...]) + np.asarray(part.bias[...]), 3, -1)
        for v, part in ((x, cell.input), (h, cell.recurrent))
    )
    u, r = 1 / (1 + np.exp(-(xu + hu + keep_bias))), 1 / (1 + np.exp(-(xr + hr)))
    want = u * np.asarray(h) + (1 - u) * np.tanh(xc + r * hc)
    np.testing.assert_allclose(cell(x, h), want, rtol=1e-5, atol=1e-6)


def test_keep_bias_is_how_much_of_h_a_tick_keeps() -> None:
    """σ(2) = 0.881, where weights say nothing."""
    cell = GRU(3, 4, 2.0, jnp.float32, nnx.Rngs(0))
    params = jax.tree.map(jnp.zeros_like, nnx.state(cell))
    nnx.update(cell, params)
    np.testing.assert_allclose(cell(jnp.ones((1, 3)), jnp.ones((1, 4))), 0.880797, rtol=1e-5)


def test_each_level_keeps_by_its_own_stride(cases):
    model = cases.model(strides=(1, 4), half_life=20.0)
    assert [level.gru.keep_bias for level in model.levels] == [
        model.config.keep_bias(stride) for stride in (1, 4)
    ]
