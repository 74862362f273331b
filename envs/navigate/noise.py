"""Periodic value noise: smooth random fields on a torus, the raw material of `world.py`."""

from __future__ import annotations

import numpy as np


def fractal(rng: np.random.Generator, size: int, cells: int, octaves: int) -> np.ndarray:
    """Sum of octaves of value noise, each twice as fine and half as strong, as z-scores.

    Args:
      rng: source of the lattice values and phases.
      size: blocks along one edge of the (square, periodic) field.
      cells: lattice cells along one edge in the coarsest octave; must divide `size`.
      octaves: number of octaves.
    Returns:
      float32 [size, size], zero mean, unit standard deviation, periodic in both axes.
    """
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        total += _octave(rng, size, cells << octave) * np.float32(0.5**octave)
    return (total - total.mean()) / total.std()


def _octave(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """One octave: lattice values, interpolated by a quintic smoothstep. float32 [size, size]."""
    lattice = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    low_x, high_x, blend_x = _interpolation(rng, size, cells)
    low_z, high_z, blend_z = _interpolation(rng, size, cells)
    rows = lattice[low_x] + blend_x[:, None] * (lattice[high_x] - lattice[low_x])
    return rows[:, low_z] + blend_z * (rows[:, high_z] - rows[:, low_z])


def _interpolation(
    rng: np.random.Generator, size: int, cells: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lattice neighbours and blend weights of every block along one axis, at a random phase."""
    place = (np.arange(size) * (cells / size) + rng.uniform(0, cells)) % cells
    low = np.minimum(place.astype(np.int64), cells - 1)
    frac = (place - low).astype(np.float32)
    blend = frac * frac * frac * (frac * (frac * 6 - 15) + 10)
    return low, (low + 1) % cells, blend


def smoothstep(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, a cubic between; same shape and dtype as `value`."""
    unit = np.clip((value - low) / (high - low), 0, 1)
    return unit * unit * (3 - 2 * unit)
