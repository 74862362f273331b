"""MineRL's Navigate (0.4.4 and 1.0, old Gym, Java) in an interpreter of its own, as Gymnasium's.

`game.py` runs there; here its frames become the spaces of `envs.navigate`, with `place` as a word,
every wait has a limit, and what the game started ends with it. docs/minerl.md says what was run.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread
from typing import Any

import gymnasium
import numpy as np

from common import UserError
from common.errors import RaisedElsewhere
from envs.minerl import game
from envs.navigate.env import PLACE, action_space, observation_space
from envs.navigate.task import FRAMES, GOAL_REWARD

PATIENCE = 10.0
"""Seconds in which a game may close before it is killed."""
PRINTED = 2_000
"""Bytes of what a game prints that an error tells, the last ones."""
WIDTHS = {"compass.angle": np.float32, "inventory.dirt": np.int32}
HELP = "docs/minerl.md explains how to install it"


def missing() -> str | None:
    """Why this interpreter has no MineRL, or None where it has."""
    absent = [name for name in ("minerl", "gym") if importlib.util.find_spec(name) is None]
    return f"not installed: {' and '.join(absent)}" if absent else None


def interpreter(path: str) -> str:
    """A Python, by its path or as the shell finds it.

    Raises:
      UserError: where there is no such program.
    """
    found = shutil.which(Path(path).expanduser())
    if found is None:
        raise UserError(
            "env.minerl_python: expected the path of a Python in which minerl is installed, "
            f"received {path!r}, no program; give another; {HELP}"
        )
    return os.path.abspath(found)


def make(
    python: str | None, timeout: float, dense: bool = False, time_limit: int = FRAMES
) -> gymnasium.Env[Any, Any]:
    """MineRLNavigateDense-v0 or MineRLNavigate-v0.

    Args:
      python: of MineRL; None: this one.
      timeout: seconds for its start, a reset or a frame.
    Raises:
      UserError: where that Python has no MineRL, or one with other actions.
      RaisedElsewhere: where MineRL raises.
    """
    python = sys.executable if python is None else interpreter(python)
    return MineRLEnv(
        Game(python, f"MineRLNavigate{'Dense' if dense else ''}-v0", timeout), time_limit
    )


class Game:
    """A process of MineRL's interpreter with one environment.

    Args:
      python: path of the interpreter, or of a script that hands its arguments to one.
      name: the environment's id there.
      timeout: seconds for each answer.
    """

    def __init__(self, python: str, name: str, timeout: float) -> None:
        self.python, self.timeout, self.printed = python, timeout, b""
        theirs, self.requests = os.pipe()
        self.replies, answers = os.pipe()
        clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        command = [python, "-u", os.path.abspath(game.__file__), str(theirs), str(answers), name]
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs, answers),
                start_new_session=True,  # a group with all that it starts, which no Ctrl-C reaches
                env=clean,
            )
        except OSError as error:
            os.close(self.requests)
            os.close(self.replies)
            raise UserError(
                f"env.minerl_python: expected a Python, received {python}: {error.strerror}; {HELP}"
            ) from error
        finally:
            os.close(theirs)
            os.close(answers)
        self.open = True
        self.listener = Thread(target=self._listen, daemon=True)
        self.listener.start()
        self.hello = self._start()

    def ask(self, what: str, value: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The reply to a request, see `game.py`.

        Raises:
          RaisedElsewhere: where it raises, dies or does not answer in time; then it is ended.
        """
        if not self.open:
            raise RaisedElsewhere(
                "expected an open game, received one that has ended; make another"
            )
        try:
            with suppress(BrokenPipeError):  # that it has ended is told below
                game.send(self.requests, {what: value})
            header, arrays = self._receive(what)
        except BaseException:
            self.end(asked=False)
            raise
        if "error" in header:
            self.end(asked=True)
            raise RaisedElsewhere(header["error"], header["trace"])
        return header, arrays

    def end(self, asked: bool) -> None:
        """Ends the process and all that it started: asked first, where so, to close the game."""
        if not self.open:
            return
        self.open = False
        if asked:
            with suppress(OSError):
                game.send(self.requests, {game.CLOSE: True})
                wait([self.replies], PATIENCE)
        game.kill(game.descendants(self.process.pid))
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.requests, self.replies):
            os.close(pipe)
        self.listener.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _start(self) -> dict[str, Any]:
        """What it says of itself once MineRL is imported."""
        try:
            header, _ = self._receive("start")
        except RaisedElsewhere as error:
            self.end(asked=False)
            raise UserError(f"env.minerl_python: {self.python}: {error}; {HELP}") from None
        except BaseException:
            self.end(asked=False)
            raise
        if "error" in header:
            self.end(asked=False)
            if not header["missing"]:
                raise RaisedElsewhere(header["error"], header["trace"])
            raise UserError(
                "env.minerl_python: expected a Python in which minerl and gym are installed, "
                f"received {self.python}: {header['error']}; {HELP}"
            )
        return header

    def _receive(self, what: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The next frame."""
        until = time.monotonic() + self.timeout

        def ready() -> None:
            if not wait([self.replies], max(0.0, until - time.monotonic())):
                raise RaisedElsewhere(
                    f"expected MineRL to answer a {what} within {self.timeout:g} s "
                    f"(--env.step-timeout), received nothing; raise the limit{self._said()}"
                )

        try:
            return game.receive(self.replies, ready)
        except EOFError:
            raise RaisedElsewhere(
                f"expected MineRL to answer a {what}, received none: its process {self._end()}; "
                f"see what it printed{self._said()}"
            ) from None
        except game.BadFrame as error:
            raise RaisedElsewhere(
                f"expected a frame of {Path(game.__file__).name}, received {error}; nothing else "
                "may write to its pipe"
            ) from None

    def _listen(self) -> None:
        """Keeps the last bytes of what it prints."""
        assert self.process.stdout is not None
        with suppress(OSError, ValueError):  # closed here
            while part := os.read(self.process.stdout.fileno(), 2**16):
                self.printed = (self.printed + part)[-PRINTED:]

    def _said(self) -> str:
        lines = self.printed.decode(errors="replace").split("\n")
        said = " | ".join(line.strip() for line in lines if line.strip())
        return f"; it printed: {said}" if said else ""

    def _end(self) -> str:
        try:
            code = self.process.wait(1.0)
        except subprocess.TimeoutExpired:
            return "closed its pipe"
        self.listener.join(1.0)
        return (
            f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        )


class MineRLEnv(gymnasium.Env[dict[str, Any], dict[str, Any]]):
    """MineRL's Navigate with the spaces of the builtin one. What comes is not cast where that could
    change what it means; whoever steps it checks it against the spaces."""

    def __init__(self, game: Game, time_limit: int) -> None:
        """Adapt `game`; episodes are truncated after `time_limit` frames.

        Raises:
          UserError: where its actions lack one of Navigate's.
        """
        self.game = game
        self.time_limit = time_limit
        self.observation_space = observation_space()
        self.action_space = action_space()
        lacking = set(self.action_space.spaces) - set(game.hello["actions"])
        if lacking:
            game.end(asked=True)
            raise UserError(
                f"expected Navigate's actions {sorted(self.action_space.spaces)} of minerl "
                f"{game.hello['minerl']}, received {sorted(game.hello['actions'])}; "
                "0.4.4 and 1.0 have them"
            )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """A new world; the seed goes to MineRL."""
        super().reset(seed=seed)
        self.frames, self.success = 0, False
        _, arrays = self.game.ask("reset", seed)
        return _observation(arrays), {"success": False}

    def step(
        self, action: dict[str, Any]
    ) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """One frame. The game ends an episode for the goal, for death or for its own time limit."""
        keys = {key: int(value) for key, value in action.items() if key not in ("camera", "place")}
        camera = np.asarray(action["camera"], np.float64).tolist()
        words = {**keys, "camera": camera, "place": PLACE[int(action["place"])]}
        told, arrays = self.game.ask("step", words)
        self.frames += 1
        # A dense frame is worth a few blocks at most, so only the goal can pay half its reward.
        self.success |= told["reward"] > GOAL_REWARD / 2
        late = self.frames >= self.time_limit or told["truncated"]
        terminated = told["done"] and (self.success or not late)
        info = {"success": self.success}
        return _observation(arrays), told["reward"], terminated, late and not terminated, info

    def close(self) -> None:
        """Stop the game."""
        self.game.end(asked=True)


def _observation(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Arrays by dotted name as Navigate nests them, single numbers with its widths."""
    obs: dict[str, Any] = {}
    for name, found in arrays.items():
        array = found.astype(WIDTHS[name]) if name in WIDTHS else found
        outer, _, inner = name.partition(".")
        obs.update({outer: {**obs.get(outer, {}), inner: array}} if inner else {outer: array})
    return obs
