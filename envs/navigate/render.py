"""First-person view of the voxel world: one ray per pixel through the columns of the torus.

A ray steps over tiles of 8 x 8 columns while it flies above everything in them (`tile_top`), then
from column to column while it flies above the column (`top`), and reads blocks only below that.
Shading: a 16 x 16 texture per face, Minecraft's brightness by face, shade under anything that
covers the sky, water that shows the ground through it, and fog that ends in the sky's colour.

The functions below `_draw` are inlined into it (`inline`): a call that passes arrays costs as much
as ten steps of a ray. All numbers are float32 (`F32`). Read next: `textures.py`.
"""

from __future__ import annotations

import math

import numpy as np

from common.kernels import kernel
from envs.navigate import blocks as B
from envs.navigate.grid import HEIGHT, SIZE, TILE, TILE_SHIFT
from envs.navigate.textures import (
    BOTTOM,
    CLOUD_CELLS,
    SIDE,
    TEXELS,
    TOP,
    cloud_map,
    texture_atlas,
)

FIELD_OF_VIEW = 70.0  # degrees, both ways
VIEW = 64.0  # blocks; beyond it there is only sky
_FOG_START = 34.0  # blocks
_DROWNED_VIEW = 12.0  # blocks of sight from an eye under water
_WATER_DEPTH = 6.0  # blocks of water, along the ray, that hide what is behind
_CLOUD_HEIGHT = 96.0  # y, blocks
_ATLAS, _CLOUDS = texture_atlas(), cloud_map()

F32 = np.float32
_NEVER = F32(1e9)
_MASK, _TILE_MASK = SIZE - 1, SIZE // TILE - 1
_kernel = kernel(fastmath=True, error_model="numpy")
_inlined = kernel(fastmath=True, error_model="numpy", inline="always")


def render(
    blocks: np.ndarray,
    top: np.ndarray,
    tile_top: np.ndarray,
    eye: tuple[float, float, float],
    yaw: float,
    pitch: float,
    size: int,
) -> np.ndarray:
    """Draw the view.

    Args:
      blocks, top, tile_top: as in `world.World`.
      eye: position (x, y, z) in blocks.
      yaw, pitch: degrees, as in `physics`.
      size: pixels along one edge.
    Returns:
      uint8 [size, size, 3] RGB, row 0 at the top.
    """
    frame = np.empty((size, size, 3), np.uint8)
    place = (float(eye[0]), float(eye[1]), float(eye[2]))  # ints would compile another variant
    _draw(frame, blocks, top, tile_top, _ATLAS, _CLOUDS, *place, float(yaw), float(pitch))
    return frame


@_kernel
def _draw(
    frame: np.ndarray,
    blocks: np.ndarray,
    top: np.ndarray,
    tile_top: np.ndarray,
    atlas: np.ndarray,
    clouds: np.ndarray,
    eye_x: float,
    eye_y: float,
    eye_z: float,
    yaw: float,
    pitch: float,
) -> None:
    """Fill the frame pixel by pixel. For float32, the eye is moved to the torus's first copy."""
    size = frame.shape[0]
    ox, oy, oz = F32(eye_x % SIZE), F32(eye_y), F32(eye_z % SIZE)
    sine, cosine = F32(math.sin(math.radians(yaw))), F32(math.cos(math.radians(yaw)))
    dip, flat = F32(math.sin(math.radians(pitch))), F32(math.cos(math.radians(pitch)))
    scale = F32(2 * math.tan(math.radians(FIELD_OF_VIEW / 2)) / size)
    roof = _roof(tile_top, _floor(ox) >> TILE_SHIFT, _floor(oz) >> TILE_SHIFT)
    cell_y = min(max(_floor(oy), 0), HEIGHT - 1)
    eye_block = blocks[_floor(ox) & _MASK, _floor(oz) & _MASK, cell_y]
    drowned = bool(eye_block == B.WATER and oy < HEIGHT)
    for row in range(size):
        up = scale * (F32(0.5 * size - 0.5) - F32(row))
        ahead, rise = flat + up * dip, up * flat - dip
        for column in range(size):
            right = scale * (F32(column) - F32(0.5 * size - 0.5))
            dx, dy, dz = -sine * ahead - cosine * right, rise, cosine * ahead - sine * right
            norm = F32(1) / math.sqrt(dx * dx + dy * dy + dz * dz)
            dx, dy, dz = dx * norm, dy * norm, dz * norm
            t, t_wet, block, face, x, y, z = _cast(
                blocks, top, tile_top, roof, ox, oy, oz, dx, dy, dz, drowned
            )
            red, green, blue = F32(20), F32(48), F32(120)
            if block != B.AIR:
                px, py, pz = ox + dx * t, oy + dy * t, oz + dz * t
                red, green, blue = _lit(top, atlas, block, face, px, py, pz, x, y, z)
            if t_wet < t:
                px, pz = ox + dx * t_wet, oz + dz * t_wet
                red, green, blue = _through_water(atlas, red, green, blue, px, pz, t - t_wet)
                t = t_wet
            fog = _fog(t, drowned)
            if fog > 0:
                far = _sky(clouds, ox, oy, oz, dx, dy, dz, drowned)
                red += (far[0] - red) * fog
                green += (far[1] - green) * fog
                blue += (far[2] - blue) * fog
            frame[row, column, 0] = np.uint8(red)
            frame[row, column, 1] = np.uint8(green)
            frame[row, column, 2] = np.uint8(blue)


@_inlined
def _roof(tile_top: np.ndarray, tile_x: int, tile_z: int) -> F32:
    """Height above which nothing is in view: no ray needs to climb further."""
    reach = int(VIEW) // TILE + 1
    highest = 0
    for i in range(tile_x - reach, tile_x + reach + 1):
        for j in range(tile_z - reach, tile_z + reach + 1):
            highest = max(highest, int(tile_top[i & _TILE_MASK, j & _TILE_MASK]))
    return F32(highest)


@_inlined
def _cast(
    blocks: np.ndarray,
    top: np.ndarray,
    tile_top: np.ndarray,
    roof: F32,
    ox: F32,
    oy: F32,
    oz: F32,
    dx: F32,
    dy: F32,
    dz: F32,
    drowned: bool,
) -> tuple[F32, F32, int, int, int, int, int]:
    """Follow one ray, tile by tile, to the first solid block.

    Args:
      blocks, top, tile_top: as in `world.World`.
      roof: height in blocks that nothing exceeds.
      ox, oy, oz: origin, blocks. dx, dy, dz: unit direction.
      drowned: whether the origin is in water (entering water is then not recorded).
    Returns:
      (t, t_wet, block, face, x, y, z): distance to the hit and to the water before it (1e9 if
      there is none), the block hit (AIR: none in sight), the face (0 x, 1 y, 2 z) and the cell.
    """
    inv_x, inv_z = _inverse(dx), _inverse(dz)
    step_x, step_z = (1 if dx > 0 else -1), (1 if dz > 0 else -1)
    lead_x, lead_z = (1 if dx > 0 else 0), (1 if dz > 0 else 0)
    tile_x, tile_z = _floor(ox) >> TILE_SHIFT, _floor(oz) >> TILE_SHIFT
    exit_x = (F32((tile_x + lead_x) * TILE) - ox) * inv_x
    exit_z = (F32((tile_z + lead_z) * TILE) - oz) * inv_z
    t, limit = F32(0), F32(VIEW)
    if dy > 0:
        limit = min(limit, (roof - oy) / dy)
    t_hit, t_wet, block, face, x, y, z = _NEVER, _NEVER, B.AIR, 0, 0, 0, 0
    while t < limit and block == B.AIR:
        t_out = min(min(exit_x, exit_z), limit)
        cover = F32(tile_top[tile_x & _TILE_MASK, tile_z & _TILE_MASK])
        if min(oy + dy * t, oy + dy * t_out) < cover:
            x = _inside(_floor(ox + dx * t), tile_x)
            z = _inside(_floor(oz + dz * t), tile_z)
            next_x, next_z = (F32(x + lead_x) - ox) * inv_x, (F32(z + lead_z) - oz) * inv_z
            while t < t_out and block == B.AIR:
                t_next = min(next_x, next_z)
                cover_y = int(top[x & _MASK, z & _MASK])
                if min(oy + dy * t, oy + dy * t_next) < F32(cover_y):
                    t_hit, t_wet, block, face, y = _scan(
                        blocks, x, z, cover_y, t, t_next, t_wet, face, oy, dy, drowned
                    )
                if block == B.AIR:
                    across = next_x < next_z
                    x += step_x if across else 0
                    z += 0 if across else step_z
                    next_x += abs(inv_x) if across else F32(0)
                    next_z += F32(0) if across else abs(inv_z)
                    face = 0 if across else 2
                    t = t_next
            limit = min(limit, t_wet + F32(_WATER_DEPTH))
        across = exit_x < exit_z
        tile_x += step_x if across else 0
        tile_z += 0 if across else step_z
        face = face if block != B.AIR else (0 if across else 2)
        exit_x += F32(TILE) * abs(inv_x) if across else F32(0)
        exit_z += F32(0) if across else F32(TILE) * abs(inv_z)
        t = t_out
    return t_hit, t_wet, block, face, x, y, z


@_inlined
def _scan(
    blocks: np.ndarray,
    x: int,
    z: int,
    cover: int,
    t: F32,
    t_next: F32,
    t_wet: F32,
    face: int,
    oy: F32,
    dy: F32,
    drowned: bool,
) -> tuple[F32, F32, int, int, int]:
    """Follow the ray through one column, from t to t_next. Returns (t, t_wet, block, face, y)."""
    y, last = _floor(oy + dy * t), _floor(oy + dy * t_next)
    rise = 1 if dy > 0 else -1
    enter, block = face, B.AIR
    if y >= cover:
        y, enter = cover - 1, 1
    y, last = max(y, 0), min(max(last, 0), cover - 1)
    t_hit = t
    while (last - y) * rise >= 0:
        block = int(blocks[x & _MASK, z & _MASK, y])
        if block != B.AIR:
            if enter == 1:
                t_hit = (F32(y + (1 - rise) // 2) - oy) / dy
            if block != B.WATER:
                break
            if not drowned:
                t_wet = min(t_wet, t_hit)
            block = B.AIR
        y += rise
        enter = 1
    return (t_hit if block != B.AIR else _NEVER), t_wet, block, enter, y


@_inlined
def _floor(value: F32) -> int:
    """Largest integer not above the value, without the call into libm that math.floor makes."""
    whole = int(value)
    return whole - 1 if value < F32(whole) else whole


@_inlined
def _inverse(component: F32) -> F32:
    """1 / component, kept finite if the ray runs along the other axis."""
    small = abs(component) < F32(1e-6)
    sign = F32(1) if component > 0 else F32(-1)
    return sign / (F32(1e-6) if small else abs(component))


@_inlined
def _inside(cell: int, tile: int) -> int:
    """Keep a cell inside its tile, against rounding errors at the tile's edge."""
    return min(max(cell, tile * TILE), tile * TILE + TILE - 1)


@_inlined
def _fog(t: F32, drowned: bool) -> F32:
    """Share of the distant colour at distance t, 0 to 1."""
    start, end = (F32(0), F32(_DROWNED_VIEW)) if drowned else (F32(_FOG_START), F32(VIEW))
    share = min(F32(1), max(F32(0), (t - start) / (end - start)))
    return share if drowned else share * share


@_inlined
def _sky(
    clouds: np.ndarray,
    ox: F32,
    oy: F32,
    oz: F32,
    dx: F32,
    dy: F32,
    dz: F32,
    drowned: bool,
) -> tuple[F32, F32, F32]:
    """The colour at the end of a ray: deep water, or a day sky with a square sun and clouds."""
    height = min(F32(1), max(F32(0), dy * F32(1.6)))
    red, green, blue = (
        F32(196) - F32(92) * height,
        F32(218) - F32(62) * height,
        F32(255) - F32(8) * height,
    )
    if drowned:
        red, green, blue = F32(14), F32(40), F32(110)
    elif dy > F32(0.08):
        far = (F32(_CLOUD_HEIGHT) - oy) / dy
        cell = F32(CLOUD_CELLS / SIZE)
        i, j = _floor((ox + dx * far) * cell), _floor((oz + dz * far) * cell)
        share = clouds[i & (CLOUD_CELLS - 1), j & (CLOUD_CELLS - 1)]
        share *= min(F32(0.8), (dy - F32(0.08)) * F32(4))
        red, green = red + (F32(250) - red) * share, green + (F32(252) - green) * share
        if abs(dx + F32(0.5)) < F32(0.06) and abs(dz - F32(0.44)) < F32(0.06):
            red, green, blue = F32(255), F32(250), F32(205)
    return red, green, blue


@_inlined
def _lit(
    top: np.ndarray,
    atlas: np.ndarray,
    block: int,
    face: int,
    px: F32,
    py: F32,
    pz: F32,
    x: int,
    y: int,
    z: int,
) -> tuple[F32, F32, F32]:
    """Texture at the point hit, times the face's brightness and the shade of what covers it."""
    front_x, front_z, side, light = x, z, SIDE, F32(0.82)
    u, v = px - F32(x), F32(y + 1) - py
    if face == 1:
        above = py > F32(y) + F32(0.5)
        side, light = (TOP, F32(1)) if above else (BOTTOM, F32(0.5))
        v = pz - F32(z)
    elif face == 0:
        light, u = F32(0.64), pz - F32(z)
        front_x = x - 1 if px < F32(x) + F32(0.5) else x + 1
    else:
        front_z = z - 1 if pz < F32(z) + F32(0.5) else z + 1
    if int(top[front_x & _MASK, front_z & _MASK]) > y + 1 and side != BOTTOM:
        light *= F32(0.66)
    if block == B.GOAL:
        light = max(light, F32(0.85))
    i = min(max(int(v * F32(TEXELS)), 0), TEXELS - 1)
    j = min(max(int(u * F32(TEXELS)), 0), TEXELS - 1)
    return (
        F32(atlas[block, side, i, j, 0]) * light,
        F32(atlas[block, side, i, j, 1]) * light,
        F32(atlas[block, side, i, j, 2]) * light,
    )


@_inlined
def _through_water(
    atlas: np.ndarray, red: F32, green: F32, blue: F32, px: F32, pz: F32, depth: F32
) -> tuple[F32, F32, F32]:
    """The colour seen through `depth` blocks of water, which the ray enters at (px, pz)."""
    i, j = _floor(px * F32(4)) & (TEXELS - 1), _floor(pz * F32(4)) & (TEXELS - 1)
    body = min(F32(0.94), F32(0.5) + depth * F32(0.08))
    return (
        red + (F32(atlas[B.WATER, TOP, i, j, 0]) - red) * body,
        green + (F32(atlas[B.WATER, TOP, i, j, 1]) - green) * body,
        blue + (F32(atlas[B.WATER, TOP, i, j, 2]) - blue) * body,
    )
