"""The program that MineRL's own interpreter runs: one environment of old Gym behind two pipes.

    PYTHON game.py REQUESTS REPLIES ID         file descriptors of the pipes, the environment's id

It is written for Python 3.7 with numpy, gym and minerl, and imports nothing else of this project.
`adapter.py`, at the other end of the pipes, uses its `send` and `receive`.

A frame consists of the header's length in 4 bytes, big-endian; the header, JSON in UTF-8; and the
arrays, in C order, that the header's `arrays` lists as [name, dtype, shape]. Every request has one
reply:

| request | reply |
|---|---|
| none: the program has started | `python`, `minerl`, `gym`: versions; `actions`: spaces by name |
| `reset`: a seed or null | the observation's arrays |
| `step`: an action, by name | the same, with `reward`, `done`, `truncated` |

A reply with `error`, one line, and `trace`, a traceback, reports an exception; its `missing` says
whether minerl or gym is not installed. The request `close`, or the end of the requests, ends the
program.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import signal
import struct
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

HEADER, ARRAY = 2**20, 2**26
"""Largest header and largest array, in bytes."""
TRACE = 20_000
"""Number of characters of a traceback that are reported, counted from its end."""
CLOSE = "close"


class BadFrame(Exception):
    """Raised if what came through a pipe is not a frame."""


def send(pipe: int, header: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> None:
    """Write a frame: a header, and arrays by name."""
    arrays = {} if arrays is None else arrays
    listed = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    head = json.dumps(dict(header, arrays=listed)).encode()
    parts = [struct.pack(">I", len(head)), head, *(array.tobytes() for array in arrays.values())]
    left = memoryview(b"".join(parts))
    while left:
        left = left[os.write(pipe, left) :]


def receive(
    pipe: int, ready: Callable[[], None] = lambda: None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read a frame: its header, and its arrays by name.

    Args:
      pipe: a file descriptor.
      ready: called before every read; returns when there is something to read, or raises.
    Raises:
      EOFError: if the other end is closed.
      BadFrame: if anything other than a frame comes.
    """
    (length,) = struct.unpack(">I", _exactly(pipe, 4, ready))
    if length > HEADER:
        raise BadFrame(f"a header of {length} bytes")
    text = _exactly(pipe, length, ready)
    try:
        header = json.loads(text.decode())
        listed = [(name, np.dtype(kind), tuple(shape)) for name, kind, shape in header["arrays"]]
    except (ValueError, TypeError, KeyError) as error:
        raise BadFrame(f"a header that says {bytes(text)!r:.60}") from error
    arrays = {}
    for name, kind, shape in listed:
        size = reduce(lambda x, y: x * y, shape, kind.itemsize)
        if kind.kind not in "biuf" or not 0 <= size <= ARRAY:
            raise BadFrame(f"{name}: {kind} of shape {shape}")
        arrays[name] = np.frombuffer(_exactly(pipe, size, ready), kind).reshape(shape)
    return header, arrays


def _exactly(pipe: int, count: int, ready: Callable[[], None]) -> bytearray:
    """Read exactly ``count`` bytes."""
    data = bytearray()
    while len(data) < count:
        ready()
        part = os.read(pipe, count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def descendants(pid: int) -> list[int]:
    """All descendants of a process, from Linux's /proc; on other systems, none are found."""
    children: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
        except (OSError, IndexError):  # the process has ended
            continue
        children.setdefault(parent, []).append(int(place.name))
    found: list[int] = []
    new = [pid]
    while new:
        new = [child for parent in new for child in children.get(parent, ())]
        found += new
    return found


def kill(pids: list[int]) -> None:
    """Kill processes; those that have already ended are ignored."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass


def serve(requests: int, replies: int, name: str) -> None:
    """Answer requests until `close`."""
    inbox: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_listen, args=(requests, inbox), daemon=True).start()
    try:
        env, hello = _made(name)
        send(replies, hello)
    except BaseException as error:
        send(replies, _told(error))
        raise
    while True:
        request = inbox.get()
        if CLOSE in request:
            env.close()
            return
        try:
            reply = _answer(env, request)
        except Exception as error:  # noqa: BLE001 - the reply reports it
            reply = _told(error), {}
        send(replies, *reply)


def _listen(requests: int, inbox: queue.Queue[dict[str, Any]]) -> None:
    """Put requests into the inbox; when they end, kill this program and all that it started."""
    try:
        while True:
            inbox.put(receive(requests)[0])
    except (EOFError, OSError):
        kill(descendants(os.getpid()))
        os.killpg(0, signal.SIGKILL)


def _made(name: str) -> tuple[Any, dict[str, Any]]:
    """Make the environment, and the first reply, which describes it."""
    minerl, gym = importlib.import_module("minerl"), importlib.import_module("gym")
    env = gym.make(name)
    spaces = getattr(env.action_space, "spaces", {})
    return env, {
        "python": sys.version.split()[0],
        "minerl": _version(minerl),
        "gym": _version(gym),
        "actions": {key: str(space) for key, space in spaces.items()},
        "observations": str(env.observation_space),
    }


def _version(module: Any) -> str:
    """A package's version, according to the package itself or to pip."""
    told = getattr(module, "__version__", None)
    if told is None:
        resources = importlib.import_module("pkg_resources")
        try:
            told = resources.get_distribution(module.__name__).version
        except resources.DistributionNotFound:
            told = "unknown"
    return str(told)


def _answer(env: Any, request: dict[str, Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Carry out a request, and return the reply's header and arrays."""
    if "reset" in request:
        if request["reset"] is not None:
            env.seed(request["reset"])
        return {}, dict(_arrays(env.reset()))
    found = env.step(_action(env.action_space, request["step"]))
    if not (isinstance(found, tuple) and len(found) == 4):
        told = f"{len(found)} values" if isinstance(found, tuple) else repr(found)[:60]
        raise TypeError(
            f"step: expected (observation, reward, done, info), as gym had until 0.25, got {told}"
        )
    obs, reward, done, info = found
    if "error" in info:  # set by MineRL; the observation that comes with it is random
        raise ConnectionError("the game failed: {}".format(info["error"]))
    limit = bool(info.get("TimeLimit.truncated", False))
    return (
        {"reward": float(reward), "done": bool(done), "truncated": limit},
        dict(_arrays(obs)),
    )


def _action(space: Any, given: dict[str, Any]) -> Any:
    """Convert an action to the environment's space; keys that are not given do nothing."""
    action = space.no_op()
    for key, value in given.items():
        action[key] = np.asarray(value, np.float32) if isinstance(value, list) else value
    return action


def _arrays(obs: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, np.ndarray]]:
    """All arrays of an observation, each with its dotted name."""
    if hasattr(obs, "items"):
        for key, value in obs.items():
            yield from _arrays(value, (*path, key))
        return
    array = np.asarray(obs)
    if array.dtype.kind not in "biuf":
        where = ".".join(path) or "observation"
        raise TypeError(f"{where}: expected numbers, received {obs!r:.60}")
    yield ".".join(path), array


def _told(error: BaseException) -> dict[str, Any]:
    """Report an error as a reply; its traceback begins after this file's own lines."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    trace = "".join(traceback.format_exception(type(error), error, frames))
    line = " ".join(f"{type(error).__name__}: {error}".split())
    missing = isinstance(error, ModuleNotFoundError) and error.name in ("minerl", "gym")
    return {"error": line[:1_000], "trace": trace[-TRACE:], "missing": missing}


if __name__ == "__main__":
    del sys.path[0]  # this file's folder
    try:
        serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
    finally:
        kill(descendants(os.getpid()))
