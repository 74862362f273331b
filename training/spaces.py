"""What a run's model sees and does: the spaces of its environment or data, kept beside the run.

`spaces.json` says what each space is; nothing in it is code. A bound that is null is none.
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
from replay.atomic import write_text
from training.overview import Row, overview

SPACES = "spaces.json"
MOST = 2**24  # numbers of a Box; more are refused before room is made for them


@dataclass(frozen=True)
class Spaces:
    """What a model sees, by name, and what is done."""

    obs: spaces.Dict
    action: Space[Any]
    overview: tuple[Row, ...] = field(default=(), compare=False)
    """How they came about (`overview.py`); none of data, and of runs that recorded none."""
    workers: Workers | None = field(default=None, compare=False)
    """How environments are stepped together, where it was asked."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Per observation: (S, S, C) or (n,)."""
        return {name: tuple(space.shape or ()) for name, space in self.obs.spaces.items()}

    @property
    def width(self) -> int:
        """Floats of an action that is one vector."""
        return int(np.prod(self.action.shape or ()))


def ask(config: TrainConfig, check: bool = False) -> Spaces:
    """Asks one environment.

    Args:
      check: try it as well (`envs.check_agent_env`), and choose its workers.
    Raises:
      UserError: if the name is unknown, its spaces do not fit, or it does not pass the check.
      EnvironmentFailed: where its own code raises.
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
    """Writes `spaces.json` into the directory of a run, unless it is there.

    Raises:
      UserError: for a space that it cannot describe, or if the run recorded others.
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


def read_spaces(run: Path) -> Spaces | None:
    """The spaces that a run recorded; None of an older run, which recorded none.

    Raises:
      UserError: if the file is not one that `keep_spaces` wrote.
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
    """A space as JSON holds it.

    Raises:
      UserError: for another kind than Box, Discrete, MultiDiscrete, MultiBinary, Dict and Tuple.
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
    """The space that `encode` described; ValueError, KeyError or TypeError for anything else."""
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
    """One number where all are the same, else a list of them, row by row."""
    flat = [x.item() if np.isfinite(x) else None for x in values.ravel()]
    return flat[0] if flat and len(set(flat)) == 1 else flat


def _array(bound: Any, shape: tuple[int, ...], dtype: np.dtype, none: float) -> np.ndarray:
    """What `_bound` was given; `none` stands for null."""
    numbers = [none if x is None else x for x in (bound if isinstance(bound, list) else [bound])]
    flat = np.array(numbers, dtype)
    return flat.reshape(shape) if isinstance(bound, list) else np.full(shape, flat[0])


def _unreadable(path: Path, received: str) -> UserError:
    return UserError(
        f"{path}: expected the spaces that a run wrote, received {received}; restore the file, or "
        "move it away, and the environment is asked instead"
    )
