"""Names to environments: what `--env NAME` accepts, and the vector of them that an agent trains on.

| name | environment | options |
|---|---|---|
| `minerl_navigate` | Navigate, builtin or MineRL (`backend`) | builtin: `goal_distance`, ... |
| `gym:ID` | `gymnasium.make(ID)`, such as `gym:CartPole-v1` | those of `gymnasium.make` |
| `dmc:DOMAIN_TASK` | DeepMind Control, such as `dmc:walker_walk` | `size`, `camera` |
| `pure:NAME` | a task in pure JAX, such as `pure:cartpole_swingup` | none |
| `package.module:Class` | a class or function of yours that makes one | its own |

Read next: `navigate/env.py`, `dmc.py`, `pure/environment.py`, `wrappers.py`, `spaces.py`.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import gymnasium
from annotated_types import Gt, Le
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import AddRenderObservation, TimeLimit

from common import Count, EnvironmentFailed, UserError, check_bounds
from envs import minerl
from envs.checked import Checked, check_start
from envs.dmc import DMCEnv
from envs.navigate.env import NavigateEnv
from envs.pure import CartpoleSwingup, Pendulum, PureEnv, PureGym, TwoRooms, TwoRoomsDoor
from envs.wrappers import ActionRepeat, CameraLimit, CanonicalObservation, CompassVector, HeldKeys

Backend = Literal["auto", "builtin", "minerl"]
NAVIGATE = "minerl_navigate"
PURE: dict[str, type[PureEnv]] = {
    "cartpole_swingup": CartpoleSwingup,
    "pendulum": Pendulum,
    "two_rooms": TwoRooms,
    "two_rooms_door": TwoRoomsDoor,
}


@dataclass(frozen=True)
class EnvConfig:
    """Which environment, and what stands between it and the agent."""

    name: str = NAVIGATE
    """minerl_navigate, gym:ID (gym:CartPole-v1), dmc:DOMAIN_TASK (dmc:walker_walk), pure:NAME
    (pure:cartpole_swingup) or package.module:Class (your own)."""
    backend: Backend = "auto"
    """Navigate only: auto (minerl where it is installed, else builtin), builtin or minerl."""
    dense: bool = True
    """Navigate only: also reward each frame's decrease of the distance to the compass target."""
    num_envs: Count = 4
    """Environments stepped together."""
    action_repeat: Count = 1
    """Frames for which each action is held; their rewards are summed."""
    camera_limit: Annotated[float, Gt(0), Le(180)] = 15.0
    """Navigate only: largest turn in degrees per frame and axis (the environment allows 180)."""
    held_keys: tuple[str, ...] = ()
    """Navigate only: keys taken out of the agent's action space, each held at a value, such as
    `jump=1 attack=0`; the environment itself keeps MineRL's action space."""
    image_size: Count = 64
    """Pixels along one edge of every image."""
    pixels: bool = False
    """dmc: and gym: only: observe the picture that the environment draws instead of its state."""
    time_limit: Count | None = None
    """Frames until an episode is truncated; None: the environment's own limit."""
    options: dict[str, str] = field(default_factory=dict)
    """Keyword options of the environment, such as `goal_distance 16` (blocks) of the builtin
    Navigate; 3, 0.5, True, None are read as such."""


class Family(NamedTuple):
    """Environments named `SCHEME:NAME`."""

    form: str  # how a name is written, for messages
    make: Callable[[str, dict[str, Any]], gymnasium.Env[Any, Any]]  # of NAME and keyword options
    draws: bool = False  # whether it can be observed by pixels: made with `render_mode`
    defaults: Callable[[EnvConfig], dict[str, Any]] = lambda config: {}  # options of its own


class SeededVectorEnv(SyncVectorEnv):
    """A SyncVectorEnv whose first `reset()` without a seed uses the one given here."""

    def __init__(self, makers: list[Callable[[], gymnasium.Env[Any, Any]]], seed: int) -> None:
        """Environment i starts from seed + i; each goes on from its own generator."""
        super().__init__(makers, autoreset_mode=AutoresetMode.NEXT_STEP)
        self.first_seed: int | None = seed

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        """Reset all; see `gymnasium.vector.VectorEnv.reset`."""
        seed, self.first_seed = (self.first_seed if seed is None else seed), None
        return super().reset(seed=seed, options=options)


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


def make_agent_env(config: EnvConfig, index: int = 0) -> gymnasium.Env[Any, Any]:
    """One environment as the agent sees it: checked, wrapped, with canonical observations.

    Args:
      config: which environment and wrappers.
      index: which of those that are stepped together, as errors name it.
    Raises:
      UserError: as `make`, and where the environment returns what it does not declare.
      EnvironmentFailed: where its own code raises.
    """
    check_bounds(config, "env")
    env: gymnasium.Env[Any, Any] = Checked(
        make(config.name, **_options(config)), config.name, index
    )
    if config.time_limit is not None and config.name != NAVIGATE:
        _check_limit(env, config)
        env = TimeLimit(env, config.time_limit)
    if config.name == NAVIGATE:
        env = HeldKeys(CameraLimit(env, config.camera_limit), _held(config.held_keys))
        env = CompassVector(env)
    if config.action_repeat != 1:
        env = ActionRepeat(env, config.action_repeat)
    if config.pixels:  # outside the action repeat: what no one sees is not drawn
        env = _pixels(env, config.name)
    return CanonicalObservation(env, config.image_size)


def _check_limit(env: gymnasium.Env[Any, Any], config: EnvConfig) -> None:
    """Refuses a limit beyond the environment's own, which would end episodes before it."""
    own = getattr(env.unwrapped, "time_limit", None) or getattr(env.spec, "max_episode_steps", None)
    if own is not None and config.time_limit is not None and config.time_limit > own:
        env.close()
        raise UserError(
            f"env.time_limit: expected at most the {own:,} frames after which {config.name} itself "
            f"ends an episode, received {config.time_limit:,}; lower --env.time-limit"
        )


def check_agent_env(env: gymnasium.Env[Any, Any], config: EnvConfig) -> None:
    """Tries what `make_agent_env` made, as `check_start` says; but not the real MineRL, whose reset
    takes minutes."""
    if config.name == NAVIGATE and _choose_backend(config.backend)[0] == "minerl":
        return
    while not isinstance(env, Checked):
        assert isinstance(env, gymnasium.Wrapper)
        env = env.env
    check_start(env)


def _pixels(env: gymnasium.Env[Any, Any], name: str) -> gymnasium.Env[Any, Any]:
    """The environment observed by its `render()`."""
    try:
        return AddRenderObservation(env, render_only=True)
    except (gymnasium.error.Error, ValueError, TypeError) as error:
        env.close()
        raise UserError(
            f"expected {name!r} to draw pixels, received: {error}; leave out --env.pixels"
        ) from error


def _held(keys: tuple[str, ...]) -> dict[str, int]:
    """KEY=VALUE pairs as a dict."""
    pairs = [key.partition("=") for key in keys]
    if not all(equals and value.isdigit() for _, equals, value in pairs):
        raise UserError(f"expected held_keys like jump=1 attack=0, received {' '.join(keys)}")
    return {key: int(value) for key, _, value in pairs}


def make_vector(config: EnvConfig, num_envs: int, seed: int) -> VectorEnv[Any, Any, Any]:
    """Environments for the agent, stepped together, with NEXT_STEP autoreset.

    After an episode's last record the next `step` ignores that environment's action and returns the
    reset observation with reward 0: a record with is_first = 1 in the arrival convention.

    Args:
      config: which environment and wrappers.
      num_envs: how many.
      seed: environment i starts from seed + i at the first `reset()`.
    Raises:
      UserError: as `make`.
    """
    check_bounds(replace(config, num_envs=num_envs), "env")
    envs: list[gymnasium.Env[Any, Any]] = []
    try:
        for index in range(num_envs):
            envs.append(make_agent_env(config, index))
    except BaseException:
        for env in envs:
            env.close()
        raise
    return SeededVectorEnv([partial(_itself, env) for env in envs], seed)


def _itself(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    return env


def describe_backend(config: EnvConfig) -> str:
    """One line: which environment runs, on which back end, and why."""
    if config.name != NAVIGATE:
        return f"environment: {config.name}"
    chosen, why = _choose_backend(config.backend)
    return f"environment: {NAVIGATE} ({'dense' if config.dense else 'sparse'}), {chosen}: {why}"


def _choose_backend(backend: Backend) -> tuple[str, str]:
    """The back end that runs and the reason."""
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
    chosen, _ = _choose_backend(backend)
    maker = minerl.make if chosen == "minerl" else NavigateEnv
    return _call(maker, NAVIGATE, options)


def _make_gym(env_id: str, options: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    """An environment from Gymnasium's registry, or UserError with the closest id."""
    try:
        return gymnasium.make(env_id, disable_env_checker=True, **options)  # `Checked` looks at it
    except (gymnasium.error.Error, ImportError, TypeError) as error:
        close = difflib.get_close_matches(env_id, list(gymnasium.registry), n=1)
        hint = f"; did you mean 'gym:{close[0]}'?" if close and close[0] != env_id else ""
        raise UserError(
            f"expected gym:ID with an id that gymnasium.make accepts, received {env_id!r} with "
            f"options {options}: {error}{hint}"
        ) from error


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
        inspect.signature(maker).bind(**options)
    except TypeError as error:
        raise UserError(
            f"expected options that {name!r} takes, received {options}: {error}; see --env.options"
        ) from error
    try:
        return maker(**options)
    except UserError:
        raise
    except Exception as error:
        raise EnvironmentFailed(
            f"environment {name}: its constructor raised {type(error).__name__}: {error}"
        ) from error


def _options(config: EnvConfig) -> dict[str, Any]:
    """Keyword options of `make` that a config asks for."""
    options = {key: _literal(text) for key, text in config.options.items()}
    if config.name == NAVIGATE:
        options |= {"backend": config.backend, "dense": config.dense}
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
                "its observations stay its own: leave out --env.pixels"
            )
        options["render_mode"] = "rgb_array"
    return options


def _literal(text: str) -> Any:
    """A Python literal where the text is one (3, 0.5, True, None), otherwise the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


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
