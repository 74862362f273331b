"""A chunk of an episode: a plain `.npy` file with a structured dtype, one element per step.

    e00000012-c00003-n00128-more-1a2b3c4d.npy
     episode   chunk  steps  status  CRC-32

`status` says what follows: `more` (the episode continues in the next chunk), `end` (terminal or
time limit) or `cut` (the store was closed, or the environment reset, mid-episode). The CRC
covers the store's id, the part of the name before it, and every byte of the file, so that a flipped
bit, a renamed file and a file from another store are all rejected. Nothing is ever unpickled. Read
next: `index.py`.
"""

import io
import mmap
import os
import re
import stat
import zlib
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np

from common import UserError
from replay.atomic import TEMPORARY, replacing

MORE, END, CUT = "more", "end", "cut"
BLOCK = 4096  # bytes: a file occupies whole blocks of the disk
_parsing = Lock()  # NumPy reads headers by `ast`: CPython 3.11 may raise SystemError in two threads
_LARGEST_HEADER = 65536  # bytes of a .npy header; those written here have a few hundred
_NAME = re.compile(r"e(\d{8,})-c(\d{5,})-n(\d{5,})-(more|end|cut)-([0-9a-f]{8})\.npy", re.ASCII)


class Field(NamedTuple):
    """One array of a record: the shape of one step, and a NumPy dtype name such as "float32"."""

    shape: tuple[int, ...]
    dtype: str


class Chunk(NamedTuple):
    """A sealed chunk, the `number`-th of its episode; its data are the last bytes of the file."""

    episode: int
    number: int
    steps: int
    status: str
    crc: int
    size: int  # of the file, in bytes

    @property
    def stem(self) -> str:
        """The part of the name that the CRC covers."""
        return f"e{self.episode:08d}-c{self.number:05d}-n{self.steps:05d}-{self.status}"

    @property
    def name(self) -> str:
        return f"{self.stem}-{self.crc:08x}.npy"

    @property
    def disk(self) -> int:
        """Bytes occupied on disk."""
        return disk_size(self.size)


def disk_size(size: int) -> int:
    """Bytes that a file of `size` bytes occupies: whole blocks."""
    return -(-size // BLOCK) * BLOCK


def record_dtype(fields: Mapping[str, Field]) -> np.dtype:
    """The structured dtype of one step: packed, little-endian, fields in alphabetical order.

    Raises:
      UserError: for a dtype that is not bool, integer or float (an object would need pickle), or a
        shape with an axis below 1.
    """
    types = {name: _plain_type(name, fields[name].dtype) for name in sorted(fields)}
    for name, field in fields.items():
        if any(axis < 1 for axis in field.shape):
            raise UserError(
                f"replay field {name!r}: expected a shape of axes >= 1, received {field.shape}; "
                f"leave an empty field out"
            )
    return np.dtype([(name, types[name], tuple(fields[name].shape)) for name in types])


def write_chunk(folder: Path, chunk: Chunk, records: np.ndarray, store_id: str) -> Chunk:
    """Write `records` [steps] atomically. Returns the chunk with its CRC and size filled in."""
    buffer = io.BytesIO()
    np.save(buffer, records, allow_pickle=False)
    data = buffer.getbuffer()
    chunk = chunk._replace(crc=_crc(store_id, chunk.stem, data), size=len(data))
    with replacing(folder / chunk.name) as temporary:
        temporary.write_bytes(data)
    return chunk


def check_chunk(path: Path, dtype: np.dtype, store_id: str) -> Chunk:
    """Read one file in full and return its chunk.

    Raises:
      UserError: with the reason, if it is not exactly what `write_chunk` wrote for this store.
    """
    match = _NAME.fullmatch(path.name)
    if path.name.startswith(TEMPORARY):
        raise UserError("left half-written by a process that was killed")
    if match is None:
        raise UserError("not the name of a chunk")
    info = path.lstat()
    if not stat.S_ISREG(info.st_mode):
        raise UserError("not a regular file")
    episode, number, steps = (int(group) for group in match.groups()[:3])
    chunk = Chunk(episode, number, steps, match[4], int(match[5], 16), info.st_size)
    surplus = info.st_size - steps * dtype.itemsize
    if steps < 1 or not 0 < surplus <= _LARGEST_HEADER:
        raise UserError(f"{info.st_size} bytes, expected {steps} steps of {dtype.itemsize}")
    if chunk.name != path.name or _crc(store_id, chunk.stem, path.read_bytes()) != chunk.crc:
        raise UserError("checksum differs: damaged, renamed, or from another store")
    with _parsing:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.dtype != dtype or array.shape != (steps,) or array.offset != surplus:
        raise UserError(f"holds {array.shape} of {array.dtype}, expected ({steps},) of {dtype}")
    return chunk


def map_chunk(path: Path, chunk: Chunk, dtype: np.dtype) -> tuple[np.ndarray, mmap.mmap]:
    """Map a chunk that `check_chunk` or `write_chunk` returned: ([steps] of dtype, its mapping).

    Equivalent to `np.load(mmap_mode="r")`, but without reading the checked header again.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        mapping = mmap.mmap(file, chunk.size, access=mmap.ACCESS_READ)
    finally:
        os.close(file)
    offset = chunk.size - chunk.steps * dtype.itemsize
    return np.ndarray((chunk.steps,), dtype, buffer=mapping, offset=offset), mapping


def advise(mapping: mmap.mmap, start: int, stop: int) -> None:
    """Hint the kernel to begin reading bytes start..stop-1 of a mapping, if it accepts hints."""
    if hasattr(mmap, "MADV_WILLNEED"):
        start -= start % mmap.PAGESIZE
        mapping.madvise(mmap.MADV_WILLNEED, start, stop - start)


def _plain_type(name: str, dtype: str) -> np.dtype:
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = np.dtype(object)
    if found.kind not in "biuf":
        raise UserError(
            f"replay field {name!r}: expected a bool, integer or float dtype, received {dtype!r}; "
            f"store text and objects elsewhere"
        )
    return found.newbyteorder("<")


def _crc(store_id: str, stem: str, data: bytes | memoryview) -> int:
    return zlib.crc32(data, zlib.crc32(f"{store_id}/{stem}".encode()))
