"""Primitive actions: any Gymnasium action space as one flat vector, and distributions over it.

A space is a list of independent factors (``factors.py``). Read next: ``codec.py``, what these
primitive actions are to the top's clock.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from agents.factors import Factor, decode, factors, flatten
from common import Positive, Share, UserError, check_bounds

ActorGradient = Literal["reinforce", "dynamics", "straight_through"]


class ActionSample(NamedTuple):
    """A sampled action or chunk and what the actor's loss needs of it."""

    flat: Array  # [..., A] as environment and model receive it, continuous parts in [-1, 1]
    log_prob: Array  # [...] of the parts that the score function trains, nats; 0 where none
    entropy: Array  # [..., F] nats of each factor, summed over its primitives


@dataclass(frozen=True)
class ActionDistribution:
    """Settings of the factors' distributions."""

    min_std: Positive = 0.1
    """Smallest standard deviation of a continuous action, in units of the scaled space [-1, 1]."""
    max_std: Positive = 1.0
    """Largest."""
    unimix: Share = 0.01
    """Uniform share of every discrete choice (DreamerV3)."""

    def __post_init__(self) -> None:
        """Raises UserError on a number out of bounds, or deviations that are no interval."""
        check_bounds(self, "agent.actions")
        if self.min_std >= self.max_std:
            raise UserError(
                f"actions: expected min_std < max_std, received min_std {self.min_std} and "
                f"max_std {self.max_std}; the defaults are 0.1 and 1.0"
            )


class ActionCodec:
    """Between a Gymnasium action space and flat vectors of ``width`` floats.

    Raises:
      UserError: on an unbounded Box, or a space of another kind.
    """

    def __init__(self, space: gymnasium.Space[Any], settings: ActionDistribution) -> None:
        self.space, self.settings = space, settings
        self.factors = tuple(factors(space))
        self.width = sum(f.size for f in self.factors)
        self.outputs = sum(f.outputs for f in self.factors)
        self.primitives = sum(f.primitives for f in self.factors)

    def encode(self, action: Any) -> np.ndarray:
        """Actions of the space as flat float32 vectors [..., A]: one, or a series (``flatten``)."""
        return flatten(self.space, action)

    def decode(self, flat: np.ndarray) -> Any:
        """A flat vector [A] as an action of the space: clipped, the largest class of each choice.

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
        """Splits the last axis by factor: distribution numbers (``outputs``) or flat actions."""
        start = 0
        for factor in self.factors:
            size = factor.outputs if outputs else factor.size
            yield factor, x[..., start : start + size]
            start += size

    def sample(
        self, outputs: Float[Array, "*N P"], key: PRNGKeyArray, gradient: ActorGradient
    ) -> ActionSample:
        """Samples every factor independently.

        Args:
          outputs: the actor's numbers, P = ``self.outputs``.
          gradient: what the sample lets through. `reinforce`: nothing, log_prob covers all factors;
            `dynamics`: continuous parts are reparameterised, log_prob covers the discrete ones;
            `straight_through`: discrete parts pass the gradient of their probabilities as well.
        """
        flat, log_prob, entropy = [], jnp.zeros(outputs.shape[:-1]), []
        noises = self.parts(self._noise(outputs.shape[:-1], key), outputs=False)
        for (factor, x), (_, noise) in zip(self.parts(outputs, outputs=True), noises, strict=True):
            value, logp, ent = (self._choice if factor.discrete else self._normal)(x, noise)
            if gradient == "reinforce" or (gradient == "dynamics" and factor.discrete):
                value, log_prob = jax.lax.stop_gradient(value), log_prob + logp
            flat.append(value)
            entropy.append(ent)
        return ActionSample(jnp.concatenate(flat, -1), log_prob, jnp.stack(entropy, -1))

    def act(
        self, outputs: Float[Array, "*N P"], normal: Float[Array, "*N A"] | None
    ) -> Float[Array, "*N A"]:
        """As ``sample`` by given standard normal numbers n, without gradients; None: the mode.

        Choices take as Gumbel's noise -log(-log Φ(n)), which is so distributed.
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
        """Of given actions, nats, summed over factors; continuous ones as if not clipped."""
        total = jnp.zeros(outputs.shape[:-1])
        actions = self.parts(flat, outputs=False)
        for (factor, x), (_, value) in zip(self.parts(outputs, outputs=True), actions, strict=True):
            if factor.discrete:
                total = total + jnp.sum(value * self._log_probs(x), -1)
            else:
                total = total + self._density(value, *self._moments(x))
        return total

    def spread(self, outputs: Float[Array, "*N P"]) -> Float[Array, "*N F"]:
        """Entropy of each factor as a share: 0 least deviation / one class, 1 largest / uniform.

        A choice counts by its entropy over that of the uniform, a continuous factor by the mean
        over its dimensions of log(std/min_std) / log(max_std/min_std).
        """
        s, spread = self.settings, []
        for factor, x in self.parts(outputs, outputs=True):
            if factor.discrete:
                logp = self._log_probs(x)
                spread.append(-jnp.sum(jnp.exp(logp) * logp, -1) / np.log(max(factor.size, 2)))
            else:
                ratio = jnp.log(self._moments(x)[1] / s.min_std) / np.log(s.max_std / s.min_std)
                spread.append(jnp.mean(ratio, -1))
        return jnp.stack(spread, -1)

    def _moments(self, x: Array) -> tuple[Array, Array]:
        mean, raw = jnp.split(x, 2, axis=-1)
        s = self.settings
        return jnp.tanh(mean), s.min_std + (s.max_std - s.min_std) * jax.nn.sigmoid(raw)

    def _noise(self, batch: tuple[int, ...], key: PRNGKeyArray) -> Array:
        """Standard normal for continuous parts, Gumbel for discrete ones: [*batch, A].

        Drawn for all factors at once: a program of many factors would be slow to compile.
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

    def _normal(self, x: Array, noise: Array) -> tuple[Array, Array, Array]:
        """Normal(tanh(m), s), clipped to [-1, 1]; density and entropy of the unclipped variable."""
        mean, std = self._moments(x)
        value = mean + std * noise
        log_prob = self._density(jax.lax.stop_gradient(value), mean, std)
        entropy = jnp.sum(0.5 * np.log(2 * np.pi * np.e) + jnp.log(std), -1)
        return jnp.clip(value, -1.0, 1.0), log_prob, entropy

    def _density(self, value: Array, mean: Array, std: Array) -> Array:
        score = (value - mean) / std
        return jnp.sum(-0.5 * score**2 - jnp.log(std) - 0.5 * np.log(2 * np.pi), -1)

    def _log_probs(self, x: Array) -> Array:
        s = self.settings
        return jnp.log((1 - s.unimix) * jax.nn.softmax(x) + s.unimix / x.shape[-1])

    def _choice(self, x: Array, noise: Array) -> tuple[Array, Array, Array]:
        """One-hot sample; its gradient is that of the probabilities (straight-through)."""
        logp = self._log_probs(x)
        onehot = jax.nn.one_hot(jnp.argmax(logp + noise, axis=-1), x.shape[-1])
        probs = jnp.exp(logp)
        value = onehot + (probs - jax.lax.stop_gradient(probs))
        return value, jnp.sum(onehot * logp, -1), -jnp.sum(probs * logp, -1)
