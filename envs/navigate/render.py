"""First-person view of the voxel world: one ray per pixel through the columns of the torus.

A ray steps over tiles of 8 x 8 columns while it flies above everything in them (`tile_top`), then
from column to column while it flies above the column (`top`), and reads blocks only below that.
Shading: a 16 x 16 texture per face, Minecraft's brightness by face, shade under anything that
covers the sky, water that shows the ground through it, and fog that ends in the sky's colour.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from envs.navigate import blocks as B

FIELD_OF_VIEW = 70.0  # degrees, both ways
VIEW = 64.0  # blocks; beyond it there is only sky
_FOG_START = 34.0  # blocks
_TILE_SHIFT = 3  # log2 of world.TILE
_ATLAS = B.texture_atlas()
_F = np.float32
_INFINITY = _F(1e9)
_UNDER_WATER = 12.0  # blocks of sight below the surface


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
    _draw(frame, blocks, top, tile_top, _ATLAS, eye[0], eye[1], eye[2], yaw, pitch)
    return frame


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def _draw(
    frame: np.ndarray,
    blocks: np.ndarray,
    top: np.ndarray,
    tile_top: np.ndarray,
    atlas: np.ndarray,
    eye_x: float,
    eye_y: float,
    eye_z: float,
    yaw: float,
    pitch: float,
) -> None:
    """Fill the frame, a pixel at a time. The eye moves to the torus' first copy, for float32."""
    size, span = frame.shape[0], blocks.shape[0]
    ox, oy, oz = _F(eye_x % span), _F(eye_y), _F(eye_z % span)
    sine, cosine = _F(math.sin(math.radians(yaw))), _F(math.cos(math.radians(yaw)))
    dip, flat = _F(math.sin(math.radians(pitch))), _F(math.cos(math.radians(pitch)))
    scale = _F(2 * math.tan(math.radians(FIELD_OF_VIEW / 2)) / size)
    cell_y = int(math.floor(oy))
    drowned = 0 <= cell_y < blocks.shape[2] and (
        blocks[int(ox) & (span - 1), int(oz) & (span - 1), cell_y] == B.WATER
    )
    for row in range(size):
        up = scale * (_F(0.5 * size - 0.5) - _F(row))
        ahead, dy = flat + up * dip, up * flat - dip
        for column in range(size):
            right = scale * (_F(column) - _F(0.5 * size - 0.5))
            dx, dz = -sine * ahead - cosine * right, cosine * ahead - sine * right
            norm = _F(1) / math.sqrt(dx * dx + dy * dy + dz * dz)
            red, green, blue = _pixel(
                blocks, top, tile_top, atlas, ox, oy, oz, dx * norm, dy * norm, dz * norm, drowned
            )
            frame[row, column, 0] = np.uint8(red)
            frame[row, column, 1] = np.uint8(green)
            frame[row, column, 2] = np.uint8(blue)


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def _pixel(
    blocks: np.ndarray,
    top: np.ndarray,
    tile_top: np.ndarray,
    atlas: np.ndarray,
    ox: float,
    oy: float,
    oz: float,
    dx: float,
    dy: float,
    dz: float,
    drowned: bool,
) -> tuple[float, float, float]:
    """Colour (0 to 255) of one ray: what it hits, lit, seen through water and fog."""
    t, t_wet, block, face, x, y, z = cast(blocks, top, tile_top, ox, oy, oz, dx, dy, dz, drowned)
    far_r, far_g, far_b = sky(dx, dy, dz)
    if drowned:
        far_r, far_g, far_b = _F(14), _F(40), _F(110)
    if block == B.AIR and t_wet >= _INFINITY:
        return far_r, far_g, far_b
    red, green, blue = _F(20), _F(48), _F(120)
    if block != B.AIR:
        red, green, blue = _lit(
            top, atlas, block, face, ox + dx * t, oy + dy * t, oz + dz * t, x, y, z
        )
    if t_wet < t:
        red, green, blue = _through_water(
            atlas, red, green, blue, ox + dx * t_wet, oz + dz * t_wet, t - t_wet
        )
        t = t_wet
    end = _F(_UNDER_WATER) if drowned else _F(VIEW)
    start = _F(0) if drowned else _F(_FOG_START)
    fog = min(_F(1), max(_F(0), (t - start) / (end - start)))
    fog = fog if drowned else fog * fog
    clear = _F(1) - fog
    return red * clear + far_r * fog, green * clear + far_g * fog, blue * clear + far_b * fog


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def cast(
    blocks: np.ndarray,
    top: np.ndarray,
    tile_top: np.ndarray,
    ox: float,
    oy: float,
    oz: float,
    dx: float,
    dy: float,
    dz: float,
    drowned: bool,
) -> tuple[float, float, int, int, int, int, int]:
    """Follow one ray to the first solid block.

    Args:
      blocks, top, tile_top: as in `world.World`.
      ox, oy, oz: origin, blocks. dx, dy, dz: unit direction.
      drowned: whether the origin is in water (then entering water is not noted).
    Returns:
      (t, t_wet, block, face, x, y, z): distance to the hit and to the water before it (1e9 when
      there is none), the block hit (AIR: none within VIEW), the face (0 x, 1 y, 2 z) and the cell.
    """
    mask, height = blocks.shape[0] - 1, blocks.shape[2]
    inv_x, inv_z = _inverse(dx), _inverse(dz)
    step_x, step_z = (1 if dx > 0 else -1), (1 if dz > 0 else -1)
    lead_x, lead_z = (1 if dx > 0 else 0), (1 if dz > 0 else 0)
    tile_x, tile_z = int(math.floor(ox)) >> _TILE_SHIFT, int(math.floor(oz)) >> _TILE_SHIFT
    t_in, t_wet, face = _F(0), _INFINITY, 0
    while t_in < _F(VIEW):
        exit_x = (_F((tile_x + lead_x) << _TILE_SHIFT) - ox) * inv_x
        exit_z = (_F((tile_z + lead_z) << _TILE_SHIFT) - oz) * inv_z
        t_out = min(exit_x, exit_z)
        roof = _F(tile_top[tile_x & (mask >> _TILE_SHIFT), tile_z & (mask >> _TILE_SHIFT)])
        if min(oy + dy * t_in, oy + dy * t_out) < roof:
            t = t_in
            x = _inside(int(math.floor(ox + dx * t)), tile_x)
            z = _inside(int(math.floor(oz + dz * t)), tile_z)
            while t < t_out and t < _F(VIEW):
                next_x = (_F(x + lead_x) - ox) * inv_x
                next_z = (_F(z + lead_z) - oz) * inv_z
                t_next = min(next_x, next_z)
                y_in, y_out = oy + dy * t, oy + dy * t_next
                cover = int(top[x & mask, z & mask])
                if min(y_in, y_out) < _F(cover):
                    y, last = int(math.floor(y_in)), int(math.floor(y_out))
                    rise = 1 if dy > 0 else -1
                    enter = face
                    if y >= cover:
                        y, enter = cover - 1, 1
                    last = min(max(last, 0), height - 1)
                    while (last - y) * rise >= 0:
                        if y >= cover:
                            break
                        block = int(blocks[x & mask, z & mask, y]) if y >= 0 else 0
                        if block != B.AIR:
                            t_hit = t
                            if enter == 1:
                                t_hit = (_F(y if dy > 0 else y + 1) - oy) / dy
                            if block != B.WATER:
                                return t_hit, t_wet, block, enter, x, y, z
                            if not drowned and t_wet >= _INFINITY:
                                t_wet = t_hit
                        y += rise
                        enter = 1
                if next_x < next_z:
                    x += step_x
                    face = 0
                else:
                    z += step_z
                    face = 2
                t = t_next
        if exit_x < exit_z:
            tile_x += step_x
            face = 0
        else:
            tile_z += step_z
            face = 2
        t_in = t_out
        if dy > 0 and oy + dy * t_in > _F(height):
            break
    return _INFINITY, t_wet, B.AIR, 0, 0, 0, 0


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def _inverse(component: float) -> float:
    """1 / component, finite where the ray runs along the other axis."""
    if abs(component) < _F(1e-6):
        return _F(1e6) if component > 0 else _F(-1e6)
    return _F(1) / component


@numba.njit(cache=True)
def _inside(cell: int, tile: int) -> int:
    """The cell, kept inside its tile against rounding at the tile's edge."""
    low = tile << _TILE_SHIFT
    return min(max(cell, low), low + (1 << _TILE_SHIFT) - 1)


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def sky(dx: float, dy: float, dz: float) -> tuple[float, float, float]:
    """Day sky in one direction: pale at the horizon, blue above, a square sun in the south-west."""
    height = min(_F(1), max(_F(0), dy * _F(1.6)))
    if dx < _F(-0.44) and dx > _F(-0.56) and dz > _F(0.38) and dz < _F(0.5) and dy > 0:
        return _F(255), _F(250), _F(214)
    return _F(196) - _F(84) * height, _F(218) - _F(56) * height, _F(255) - _F(6) * height


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def _lit(
    top: np.ndarray,
    atlas: np.ndarray,
    block: int,
    face: int,
    px: float,
    py: float,
    pz: float,
    x: int,
    y: int,
    z: int,
) -> tuple[float, float, float]:
    """Texture colour at the point hit, times the face's brightness and the shade of what covers it."""
    mask = top.shape[0] - 1
    if face == 1:
        above = py > _F(y) + _F(0.5)
        side = B.TOP if above else B.BOTTOM
        u, v = px - _F(x), pz - _F(z)
        light = _F(1) if above else _F(0.5)
        covered = above and int(top[x & mask, z & mask]) > y + 1
    elif face == 0:
        side, light = B.SIDE, _F(0.64)
        u, v = pz - _F(z), _F(y + 1) - py
        front = x - 1 if px < _F(x) + _F(0.5) else x + 1
        covered = int(top[front & mask, z & mask]) > y + 1
    else:
        side, light = B.SIDE, _F(0.82)
        u, v = px - _F(x), _F(y + 1) - py
        front = z - 1 if pz < _F(z) + _F(0.5) else z + 1
        covered = int(top[x & mask, front & mask]) > y + 1
    if covered:
        light *= _F(0.66)
    if block == B.GOAL:
        light = max(light, _F(0.85))
    i = min(max(int(v * _F(B.TEXELS)), 0), B.TEXELS - 1)
    j = min(max(int(u * _F(B.TEXELS)), 0), B.TEXELS - 1)
    texel = atlas[block, side, i, j]
    return _F(texel[0]) * light, _F(texel[1]) * light, _F(texel[2]) * light


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def _through_water(
    atlas: np.ndarray, red: float, green: float, blue: float, px: float, pz: float, depth: float
) -> tuple[float, float, float]:
    """The colour behind `depth` blocks of water whose surface is pierced at (px, pz)."""
    i = int(math.floor(px * _F(4))) & (B.TEXELS - 1)
    j = int(math.floor(pz * _F(4))) & (B.TEXELS - 1)
    body = min(_F(0.94), _F(0.5) + depth * _F(0.08))
    clear = _F(1) - body
    texel = atlas[B.WATER, B.TOP, i, j]
    return (
        red * clear + _F(texel[0]) * body,
        green * clear + _F(texel[1]) * body,
        blue * clear + _F(texel[2]) * body,
    )
