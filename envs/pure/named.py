"""Environments in JAX by name: `pure:NAME` (this project's own), `gymnax:NAME` and `navix:NAME`.

This module is imported only when such an environment is requested, so that processes of other
environments do not load JAX. Read next: `environment.py`, the interface.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from common import UserError
from envs.config import EnvConfig
from envs.pure.cartpole import CartpoleSwingup, CartpoleSwingupSparse
from envs.pure.environment import PureEnv, PureGym
from envs.pure.held import held, limited
from envs.pure.of_gymnax import Gymnax
from envs.pure.of_library import check_known
from envs.pure.of_navix import Navix
from envs.pure.pendulum import Pendulum
from envs.pure.reacher import Reacher
from envs.pure.two_rooms import TwoRooms, TwoRoomsDoor
from envs.registry import call, options_of

PURE: dict[str, type[PureEnv]] = {
    "cartpole_swingup": CartpoleSwingup,
    "cartpole_swingup_sparse": CartpoleSwingupSparse,
    "pendulum": Pendulum,
    "reacher": Reacher,
    "two_rooms": TwoRooms,
    "two_rooms_door": TwoRoomsDoor,
}


def make_pure(name: str, **options: Any) -> PureEnv:
    """Make a pure environment; the same name and options return the same object.

    Args:
      name: as on the command line, with a scheme from `SCHEMES`.
    Raises:
      UserError: for an unknown name, with the closest known one; for options that the environment
        does not accept.
      EnvironmentFailed: if the library that provides the environment raises.
    """
    scheme, _, rest = name.partition(":")
    if scheme not in SCHEMES:
        forms = ", ".join(f"{scheme}:NAME" for scheme in SCHEMES)
        raise UserError(f"expected an environment in pure JAX, {forms}, received {name!r}")
    return _pure(name, scheme, rest, tuple(sorted(options.items())))


def make_gym(name: str, **options: Any) -> PureGym:
    """The same environment with Gymnasium's interface."""
    return PureGym(make_pure(name, **options))


def make_pure_agent_env(config: EnvConfig) -> PureEnv:
    """One environment in pure JAX as the agent sees it, for a compiled run.

    Raises:
      UserError: if the environment is not in pure JAX or does not accept the settings.
    """
    env = limited(make_pure(config.name, **options_of(config)), config.time_limit)
    return held(env, config.action_repeat)


@cache
def _pure(name: str, scheme: str, rest: str, options: tuple[tuple[str, Any], ...]) -> PureEnv:
    made: PureEnv = call(partial(SCHEMES[scheme], rest), name, dict(options))
    return made


def _own(name: str) -> PureEnv:
    """One of this project's own environments."""
    check_known("environment", [f"pure:{name}"], [f"pure:{known}" for known in PURE])
    return PURE[name]()


SCHEMES: dict[str, Callable[..., PureEnv]] = {"pure": _own, "gymnax": Gymnax, "navix": Navix}
"""Factories by scheme; each takes NAME and keyword options."""
