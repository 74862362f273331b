"""MineRL's Navigate (0.4.4 and 1.0, old Gym, Java) in a separate interpreter, as a Gymnasium one.

`game.py` runs in that interpreter. This module maps its frames to the spaces of `envs.navigate`,
sends `place` as a word, limits every wait, and ends all processes that the game started together
with it. docs/minerl.md lists what has been run.
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
from envs.own import Limited

PATIENCE = 10.0
"""Seconds that a game has to close before it is killed."""
PRINTED = 2_000
"""Number of last bytes of a game's output that error messages quote."""
WIDTHS = {"compass.angle": np.float32, "inventory.dirt": np.int32}
HELP = "docs/minerl.md explains how to install it"


def missing() -> str | None:
    """Why MineRL cannot be imported in this interpreter; None if it can."""
    absent = [name for name in ("minerl", "gym") if importlib.util.find_spec(name) is None]
    return f"not installed: {' and '.join(absent)}" if absent else None


def interpreter(path: str) -> str:
    """Absolute path of a Python, given by its path or by a name on PATH.

    Raises:
      UserError: if there is no such program.
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
    """Make MineRLNavigateDense-v0 or MineRLNavigate-v0.

    Args:
      python: the Python that has MineRL; None: this one.
      timeout: seconds allowed for its start, a reset or a frame.
    Raises:
      UserError: if that Python has no MineRL, or one with other actions.
      RaisedElsewhere: if MineRL raises.
    """
    python = sys.executable if python is None else interpreter(python)
    return MineRLEnv(
        Game(python, f"MineRLNavigate{'Dense' if dense else ''}-v0", timeout), time_limit
    )


class Game:
    """A process of MineRL's interpreter that runs one environment.

    Args:
      python: path of the interpreter, or of a script that passes its arguments to one.
      name: MineRL's id of the environment.
      timeout: seconds allowed for each reply.
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
                start_new_session=True,  # one group with its children, out of reach of Ctrl-C
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
        """Send a request and return the reply; see `game.py`.

        Raises:
          RaisedElsewhere: if the game raises, dies or does not answer in time; it is then ended.
        """
        if not self.open:
            raise RaisedElsewhere(
                "expected an open game, received one that has ended; make another"
            )
        try:
            with suppress(BrokenPipeError):  # `_receive` reports that it has ended
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
        """End the process and its children; if ``asked``, request that it close the game first."""
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
        """Wait until MineRL is imported; return the header that the process then sends."""
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
        """Receive the next message."""
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
        """Keep the last bytes of the process's output."""
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


class MineRLEnv(Limited, gymnasium.Env[dict[str, Any], dict[str, Any]]):
    """MineRL's Navigate with the spaces of the builtin one. Arrays are not cast if that could
    change their meaning; the caller must check them against the spaces."""

    def __init__(self, game: Game, time_limit: int) -> None:
        """Adapt `game`; episodes are truncated after `time_limit` frames.

        Raises:
          UserError: if its actions lack one of Navigate's.
        """
        self.game = game
        self.time_limit: int = time_limit
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
        """Start a new world; the seed is passed to MineRL."""
        super().reset(seed=seed)
        self.frames, self.success = 0, False
        _, arrays = self.game.ask("reset", seed)
        return _observation(arrays), {"success": False}

    def step(
        self, action: dict[str, Any]
    ) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Step one frame. The game ends an episode at the goal, on death or at its time limit."""
        keys = {key: int(value) for key, value in action.items() if key not in ("camera", "place")}
        camera = np.asarray(action["camera"], np.float64).tolist()
        words = {**keys, "camera": camera, "place": PLACE[int(action["place"])]}
        told, arrays = self.game.ask("step", words)
        self.frames += 1
        # A dense reward is a few blocks per frame at most; only the goal pays half its reward.
        self.success |= told["reward"] > GOAL_REWARD / 2
        late = self.frames >= self.time_limit or told["truncated"]
        terminated = told["done"] and (self.success or not late)
        info = {"success": self.success}
        return _observation(arrays), told["reward"], terminated, late and not terminated, info

    def close(self) -> None:
        """Stop the game."""
        self.game.end(asked=True)


def _observation(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Nest arrays by their dotted names as Navigate does, and give scalars its dtypes."""
    obs: dict[str, Any] = {}
    for name, found in arrays.items():
        array = found.astype(WIDTHS[name]) if name in WIDTHS else found
        outer, _, inner = name.partition(".")
        obs.update({outer: {**obs.get(outer, {}), inner: array}} if inner else {outer: array})
    return obs
