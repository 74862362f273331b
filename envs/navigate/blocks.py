"""Block ids and digging times of the builtin Navigate world.

Everything at or above `FIRST_SOLID` stops the player; `AIR` and `WATER` do not.
Read next: `world.py` (what is placed where), `textures.py` (what the blocks look like).
"""

from __future__ import annotations

import numpy as np

AIR, WATER = 0, 1
BEDROCK, STONE, DIRT, GRASS, SAND, GRAVEL = 2, 3, 4, 5, 6, 7
LOG, BIRCH, LEAVES, PINE, CACTUS = 8, 9, 10, 11, 12
PLANKS, COBBLE, ROOF, SNOW, GOAL = 13, 14, 15, 16, 17
FIRST_SOLID = BEDROCK
NUM_BLOCKS = GOAL + 1

#: Frames (50 ms) of `attack` by bare hand until a block breaks: 30 x Minecraft's hardness, or 100 x
#: where a tool would be needed for a drop (stone, cobble). 0 means unbreakable. The goal is
#: unbreakable here, so that an episode can always be solved.
DIG_TICKS = np.zeros(NUM_BLOCKS, np.int32)
DIG_TICKS[[STONE, DIRT, GRASS, SAND, GRAVEL, SNOW]] = 150, 15, 18, 15, 18, 6
DIG_TICKS[[LOG, BIRCH, LEAVES, PINE, CACTUS]] = 60, 60, 6, 6, 12
DIG_TICKS[[PLANKS, COBBLE, ROOF]] = 60, 200, 60

#: Blocks that put one dirt into the inventory when dug.
DROPS_DIRT = frozenset((DIRT, GRASS))
