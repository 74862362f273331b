"""Block ids, digging times and the procedural texture atlas of the builtin Navigate world.

Everything at or above `FIRST_SOLID` stops the player; `AIR` and `WATER` do not.
Read next: `world.py` (what is placed where), `render.py` (how the atlas is used).
"""

from __future__ import annotations

import numpy as np

AIR, WATER = 0, 1
BEDROCK, STONE, DIRT, GRASS, SAND, GRAVEL = 2, 3, 4, 5, 6, 7
LOG, BIRCH, LEAVES, PINE, CACTUS = 8, 9, 10, 11, 12
PLANKS, COBBLE, ROOF, SNOW, GOAL = 13, 14, 15, 16, 17
FIRST_SOLID = BEDROCK
NUM_BLOCKS = GOAL + 1

TOP, SIDE, BOTTOM = 0, 1, 2
TEXELS = 16  # texture resolution: texels per block edge

#: Ticks (50 ms) of `attack` by bare hand until a block breaks: 30 x Minecraft's hardness, or 100 x
#: where a tool would be needed for a drop (stone, cobble). 0 means unbreakable. The goal is
#: unbreakable here, so that an episode can always be solved.
DIG_TICKS = np.zeros(NUM_BLOCKS, np.int32)
DIG_TICKS[[STONE, DIRT, GRASS, SAND, GRAVEL, SNOW]] = 150, 15, 18, 15, 18, 6
DIG_TICKS[[LOG, BIRCH, LEAVES, PINE, CACTUS]] = 60, 60, 6, 6, 12
DIG_TICKS[[PLANKS, COBBLE, ROOF]] = 60, 200, 60

#: Blocks that put one dirt into the inventory when dug.
DROPS_DIRT = frozenset((DIRT, GRASS))

_COLOURS: dict[int, tuple[int, int, int]] = {
    WATER: (38, 84, 196),
    BEDROCK: (60, 60, 60),
    STONE: (125, 125, 125),
    DIRT: (134, 96, 67),
    GRASS: (98, 160, 58),
    SAND: (222, 208, 158),
    GRAVEL: (148, 136, 124),
    LOG: (104, 82, 48),
    BIRCH: (214, 214, 206),
    LEAVES: (56, 122, 34),
    PINE: (40, 88, 56),
    CACTUS: (24, 112, 34),
    PLANKS: (178, 142, 86),
    COBBLE: (112, 112, 116),
    ROOF: (128, 58, 44),
    SNOW: (240, 246, 250),
    GOAL: (70, 236, 226),
}

#: Amplitude of the per-texel brightness noise, relative.
_GRAIN: dict[int, float] = {WATER: 0.05, LEAVES: 0.34, PINE: 0.34, COBBLE: 0.26, GRAVEL: 0.22}
_GRAIN |= {SNOW: 0.03, GOAL: 0.04, PLANKS: 0.07, SAND: 0.07, ROOF: 0.08}


def texture_atlas() -> np.ndarray:
    """Textures of all blocks, drawn by rule from a fixed seed.

    Returns:
      uint8 [NUM_BLOCKS, 3, TEXELS, TEXELS, 3]: block, face (TOP, SIDE, BOTTOM), row from the top
      of the face, column, RGB.
    """
    rng = np.random.default_rng(20211)
    atlas = np.zeros((NUM_BLOCKS, 3, TEXELS, TEXELS, 3), np.float32)
    for block, colour in _COLOURS.items():
        atlas[block] = _grained(rng, colour, _GRAIN.get(block, 0.14))
    atlas[GRASS, SIDE:] = atlas[DIRT, SIDE:]
    atlas[GRASS, SIDE, : TEXELS // 4] = atlas[GRASS, TOP, : TEXELS // 4] * 0.95
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
    atlas[LOG, SIDE, :, ::4] *= 0.68
    atlas[CACTUS, SIDE, :, ::4] *= 0.7
    atlas[LOG, TOP] = (172, 140, 88)
    atlas[BIRCH, SIDE, 2::5, 3:8] *= 0.3
    atlas[BIRCH, SIDE, 4::6, 10:14] *= 0.35
    for wood in (PLANKS, ROOF):
        atlas[wood, :, ::4] *= 0.72
        atlas[wood, :, 1:4, 7] *= 0.78
        atlas[wood, :, 9:12, 12] *= 0.78


def _draw_masonry(atlas: np.ndarray) -> None:
    """Mortar between the cobbles, in place."""
    atlas[COBBLE, :, ::5] *= 0.75
    atlas[COBBLE, :, :, ::6] *= 0.78


def _draw_goal(atlas: np.ndarray) -> None:
    """The goal: a bright cyan cube with a darker frame and a white glint, in place."""
    frame = np.ones((TEXELS, TEXELS), bool)
    frame[2:-2, 2:-2] = False
    atlas[GOAL, :, frame] *= 0.72
    atlas[GOAL, :, 4:6, 4:9] = (225, 255, 252)
