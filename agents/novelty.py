"""Novelty: what the world model has not yet learned to predict, as a reward in imagination.

An ensemble of small networks predicts the observation that arrives at a tick from the top's h,
which knows what was done but not yet the outcome. Where replay has trained the networks they agree,
even on random outcomes, because each predicts the mean; elsewhere they still differ as initialised.
Source: Plan2Explore (Sekar et al. 2020), whose ensemble predicts an embedding; the target here
stays the same while the model learns. docs/adr/0031.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from worldmodel.objective import masked_mean

MEMBERS = 5
TINY = 1e-8  # under roots and divisions


class Ensemble(nnx.Module):
    """``MEMBERS`` networks of one hidden layer, side by side: [N, D] to [M, N, O]."""

    def __init__(self, inputs: int, hidden: int, outputs: int, rngs: nnx.Rngs) -> None:
        init = nnx.initializers.lecun_normal(in_axis=-2, out_axis=-1, batch_axis=(0,))
        self.input = nnx.Param(init(rngs.params(), (MEMBERS, inputs, hidden)))
        self.hidden_bias = nnx.Param(jnp.zeros((MEMBERS, 1, hidden)))
        self.output = nnx.Param(init(rngs.params(), (MEMBERS, hidden, outputs)))
        self.output_bias = nnx.Param(jnp.zeros((MEMBERS, 1, outputs)))

    def __call__(self, h: Float[Array, "N D"]) -> Float[Array, "M N O"]:
        """Every member's prediction, float32."""
        hidden = jnp.einsum("nd,mdk->mnk", h, self.input[...]) + self.hidden_bias[...]
        hidden = jax.nn.silu(hidden)
        return jnp.einsum("mnk,mko->mno", hidden, self.output[...]) + self.output_bias[...]


def variance_of(target: Float[Array, "N O"], mask: Float[Array, " N"]) -> Float[Array, ""]:
    """Σ_o Var[x_o] over real steps."""
    mean = jax.vmap(masked_mean, (1, None))(target, mask)
    return masked_mean(jnp.sum((target - mean[None]) ** 2, axis=-1), mask)


def ensemble_loss(
    predicted: Float[Array, "M N O"],
    target: Float[Array, "N O"],
    mask: Float[Array, " N"],
    variance: Float[Array, ""],
) -> Float[Array, ""]:
    """Mean over members of the squared error, as a share of the ``variance``."""
    error = jnp.mean(jnp.sum((predicted - target[None]) ** 2, axis=-1), axis=0)
    return masked_mean(error, mask) / (variance + TINY)


def disagreement(
    predicted: Float[Array, "M N O"], variance: Float[Array, ""]
) -> Float[Array, " N"]:
    """d = √( Σ_o Var_m[x̂_mo] / Σ_o Var[x_o] ): variation over the members as a share
    of how much observations vary."""
    spread = jnp.sum(jnp.var(predicted, axis=0), axis=-1)
    return jnp.sqrt(spread / (variance + TINY) + TINY)


def bonus(
    novel: Float[Array, "N H"], alive: Float[Array, " N"], rate: float, steps: int
) -> Float[Array, "N H"]:
    """b = β W (d - d̄), environment units, with d̄ the mean over all imagined states, so that an
    episode is neither rewarded nor punished for continuing. States that are better known than
    average cost; those that are less known pay. d̄ carries no gradient, so that actions are drawn
    to each state's d whatever the others' are.

    Args:
      novel: d of imagined states.
      alive: 1 where a path counts.
      rate: β per environment step.
      steps: W, environment steps that lead to one imagined state.
    """
    mean = jax.lax.stop_gradient(masked_mean(jnp.mean(novel, axis=1), alive))
    return rate * steps * (novel - mean)
