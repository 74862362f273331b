"""Videos whose frames are vectors: the places of two balls that bounce in a box, the permanent
identity of each (one of five), and a light (one of five) that switches every 50 frames.

A frame carries as much information as one of pixels at a hundredth of the cost. Information of
three durations is separated: places (some 20 frames), the light (50) and identities (forever). For
the latter two, chance is 1/5.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

BALLS, KINDS, PERIOD = 2, 5, 50
WIDTH = 2 * BALLS + KINDS * (BALLS + 1)  # floats per frame
SLOWEST, FASTEST = 0.03, 0.09  # edges of the box per frame, at speed 1
NOISE = 0.05  # standard deviation of the noise on every float of a frame
CHANCE = 1 / KINDS


class Film(NamedTuple):
    """Videos of T frames, and their ground truth."""

    frames: Float[Array, "*V T F"]  # places in ±1, then one-hot of five each: balls, light
    place: Float[Array, "*V T P"]  # x and y of each ball, without noise
    identity: Int[Array, "*V B"]
    light: Int[Array, "*V T"]


def films(key: PRNGKeyArray, count: int, length: int, speed: float) -> Film:
    """``count`` videos of ``length`` frames; ``speed`` applies to the balls alone."""
    return jax.vmap(lambda k: film(k, length, speed))(jax.random.split(key, count))


def film(key: PRNGKeyArray, length: int, speed: float) -> Film:
    """One video."""
    places, lights, kinds, noise = jax.random.split(key, 4)
    place = bouncing(places, length, speed)
    light = switching(lights, length)
    identity = jax.random.randint(kinds, (BALLS,), 0, KINDS)
    which = jnp.broadcast_to(jax.nn.one_hot(identity, KINDS).reshape(-1), (length, BALLS * KINDS))
    frames = jnp.concatenate([place, which, jax.nn.one_hot(light, KINDS)], axis=1)
    frames = frames + NOISE * jax.random.normal(noise, frames.shape)
    return Film(frames, place, identity, light)


def bouncing(key: PRNGKeyArray, length: int, speed: float) -> Float[Array, "T P"]:
    """Balls that move in straight lines and bounce off the walls; x and y of each in ±1."""
    start, angle, fast = jax.random.split(key, 3)
    begin = jax.random.uniform(start, (BALLS, 2))
    a = jax.random.uniform(angle, (BALLS, 1), maxval=2 * jnp.pi)
    v = speed * jax.random.uniform(fast, (BALLS, 1), minval=SLOWEST, maxval=FASTEST)
    v = v * jnp.concatenate([jnp.cos(a), jnp.sin(a)], axis=1)
    unfolded = begin[None] + v[None] * jnp.arange(length)[:, None, None]
    return (1 - 2 * jnp.abs(unfolded % 2 - 1)).reshape(length, 2 * BALLS)


def switching(key: PRNGKeyArray, length: int) -> Int[Array, " T"]:
    """A light that switches to another of five kinds every 50 frames, at a random phase."""
    phase, first, then = jax.random.split(key, 3)
    segment = (jnp.arange(length) + jax.random.randint(phase, (), 0, PERIOD)) // PERIOD
    steps = jax.random.randint(then, (length // PERIOD + 2,), 1, KINDS)
    steps = steps.at[0].set(jax.random.randint(first, (), 0, KINDS))
    return jnp.cumsum(steps)[segment] % KINDS


def right(predicted: Float[Array, "V T F"], true: Film) -> dict[str, Float[Array, " T"]]:
    """Means over videos, by frame: shares of identities and lights that are right, and the absolute
    error of places, in a box of width 2."""
    count, length = true.light.shape
    places, kinds = jnp.split(predicted, [2 * BALLS], axis=-1)
    shown = kinds.reshape(count, length, BALLS + 1, KINDS).argmax(-1)
    return {
        "identity": jnp.mean(shown[..., :BALLS] == true.identity[:, None], axis=(0, 2)),
        "light": jnp.mean(shown[..., BALLS] == true.light, axis=0),
        "place": jnp.mean(jnp.abs(places - true.place), axis=(0, 2)),
    }
