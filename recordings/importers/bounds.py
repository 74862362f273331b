"""Size limits of one source of an import: more counts as damage before memory is allocated for it.

A few bytes can claim any size: a picture by its header, a zip or gzip file by its inflated size, an
array by its shape. With these bounds an import with the default `--max-frames` and `--size` stays
below 4 GiB of memory, whatever it reads (`tests/recordings/test_bombs.py`).
"""

from common import UserError

PICTURE = 2**25
"""Pixels of one picture: 8K video has 33 million."""
EDGE = 2**14
"""Pixels along one edge of a picture."""
BYTES = 2**29
"""Bytes of one source held at once: an npz file, a record, or their pictures made to fit."""
COUNT = 2**20
"""Values of one list, steps of one file, sources of one array."""
HELD = 2**14
"""Frames as which one picture of a video is stored, if its times and `--fps` require it."""


def check_picture(width: int, height: int) -> None:
    """Raise UserError for a picture that is too large."""
    if width * height > PICTURE or max(width, height) > EDGE:
        raise UserError(
            f"a picture of {width}x{height} pixels, expected at most {PICTURE:,}, and {EDGE:,} "
            "along an edge"
        )


def check_bytes(size: int, what: str) -> None:
    """Raise UserError for more bytes than may be held at once."""
    if size > BYTES:
        raise UserError(f"{what} of {size:,} bytes, expected at most {BYTES:,}")


def check_count(count: int, what: str) -> None:
    """Raise UserError for more of something than one source may have."""
    if count > COUNT:
        raise UserError(f"{count:,} {what}, expected at most {COUNT:,}")
