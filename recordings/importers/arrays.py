"""NumPy files from others: nothing is unpickled, and any damage is a UserError."""

import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from common import UserError
from recordings.importers.bounds import check_bytes, check_count

_DAMAGE = (
    ValueError, OSError, EOFError, LookupError, MemoryError, RuntimeError, SyntaxError,
    tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""Exceptions that NumPy, or the zip module below it, raises for damaged bytes."""


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Load all arrays of a `.npz` file.

    Raises:
      UserError: with the reason, if the file is damaged or contains objects.
    """
    _check_size(path)
    if not zipfile.is_zipfile(path):
        raise UserError("no .npz file, or cut short")
    try:
        with zipfile.ZipFile(path) as file:
            members = file.infolist()
        for member in members:
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise UserError("compressed in a way that NumPy does not write")
        check_bytes(sum(member.file_size for member in members), f"{len(members)} arrays")
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except UserError:
        raise
    except _DAMAGE as error:
        raise UserError(f"damaged, or of objects: {error}") from error
    for key, array in arrays.items():
        if np.ndim(array):
            check_count(len(array), f"steps of {key}")
    others = [key for key, array in arrays.items() if not isinstance(array, np.ndarray)]
    if others:
        raise UserError(f"a zip with {others[0]}, which is no array")
    return arrays


def map_array(path: Path) -> np.ndarray:
    """Map the array of a `.npy` file without reading it. Raises UserError like `load_arrays`."""
    _check_size(path)
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except _DAMAGE as error:
        raise UserError(f"damaged, or of objects: {error}") from error


def _check_size(path: Path) -> None:
    if path.stat().st_size == 0:
        raise UserError("an empty file")
