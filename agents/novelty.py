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
WIDE = 2  # outputs per hidden unit from which the predictions are not computed, by measurement


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
        parts = zip(self._units(h), self.output[...], self.output_bias[...], strict=True)
        return jnp.stack([units @ w + b for units, w, b in parts])

    def spread(self, h: Float[Array, "N D"]) -> Float[Array, " N"]:
        """Σ_o Var_m[x̂_mo] = sᵀ G s, without the predictions x̂ themselves if they are wide, such as
        images: with s the hidden units and a 1 of every member, U their output weights and biases,

          G_ij = (U Uᵀ)_ij (δ_m(i)m(j) / M - 1 / M²),

        since the variance over members is the mean of |x̂_m|² less |x̂|² of the mean."""
        _, hidden, outputs = self.output.shape
        if outputs <= WIDE * hidden:
            return spread_of(self(h))
        one = jnp.ones((len(h), 1))
        s = jnp.concatenate([x for units in self._units(h) for x in (units, one)], axis=-1)
        u = jnp.concatenate([self.output[...], self.output_bias[...]], axis=1)
        u = u.reshape(s.shape[-1], outputs)
        own = jnp.kron(jnp.eye(MEMBERS), jnp.ones((hidden + 1, hidden + 1)))
        g = (u @ u.T) * (own / MEMBERS - 1 / MEMBERS**2)
        return jnp.maximum(jnp.sum((s @ g) * s, axis=-1), 0.0)  # below by rounding

    def _units(self, h: Float[Array, "N D"]) -> list[Float[Array, "N K"]]:
        """Every member's hidden units."""
        pairs = zip(self.input[...], self.hidden_bias[...], strict=True)
        return [jax.nn.silu(h @ w + b) for w, b in pairs]


def spread_of(predicted: Float[Array, "M N O"]) -> Float[Array, " N"]:
    """Σ_o Var_m[x̂_mo]."""
    return jnp.sum(jnp.var(predicted, axis=0), axis=-1)


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


def disagreement(spread: Float[Array, " N"], variance: Float[Array, ""]) -> Float[Array, " N"]:
    """d = √( Σ_o Var_m[x̂_mo] / Σ_o Var[x_o] ): the members' spread as a share of
    how much observations vary."""
    return jnp.sqrt(spread / (variance + TINY) + TINY)


def bonus(
    novel: Float[Array, "N H"], weight: Float[Array, "N H"], rate: float, steps: int
) -> Float[Array, "N H"]:
    """b_j = β W (d_j - d̄_j), environment units, with d̄_j the mean over the states imagined at the
    same tick. States that are better known than average cost; those that are less known pay.

    At every tick the bonus is 0 on average, so that an episode is neither rewarded nor punished for
    continuing, although imagination knows its later states less. d̄ carries no gradient, so that
    actions are drawn to each state's d whatever the others' are.

    Args:
      novel: d of imagined states.
      weight: probability that the path is still going there.
      rate: β per environment step.
      steps: W, environment steps that lead to one imagined state.
    """
    mean = jax.vmap(masked_mean, (1, 1))(novel, weight)
    return rate * steps * (novel - jax.lax.stop_gradient(mean)[None])
