"""The images that a model reads: their sizes, and how images of other shapes are fitted.

Settings and defaults are the same for environments and for videos. Images are fitted in
`envs/images.py` and read in `worldmodel/networks.py`.
"""

from typing import Annotated, Literal

from annotated_types import Ge, Le, MultipleOf

SIZES = range(32, 129, 16)
"""Pixels along one edge: multiples of 16, since the auxiliary decoders draw a coarse grid."""

ImageSize = Annotated[int, Ge(SIZES.start), Le(SIZES[-1]), MultipleOf(SIZES.step)]
"""Type of a setting that is one of `SIZES`."""

SIZE: ImageSize = 64
"""Default size: that of the papers."""

Fit = Literal["squeeze", "pad", "crop"]
"""How a non-square image is fitted: squeezed, padded with black bars, or cropped to its central
square."""

FIT: Fit = "squeeze"
"""Default fit: nothing is cut off, and no pixels are spent on bars."""
