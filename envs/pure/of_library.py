"""What environments of other libraries in JAX share: their packages are extras."""

import difflib
import importlib
import warnings
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from common import UserError

MANY = 8  # names that a message lists


def imported(package: str) -> Any:
    """The package; what its own imports warn of is not the user's.

    Raises:
      UserError: where it is not installed.
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
    """Refuses names that there are not.

    Raises:
      UserError: with the closest one; of many known ones the closest alone are listed.
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
    """A state with the types of the first one, so that it may be carried in its place.

    Args:
      first: shapes and types of what ``reset`` returns.
    """

    def cast(x: Any, like: jax.ShapeDtypeStruct) -> Any:
        if jax.dtypes.issubdtype(like.dtype, jax.dtypes.prng_key):
            return x
        return jnp.asarray(x, like.dtype)  # also no longer a weak type

    return jax.tree.map(cast, state, first)
