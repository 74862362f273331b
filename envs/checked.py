"""A wrapper that checks what an environment returns against the spaces that it declares.

`Checked` is the innermost wrapper, inside all of ours, so that no part of a mismatching record is
resized, cast, summed or stored. An error raised by the environment's own code becomes an
`EnvironmentFailed`, which keeps the traceback and says where it happened.

Read next: `vector.py`, which applies it to every environment.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from common import EnvironmentFailed, UserError
from common.errors import RaisedElsewhere
from envs.own import Sparing

FLOAT32_MOST = float(np.finfo(np.float32).max)
SUCCESS = ("success", "is_success")  # keys read from info dictionaries; all others are dropped
KINDS = {"f": "floats", "i": "integers", "u": "unsigned integers", "b": "booleans"}


class Refused(Exception):
    """A value that does not match: where, what was expected, what was received, how to fix it."""

    def __init__(self, key: str, expected: str, received: str, remedy: str = "") -> None:
        super().__init__(key, expected, received, remedy)
        self.key, self.expected, self.received, self.remedy = key, expected, received, remedy


class Checked(Sparing, gymnasium.Wrapper[Any, Any, Any, Any]):
    """Raise on the first record that does not match the declared spaces; infos keep only `SUCCESS`.

    Checks of observations: shape, kind of number (an integer does not count as a float), category
    in range, every float finite also as float32. Of the reward: one finite number; an array of one
    element counts as one. The bounds of a Box are checked only by `check_start`.

    Args:
      env: the environment as its author wrote it.
      name: name of the environment on the command line.
      index: its index among the environments that are stepped together.
    Raises:
      UserError: from `reset` and `step`, one line that names environment, index, key and step.
      EnvironmentFailed: from `reset` and `step`, if the environment's own code raises.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], name: str, index: int = 0) -> None:
        super().__init__(env)
        self.name, self.index, self.steps = name, index, 0
        self.checks = list(_checks(env.observation_space, ()))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset; see `gymnasium.Env.reset`."""
        found = self._call("reset", partial(self.env.reset, seed=seed, options=options))
        if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], dict)):
            raise self._error(
                Refused(
                    "",
                    "reset to return (observation, info)",
                    _short(found),
                    "return both (info may be {}), as Gymnasium requires since 0.26",
                )
            )
        self._observation(found[0])
        return found[0], _success(found[1])

    def step(self, action: Any) -> Any:
        """Step; see `gymnasium.Env.step`."""
        self.steps += 1
        found = self._call("step", self.env.step, action)
        if not (isinstance(found, tuple) and len(found) == 5):
            count = f"{len(found)} values" if isinstance(found, tuple) else _short(found)
            raise self._error(
                Refused(
                    "",
                    "step to return (observation, reward, terminated, truncated, info)",
                    count,
                    "return terminated and truncated separately, as Gymnasium requires since 0.26",
                )
            )
        obs, reward, terminated, truncated, info = found
        try:
            number = _reward(reward)
            ends = _flag("terminated", terminated), _flag("truncated", truncated)
        except Refused as refused:
            raise self._error(refused) from None
        if self.seen or any(ends):
            self._observation(obs)
        return obs, number, *ends, _success(info)

    def _observation(self, obs: Any) -> None:
        try:
            for check in self.checks:
                check(obs)
        except Refused as refused:
            raise self._error(refused) from None

    def _call(self, what: str, call: Callable[..., Any], *given: Any) -> Any:
        try:
            return call(*given)
        except UserError:
            raise
        except RaisedElsewhere as error:
            raise EnvironmentFailed(f"{self._where()}: {what}: {error}") from error
        except Exception as error:
            raise EnvironmentFailed(f"{self._where()}: {what} raised {_said(error)}") from error

    def _where(self) -> str:
        return f"environment {self.name}, index {self.index}, step {self.steps:,}"

    def _error(self, refused: Refused) -> UserError:
        at = f", {refused.key}" if refused.key else ""
        remedy = refused.remedy or "return what the space declares, or declare what is returned"
        return UserError(
            f"{self._where()}{at}: expected {refused.expected}, received {refused.received}; "
            f"{remedy}"
        )


def check_start(env: Checked) -> None:
    """Detect common mistakes in an environment before a run begins, by one reset and one step.

    Raises:
      UserError: for an old interface or an observation outside its space, and as for `Checked`.
      EnvironmentFailed: if the environment's own code raises.
    """
    accepted = inspect.signature(env.env.unwrapped.reset).parameters
    anything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in accepted.values())
    if not anything and not {"seed", "options"} <= set(accepted):
        raise UserError(
            f"environment {env.name}: expected reset(self, *, seed=None, options=None), received "
            f"reset({', '.join(accepted)}); add both, and call super().reset(seed=seed)"
        )
    obs, _ = env.reset(seed=0)
    _inside(env, obs)
    env.action_space.seed(0)
    obs, *_ = env.step(env.action_space.sample())
    _inside(env, obs)
    env.steps = 0


def _inside(env: Checked, obs: Any) -> None:
    """Check that every number of an observation is within the bounds of its Box."""
    for path, leaf in _leaves(env.observation_space, ()):
        if isinstance(leaf, spaces.Box):
            value = np.asarray(_at(obs, path))
            if value.dtype.kind == "f":  # 0.7 as float64 is above 0.7 as float32
                with np.errstate(over="ignore"):
                    value = value.astype(leaf.dtype)
            out = (value < leaf.low) | (value > leaf.high)
            if out.any():
                low, high = leaf.low[out].flat[0], leaf.high[out].flat[0]
                raise UserError(
                    f"environment {env.name}, {_name(path)}: expected numbers of {low:g} to "
                    f"{high:g}, received {value[out].flat[0]:g}; widen the observation space"
                )


def _checks(space: spaces.Space[Any], path: tuple[Any, ...]) -> Iterator[Callable[[Any], None]]:
    """One check per supported leaf of a space."""
    for at, leaf in _leaves(space, path):
        if isinstance(leaf, spaces.Box | spaces.MultiBinary):
            yield _array_check(leaf, at)
        elif isinstance(leaf, spaces.Discrete):
            yield _category_check(at, np.array([leaf.start]), np.array([leaf.n]), ())
        elif isinstance(leaf, spaces.MultiDiscrete):
            yield _category_check(at, leaf.start.ravel(), leaf.nvec.ravel(), leaf.nvec.shape)


def _array_check(leaf: spaces.Space[Any], path: tuple[Any, ...]) -> Callable[[Any], None]:
    kind, shape, key = np.dtype(leaf.dtype).kind, leaf.shape, _name(path)
    binary = isinstance(leaf, spaces.MultiBinary)
    accepted = "biu" if binary else kind
    dtype, number = leaf.dtype, kind == "f"
    most = FLOAT32_MOST ** (2 if dtype == np.float64 else 1)

    def check(obs: Any) -> None:
        try:  # fast path: if the sum of squares is in range, so is every number
            value = _at(obs, path)
            if value.dtype == dtype and value.shape == shape and not binary:
                if not number or np.vdot(value, value) <= most:
                    return
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            pass
        value = _array(obs, path, key, shape)
        if value.dtype.kind not in accepted:
            received = KINDS.get(value.dtype.kind, f"{value.dtype}")
            raise Refused(key, f"{KINDS.get(kind, kind)} ({leaf.dtype})", f"{received}")
        if kind == "f" and not np.isfinite(_float32(value)).all():
            raise Refused(
                key,
                "finite numbers within float32's range",
                f"{_first_bad(value)}",
                "replace it where it is made, such as a lidar's inf by its range",
            )
        if binary and (value > 1).any() | (value < 0).any():
            raise Refused(key, "0 or 1 in each place", _short(value))

    return check


def _category_check(
    path: tuple[Any, ...], start: np.ndarray, count: np.ndarray, shape: tuple[int, ...]
) -> Callable[[Any], None]:
    key, last = _name(path), start + count - 1
    least, most = (int(start[0]), int(last[0])) if shape == () else (0, -1)

    def check(obs: Any) -> None:
        value = _found(obs, path)
        if (
            type(value) is not bool
            and isinstance(value, int | np.integer)
            and least <= value <= most
        ):
            return
        value = _array(obs, path, key, shape)
        if value.dtype.kind not in "iu":
            raise Refused(key, "integers", f"{KINDS.get(value.dtype.kind, value.dtype)}")
        flat = value.reshape(-1)
        wrong = (flat < start) | (flat > last)
        if wrong.any():
            place = int(np.flatnonzero(wrong)[0])
            raise Refused(
                key,
                f"a category of {start[place]} to {last[place]}",
                f"{flat[place]}" + (f" in place {place}" if len(flat) > 1 else ""),
            )

    return check


def _found(obs: Any, path: tuple[Any, ...]) -> Any:
    """The value at a path; None if there is none."""
    try:
        return _at(obs, path)
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def _array(obs: Any, path: tuple[Any, ...], key: str, shape: tuple[int, ...] | None) -> np.ndarray:
    """The value at a path, as an array checked to have the given shape."""
    try:
        value = np.asarray(_at(obs, path))
    except (KeyError, IndexError, TypeError, ValueError):
        raise Refused(key, "a value there", _short(obs)) from None
    if value.dtype.kind not in KINDS:
        raise Refused(key, f"numbers of shape {shape}", _short(_at(obs, path)))
    if value.shape != shape:
        raise Refused(key, f"shape {shape}", f"shape {value.shape}")
    return value


def _float32(value: np.ndarray) -> np.ndarray:
    if value.dtype == np.float32:
        return value
    with np.errstate(over="ignore", invalid="ignore"):
        return value.astype(np.float32)


def _first_bad(value: np.ndarray) -> str:
    bad = ~np.isfinite(_float32(value))
    return f"{value[bad].flat[0]:g}" + (f" in {int(bad.sum())} places" if bad.sum() > 1 else "")


def _reward(reward: Any) -> float:
    """The reward as a float, checked to be one finite number."""
    if isinstance(reward, float):
        number: float = reward
    else:
        array = np.asarray(reward)
        if array.dtype.kind not in KINDS or array.size != 1:
            raise Refused("reward", "one number", _short(reward), "return a float")
        number = float(array.reshape(-1)[0])
    if not abs(number) <= FLOAT32_MOST:
        finite = "a finite number within float32's range"
        raise Refused("reward", finite, f"{number:g}", "mend it where it is made")
    return number


def _flag(key: str, value: Any) -> bool:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    array = np.asarray(value)
    if array.dtype.kind not in "biu" or array.size != 1:
        raise Refused(key, "True or False", _short(value), "return a bool")
    return bool(array.reshape(-1)[0])


def _success(info: Any) -> dict[str, Any]:
    """The part of an info dictionary that is used: whether the task was achieved, as a bool."""
    if info and isinstance(info, dict):
        for name in SUCCESS:
            if name in info:
                value: Any = info[name]
                if isinstance(value, bool):
                    return {"success": value}
                if np.size(value) == 1:
                    return {"success": bool(np.reshape(value, -1)[0])}
    return {}


def _leaves(
    space: spaces.Space[Any], path: tuple[Any, ...]
) -> Iterator[tuple[tuple[Any, ...], spaces.Space[Any]]]:
    if isinstance(space, spaces.Dict):
        for key, child in space.spaces.items():
            yield from _leaves(child, (*path, key))
    elif isinstance(space, spaces.Tuple):
        for number, child in enumerate(space.spaces):
            yield from _leaves(child, (*path, number))
    else:
        yield path, space


def _at(obs: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        obs = obs[key]
    return obs


def _name(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path)) or "observation"


def _short(value: Any) -> str:
    """A short description of a value."""
    if isinstance(value, np.ndarray) and value.size > 4:
        return f"an array of shape {value.shape}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}... ({type(value).__name__})"


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
