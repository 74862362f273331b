"""Primitive actions: any Gymnasium action space as one flat vector, and distributions over it.

A space is a list of independent factors (``factors.py``). Read next: ``codec.py``, which
maps primitive actions to the top's clock.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from agents.factors import Factor, decode, factors, flatten
from common import UserError
from worldmodel.distributions import UNIMIX

MIN_STD = 0.1  # smallest standard deviation of a continuous action, in units of [-1, 1]
MAX_STD = 1.0  # largest


class ActionSample(NamedTuple):
    """A sampled action or chunk, with what the actor's loss needs."""

    flat: Array  # [..., A] as environment and model receive it, continuous parts in [-1, 1]
    log_prob: Array  # [...] of the parts that the score function trains, nats; 0 if none
    entropy: Array  # [..., F] nats of each factor, summed over its primitives


class ActionCodec:
    """Maps between a Gymnasium action space and flat vectors of ``width`` floats.

    Raises:
      UserError: on an unbounded Box or a space of an unsupported kind.
    """

    def __init__(self, space: gymnasium.Space[Any]) -> None:
        self.space = space
        self.factors = tuple(factors(space))
        self.width = sum(f.size for f in self.factors)
        self.outputs = sum(f.outputs for f in self.factors)
        self.primitives = sum(f.primitives for f in self.factors)

    def encode(self, action: Any) -> np.ndarray:
        """Actions of the space as flat float32 vectors [..., A]: one, or a series (``flatten``)."""
        return flatten(self.space, action)

    def decode(self, flat: np.ndarray) -> Any:
        """A flat vector [A] as an action of the space, clipped; choices take their largest class.

        Raises:
          UserError: unless ``flat`` is one vector of A floats.
        """
        flat = np.asarray(flat)
        if flat.shape != (self.width,):
            raise UserError(
                f"action: expected a flat vector of {self.width} floats, received shape "
                f"{flat.shape}; decode the actions of a batch one by one"
            )
        return decode(self.space, flat)[0]

    def parts(self, x: Array, outputs: bool) -> Iterator[tuple[Factor, Array]]:
        """Split the last axis by factor: distribution parameters (``outputs``) or flat actions."""
        start = 0
        for factor in self.factors:
            size = factor.outputs if outputs else factor.size
            yield factor, x[..., start : start + size]
            start += size

    def sample(self, outputs: Float[Array, "*N P"], key: PRNGKeyArray) -> ActionSample:
        """Sample every factor independently.

        Continuous parts are reparameterised, so the gradient passes through them; discrete parts
        are trained by the score function, and only they enter log_prob. For continuous parts the
        score function is no better, and uneven: docs/adr/0008.

        Args:
          outputs: the actor's outputs, P = ``self.outputs``.
        """
        flat, log_prob, entropy = [], jnp.zeros(outputs.shape[:-1]), []
        noises = self.parts(self._noise(outputs.shape[:-1], key), outputs=False)
        for (factor, x), (_, noise) in zip(self.parts(outputs, outputs=True), noises, strict=True):
            value, nats = (self._choice if factor.discrete else self._normal)(x, noise)
            if factor.discrete:
                log_prob = log_prob + jnp.sum(value * self._log_probs(x), -1)
            flat.append(value)
            entropy.append(nats)
        return ActionSample(jnp.concatenate(flat, -1), log_prob, jnp.stack(entropy, -1))

    def act(
        self, outputs: Float[Array, "*N P"], normal: Float[Array, "*N A"] | None
    ) -> Float[Array, "*N A"]:
        """As ``sample``, from given standard normal noise n and without gradients; None: the mode.

        Choices use -log(-log Φ(n)), which is Gumbel noise.
        """
        if normal is None:
            return self.mode(outputs)
        flat, noises = [], self.parts(normal, outputs=False)
        for (factor, x), (_, n) in zip(self.parts(outputs, outputs=True), noises, strict=True):
            if factor.discrete:
                flat.append(self._choice(x, -jnp.log(-jax.scipy.special.log_ndtr(n)))[0])
            else:
                flat.append(self._normal(x, n)[0])
        return jnp.concatenate(flat, -1)

    def mode(self, outputs: Float[Array, "*N P"]) -> Float[Array, "*N A"]:
        """The likeliest action: means and largest classes."""
        flat = []
        for factor, x in self.parts(outputs, outputs=True):
            if factor.discrete:
                flat.append(jax.nn.one_hot(jnp.argmax(x, -1), factor.size))
            else:
                flat.append(self._moments(x)[0])
        return jnp.concatenate(flat, axis=-1)

    def log_prob(
        self, outputs: Float[Array, "*N P"], flat: Float[Array, "*N A"]
    ) -> Float[Array, "*N"]:
        """Log-probability of actions, nats, over all factors; continuous ones as if not clipped."""
        total = jnp.zeros(outputs.shape[:-1])
        actions = self.parts(flat, outputs=False)
        for (factor, x), (_, value) in zip(self.parts(outputs, outputs=True), actions, strict=True):
            if factor.discrete:
                total = total + jnp.sum(value * self._log_probs(x), -1)
            else:
                total = total + self._density(value, *self._moments(x))
        return total

    def spread(self, outputs: Float[Array, "*N P"]) -> Float[Array, "*N F"]:
        """Entropy of each factor as a share: 0 smallest deviation / one class, 1 largest / uniform.

        For a choice this is its entropy divided by that of the uniform; for a continuous factor,
        the mean over its dimensions of log(std/MIN_STD) / log(MAX_STD/MIN_STD).
        """
        spread = []
        for factor, x in self.parts(outputs, outputs=True):
            if factor.discrete:
                logp = self._log_probs(x)
                spread.append(-jnp.sum(jnp.exp(logp) * logp, -1) / np.log(max(factor.size, 2)))
            else:
                ratio = jnp.log(self._moments(x)[1] / MIN_STD) / np.log(MAX_STD / MIN_STD)
                spread.append(jnp.mean(ratio, -1))
        return jnp.stack(spread, -1)

    def _moments(self, x: Array) -> tuple[Array, Array]:
        mean, raw = jnp.split(x, 2, axis=-1)
        return jnp.tanh(mean), MIN_STD + (MAX_STD - MIN_STD) * jax.nn.sigmoid(raw)

    def _noise(self, batch: tuple[int, ...], key: PRNGKeyArray) -> Array:
        """Standard normal for continuous parts, Gumbel for discrete ones: [*batch, A].

        Drawn for all factors at once: drawing many factors one by one compiles slowly.
        """
        normal_key, gumbel_key = jax.random.split(key)
        shape = (*batch, self.width)
        if not any(f.discrete for f in self.factors):
            return jax.random.normal(normal_key, shape)
        gumbel = jax.random.gumbel(gumbel_key, shape)
        if all(f.discrete for f in self.factors):
            return gumbel
        discrete = np.concatenate([np.full(f.size, f.discrete) for f in self.factors])
        return jnp.where(discrete, gumbel, jax.random.normal(normal_key, shape))

    def _normal(self, x: Array, noise: Array) -> tuple[Array, Array]:
        """Normal(tanh(m), s), clipped to [-1, 1], and the entropy of the unclipped variable."""
        mean, std = self._moments(x)
        entropy = jnp.sum(0.5 * np.log(2 * np.pi * np.e) + jnp.log(std), -1)
        return jnp.clip(mean + std * noise, -1.0, 1.0), entropy

    def _density(self, value: Array, mean: Array, std: Array) -> Array:
        score = (value - mean) / std
        return jnp.sum(-0.5 * score**2 - jnp.log(std) - 0.5 * np.log(2 * np.pi), -1)

    def _log_probs(self, x: Array) -> Array:
        return jnp.log((1 - UNIMIX) * jax.nn.softmax(x) + UNIMIX / x.shape[-1])

    def _choice(self, x: Array, noise: Array) -> tuple[Array, Array]:
        """One-hot sample, and its entropy."""
        logp = self._log_probs(x)
        onehot = jax.nn.one_hot(jnp.argmax(logp + noise, axis=-1), x.shape[-1])
        return onehot, -jnp.sum(jnp.exp(logp) * logp, -1)
