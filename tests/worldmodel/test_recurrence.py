"""Gradients of a scan over ticks, by one product each, against those that JAX adds up."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from worldmodel.config import ClockworkConfig
from worldmodel.level import Inputs, Level, State
from worldmodel.precision import Linear
from worldmodel.recurrence import scan_ticks

TICKS, ROWS = 5, 3


def level() -> Level:
    config = ClockworkConfig(stoch=2, deter=4, hidden=6)
    return Level(config, Inputs(embed=3, context=0, action=2), 1, nnx.Rngs(0))


def loss(scan, cell, carry: State, drive, noise):
    """Of every state of imagined ticks, and of the last."""

    def tick(own, state, x):
        state = own.imagine_step(state, *x)
        return state, state

    last, states = scan(tick, cell, carry, (drive, noise))
    return jnp.sum(jnp.sin(states.features)) + jnp.sum(last.h**2)


def plain(step, cell, carry, xs):
    return jax.lax.scan(lambda carry, x: step(cell, carry, x), carry, xs)


def gradients(scan):
    cell, key = level(), jax.random.key(1)
    graph, params = nnx.split(cell)
    carry = State(*(jax.random.normal(jax.random.fold_in(key, n), (ROWS, n)) for n in (4, 2)))
    xs = [jax.random.normal(jax.random.fold_in(key, n), (TICKS, ROWS, n)) for n in (6, 2)]

    def total(params, carry, *xs):
        return loss(scan, nnx.merge(graph, params), carry, *xs)

    return jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2, 3)))(params, carry, *xs)


def test_a_layers_gradient_is_the_sum_of_its_ticks():
    """dW = Σ_t x_tᵀ δ_t: of every weight, of the carry and of what comes from outside
    they are those of the scan that adds them up tick by tick."""
    value, found = gradients(scan_ticks)
    want_value, want = gradients(plain)
    assert value == want_value
    assert any(np.abs(x).max() > 0.1 for x in jax.tree.leaves(want[0]))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-6), found, want)


def test_ticks_of_a_bfloat16_layer_are_added_up_in_float32():
    """A thousand equal δ of 1 and one of 1/64: in bfloat16 the last would be lost."""
    layer = Linear(1, 1, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    graph, params = nnx.split(layer)
    weight = jnp.where(jnp.arange(1001) == 0, 1 / 64, 1.0)

    def total(params):
        cell = nnx.merge(graph, params)
        x = jnp.ones((1001, 1, 1))
        _, y = scan_ticks(lambda own, carry, x: (carry, own(x)), cell, (), x)
        return jnp.sum(y[:, 0, 0].astype(jnp.float32) * weight)

    found = jax.grad(total)(params)
    assert found["kernel"][...].item() == found["bias"][...].item() == 1000 + 1 / 64


class Odd(nnx.Module):
    """Of two layers one is called twice, and one of them shares its kernel with a third."""

    def __init__(self, rngs: nnx.Rngs):
        self.once, self.often, self.tied = (Linear(2, 2, rngs=rngs) for _ in range(3))
        self.tied.kernel = self.once.kernel

    def step(self, carry, x):
        """The kernel of `once` is read beside its call as well."""
        seen = self.tied(jnp.sin(self.once(x))) + jnp.sum(self.once.kernel[...] ** 2)
        carry = jnp.tanh(self.often(self.often(seen) + carry))
        return carry, carry


def test_whatever_a_step_does_with_its_layers_gradients_are_those_of_a_plain_scan():
    graph, params = nnx.split(Odd(nnx.Rngs(0)))
    x = jax.random.normal(jax.random.key(0), (4, ROWS, 2))

    def total(params, scan):
        step = lambda own, carry, x: own.step(carry, x)  # noqa: E731
        return jnp.sum(scan(step, nnx.merge(graph, params), jnp.zeros((ROWS, 2)), x)[1] ** 2)

    found, want = (jax.grad(total)(params, scan) for scan in (scan_ticks, plain))
    assert all(np.abs(x).max() > 1e-3 for x in jax.tree.leaves(want))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-6), found, want)
