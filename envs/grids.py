"""Small grids of categories whose space declares bytes, such as MiniGrid's views."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

CATEGORIES = (11, 6, 4)  # of a cell in MiniGrid: kinds of object, colours, states or directions


LARGEST = 25  # cells along an edge; pictures of grids have more pixels


class GridCategories(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Declare every uint8 grid that has three numbers per cell and is too small for a picture as
    (kind of object, colour, state) of each cell, so that it is one-hot encoded."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        inner = env.observation_space
        if isinstance(inner, spaces.Dict):
            self.observation_space = spaces.Dict({k: _declared(v) for k, v in inner.items()})
        else:
            self.observation_space = _declared(inner)

    def observation(self, observation: Any) -> Any:
        """The same numbers, as integers of the declared space."""
        space = self.observation_space
        if isinstance(space, spaces.Dict):
            return {key: _as(space[key], value) for key, value in observation.items()}
        return _as(space, observation)


def _declared(space: spaces.Space[Any]) -> spaces.Space[Any]:
    shape = space.shape or ()
    if isinstance(space, spaces.Box) and space.dtype == np.uint8 and shape[2:] == (3,):
        if max(shape) <= LARGEST:
            return spaces.MultiDiscrete(np.tile(CATEGORIES, (*shape[:2], 1)))
    return space


def _as(space: spaces.Space[Any], value: Any) -> Any:
    return value.astype(np.int64) if isinstance(space, spaces.MultiDiscrete) else value
