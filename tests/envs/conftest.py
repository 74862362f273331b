"""A flat world and a Navigate environment standing in it, for numbers by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from envs.navigate import NavigateEnv
from envs.navigate import blocks as B
from envs.navigate import physics as P
from envs.navigate.env import KEYS
from envs.navigate.grid import HEIGHT, SIZE, TILE
from envs.navigate.world import World

FLOOR = 20  # y of the flat world's grass; feet stand at FLOOR + 1


@pytest.fixture
def flat_world() -> World:
    """Stone with one layer of grass, nothing else."""
    blocks = np.zeros((SIZE, SIZE, HEIGHT), np.uint8)
    blocks[:, :, 0] = B.BEDROCK
    blocks[:, :, 1:FLOOR] = B.STONE
    blocks[:, :, FLOOR] = B.GRASS
    top = np.full((SIZE, SIZE), FLOOR + 1, np.uint8)
    tile_top = np.full((SIZE // TILE, SIZE // TILE), FLOOR + 1, np.uint8)
    ground = np.full((SIZE, SIZE), FLOOR, np.int16)
    return World(blocks, top, tile_top, ground, np.zeros((SIZE, SIZE), np.uint8))


@pytest.fixture
def body() -> np.ndarray:
    """A player at rest in the middle of column (100, 100), looking south."""
    body = np.zeros(11)
    body[[P.X, P.Y, P.Z]] = 100.5, FLOOR + 1, 100.5
    body[P.ON_GROUND] = 1
    return body


@pytest.fixture
def flat_env(flat_world: World, body: np.ndarray) -> NavigateEnv:
    """A dense Navigate environment whose player stands in the flat world."""
    env = NavigateEnv(dense=True)
    env.reset(seed=0)
    env.world, env.body = flat_world, body
    return env


@pytest.fixture
def act() -> Callable[..., dict[str, Any]]:
    """Builds an action: `act(forward=1, camera=(0, 5))`; everything else is released."""
    keys = (*KEYS, "place")

    def build(camera: tuple[float, float] = (0.0, 0.0), **pressed: int) -> dict[str, Any]:
        return {**dict.fromkeys(keys, 0), **pressed, "camera": np.array(camera, np.float32)}

    return build
