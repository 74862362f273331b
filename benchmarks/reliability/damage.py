"""Random damage to files: bits flipped, ends cut off, blocks moved or zeroed, files removed."""

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

BLOCK = 4096  # maximum bytes that are zeroed, moved or appended


def damage(folder: Path, rng: Random) -> str:
    """Damage one file below a folder; return what was done."""
    path = rng.choice(sorted(p for p in folder.rglob("*") if p.is_file()))
    how = rng.choice(list(KINDS))
    at = KINDS[how](path, rng)
    return f"{how} {path.relative_to(folder)}{at}"


def _flip(path: Path, rng: Random) -> str:
    data = bytearray(path.read_bytes())
    if not data:
        return _append(path, rng)
    at = rng.randrange(len(data))
    data[at] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    return f" at {at} of {len(data)}"


def _cut(path: Path, rng: Random) -> str:
    data = path.read_bytes()
    at = rng.randrange(len(data)) if data else 0
    path.write_bytes(data[:at])
    return f" at {at} of {len(data)}"


def _zero(path: Path, rng: Random) -> str:
    data = bytearray(path.read_bytes())
    start, size = _block(len(data), rng)
    data[start : start + size] = bytes(size)
    path.write_bytes(data)
    return f" at {start}, {size} bytes"


def _swap(path: Path, rng: Random) -> str:
    data = path.read_bytes()
    start, size = _block(len(data), rng)
    rest = data[:start] + data[start + size :]
    to = rng.randrange(len(rest) + 1)
    path.write_bytes(rest[:to] + data[start : start + size] + rest[to:])
    return f" from {start} to {to}, {size} bytes"


def _append(path: Path, rng: Random) -> str:
    size = rng.randrange(1, BLOCK)
    with path.open("ab") as file:
        file.write(rng.randbytes(size))
    return f" by {size} bytes"


def _replace(path: Path, rng: Random) -> str:
    path.write_bytes(rng.randbytes(path.stat().st_size))
    return ""


def _remove(path: Path, rng: Random) -> str:
    path.unlink()
    return ""


def _another(path: Path, rng: Random) -> str:
    other = rng.choice(sorted(p for p in path.parent.iterdir() if p.is_file()))
    if other != path:
        shutil.copyfile(other, path)
    return f" by {other.name}"


def _block(size: int, rng: Random) -> tuple[int, int]:
    """(start, length) of a random part of ``size`` bytes."""
    start = rng.randrange(size) if size else 0
    return start, rng.randrange(min(BLOCK, size - start) + 1)


KINDS: dict[str, Callable[[Path, Random], str]] = {
    "flip": _flip,
    "cut": _cut,
    "zero": _zero,
    "move within": _swap,
    "append to": _append,
    "noise for": _replace,
    "remove": _remove,
    "replace": _another,
}
