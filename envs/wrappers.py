"""Gymnasium wrappers between an environment and the agent.

Order, innermost first: `CameraLimit`, `HeldKeys`, `CompassVector`, `ActionRepeat`,
`CanonicalObservation` (see `vector.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit

from common import UserError
from common.images import Fit
from envs.own import Sparing
from envs.spaces import Canonical


class CameraLimit(gymnasium.ActionWrapper[Any, Any, Any]):
    """Narrow the `camera` Box of a Dict action space; the actions themselves pass unchanged."""

    def __init__(self, env: gymnasium.Env[Any, Any], degrees: float) -> None:
        """See the class.

        Args:
          env: an environment whose action space is a Dict with a Box named `camera`.
          degrees: new bound, per frame and axis; at most the environment's own.
        Raises:
          UserError: if there is no such Box, or the bound is outside (0, the Box's own bound].
        """
        super().__init__(env)
        inner = env.action_space
        keys = dict(inner.spaces) if isinstance(inner, spaces.Dict) else {}
        camera = keys.get("camera")
        if not isinstance(camera, spaces.Box):
            raise UserError(
                f"expected a Dict action space with a Box named 'camera', received {inner}; "
                "camera_limit is for Navigate"
            )
        if not 0 < degrees <= float(camera.high.min()):
            raise UserError(
                f"expected camera_limit in (0, {float(camera.high.min()):g}] degrees per frame, "
                f"received {degrees:g}"
            )
        keys["camera"] = spaces.Box(-degrees, degrees, camera.shape, np.float32)
        self.action_space = spaces.Dict(keys)

    def action(self, action: Any) -> Any:
        """Return the action unchanged."""
        return action


class HeldKeys(gymnasium.ActionWrapper[Any, Any, Any]):
    """Remove keys from a Dict action space; each is held at a fixed value instead."""

    def __init__(self, env: gymnasium.Env[Any, Any], keys: Mapping[str, int]) -> None:
        """See the class.

        Args:
          env: an environment whose action space is a Dict.
          keys: key -> the value at which it is held.
        Raises:
          UserError: for a key that the space does not have, or a value that the key cannot take.
        """
        super().__init__(env)
        inner = env.action_space
        known = dict(inner.spaces) if isinstance(inner, spaces.Dict) else {}
        for key, value in keys.items():
            if key not in known or not known[key].contains(np.int64(value)):
                raise UserError(
                    f"expected keys to hold among {sorted(known)} at values they take, received "
                    f"{key}={value}; see --env.options held_keys"
                )
        self.held = {key: np.int64(value) for key, value in keys.items()}
        self.action_space = spaces.Dict({k: v for k, v in known.items() if k not in keys})

    def action(self, action: Any) -> Any:
        """The action with the held keys added."""
        return {**action, **self.held}


class CompassVector(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Navigate's needle as a unit vector: `compass.angle` in degrees becomes `compass.needle`.

    The needle is [cos, sin], so that -180 and 180 degrees, the same direction, have the same value.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        """See the class; the environment must have Navigate's observations."""
        super().__init__(env)
        inner = env.observation_space
        assert isinstance(inner, spaces.Dict)
        needle = spaces.Dict({"needle": spaces.Box(-1, 1, (2,), np.float32)})
        self.observation_space = spaces.Dict({**inner.spaces, "compass": needle})

    def observation(self, observation: Any) -> Any:
        """The same observation with the needle in place of the angle."""
        angle = np.deg2rad(float(observation["compass"]["angle"]))
        needle = np.array((np.cos(angle), np.sin(angle)), np.float32)
        return {**observation, "compass": {"needle": needle}}


def layers(env: gymnasium.Env[Any, Any]) -> Iterator[gymnasium.Env[Any, Any]]:
    """An environment's wrappers, outermost first, then the environment inside them."""
    yield env
    while isinstance(env, gymnasium.Wrapper):
        env = env.env
        yield env


def _limited(env: gymnasium.Env[Any, Any]) -> bool:
    """Whether a wrapper ends episodes without the `Sparing` layer inside it noticing."""
    outside = takewhile(lambda layer: not isinstance(layer, Sparing), layers(env))
    return any(isinstance(layer, TimeLimit) for layer in outside)


class ActionRepeat(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Hold each action for several frames and sum their rewards; stop early at an episode's end.
    `Sparing` layers draw and check the last frame only."""

    def __init__(self, env: gymnasium.Env[Any, Any], repeat: int) -> None:
        """Hold each action for `repeat` frames (at least 1, else UserError)."""
        super().__init__(env)
        if repeat < 1:
            raise UserError(f"expected action_repeat of at least 1 frame, received {repeat}")
        self.repeat = repeat
        self.sparing = [] if _limited(env) else [x for x in layers(env) if isinstance(x, Sparing)]

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """The last frame's observation and flags, with the summed reward."""
        total = 0.0
        for frame in range(self.repeat):
            for layer in self.sparing:
                layer.seen = frame == self.repeat - 1
            obs, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return obs, total, terminated, truncated, info


class CanonicalObservation(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Observations as a flat Dict of images and float vectors (`envs.spaces`)."""

    def __init__(
        self, env: gymnasium.Env[Any, Any], image_size: int, image_fit: Fit, keys: tuple[str, ...]
    ) -> None:
        """Resize images to `image_size` pixels along each edge, and read the observations whose
        names match a pattern in `keys`; if there are no patterns, read all."""
        super().__init__(env)
        self.canonical = Canonical(env.observation_space, image_size, image_fit, keys)
        self.observation_space = self.canonical.space

    def observation(self, observation: Any) -> dict[str, np.ndarray]:
        """The observation in canonical form."""
        return self.canonical(observation)
