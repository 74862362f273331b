"""Procedural textures: the block atlas and the clouds, generated from fixed seeds.

Read next: `render.py` (how they are looked up).
"""

from __future__ import annotations

import numpy as np

from envs.navigate import blocks as B
from envs.navigate.noise import fractal

TOP, SIDE, BOTTOM = 0, 1, 2
TEXELS = 16  # texture resolution: texels per block edge
CLOUD_CELLS = 64  # cells of 8 blocks, once round the torus

_COLOURS: dict[int, tuple[int, int, int]] = {
    B.WATER: (38, 84, 196),
    B.BEDROCK: (60, 60, 60),
    B.STONE: (125, 125, 125),
    B.DIRT: (134, 96, 67),
    B.GRASS: (98, 160, 58),
    B.SAND: (222, 208, 158),
    B.GRAVEL: (148, 136, 124),
    B.LOG: (104, 82, 48),
    B.BIRCH: (214, 214, 206),
    B.LEAVES: (56, 122, 34),
    B.PINE: (40, 88, 56),
    B.CACTUS: (24, 112, 34),
    B.PLANKS: (178, 142, 86),
    B.COBBLE: (112, 112, 116),
    B.ROOF: (128, 58, 44),
    B.SNOW: (240, 246, 250),
    B.GOAL: (70, 236, 226),
}

#: Amplitude of the per-texel brightness noise, relative.
_GRAIN: dict[int, float] = {
    B.WATER: 0.05,
    B.LEAVES: 0.34,
    B.PINE: 0.34,
    B.COBBLE: 0.26,
    B.GRAVEL: 0.22,
}
_GRAIN |= {B.SNOW: 0.03, B.GOAL: 0.04, B.PLANKS: 0.07, B.SAND: 0.07, B.ROOF: 0.08}


def texture_atlas() -> np.ndarray:
    """Textures of all blocks, generated from a fixed seed.

    Returns:
      uint8 [NUM_BLOCKS, 3, TEXELS, TEXELS, 3]: block, face (TOP, SIDE, BOTTOM), row from the top
      of the face, column, RGB.
    """
    rng = np.random.default_rng(20211)
    atlas = np.zeros((B.NUM_BLOCKS, 3, TEXELS, TEXELS, 3), np.float32)
    for block, colour in _COLOURS.items():
        atlas[block] = _grained(rng, colour, _GRAIN.get(block, 0.14))
    atlas[B.GRASS, SIDE:] = atlas[B.DIRT, SIDE:]
    atlas[B.GRASS, SIDE, : TEXELS // 4] = atlas[B.GRASS, TOP, : TEXELS // 4] * 0.95
    _draw_wood(atlas)
    _draw_masonry(atlas)
    _draw_goal(atlas)
    return np.clip(atlas, 0, 255).astype(np.uint8)


def _grained(rng: np.random.Generator, colour: tuple[int, int, int], grain: float) -> np.ndarray:
    """Colour times noise at two scales. Returns float32 [3, TEXELS, TEXELS, 3]."""
    fine = rng.uniform(-1, 1, (3, TEXELS, TEXELS, 1))
    coarse = rng.uniform(-1, 1, (3, TEXELS // 4, TEXELS // 4, 1))
    coarse = coarse.repeat(4, axis=1).repeat(4, axis=2)
    return (np.asarray(colour) * (1 + grain * (0.6 * fine + 0.4 * coarse))).astype(np.float32)


def _draw_wood(atlas: np.ndarray) -> None:
    """Bark stripes, birch marks, cactus ribs and plank seams, in place."""
    atlas[B.LOG, SIDE, :, ::4] *= 0.68
    atlas[B.CACTUS, SIDE, :, ::4] *= 0.7
    atlas[B.LOG, TOP] = (172, 140, 88)
    atlas[B.BIRCH, SIDE, 2::5, 3:8] *= 0.3
    atlas[B.BIRCH, SIDE, 4::6, 10:14] *= 0.35
    for wood in (B.PLANKS, B.ROOF):
        atlas[wood, :, ::4] *= 0.72
        atlas[wood, :, 1:4, 7] *= 0.78
        atlas[wood, :, 9:12, 12] *= 0.78


def _draw_masonry(atlas: np.ndarray) -> None:
    """Mortar between the cobbles, in place."""
    atlas[B.COBBLE, :, ::5] *= 0.75
    atlas[B.COBBLE, :, :, ::6] *= 0.78


def _draw_goal(atlas: np.ndarray) -> None:
    """The goal: a bright cyan cube with a darker frame and a white glint, in place."""
    frame = np.ones((TEXELS, TEXELS), bool)
    frame[2:-2, 2:-2] = False
    atlas[B.GOAL, :, frame] *= 0.72
    atlas[B.GOAL, :, 4:6, 4:9] = (225, 255, 252)


def cloud_map() -> np.ndarray:
    """Where the sky has clouds: float32 [CLOUD_CELLS, CLOUD_CELLS], 0 or 1, periodic."""
    noise = fractal(np.random.default_rng(7), CLOUD_CELLS, 8, 3)
    return (noise > 0.55).astype(np.float32)
