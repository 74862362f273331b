"""Probe environments: each asks one thing of an agent, and its best return is known.

All share one observation and one action space. Observation: [cue, progress, flag, 1], each in
[-1, 1]. Action: a `level` in [-1, 1] and a `move` of two. Name them `tests.agents.probes:Class`.
Idea: bsuite and the probes of rejax; the questions are those of a semi-MDP.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

Action = dict[str, Any]
Step = tuple[np.ndarray, float, bool, bool, dict[str, Any]]


class Probe(gymnasium.Env[np.ndarray, Action]):
    """An episode of `length` steps with a cue of -1 or 1, each in half of the episodes."""

    observation_space = spaces.Box(-1, 1, (4,), np.float32)
    action_space = spaces.Dict(
        {"level": spaces.Box(-1, 1, (1,), np.float32), "move": spaces.Discrete(2)}
    )
    length: int  # environment steps until the terminal
    best: float  # mean return of the best policy over both cues

    def __init__(self, cue: float | None = None) -> None:
        """With a cue given, it is always this one."""
        self.given = cue

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """A new cue."""
        super().reset(seed=seed)
        self.time, self.flag = 0, 0.0
        self.cue = self.draw_cue()
        return self.observe(), {}

    def step(self, action: Action) -> Step:
        """Terminal at `length`, or when `act` says so."""
        reward, over = self.act(int(action["move"]), float(action["level"][0]))
        self.time += 1
        return self.observe(), reward, over or self.time == self.length, False, {}

    def draw_cue(self) -> float:
        """-1 or 1."""
        return float(self.np_random.choice([-1.0, 1.0])) if self.given is None else self.given

    def observe(self) -> np.ndarray:
        """[cue, progress, flag, 1]."""
        return np.float32([self.cue, 2 * min(self.time / self.length, 1) - 1, self.flag, 1])

    def act(self, move: int, level: float) -> tuple[float, bool]:
        """Reward on arriving at time + 1, and whether the episode is over there."""
        raise NotImplementedError


class OneStep(Probe):
    """One step: 1 for the move that the cue names."""

    length, best = 1, 1.0

    def act(self, move: int, level: float) -> tuple[float, bool]:
        """The level does nothing."""
        return float(move == (self.cue > 0)), False


class Delayed(Probe):
    """The first level decides: low pays 0.3 at once, high 1 after 11 steps, in the third window.

    The flag tells what was done; nothing later matters.
    """

    length, best = 11, 1.0

    def act(self, move: int, level: float) -> tuple[float, bool]:
        """Linear between the two."""
        if self.time == 0:
            self.flag = level
            return 0.3 * (1 - level) / 2, False
        return (1 + self.flag) / 2 * (self.time == self.length - 1), False


class Commit(Probe):
    """Two blocks of 4 steps: the first move of each must be 1, for 1 at its end; the others 0.

    What was chosen at a block's start cannot be mended: a later move of 1 only costs 0.1. A chunk
    whose actions are out of order fails.
    """

    length, best = 8, 2.0

    def act(self, move: int, level: float) -> tuple[float, bool]:
        """The flag tells what was chosen."""
        phase = self.time % 4
        if phase == 0:
            self.flag = 2.0 * move - 1
        reward = float(phase == 3 and self.flag > 0) - 0.1 * (move if phase else 0)
        if phase == 3:
            self.flag = 0.0
        return reward, False


class Exit(Probe):
    """An exit that pays 0.5 and ends all, open for three steps; to stay pays 0.2 × cue a step.

    With a good cue 6 steps are worth 1.2 and the exit is a trap for whoever forgets inside a
    window that nothing follows a terminal; with a bad cue it is the way out.
    """

    length, best = 6, (1.2 + 0.5) / 2

    def act(self, move: int, level: float) -> tuple[float, bool]:
        """Exit by a move of 1."""
        if move and self.time < 3:
            return 0.5, True
        return 0.2 * self.cue, False


class Invest(Probe):
    """Without end: 0.1 a step, or pay 1.6 once for 0.3 a step. To be cut by a time limit.

    In 8 steps to pay is a loss (0.5 against 0.8); with the value of what comes after the limit it
    is worth 4.1 against 2 (γ 0.95). Its best return is that of `LIMIT` steps.
    """

    LIMIT = 24
    length, best = 10**9, -1.6 + 0.3 * (LIMIT - 1)

    def act(self, move: int, level: float) -> tuple[float, bool]:
        """Pay by a move of 1."""
        if self.flag:
            return 0.3, False
        self.flag = float(move)
        return (-1.6 if move else 0.1), False

    def draw_cue(self) -> float:
        """None."""
        return 0.0


class React(Probe):
    """A new cue at every step: 1 a step for the move that it names, and (1 + level) / 2.

    Of a window of 4 steps only the first cue is known at its start: a chunk executed blindly gets
    at most 1 + 3/2 of 4 for its moves, 13 in two windows.
    """

    length, best = 8, 16.0

    def act(self, move: int, level: float) -> tuple[float, bool]:
        """Then the next cue."""
        reward = float(move == (self.cue > 0)) + (1 + level) / 2
        self.cue = self.draw_cue()
        return reward, False
