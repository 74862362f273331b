"""The pictures that a model reads: which sizes there are, and how what has another shape is fitted.

The same words, and the same defaults, for environments and for videos. Fitted in `envs/images.py`;
read in `worldmodel/networks.py`.
"""

from typing import Annotated, Literal

from annotated_types import Ge, Le, MultipleOf

SIZES = range(32, 129, 16)
"""Pixels along one edge: multiples of 16, of which the auxiliary decoders draw a coarse grid."""

ImageSize = Annotated[int, Ge(SIZES.start), Le(SIZES[-1]), MultipleOf(SIZES.step)]
"""A setting that is one of them."""

SIZE: ImageSize = 64
"""That of the papers."""

Fit = Literal["squeeze", "pad", "crop"]
"""A picture that is no square: the whole of it squeezed, the whole between black bars, or its
middle square."""

FIT: Fit = "squeeze"
"""Nothing is lost, and no pixel is spent on bars."""
