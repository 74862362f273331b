"""A maze's layout and looks: two rooms, a hallway, random textures."""

from typing import NamedTuple

import numpy as np

from recordings.generators.raycast import OUTSIDE, TEXELS

ROOM_A, ROOM_B, HALLWAY = range(3)
_ROOM_EDGE = (3, 5)  # cells, both inclusive
_GAP = (3, 5)  # cells between the rooms, both inclusive
_ROWS = 9  # cells, including the surrounding rock

WALL_COLOURS = (
    (200, 60, 50),
    (220, 130, 40),
    (225, 205, 70),
    (110, 180, 60),
    (50, 150, 110),
    (70, 170, 210),
    (60, 90, 190),
    (140, 80, 180),
    (215, 120, 170),
    (190, 190, 185),
)  # RGB
FLOOR_COLOURS = (
    (150, 100, 60),
    (110, 110, 120),
    (90, 120, 80),
    (170, 150, 110),
    (80, 100, 140),
    (140, 70, 80),
    (100, 80, 120),
    (185, 175, 165),
)  # RGB
PATTERNS = (
    "grain",
    "rows",
    "columns",
    "checks",
    "bricks",
    "diagonals",
    "dots",
    "tiles",
)


class Layout(NamedTuple):
    """One maze. Units: cells; x along columns, y along rows."""

    grid: np.ndarray  # int8 [rows, columns]: ROOM_A, ROOM_B, HALLWAY or OUTSIDE
    rooms: np.ndarray  # float [2, 2, 2]: the lowest and the highest (x, y) of each room
    hallway: np.ndarray  # float [4, 2]: (x, y) just inside A, at both bends, just inside B
    looks: np.ndarray  # int32 [3, 4]: per region, pattern and colour of walls, then of floor


def random_layout(rng: np.random.Generator) -> Layout:
    """Two rooms side by side, with edges of 3 to 5 cells, and a hallway one cell wide, with two
    bends or none. No two regions have the same wall colour, or the same floor colour."""
    (width_a, height_a), (width_b, height_b) = rng.integers(*_ROOM_EDGE, (2, 2), endpoint=True)
    gap = rng.integers(*_GAP, endpoint=True)
    left, right = 1, 1 + width_a + gap
    top_a, top_b = (rng.integers(1, _ROWS - height) for height in (height_a, height_b))
    corner = np.array([[left, top_a], [right, top_b]])
    rooms = np.stack([corner, corner + [[width_a, height_a], [width_b, height_b]]], 1)
    doors = rng.integers(rooms[:, 0, 1], rooms[:, 1, 1])
    bend = rng.integers(left + width_a + 1, right - 1)
    grid = np.full((_ROWS, right + width_b + 1), OUTSIDE, np.int8)
    grid[doors[0], left + width_a : bend + 1] = HALLWAY
    grid[doors[1], bend:right] = HALLWAY
    grid[min(doors) : max(doors) + 1, bend] = HALLWAY
    for region, ((x0, y0), (x1, y1)) in enumerate(rooms):
        grid[y0:y1, x0:x1] = region
    columns = left + width_a - 1, bend, bend, right
    hallway = np.stack([columns, doors[[0, 0, 1, 1]]], 1) + 0.5
    return Layout(grid, rooms.astype(float), hallway, _random_looks(rng))


def _random_looks(rng: np.random.Generator) -> np.ndarray:
    looks = np.zeros((3, 4), np.int32)
    looks[:, [0, 2]] = rng.integers(len(PATTERNS), size=(3, 2))
    looks[:, 1] = rng.permutation(len(WALL_COLOURS))[:3]
    looks[:, 3] = rng.permutation(len(FLOOR_COLOURS))[:3]
    return looks


def paint_textures(looks: np.ndarray) -> np.ndarray:
    """uint8 [regions, 2, TEXELS, TEXELS, 3] for `draw_views`, from looks [regions, 4]."""
    colours = np.stack(
        [np.array(WALL_COLOURS)[looks[:, 1]], np.array(FLOOR_COLOURS)[looks[:, 3]]], 1
    )
    light = _LIGHT[looks[:, [0, 2]]]
    return np.rint(light[..., None] * colours[:, :, None, None]).astype(np.uint8)


def _pattern_light() -> np.ndarray:
    """float [P, TEXELS, TEXELS]: brightness of each pattern's texels, 0.4 to 1."""
    i, j = np.meshgrid(np.arange(TEXELS), np.arange(TEXELS), indexing="ij")
    half, eighth = TEXELS // 2, TEXELS // 8
    shifted = j + half // 2 * (i // (2 * eighth) % 2) * 2
    seams = {
        "grain": np.zeros_like(i),
        "rows": i // eighth % 2,
        "columns": j // eighth % 2,
        "checks": (i // (2 * eighth) + j // (2 * eighth)) % 2,
        "bricks": (i % (2 * eighth) < 2) | (shifted % half < 2),
        "diagonals": (i + j) // eighth % 2,
        "dots": (i % half - half / 2 + 0.5) ** 2 + (j % half - half / 2 + 0.5) ** 2 < eighth**2,
        "tiles": (i < 3) | (j < 3),
    }
    grain = np.random.default_rng(77).uniform(0.88, 1.0, (len(PATTERNS), TEXELS, TEXELS))
    return grain * np.stack([np.where(seams[name], 0.5, 1.0) for name in PATTERNS])


_LIGHT = _pattern_light()
