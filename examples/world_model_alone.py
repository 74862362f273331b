"""The world model alone, trained with optax on your own arrays, and rolled out into the future.

python examples/world_model_alone.py
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from clockwork import (
    ClockworkConfig,
    ClockworkVAE,
    ObjectiveConfig,
    Records,
    episodes,
    model_loss,
)


@nnx.jit
def update(
    model: ClockworkVAE, optimizer: nnx.Optimizer, records: Records, key: Any
) -> dict[str, Any]:
    """One gradient step; returns the loss and its terms."""
    batch, length = records.mask.shape

    def loss(model: ClockworkVAE) -> Any:
        beliefs = model.observe(records, model.draw_noise(key, batch, length - model.lead))
        return model_loss(model, records, beliefs, ObjectiveConfig())

    (_, metrics), gradients = nnx.value_and_grad(loss, has_aux=True)(model)
    optimizer.update(model, gradients)
    return metrics


@nnx.jit(static_argnums=2)
def imagine(model: ClockworkVAE, records: Records, start: int, action: Any, key: Any) -> Any:
    """Predicts observations after time `start` under actions [B, n, A]; n is a multiple of K."""
    observe_key, key = jax.random.split(key)
    batch, length = records.mask.shape
    beliefs = model.observe(records, model.draw_noise(observe_key, batch, length - model.lead))
    states = model.states_at(beliefs, start)  # one per level
    noise = model.imagination_noise(key, batch, action.shape[1])
    imagined = model.imagine(states, action, jnp.ones(action.shape[:2]), noise)
    return model.to_observations(model.decode(imagined[0].features))


def main(updates: int) -> None:
    """Trains on travelling waves, which the action moves."""
    time = np.arange(24)[None] + np.arange(8)[:, None]
    x = np.stack([np.sin(time / 3), np.cos(time / 3), time / 24], -1).astype(np.float32)
    action = np.ones((8, 23, 1), np.float32)  # action[:, t] is taken at x[:, t]

    config = ClockworkConfig(strides=(1, 4))
    model = ClockworkVAE(config, {"x": (3,)}, action_width=1, rngs=nnx.Rngs(0))
    records = episodes({"x": x}, action, lead=model.lead, stride=model.stride)
    optimizer = nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)
    for number, key in enumerate(jax.random.split(jax.random.key(0), updates)):
        metrics = update(model, optimizer, records, key)
        if number in (0, updates - 1):
            print(f"update {number + 1}: loss {metrics['loss/model']:.2f} nats per frame")

    ahead = imagine(model, records, 8, jnp.ones((8, 12, 1)), jax.random.key(1))["x"]
    error = np.abs(np.asarray(ahead) - x[:, 9:21]).mean()
    print(f"12 steps imagined from step 8 on, {ahead.shape}; mean absolute error {error:.2f}")


if __name__ == "__main__":
    main(200)
