"""Names to environments: what `--env NAME` accepts.

| name | environment | options |
|---|---|---|
| `minerl_navigate` | Navigate, builtin or MineRL (`backend`) | builtin: `goal_distance`, ... |
| `gym:ID` | `gymnasium.make(ID)`, such as `gym:CartPole-v1` | those of `gymnasium.make` |
| `dmc:DOMAIN_TASK` | DeepMind Control, such as `dmc:walker_walk` | `size`, `camera` |
| `pure:NAME` | a task in pure JAX, such as `pure:cartpole_swingup` | none |
| `package.module:Class` | a class or function of yours that makes one | its own |

Read next: `vector.py`, what the agent makes of one; `named.py`, which names a file may give;
`navigate/env.py`, `dmc.py`, `pure/environment.py`, those that are ours.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import gymnasium

from common import EnvironmentFailed, UserError
from envs import minerl
from envs.config import NAVIGATE, Backend, EnvConfig
from envs.dmc import DMCEnv
from envs.navigate.env import NavigateEnv
from envs.pure import CartpoleSwingup, Pendulum, PureEnv, PureGym, TwoRooms, TwoRoomsDoor

PURE: dict[str, type[PureEnv]] = {
    "cartpole_swingup": CartpoleSwingup,
    "pendulum": Pendulum,
    "two_rooms": TwoRooms,
    "two_rooms_door": TwoRoomsDoor,
}


class Family(NamedTuple):
    """Environments named `SCHEME:NAME`."""

    form: str  # how a name is written, for messages
    make: Callable[[str, dict[str, Any]], gymnasium.Env[Any, Any]]  # of NAME and keyword options
    draws: bool = False  # whether it can be observed by pixels: made with `render_mode`
    defaults: Callable[[EnvConfig], dict[str, Any]] = lambda config: {}  # options of its own


def make(name: str, **options: Any) -> gymnasium.Env[Any, Any]:
    """Make one environment, with its own spaces.

    Args:
      name: see the module's table.
      options: keyword arguments of the environment; for Navigate also `backend`.
    Raises:
      UserError: for a name that matches nothing, with the closest one; for options the environment
        does not take; for a back end that is not there.
    """
    if name == NAVIGATE:
        return _make_navigate(**options)
    scheme, _, rest = name.partition(":")
    if scheme in FAMILIES and rest:
        return FAMILIES[scheme].make(rest, options)
    if "." in scheme or rest:
        return _make_class(name, scheme, rest, options)
    close = difflib.get_close_matches(name, [NAVIGATE, *(f"gym:{i}" for i in gymnasium.registry)])
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise UserError(f"expected an environment name like {forms()}, received {name!r}{hint}")


def make_pure(name: str) -> PureEnv:
    """A pure environment by the name that follows `pure:`.

    Raises:
      UserError: for another name, with the closest one.
    """
    if name not in PURE:
        close = difflib.get_close_matches(name, PURE, 1)
        hint = f"; did you mean 'pure:{close[0]}'?" if close else ""
        known = ", ".join(f"pure:{n}" for n in PURE)
        raise UserError(f"expected one of {known}, received 'pure:{name}'{hint}")
    return PURE[name]()


def describe_backend(config: EnvConfig) -> str:
    """One line: which environment runs, on which back end, and why."""
    if config.name != NAVIGATE:
        return f"environment: {config.name}"
    chosen, why = choose_backend(config.backend)
    return f"environment: {NAVIGATE} ({'dense' if config.dense else 'sparse'}), {chosen}: {why}"


def choose_backend(backend: Backend) -> tuple[str, str]:
    """The back end of Navigate that runs, and the reason.

    Raises:
      UserError: for one that is not there.
    """
    if backend == "builtin":
        return "builtin", "as asked"
    if backend not in ("auto", "minerl"):
        raise UserError(f"expected backend auto, builtin or minerl, received {backend!r}")
    missing = minerl.missing()
    if missing is None:
        return "minerl", "the minerl package is installed" if backend == "auto" else "as asked"
    if backend == "minerl":
        raise UserError(
            f"expected the minerl package for backend 'minerl', received none: {missing}; install "
            "it in this interpreter or use backend 'builtin'"
        )
    return "builtin", missing


def _make_navigate(backend: Backend = "auto", **options: Any) -> gymnasium.Env[Any, Any]:
    """Navigate on the chosen back end."""
    chosen, _ = choose_backend(backend)
    maker = minerl.make if chosen == "minerl" else NavigateEnv
    return _call(maker, NAVIGATE, options)


def _make_gym(env_id: str, options: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    """An environment from Gymnasium's registry, or UserError with the closest id."""
    try:
        return gymnasium.make(env_id, disable_env_checker=True, **options)  # `Checked` looks at it
    except UserError:
        raise
    except (gymnasium.error.Error, ImportError, TypeError) as error:
        close = difflib.get_close_matches(env_id, list(gymnasium.registry), n=1)
        hint = f"; did you mean 'gym:{close[0]}'?" if close and close[0] != env_id else ""
        raise UserError(
            f"expected gym:ID with an id that gymnasium.make accepts, received {env_id!r} with "
            f"options {options}: {error}{hint}"
        ) from error
    except Exception as error:
        raise _constructor_failed(f"gym:{env_id}", error) from error


def _make_dmc(task: str, options: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    """A task of DeepMind Control."""
    return _call(DMCEnv, f"dmc:{task}", {"task": task, **options})


def _make_pure(name: str, options: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    """A pure environment, as Gymnasium's."""
    return _call(partial(PureGym, make_pure(name)), f"pure:{name}", options)


def _make_class(
    name: str, module: str, attribute: str, options: dict[str, Any]
) -> gymnasium.Env[Any, Any]:
    """An environment from `package.module:Class`."""
    maker = getattr(_imported(name, module), attribute, None) if attribute else None
    if maker is None:
        raise UserError(
            f"expected package.module:Class, received {name!r}: {module} has no "
            f"attribute {attribute!r}; check the name; known forms are {forms()}"
        )
    env = _call(maker, name, options)
    if not isinstance(env, gymnasium.Env):
        raise UserError(
            f"expected {name!r} to make a gymnasium.Env, received {type(env).__name__}; old gym "
            "environments need a wrapper"
        )
    return env


def _imported(name: str, module: str) -> Any:
    """A module of the user's.

    Raises:
      UserError: where there is none of that name, or it needs one that is missing.
      EnvironmentFailed: where its own code raises.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        ours = error.name and (module == error.name or module.startswith(f"{error.name}."))
        remedy = (
            "put the folder that it lies in on PYTHONPATH, or run from there"
            if ours
            else f"install {error.name}, which {module} imports"
        )
        raise UserError(
            f"expected a module that can be imported, received {name!r}: {error}; {remedy}"
        ) from error
    except ValueError as error:
        raise UserError(
            f"expected package.module:Class, received {name!r}: {error}; known forms are {forms()}"
        ) from error
    except Exception as error:
        raise EnvironmentFailed(
            f"environment {name}: importing {module} raised {type(error).__name__}: {error}"
        ) from error


def _call(maker: Callable[..., Any], name: str, options: dict[str, Any]) -> Any:
    """Call with the options.

    Raises:
      UserError: for options that the maker does not take.
      EnvironmentFailed: where its own code raises.
    """
    try:
        signature = inspect.signature(maker)
    except ValueError:  # one written in C tells none: a wrong option is its constructor's error
        signature = inspect.Signature([_ANYTHING])
    try:
        signature.bind(**options)
    except TypeError as error:
        raise UserError(
            f"expected options that {name!r} takes, received {options}: {error}; see --env.options"
        ) from error
    try:
        return maker(**options)
    except UserError:
        raise
    except Exception as error:
        raise _constructor_failed(name, error) from error


_ANYTHING = inspect.Parameter("options", inspect.Parameter.VAR_KEYWORD)


def _constructor_failed(name: str, error: Exception) -> EnvironmentFailed:
    said = " ".join(str(error).split())
    return EnvironmentFailed(
        f"environment {name}: its constructor raised {type(error).__name__}: {said}"
    )


FAMILIES = {
    "gym": Family(
        "gym:ID",
        _make_gym,
        draws=True,
        defaults=lambda config: (
            {} if config.time_limit is None else {"max_episode_steps": config.time_limit}
        ),
    ),
    "dmc": Family(
        "dmc:DOMAIN_TASK",
        _make_dmc,
        draws=True,
        defaults=lambda config: {"size": config.image_size},
    ),
    "pure": Family("pure:NAME", _make_pure),
}
"""All of them, by scheme. A new one is its own file and a row here; a preset of its own is one in
`configs/presets.py`."""


def forms() -> str:
    """How the name of an environment is written."""
    return ", ".join([NAVIGATE, *(x.form for x in FAMILIES.values()), "package.module:Class"])
