"""Functions that numba compiles, kept on disk between processes where there is a place for them."""

from collections.abc import Callable
from typing import Any

import numba


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """As `numba.njit(cache=True, **options)`, which refuses a function that it cannot keep: where
    neither its file's folder nor the user's cache may be written to, it is compiled every time."""

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:
            return numba.njit(**options)(function)

    return compiled
