"""Names to environments in JAX: `pure:NAME`, which are ours, `gymnax:NAME` and `navix:NAME`.

Nothing above imports this but where one is asked for, so that processes of other environments load
no JAX. Read next: `environment.py`, what one is.
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
    """A pure environment, the same object for the same name and options.

    Args:
      name: as on the command line, of a scheme in `SCHEMES`.
    Raises:
      UserError: for another name, with the closest one; for options that it does not take.
      EnvironmentFailed: where the library that it comes from raises.
    """
    scheme, _, rest = name.partition(":")
    if scheme not in SCHEMES:
        forms = ", ".join(f"{scheme}:NAME" for scheme in SCHEMES)
        raise UserError(f"expected an environment in pure JAX, {forms}, received {name!r}")
    return _pure(name, scheme, rest, tuple(sorted(options.items())))


def make_gym(name: str, **options: Any) -> PureGym:
    """The same as Gymnasium's."""
    return PureGym(make_pure(name, **options))


def make_pure_agent_env(config: EnvConfig) -> PureEnv:
    """One environment in pure JAX as the agent sees it, for a compiled run.

    Raises:
      UserError: for another environment, or settings that it does not take.
    """
    env = limited(make_pure(config.name, **options_of(config)), config.time_limit)
    return held(env, config.action_repeat)


@cache
def _pure(name: str, scheme: str, rest: str, options: tuple[tuple[str, Any], ...]) -> PureEnv:
    made: PureEnv = call(partial(SCHEMES[scheme], rest), name, dict(options))
    return made


def _own(name: str) -> PureEnv:
    """One of ours."""
    check_known("environment", [f"pure:{name}"], [f"pure:{known}" for known in PURE])
    return PURE[name]()


SCHEMES: dict[str, Callable[..., PureEnv]] = {"pure": _own, "gymnax": Gymnax, "navix": Navix}
"""What makes them, by scheme: of NAME and keyword options."""
