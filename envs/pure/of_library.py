"""Helpers for environments of other JAX libraries, whose packages are optional extras."""

import difflib
import importlib
import warnings
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from common import UserError

MANY = 8  # names that a message lists at most


def imported(package: str) -> Any:
    """Import a package, without warnings from its own imports, which do not concern the user.

    Raises:
      UserError: if the package is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise UserError(
            f"expected the package {package} for {package}:NAME, received none ({error}); "
            f"install it: pip install '.[{package}]' (pyproject.toml says more)"
        ) from error


def check_known(what: str, received: Iterable[str], known: Iterable[str]) -> None:
    """Reject unknown names.

    Raises:
      UserError: for an unknown name, with the closest known one; if many names are known, only the
        closest are listed.
    """
    names = sorted(known)
    for name in received:
        if name not in names:
            close = difflib.get_close_matches(name, names, MANY, cutoff=0.3)
            listed = close if len(names) > MANY else names
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise UserError(
                f"{what}: expected one of {len(names)}, such as {', '.join(listed or names[:3])}, "
                f"received {name!r}{hint}"
            )


def as_at_first(state: Any, first: Any) -> Any:
    """Cast a state to the dtypes of the initial state, so that a JAX loop can carry either.

    Args:
      first: shapes and dtypes of the state that ``reset`` returns.
    """

    def cast(x: Any, like: jax.ShapeDtypeStruct) -> Any:
        if jax.dtypes.issubdtype(like.dtype, jax.dtypes.prng_key):
            return x
        return jnp.asarray(x, like.dtype)  # also removes the weak type

    return jax.tree.map(cast, state, first)
