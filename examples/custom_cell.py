"""A custom recurrent cell: a minimal gated unit in place of the GRU of every level.

    python examples/custom_cell.py

A cell is a module that maps an input [N, hidden] and a state [N, deter] to the next state. Build
the model as usual, then replace each level's cell. Source: Zhou et al. 2016, "Minimal
Gated Unit for Recurrent Neural Networks".
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from clockwork import ClockworkConfig, ClockworkVAE, ObjectiveConfig, episodes, model_loss


class MinimalGatedUnit(nnx.Module):
    """f = σ(W_f [x, h]),   h' = (1 - f) h + f tanh(W_h [x, f h])."""

    def __init__(self, inputs: int, deter: int, rngs: nnx.Rngs) -> None:
        self.forget = nnx.Linear(inputs + deter, deter, rngs=rngs)
        self.candidate = nnx.Linear(inputs + deter, deter, rngs=rngs)

    def __call__(self, x: jax.Array, h: jax.Array) -> jax.Array:
        x = x.astype(jnp.float32)
        f = jax.nn.sigmoid(self.forget(jnp.concatenate([x, h], -1)))
        candidate = jnp.tanh(self.candidate(jnp.concatenate([x, f * h], -1)))
        return (1 - f) * h + f * candidate


def main(updates: int) -> None:
    """Trains the model on noise that repeats every 8 steps."""
    config = ClockworkConfig(strides=(1, 2), deter=32, hidden=32, embed=32, stoch=8)
    rngs = nnx.Rngs(0)
    model = ClockworkVAE(config, {"x": (2,)}, action_width=0, rngs=rngs)
    for level in model.levels:
        level.gru = MinimalGatedUnit(config.hidden, config.deter, rngs)

    pattern = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
    x = np.stack([np.tile(np.roll(pattern, n, 0), (2, 1)) for n in range(4)])  # [B, T, 2]
    records = episodes({"x": x}, np.zeros((4, 15, 0)), lead=model.lead, stride=model.stride)
    batch, length = records.mask.shape
    optimizer = nnx.Optimizer(model, optax.adam(3e-3), wrt=nnx.Param)

    @nnx.jit
    def update(model: ClockworkVAE, optimizer: nnx.Optimizer, key: Any) -> Any:
        def loss(model: ClockworkVAE) -> Any:
            beliefs = model.observe(records, model.draw_noise(key, batch, length - model.lead))
            return model_loss(model, records, beliefs, ObjectiveConfig())

        (value, _), gradients = nnx.value_and_grad(loss, has_aux=True)(model)
        optimizer.update(model, gradients)
        return value

    losses = [
        float(update(model, optimizer, key)) for key in jax.random.split(jax.random.key(0), updates)
    ]
    print(f"loss {losses[0]:.2f}, after {updates} updates {losses[-1]:.2f} nats per frame")


if __name__ == "__main__":
    main(200)
