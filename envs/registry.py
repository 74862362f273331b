"""From names to environments: what `--env NAME` accepts.

| name | environment | options |
|---|---|---|
| `minerl_navigate` | Navigate, builtin or MineRL (`backend`) | builtin: `goal_distance`, ... |
| `gym:ID` | `gymnasium.make(ID)`, of any package in `plugins.py` | those of `gymnasium.make` |
| `envpool:ID` | EnvPool's, such as `envpool:Pong-v5` (`pool.py`) | `envpool.make_gymnasium`'s |
| `dmc:DOMAIN_TASK` | DeepMind Control, such as `dmc:walker_walk` | `size`, `camera` |
| `pure:NAME` | a task in pure JAX, such as `pure:cartpole_swingup` | none |
| `gymnax:NAME` | gymnax's, such as `gymnax:CartPole-v1` | its parameters |
| `navix:NAME` | MiniGrid by navix, such as `navix:Navix-MemoryS7-v0` | `max_steps`, `observation` |
| `FILE.py:Class` | a class or function in your own file that makes one | its own |
| `package.module:Class` | the same in a module; the current directory is searched too | its own |

Read next: `vector.py`, how one is prepared for the agent; `named.py`, which names a file may give;
`navigate/env.py`, `dmc.py`, `pure/environment.py`, our own environments.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import gymnasium

from common import EnvironmentFailed, UserError
from common.entry import OURS
from common.errors import RaisedElsewhere
from envs import minerl
from envs.config import NAVIGATE, Backend, EnvConfig
from envs.dmc import DMCEnv
from envs.navigate.env import NavigateEnv
from envs.options import literals, navigate_options
from envs.plugins import bring
from envs.pool import Pool, pool_row

PURE_SCHEMES = "pure", "gymnax", "navix"
"""Schemes of environments in JAX, made by `envs/pure/named.py`: only these import JAX."""


class Family(NamedTuple):
    """Environments named `SCHEME:NAME`."""

    form: str  # how a name is written, for messages
    make: Callable[[str, dict[str, Any]], gymnasium.Env[Any, Any]]  # of NAME and keyword options
    draws: bool = False  # whether it can be observed as pixels, by `render_mode`
    defaults: Callable[[EnvConfig], dict[str, Any]] = lambda config: {}  # default options
    pooled: bool = False  # whether all environments are stepped at once, by the pool's own threads


def make(name: str, **options: Any) -> gymnasium.Env[Any, Any]:
    """Make one environment, with its own spaces.

    Args:
      name: see the module's table.
      options: keyword arguments of the environment; for Navigate also `backend`.
    Raises:
      UserError: for an unknown name, suggesting the closest one; for options that the environment
        does not take; for a back end that is not installed.
    """
    if name == NAVIGATE:
        return _make_navigate(**options)
    scheme, _, rest = name.partition(":")
    if scheme in FAMILIES and rest:
        return FAMILIES[scheme].make(rest, options)
    if "." in scheme or rest:
        return _make_class(name, *(own_file(name) or (scheme, rest)), options)
    close = difflib.get_close_matches(name, [NAVIGATE, *(f"gym:{i}" for i in gymnasium.registry)])
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise UserError(f"expected an environment name like {forms()}, received {name!r}{hint}")


def own_file(name: str) -> tuple[str, str] | None:
    """The file and the class of a name FILE.py:Class, the class being empty if it was left out;
    None for a name of another form."""
    if name.endswith(".py"):
        return name, ""
    file, _, attribute = name.rpartition(":")
    return (file, attribute) if file.endswith(".py") else None


def describe_backend(config: EnvConfig) -> str:
    """One line: which environment runs, on which back end, and why."""
    if config.name != NAVIGATE:
        return f"environment: {config.name}"
    chosen, why = choose_backend(config.backend, config.minerl_python)
    rewards = "dense" if navigate_options(config).dense else "sparse"
    return f"environment: {NAVIGATE} ({rewards}), {chosen}: {why}"


def choose_backend(backend: Backend, python: str | None) -> tuple[str, str]:
    """Choose Navigate's back end; return it and the reason.

    Args:
      backend: the requested back end.
      python: the requested Python for MineRL; None: this one.
    Raises:
      UserError: if the requested back end is unknown or not installed.
    """
    if backend == "builtin":
        return "builtin", "as asked"
    if backend not in ("auto", "minerl"):
        raise UserError(f"expected backend auto, builtin or minerl, received {backend!r}")
    if python is not None:
        return "minerl", f"in {minerl.interpreter(python)}"
    missing = minerl.missing()
    if missing is None:
        return "minerl", "the minerl package is installed" if backend == "auto" else "as asked"
    if backend == "minerl":
        raise UserError(
            f"expected the minerl package for backend 'minerl', received none: {missing}; set "
            "--env.minerl-python to a Python that has it (docs/minerl.md) or use backend 'builtin'"
        )
    return "builtin", missing


def is_minerl(config: EnvConfig) -> bool:
    """Whether the environment is the real game, whose reset takes minutes."""
    chosen = partial(choose_backend, config.backend, config.minerl_python)
    return config.name == NAVIGATE and chosen()[0] == "minerl"


def _make_navigate(
    backend: Backend = "auto",
    minerl_python: str | None = None,
    step_timeout: float = EnvConfig.step_timeout,
    **options: Any,
) -> gymnasium.Env[Any, Any]:
    """Make Navigate on the chosen back end."""
    chosen, _ = choose_backend(backend, minerl_python)
    real = partial(minerl.make, minerl_python, step_timeout)
    return call(real if chosen == "minerl" else NavigateEnv, NAVIGATE, options)


def _make_gym(env_id: str, options: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    """Make an environment from Gymnasium's registry; UserError suggests the closest id."""
    plugin = bring(env_id)
    try:
        env = gymnasium.make(env_id, disable_env_checker=True, **options)  # `Checked` does it
        return plugin.wrap(env) if plugin is not None and plugin.wrap is not None else env
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
    """Make a task of DeepMind Control."""
    return call(DMCEnv, f"dmc:{task}", {"task": task, **options})


def _pure_family(scheme: str) -> Family:
    """A family of pure JAX environments, made as Gymnasium ones."""

    def make_one(name: str, options: dict[str, Any]) -> gymnasium.Env[Any, Any]:
        pure = importlib.import_module("envs.pure.named")
        made: gymnasium.Env[Any, Any] = pure.make_gym(f"{scheme}:{name}", **options)
        return made

    return Family(f"{scheme}:NAME", make_one)


def _make_class(
    name: str, module: str, attribute: str, options: dict[str, Any]
) -> gymnasium.Env[Any, Any]:
    """Make an environment from `package.module:Class` or `FILE.py:Class`."""
    imported = _imported(name, module)
    maker = getattr(imported, attribute, None) if attribute else None
    if maker is None:
        raise _no_class(name, module, attribute, imported)
    env = call(maker, name, options)
    if not isinstance(env, gymnasium.Env):
        raise UserError(
            f"expected {name!r} to make a gymnasium.Env, received {type(env).__name__}; old gym "
            "environments need a wrapper"
        )
    return env


def _no_class(name: str, module: str, attribute: str, imported: ModuleType) -> UserError:
    """The error for a name whose class is left out or does not exist, with those that there are."""
    form = "FILE.py:Class" if module.endswith(".py") else "package.module:Class"
    wrong = f"{module} has no attribute {attribute!r}" if attribute else "the class is left out"
    own = [
        one
        for one, made in vars(imported).items()
        if isinstance(made, type) and issubclass(made, gymnasium.Env) and made is not gymnasium.Env
    ]
    if close := difflib.get_close_matches(attribute, own, 1):
        hint = f"did you mean '{module}:{close[0]}'?"
    elif own:
        hint = f"its environments are {', '.join(f'{module}:{one}' for one in own)}"
    else:
        hint = "none of its classes is a gymnasium.Env; check the name"
    return UserError(f"expected {form}, received {name!r}: {wrong}; {hint}")


def _imported(name: str, module: str) -> Any:
    """Import one of the user's modules.

    Raises:
      UserError: if there is no such module, or it imports one that is missing.
      EnvironmentFailed: if its own code raises.
    """
    try:
        if module.endswith(".py"):
            return _of_file(Path(module))
        _findable(Path.cwd())
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        remedy = _remedy(module, error.name or "")
        raise UserError(
            f"expected a module that can be imported, received {name!r}: {error}; {remedy}"
        ) from error
    except ValueError as error:
        raise UserError(
            f"expected package.module:Class, received {name!r}: {error}; known forms are {forms()}"
        ) from error
    except OSError as error:
        raise UserError(
            f"expected a file of Python, received {name!r}: {error.strerror or error}; give its "
            f"path from {Path.cwd()}"
        ) from error
    except Exception as error:
        raise EnvironmentFailed(
            f"environment {name}: importing {module} raised {type(error).__name__}: {error}"
        ) from error


def _remedy(module: str, missing: str) -> str:
    """Advice for when importing ``module`` does not find ``missing``."""
    top = missing.partition(".")[0]
    if top in OURS:
        file = f", {module.replace('.', '/')}.py:Class" if module.startswith(top) else ""
        return (
            f"{top} is a package of this project too and hides yours: name the file of your "
            f"environment{file}, and import what lies beside it under another name"
        )
    if missing and (module == missing or module.startswith(f"{missing}.")):
        return f"run from the folder that {top} lies in, or name the file: FILE.py:Class"
    return f"install {missing}, which {module} imports"


def _of_file(path: Path) -> ModuleType:
    """Import a file as a separate module, even if a package has the same name; it can import the
    files next to it, which are searched after everything else."""
    path = path.resolve()
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None  # it ends in .py
        made = importlib.util.module_from_spec(spec)
        sys.modules[name] = made
        try:
            _findable(path.parent)
            spec.loader.exec_module(made)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _findable(folder: Path) -> None:
    """Make the modules of a folder importable, with the lowest priority."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
        importlib.invalidate_caches()


def call(maker: Callable[..., Any], name: str, options: dict[str, Any]) -> Any:
    """Call the maker of an environment with its options.

    Raises:
      UserError: for options that the maker does not take.
      EnvironmentFailed: if the environment's own code raises.
    """
    try:
        signature = inspect.signature(maker)
    except ValueError:  # written in C, without a signature: its constructor reports wrong options
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
    if isinstance(error, RaisedElsewhere):
        return EnvironmentFailed(f"environment {name}: its constructor: {said}")
    return EnvironmentFailed(
        f"environment {name}: its constructor raised {type(error).__name__}: {said}"
    )


def _own_limit(config: EnvConfig) -> dict[str, Any]:
    """The time limit as an option of Gymnasium and EnvPool."""
    return {} if config.time_limit is None else {"max_episode_steps": config.time_limit}


FAMILIES = {
    "gym": Family(
        "gym:ID",
        _make_gym,
        draws=True,
        defaults=_own_limit,
    ),
    "dmc": Family(
        "dmc:DOMAIN_TASK",
        _make_dmc,
        draws=True,
        defaults=lambda config: {"size": config.image_size},
    ),
    "envpool": Family(
        "envpool:ID",
        lambda env_id, options: pool_row(Pool(env_id, 1, options)),
        defaults=_own_limit,
        pooled=True,
    ),
    **{scheme: _pure_family(scheme) for scheme in PURE_SCHEMES},
}
"""All families, by scheme. A new one needs a file and a row here; its preset, if any, goes into
`configs/presets.py`."""


def options_of(config: EnvConfig) -> dict[str, Any]:
    """Keyword options of `make` for a config."""
    options = literals(config.options)
    if config.name == NAVIGATE:
        ours = navigate_options(config)
        options = {**ours.rest, "backend": config.backend, "dense": ours.dense}
        options |= {"minerl_python": config.minerl_python, "step_timeout": config.step_timeout}
        if config.time_limit is not None:
            options["time_limit"] = config.time_limit
    family = FAMILIES.get(config.name.partition(":")[0])
    if family is not None:
        options = family.defaults(config) | options
    if config.pixels:
        if family is None or not family.draws:
            drawn = " or ".join(x.form for x in FAMILIES.values() if x.draws)
            raise UserError(
                f"expected pixels with {drawn}, received {config.name!r}; "
                "it keeps its own observations: leave out --env.pixels"
            )
        options["render_mode"] = "rgb_array"
    return options


def forms() -> str:
    """The forms of an environment's name, for messages."""
    own = "FILE.py:Class", "package.module:Class"
    return ", ".join([NAVIGATE, *(x.form for x in FAMILIES.values()), *own])
