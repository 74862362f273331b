"""Functions compiled by numba, cached on disk between processes if possible."""

from collections.abc import Callable
from typing import Any

import numba


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile like `numba.njit(cache=True, **options)`, but without a cache, in every process, if
    neither the source folder nor the user's cache is writable, in which case numba would raise."""

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:
            return numba.njit(**options)(function)

    return compiled
