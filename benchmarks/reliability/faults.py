"""An environment that goes wrong at a random step in a random way, under a random wrapper.

What must hold: the fault is reported with environment, index and step, none of its records reach
the agent, and all records before it do.
"""

import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from benchmarks.reliability.trial import Case, Checks
from common import EnvironmentFailed, UserError
from envs import EnvConfig, make_vector

LAST = 30  # steps by which every fault has occurred


class Faulty(gymnasium.Env[Any, Any]):
    """An environment that has the fault named ``fault`` from step ``at`` on."""

    observation_space = spaces.Dict(
        near=spaces.Box(-np.inf, np.inf, (3,), np.float32),
        kind=spaces.Discrete(4),
        parts=spaces.MultiDiscrete([2, 5]),
        bits=spaces.MultiBinary(3),
        image=spaces.Box(0, 255, (8, 8, 3), np.uint8),
    )
    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, fault: str, at: int, length: int):
        self.fault, self.at, self.length, self.steps, self.time = fault, at, length, 0, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        super().reset(seed=seed)
        self.time = 0
        return self._seen(), {}

    def step(self, action: Any) -> Any:
        self.steps, self.time = self.steps + 1, self.time + 1
        found = [self._seen(), 1.0, False, self.time >= self.length, {"ragged": [[1], [1, 2]]}]
        return tuple(FAULTS[self.fault](found)) if self.steps >= self.at else tuple(found)

    def _seen(self) -> dict[str, Any]:
        return {
            "near": np.full(3, self.time / 100, np.float32),
            "kind": self.time % 4,
            "parts": np.array([self.time % 2, self.time % 5]),
            "bits": np.array([1, 0, self.time % 2], np.int8),
            "image": np.full((8, 8, 3), self.time, np.uint8),
        }


def _with(place: int, **given: Any) -> Callable[[list[Any]], list[Any]]:
    """A fault that replaces one of `step`'s return values; at place 0, keys of the observation."""

    def changed(found: list[Any]) -> list[Any]:
        other = found[0] | given if place == 0 else given["value"]
        return [*found[:place], other, *found[place + 1 :]]

    return changed


def _raises(error: Exception) -> Callable[[list[Any]], list[Any]]:
    def raised(found: list[Any]) -> list[Any]:
        raise error

    return raised


FAULTS: dict[str, Callable[[list[Any]], list[Any]]] = {
    "nan": _with(0, near=np.array([0, np.nan, 0], np.float32)),
    "inf": _with(0, near=np.array([0, 0, -np.inf], np.float32)),
    "above float32": _with(0, near=np.array([1e300, 0, 0])),
    "longer": _with(0, near=np.zeros(4, np.float32)),
    "integers for floats": _with(0, near=np.array([1, 2, 3])),
    "none": _with(0, near=None),
    "category below": _with(0, kind=-1),
    "category above": _with(0, kind=4),
    "category of a part": _with(0, parts=np.array([0, 5])),
    "no bit": _with(0, bits=np.array([2, 0, 0], np.int8)),
    "floats for bytes": _with(0, image=np.zeros((8, 8, 3))),
    "channels first": _with(0, image=np.zeros((3, 8, 8), np.uint8)),
    "no observation": _with(0, near="text"),
    "nan reward": _with(1, value=float("nan")),
    "inf reward": _with(1, value=np.float32(np.inf)),
    "no reward": _with(1, value=None),
    "two rewards": _with(1, value=np.array([1.0, 2.0])),
    "terminated none": _with(2, value=None),
    "truncated text": _with(3, value="no"),
    "four values": lambda found: found[:2] + found[3:],
    "one value": lambda found: found[:1],
    "value error": _raises(ValueError("deep inside")),
    "type error": _raises(TypeError("deep inside")),
    "runtime error": _raises(RuntimeError("simulator lost")),
    "key error": _raises(KeyError("deep inside")),
}


OBSERVED = list(FAULTS)[: list(FAULTS).index("nan reward")]
"""The faults of an observation."""


def fault(rng: Random, place: Path, checks: Checks) -> None:
    """Step environments until one goes wrong, and check records and error."""
    which, at = rng.choice(list(FAULTS)), rng.randrange(1, LAST)
    repeat, count = rng.choice([1, 1, 3]), rng.choice([1, 3])
    options = {"fault": repr(which), "at": str(at), "length": str(rng.randrange(3, 20))}
    name = f"{__name__}:Faulty"
    checks.tell(f"{which} at {at}, {options['length']} steps, repeat {repeat}, {count} of them")
    envs = make_vector(
        EnvConfig(name, action_repeat=repeat, options=options, image_size=32), count, seed=0
    )
    try:
        obs, _ = envs.reset()
        told, steps = None, 0
        while told is None and steps <= 3 * LAST:
            steps += 1
            try:
                obs, reward, *_ = envs.step(envs.action_space.sample())
            except (UserError, EnvironmentFailed) as error:
                told = error
                break
            checks("records", _right(obs) and bool(np.isin(reward, range(repeat + 1)).all()), obs)
    finally:
        envs.close()
    checks("records", _right(obs), obs)
    line = str(told)
    found = re.match(rf"environment {re.escape(name)}, index 0, step (\d+)[:,]", line)
    at_once = which not in OBSERVED  # only the last frame's observation is seen
    late = 0 if found is None else int(found[1]) - at
    checks("told", found is not None and 0 <= late < (1 if at_once else repeat), line)
    checks("told", "\n" not in line, line)
    cause = told.__cause__ if isinstance(told, EnvironmentFailed) else None
    raised = which.endswith("error")
    checks("cause", (cause is not None) == raised, repr(told))


def _right(obs: dict[str, np.ndarray]) -> bool:
    """Whether all that the agent saw is finite and among the numbers that `Faulty` returns."""
    near = obs["near"]
    return bool(np.isfinite(near).all() and (near < 1).all() and (near >= 0).all())


CASES = (
    Case(
        "environment goes wrong",
        "one line with environment, index and step; nothing of it reaches the agent",
        frozenset({"records", "told", "cause"}),
        fault,
        times=20,
    ),
)
