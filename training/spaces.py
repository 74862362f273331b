"""The observation and action spaces of a run's environment or data, stored with the run.

`spaces.json` describes each space; it contains no code. A null bound means unbounded.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import Space, spaces

from common import UserError, dump_json, read_json
from configs.schema import TrainConfig
from envs import check_agent_env, choose_workers, make_agent_env
from envs.config import Workers
from envs.spaces import STRETCHED
from replay.atomic import write_text
from training.overview import Row, overview

SPACES = "spaces.json"
MOST = 2**24  # numbers of a Box, at most; more are refused before memory is allocated


@dataclass(frozen=True)
class Spaces:
    """A model's observation spaces, by name, and its action space."""

    obs: spaces.Dict
    action: Space[Any]
    overview: tuple[Row, ...] = field(default=(), compare=False)
    """How the spaces were derived (`overview.py`); empty for older runs that did not record it."""
    workers: Workers | None = field(default=None, compare=False)
    """How environments are stepped together; None if it was not determined."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each observation: (S, S, C) or (n,)."""
        return {name: tuple(space.shape or ()) for name, space in self.obs.spaces.items()}

    @property
    def width(self) -> int:
        """Number of floats of an action that is a single vector."""
        return int(np.prod(self.action.shape or ()))


def ask(config: TrainConfig, check: bool = False) -> Spaces:
    """Create one environment and query its spaces.

    Args:
      check: also check the environment (`envs.check_agent_env`), and choose its workers.
    Raises:
      UserError: if the name is unknown, its spaces are not supported, or it fails the check.
      EnvironmentFailed: if its own code raises.
    """
    env = make_agent_env(config.env)
    obs, action = env.observation_space, env.action_space
    workers: Workers | None = None
    try:
        rows = overview(env, config)
        if check:
            check_agent_env(env, config.env)
            workers, why = choose_workers(env, config.env)
            rows = (*rows, ("workers", f"{workers}: {why}"))
    finally:
        env.close()
    assert isinstance(obs, spaces.Dict)
    return Spaces(obs, action, rows, workers)


def keep_spaces(run: Path, found: Spaces) -> None:
    """Write `spaces.json` into the directory of a run, unless it exists.

    Raises:
      UserError: if a space cannot be described, or the run recorded other spaces, or pictures that
        were not stretched.
    """
    recorded = read_spaces(run)
    if recorded is None:
        tree: dict[str, Any] = {"observation": encode(found.obs), "action": encode(found.action)}
        tree["overview"] = [list(row) for row in found.overview]
        write_text(run / SPACES, dump_json(tree) + "\n")
    elif recorded != found:
        raise UserError(
            f"{run}: expected the spaces that the run began with, {recorded}, received {found}; "
            "restore that environment or data, or choose another --logdir"
        )
    elif newly := _newly_stretched(dict(recorded.overview), found.overview):
        raise UserError(
            f"{run}: expected pictures as they were when the run began, received {newly}, which "
            "this version stretches to 0..255; resume with the version that versions.json names, "
            "or choose another --logdir"
        )


def _newly_stretched(before: dict[str, str], rows: tuple[Row, ...]) -> str:
    """Pictures whose numbers are stretched, though those of the recorded run were not."""
    new = [name for name, text in rows if STRETCHED in text]
    return ", ".join(name for name in new if STRETCHED not in before.get(name, ""))


def read_spaces(run: Path) -> Spaces | None:
    """Read the spaces that a run recorded; None for an older run, which recorded none.

    Raises:
      UserError: if `keep_spaces` did not write the file.
    """
    path = run / SPACES
    if not path.is_file():
        return None
    try:
        tree = read_json(path)
        obs, action = decode(tree["observation"]), decode(tree["action"])
        if isinstance(obs, spaces.Dict):
            rows = [(str(name), str(text)) for name, text in tree.get("overview", [])]
            return Spaces(obs, action, tuple(rows))
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise _unreadable(path, repr(error)) from error
    raise _unreadable(path, str(obs))


def encode(space: Space[Any]) -> dict[str, Any]:
    """Encode a space for JSON.

    Raises:
      UserError: unless it is a Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple.
    """
    kind: dict[str, Any]
    match space:
        case spaces.Box():
            bounds = {"low": _bound(space.low), "high": _bound(space.high)}
            kind = {"shape": list(space.shape), "dtype": str(space.dtype)}
            return {"type": "Box", **kind, **bounds}
        case spaces.Discrete():
            kind = {"n": int(space.n), "start": int(space.start), "dtype": str(space.dtype)}
            return {"type": "Discrete", **kind}
        case spaces.MultiDiscrete():
            kind = {"nvec": space.nvec.tolist(), "start": np.asarray(space.start).tolist()}
            return {"type": "MultiDiscrete", **kind, "dtype": str(space.dtype)}
        case spaces.MultiBinary():
            return {"type": "MultiBinary", "n": np.asarray(space.n).tolist()}
        case spaces.Dict():
            parts = [[name, encode(part)] for name, part in space.spaces.items()]
            return {"type": "Dict", "parts": parts}
        case spaces.Tuple():
            return {"type": "Tuple", "parts": [encode(part) for part in space.spaces]}
    raise UserError(
        f"space: expected Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple, received "
        f"{space}; wrap the environment so that it has these"
    )


def decode(tree: Any) -> Space[Any]:
    """Decode a space from `encode`; raises ValueError, KeyError or TypeError for anything else."""
    match tree["type"]:
        case "Box":
            dtype, shape = np.dtype(tree["dtype"]), tuple(tree["shape"])
            if math.prod(shape) > MOST:
                raise UserError(f"space: expected at most {MOST:,} numbers, received {shape}")
            low = _array(tree["low"], shape, dtype, -np.inf)
            high = _array(tree["high"], shape, dtype, np.inf)
            return spaces.Box(low, high, shape, dtype.type)
        case "Discrete":
            return spaces.Discrete(tree["n"], start=tree["start"], dtype=tree["dtype"])
        case "MultiDiscrete":
            return spaces.MultiDiscrete(tree["nvec"], dtype=tree["dtype"], start=tree["start"])
        case "MultiBinary":
            return spaces.MultiBinary(tree["n"])
        case "Dict":
            return spaces.Dict([(name, decode(part)) for name, part in tree["parts"]])
        case "Tuple":
            return spaces.Tuple([decode(part) for part in tree["parts"]])
    raise UserError(f"space: expected a kind that is known, received {tree['type']!r}")


def _bound(values: np.ndarray) -> Any:
    """One number if all are the same, else a flat list in row-major order."""
    flat = [x.item() if np.isfinite(x) else None for x in values.ravel()]
    return flat[0] if flat and len(set(flat)) == 1 else flat


def _array(bound: Any, shape: tuple[int, ...], dtype: np.dtype, none: float) -> np.ndarray:
    """The inverse of `_bound`; `none` replaces null."""
    numbers = [none if x is None else x for x in (bound if isinstance(bound, list) else [bound])]
    flat = np.array(numbers, dtype)
    return flat.reshape(shape) if isinstance(bound, list) else np.full(shape, flat[0])


def _unreadable(path: Path, received: str) -> UserError:
    return UserError(
        f"{path}: expected the spaces that a run wrote, received {received}; restore the file, or "
        "move it away, and the environment is asked instead"
    )
