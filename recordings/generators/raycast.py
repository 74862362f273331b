"""First-person view of a flat maze: one ray per column of the picture, textured walls and floor.

A pinhole at height EYE looks along `heading`. A point at depth d (cells, along the optical axis)
and height z appears (z - EYE) / d / s pixels above the middle, with s = 2 tan(FOV / 2) / size. So a
wall at depth d is WALL / (d s) pixels tall: at 2 cells and 64 pixels, 19.07. A pixel is the mean
of SAMPLES x SAMPLES rays, which smooths distant textures.

All constants compiled into the kernels are in this file, as numba's cache does not notice changes
in other files. `no_type_check` keeps the tests' type checker away from what numba compiles.
"""

import math
from typing import no_type_check

import numpy as np

from common.kernels import kernel
from recordings.generators.seeded import require

OUTSIDE = -1  # a cell of rock
WALL = 1.0  # height of the walls, cells
EYE = 0.5  # height of the eye, cells
FIELD_OF_VIEW = 80.0  # degrees, horizontally and vertically
TEXELS = 32  # texture resolution: texels per cell
SAMPLES = 2  # rays per pixel and axis
_HAZE = 0.06  # light lost per cell of depth: brightness = 1 / (1 + _HAZE d)
_SIDE_LIGHT = 0.8  # brightness of the walls that face east or west

_kernel = kernel(fastmath=True, error_model="numpy")


def draw_views(
    grid: np.ndarray, textures: np.ndarray, poses: np.ndarray, size: int = 64
) -> np.ndarray:
    """Draw what a camera sees from each pose.

    Args:
      grid: int8 [rows, columns], a region's number from 0, or OUTSIDE; closed on all sides.
      textures: uint8 [regions, 2, TEXELS, TEXELS, 3]: the walls and the floor of each region.
      poses: float [T, 3]: x (column) and y (row) in cells, heading in radians from x towards y.
      size: pixels along one edge.
    Returns:
      uint8 [T, size, size, 3], row 0 at the top.
    Raises:
      UserError: if the maze is open at its edge, or a pose is outside.
    """
    edge = np.concatenate([grid[0], grid[-1], grid[:, 0], grid[:, -1]])
    require(bool((edge == OUTSIDE).all()), "grid", "an opening", "walls all round")
    require(not (region_at(grid, poses) == OUTSIDE).any(), "poses", "one in a wall", "free cells")
    frames = np.empty((len(poses), size, size, 3), np.uint8)
    _draw(frames, grid, textures, np.ascontiguousarray(poses, np.float64))
    return frames


def region_at(grid: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """int32 [T]: the region of each pose [T, 2 or 3]; OUTSIDE in the rock and beyond the grid."""
    cells = np.floor(poses[:, :2]).astype(int)
    inside = ((cells >= 0) & (cells < grid.shape[::-1])).all(1)
    x, y = np.where(inside[:, None], cells, 0).T
    return np.where(inside, grid[y, x], OUTSIDE).astype(np.int32)


@_kernel
@no_type_check
def _draw(frames, grid, textures, poses) -> None:
    """Fill the frames, one column at a time."""
    size = frames.shape[1]
    scale = 2 * math.tan(math.radians(FIELD_OF_VIEW / 2)) / (size * SAMPLES)
    middle = 0.5 * (size * SAMPLES - 1)
    column = np.empty((size, 3), np.float32)
    for t in range(len(frames)):
        x, y = poses[t, 0], poses[t, 1]
        ahead_x, ahead_y = math.cos(poses[t, 2]), math.sin(poses[t, 2])
        for i in range(size):
            column[:] = 0
            for k in range(SAMPLES):
                right = (i * SAMPLES + k - middle) * scale
                dx, dy = ahead_x - right * ahead_y, ahead_y + right * ahead_x
                _add_column(column, grid, textures, x, y, dx, dy, scale)
            for j in range(size):
                for c in range(3):
                    frames[t, j, i, c] = np.uint8(column[j, c] * (1 / SAMPLES**2) + 0.5)


@_kernel
@no_type_check
def _add_column(column, grid, textures, x, y, dx, dy, scale) -> None:
    """Add SAMPLES rays per pixel along one ray's vertical plane to column [size, 3]."""
    depth, region, facing_x, along = _cast(grid, x, y, dx, dy)
    rays = len(column) * SAMPLES
    wall_light = (_SIDE_LIGHT if facing_x else 1.0) / (1 + _HAZE * depth)
    j = int(along * TEXELS) & (TEXELS - 1)
    for row in range(rays):
        up = (0.5 * (rays - 1) - row) * scale
        height = EYE + up * depth
        if height >= WALL:
            share = min(1.0, 1.3 * up)
            red, green, blue = 206 - 90 * share, 224 - 60 * share, 250 - 14 * share
        elif height >= 0:
            i = min(int((WALL - height) * (TEXELS / WALL)), TEXELS - 1)
            texel = textures[region, 0, i, j]
            red, green, blue = texel[0] * wall_light, texel[1] * wall_light, texel[2] * wall_light
        else:
            near = -EYE / up
            px, py = x + dx * near, y + dy * near
            below = grid[min(max(int(py), 0), len(grid) - 1), min(int(px), grid.shape[1] - 1)]
            below = region if below < 0 else below  # rounding at a wall's foot
            i, k = int(py * TEXELS) & (TEXELS - 1), int(px * TEXELS) & (TEXELS - 1)
            light = 1 / (1 + _HAZE * near)
            texel = textures[below, 1, i, k]
            red, green, blue = texel[0] * light, texel[1] * light, texel[2] * light
        pixel = row // SAMPLES
        column[pixel, 0] += red
        column[pixel, 1] += green
        column[pixel, 2] += blue


@_kernel
@no_type_check
def _cast(grid, x, y, dx, dy):
    """Follow a ray cell by cell to the first wall.

    Returns:
      (depth, region, facing_x, along): t of x + t dx; the region in front of the wall; whether the
      wall faces east or west; the place on the wall, whose fraction is that within the cell.
    """
    column, row = int(x), int(y)
    step_x, step_y = (1 if dx > 0 else -1), (1 if dy > 0 else -1)
    per_x, per_y = 1 / max(abs(dx), 1e-12), 1 / max(abs(dy), 1e-12)
    next_x = (column + 1 - x if dx > 0 else x - column) * per_x
    next_y = (row + 1 - y if dy > 0 else y - row) * per_y
    region = grid[row, column]
    while True:
        facing_x = next_x < next_y
        depth = min(next_x, next_y)
        if facing_x:
            column += step_x
            next_x += per_x
        else:
            row += step_y
            next_y += per_y
        if grid[row, column] < 0:
            return depth, region, facing_x, (y + dy * depth if facing_x else x + dx * depth)
        region = grid[row, column]
