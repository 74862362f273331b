"""Action codec: any Gymnasium action space as one flat float vector, and distributions over chunks of K of them.

A space is a list of *factors*: each Box is one continuous factor scaled to [-1, 1]; each Discrete, each entry of a
MultiDiscrete and each bit of a MultiBinary is a one-hot factor. Dict (nested, keys sorted as Gymnasium sorts them) and Tuple are concatenated.
The abstract action ``u`` of one top-level interval is the ``chunk`` of its K primitive actions. DESIGN §4.
Read next: ``actor_critic.py``, which emits the distribution's numbers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jaxtyping import Array, Float, PRNGKeyArray

ActorGradient = Literal["reinforce", "dynamics", "straight_through"]


@dataclass(frozen=True)
class Factor:
    """One independent part of a primitive action."""

    size: int  # floats in the flat action: dimensions (continuous) or classes (discrete)
    discrete: bool

    @property
    def outputs(self) -> int:
        """Numbers that parametrise its distribution: mean and spread, or logits."""
        return self.size if self.discrete else 2 * self.size

    @property
    def primitives(self) -> int:
        """Independent random numbers in it: dimensions, or one choice."""
        return 1 if self.discrete else self.size


class ActionSample(NamedTuple):
    """A sampled action or chunk and what the actor's loss needs of it."""

    flat: Array  # [..., A] as environment and model receive it, continuous parts in [-1, 1]
    log_prob: Array  # [...] of the parts that the score function trains, nats; 0 where none
    entropy: Array  # [...] nats, summed over primitives


@dataclass(frozen=True)
class ActionDistribution:
    """Settings of the factors' distributions."""

    min_std: float = 0.1
    """Smallest standard deviation of a continuous action, in units of the scaled space [-1, 1]."""
    max_std: float = 1.0
    """Largest."""
    unimix: float = 0.01
    """Uniform share of every discrete choice (DreamerV3)."""


class ActionCodec:
    """Between a Gymnasium action space and flat vectors of ``width`` floats.

    Raises:
      ValueError: on an unbounded Box, or a space of another kind.
    """

    def __init__(self, space: gymnasium.Space, settings: ActionDistribution):
        self.space, self.settings = space, settings
        self.factors = tuple(factors(space))
        self.width = sum(f.size for f in self.factors)
        self.outputs = sum(f.outputs for f in self.factors)
        self.primitives = sum(f.primitives for f in self.factors)

    def encode(self, action: Any) -> np.ndarray:
        """One action of the space as a flat float32 vector, [A]."""
        return np.concatenate(list(encode(self.space, action))).astype(np.float32)

    def decode(self, flat: np.ndarray) -> Any:
        """A flat vector [A] as an action of the space: continuous parts clipped, the largest class of each choice."""
        action, used = decode(self.space, np.asarray(flat))
        assert used == self.width
        return action

    def parts(self, x: Array, outputs: bool) -> Iterator[tuple[Factor, Array]]:
        """Splits the last axis by factor: of distribution numbers (``outputs``) or of flat actions."""
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
          gradient: what the sample lets through. `reinforce`: nothing, log_prob covers all factors; `dynamics`: continuous
            parts are reparameterised, log_prob covers the discrete ones; `straight_through`: discrete ones too.
        """
        flat, log_prob, entropy = [], jnp.zeros(outputs.shape[:-1]), jnp.zeros(outputs.shape[:-1])
        for factor, x in self.parts(outputs, outputs=True):
            key, part_key = jax.random.split(key)
            value, logp, ent = (self._choice if factor.discrete else self._normal)(x, part_key)
            if gradient == "reinforce" or (gradient == "dynamics" and factor.discrete):
                value, log_prob = jax.lax.stop_gradient(value), log_prob + logp
            flat.append(value)
            entropy = entropy + ent
        return ActionSample(jnp.concatenate(flat, axis=-1), log_prob, entropy)

    def mode(self, outputs: Float[Array, "*N P"]) -> Float[Array, "*N A"]:
        """The likeliest action: means and largest classes."""
        flat = []
        for factor, x in self.parts(outputs, outputs=True):
            flat.append(
                jax.nn.one_hot(jnp.argmax(x, -1), factor.size)
                if factor.discrete
                else self._moments(x)[0]
            )
        return jnp.concatenate(flat, axis=-1)

    def spread(self, outputs: Float[Array, "*N P"]) -> Float[Array, "*N"]:
        """How undecided a primitive is on average, 0 (smallest deviation, one class) to 1 (largest, uniform)."""
        total = jnp.zeros(outputs.shape[:-1])
        for factor, x in self.parts(outputs, outputs=True):
            if factor.discrete:
                logp = self._log_probs(x)
                total = total - jnp.sum(jnp.exp(logp) * logp, -1) / np.log(max(factor.size, 2))
            else:
                s = self.settings
                std = self._moments(x)[1]
                total = total + jnp.sum(jnp.log(std / s.min_std), -1) / np.log(
                    s.max_std / s.min_std
                )
        return total / self.primitives

    def _moments(self, x: Array) -> tuple[Array, Array]:
        mean, raw = jnp.split(x, 2, axis=-1)
        s = self.settings
        return jnp.tanh(mean), s.min_std + (s.max_std - s.min_std) * jax.nn.sigmoid(raw)

    def _normal(self, x: Array, key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        """Normal(tanh(m), s), clipped to [-1, 1]; density and entropy of the unclipped variable."""
        mean, std = self._moments(x)
        noise = jax.random.normal(key, mean.shape)
        value = mean + std * noise
        fixed = jax.lax.stop_gradient(value)
        log_prob = jnp.sum(
            -0.5 * ((fixed - mean) / std) ** 2 - jnp.log(std) - 0.5 * np.log(2 * np.pi), -1
        )
        entropy = jnp.sum(0.5 * np.log(2 * np.pi * np.e) + jnp.log(std), -1)
        return jnp.clip(value, -1.0, 1.0), log_prob, entropy

    def _log_probs(self, x: Array) -> Array:
        s = self.settings
        return jnp.log((1 - s.unimix) * jax.nn.softmax(x) + s.unimix / x.shape[-1])

    def _choice(self, x: Array, key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        logp = self._log_probs(x)
        onehot = jax.nn.one_hot(jax.random.categorical(key, logp), x.shape[-1])
        probs = jnp.exp(logp)
        value = onehot + probs - jax.lax.stop_gradient(probs)
        return value, jnp.sum(onehot * logp, -1), -jnp.sum(probs * logp, -1)


class ChunkCodec:
    """Abstract action ``u`` = the K primitive actions of one interval, in order, flattened: [..., K·A]. DESIGN §4.

    Equal to the primitive action at K = 1. Nothing is learned, nothing drifts between what is imagined and what is done.
    """

    def __init__(self, codec: ActionCodec, stride: int):
        self.codec, self.stride = codec, stride
        self.width, self.outputs = stride * codec.width, stride * codec.outputs

    def slots(self, x: Array) -> Array:
        """[..., K·P] to [..., K, P]."""
        return x.reshape(*x.shape[:-1], self.stride, -1)

    def sample(self, outputs: Array, key: PRNGKeyArray, gradient: ActorGradient) -> ActionSample:
        """As ``ActionCodec.sample``; log_prob and entropy summed over the K slots."""
        sample = self.codec.sample(self.slots(outputs), key, gradient)
        flat = sample.flat.reshape(*outputs.shape[:-1], self.width)
        return ActionSample(flat, sample.log_prob.sum(-1), sample.entropy.sum(-1))

    def mode(self, outputs: Array) -> Array:
        """The likeliest chunk, [..., K·A]."""
        return self.codec.mode(self.slots(outputs)).reshape(*outputs.shape[:-1], self.width)

    def spread(self, outputs: Array) -> Array:
        """Mean of ``ActionCodec.spread`` over the slots."""
        return self.codec.spread(self.slots(outputs)).mean(-1)


def factors(space: gymnasium.Space) -> Iterator[Factor]:
    """The factors of a space, in the order of its flat vector."""
    match space:
        case spaces.Box():
            if not (np.all(np.isfinite(space.low)) and np.all(np.isfinite(space.high))):
                raise ValueError(
                    f"action space: expected a Box with finite bounds, received {space}; "
                    "wrap the environment in gymnasium.wrappers.RescaleAction or give it bounds"
                )
            yield Factor(int(np.prod(space.shape)), discrete=False)
        case spaces.Discrete():
            yield Factor(int(space.n), discrete=True)
        case spaces.MultiDiscrete():
            yield from (Factor(int(n), discrete=True) for n in space.nvec.ravel())
        case spaces.MultiBinary():
            yield from (Factor(2, discrete=True) for _ in range(int(np.prod(space.shape))))
        case spaces.Dict() | spaces.Tuple():
            for part in children(space):
                yield from factors(part)
        case _:
            raise ValueError(
                f"action space: expected Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple, received {space}"
            )


def children(space: spaces.Dict | spaces.Tuple) -> list[gymnasium.Space]:
    """Sub-spaces in order."""
    return list(space.spaces.values()) if isinstance(space, spaces.Dict) else list(space.spaces)


def onehot(index: int, size: int) -> np.ndarray:
    """One-hot float32 vector."""
    return np.eye(size, dtype=np.float32)[index]


def encode(space: gymnasium.Space, action: Any) -> Iterator[np.ndarray]:
    """Flat pieces of one action, in the order of ``factors``."""
    match space:
        case spaces.Box():
            low, high = space.low.ravel().astype(np.float64), space.high.ravel().astype(np.float64)
            yield 2 * (np.asarray(action, np.float64).ravel() - low) / (high - low) - 1
        case spaces.Discrete():
            yield onehot(int(action) - int(space.start), int(space.n))
        case spaces.MultiDiscrete():
            values = np.asarray(action).ravel() - np.asarray(space.start).ravel()
            yield from (
                onehot(int(v), int(n)) for v, n in zip(values, space.nvec.ravel(), strict=True)
            )
        case spaces.MultiBinary():
            yield from (onehot(int(v), 2) for v in np.asarray(action).ravel())
        case spaces.Dict():
            for name, part in space.spaces.items():
                yield from encode(part, action[name])
        case spaces.Tuple():
            for value, part in zip(action, space.spaces, strict=True):
                yield from encode(part, value)


def decode(space: gymnasium.Space, flat: np.ndarray) -> tuple[Any, int]:
    """The action that ``flat`` starts with, and how many floats it took."""
    match space:
        case spaces.Box():
            size = int(np.prod(space.shape))
            unit = (np.clip(flat[:size], -1, 1).reshape(space.shape) + 1) / 2
            value = space.low + unit * (space.high.astype(np.float64) - space.low)
            if np.issubdtype(space.dtype, np.integer):
                value = np.rint(value)
            return value.astype(space.dtype), size
        case spaces.Discrete():
            return space.start + np.argmax(flat[: space.n]).astype(space.dtype), int(space.n)
        case spaces.MultiDiscrete():
            ends = np.cumsum(space.nvec.ravel())
            picks = [
                np.argmax(flat[end - n : end])
                for n, end in zip(space.nvec.ravel(), ends, strict=True)
            ]
            value = np.reshape(picks, space.nvec.shape) + space.start
            return value.astype(space.dtype), int(ends[-1])
        case spaces.MultiBinary():
            size = 2 * int(np.prod(space.shape))
            return np.argmax(flat[:size].reshape(-1, 2), -1).reshape(space.shape).astype(
                space.dtype
            ), size
        case _:
            values, used = [], 0
            for part in children(space):
                value, size = decode(part, flat[used:])
                values.append(value)
                used += size
            if isinstance(space, spaces.Dict):
                return dict(zip(space.spaces, values, strict=True)), used
            return tuple(values), used
