"""MineRL in an interpreter of its own, by a stand-in that fails in every way a game does."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from common import EnvironmentFailed, UserError
from common.entry import user_traceback
from envs import EnvConfig, describe_backend, make_agent_env, make_vector
from envs.minerl import adapter
from envs.navigate import observation_space
from envs.vector import Checked

PACKAGE = """
import json, sys
sys.path.insert(0, sys.argv[1])
import game, gym, minerl
env = gym.make("MineRLNavigateDense-v0")
space, keys = env.action_space, "attack back forward jump left right sneak sprint".split()
acted = game._action(space, {**dict.fromkeys(keys, 1), "camera": [1.5, -15.0], "place": "dirt"})
idle = game._action(space, {**dict.fromkeys(keys, 0), "camera": [0.0, 0.0], "place": "none"})
none = space.no_op()
same = all((idle[key] == none[key]) if key != "camera" else not any(idle[key]) for key in none)
obs = {name: {"kind": x.dtype.str, "value": x.tolist()}
       for name, x in game._arrays(env.observation_space.sample())}
print(json.dumps({"contained": acted in space and idle in space, "nothing": same, "obs": obs}))
"""
STAND_IN = Path(__file__).with_name("old_gym")


def python(folder, trouble="", told=""):
    """An interpreter with the stand-in."""
    path = folder / "python"
    path.write_text(
        f"#!/bin/sh\n{told}\nexport PYTHONPATH='{STAND_IN}' LOG='{folder}' TROUBLE='{trouble}'\n"
        f"exec '{sys.executable}' \"$@\"\n"
    )
    path.chmod(0o755)
    return str(path)


def config(folder, trouble="", timeout=60.0, **changes):
    given = {"minerl_python": python(folder, trouble), "step_timeout": timeout, **changes}
    return EnvConfig("minerl_navigate", **given)


def raw(env):
    while not isinstance(env, Checked):
        env = env.env
    return env


def alive(folder):
    """Which of the processes that were started run: zombies do not."""
    pids = [pid for line in (folder / "pids").read_text().splitlines() for pid in json.loads(line)]
    found = [Path(f"/proc/{pid}/stat") for pid in pids]
    return [place for place in found if place.exists() and " Z " not in place.read_text()]


def gone(folder):
    until = time.monotonic() + 10
    while alive(folder) and time.monotonic() < until:
        time.sleep(0.05)
    return not alive(folder)


def test_navigate_is_played_in_another_interpreter(tmp_path):
    """What goes to old Gym and how its answers come back, whatever it prints."""
    given = config(tmp_path)
    assert describe_backend(given).endswith(f"minerl: in {tmp_path / 'python'}")
    env = raw(make_agent_env(given))
    obs, info = env.reset(seed=4)
    assert env.observation_space.contains(obs) and info == {"success": False}
    assert obs["compass"]["angle"] == -3.5 and obs["inventory"]["dirt"] == 2
    env.action_space.seed(0)
    action = {**env.action_space.sample(), "place": 1}
    steps = [env.step(action) for _ in range(4)]
    assert [obs["pov"].max() for obs, *_ in steps] == [1, 2, 3, 4]
    assert steps[0][1:] == (0.5, False, False, {"success": False})
    assert steps[3][1:] == (100.0, True, False, {"success": True})
    seed, *sent = map(json.loads, (tmp_path / "calls").read_text().splitlines())
    assert seed == 4 and len(sent) == 4
    assert sent[0]["place"] == "dirt" and sent[0]["new"] == 0
    assert sent[0]["camera"] == action["camera"].tolist()
    assert len(alive(tmp_path)) == 3
    env.close()
    assert gone(tmp_path)


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ("raise", "step 3: step: KeyError: 'deep in the game'"),
        ("die", "step 3: step: expected .* its process ended with code 3; .*out of memory"),
        ("hang", r"expected MineRL to answer a step within 1 s \(--env.step-timeout\)"),
        ("late", "expected MineRL to answer a step within 1 s"),
        ("error", "step: ConnectionError: the game failed: Connection timed out!"),
        ("new gym", "step: TypeError: step: expected .*until 0.25, got 5 values"),
        ("frame", "expected a frame of game.py, received a header of"),
        ("word", "TypeError: compass.angle: expected numbers, received 'north'"),
        ("shape", r"step 3, pov: expected shape \(64, 64, 3\), received shape \(32, 32, 3\)"),
        ("kind", "step 3, pov: expected .*integers.*, received"),
    ],
)
def test_whatever_a_game_does_is_one_error_and_nothing_stays(trouble, told, tmp_path, monkeypatch):
    if trouble == "die":  # what it started holds its pipe
        monkeypatch.setattr(adapter, "PATIENCE", 0.2)
    env = raw(make_agent_env(config(tmp_path, trouble)))
    env.reset(seed=0)
    env.unwrapped.game.timeout = 1.0 if trouble in ("hang", "late") else 60.0
    action = env.action_space.sample()
    env.step(action)
    env.step(action)
    with pytest.raises((EnvironmentFailed, UserError), match=told) as stop:
        env.step(action)
    assert "\n" not in str(stop.value)
    if trouble == "raise":
        trace = user_traceback(stop.value)
        assert 'raise KeyError("deep in the game")' in trace and "game.py" not in trace
    if trouble in ("shape", "kind"):  # the game itself goes on
        env.close()
    elif trouble != "die":  # what is started apart by one that has died has no parent any more
        with pytest.raises(EnvironmentFailed, match="expected an open game"):
            env.step(action)
    if trouble == "die":
        _, group, apart = json.loads((tmp_path / "pids").read_text())
        os.kill(apart, 9)
    env.close()
    assert gone(tmp_path)


def test_one_that_does_not_close_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(adapter, "PATIENCE", 0.2)
    env = make_agent_env(config(tmp_path, "no end"))
    env.close()
    assert gone(tmp_path)


def test_a_game_ends_with_the_process_that_started_it(tmp_path):
    """Killed, and so unable to end anything."""
    envs = make_vector(config(tmp_path, workers="async"), 1, seed=0)
    envs.reset()
    os.kill(envs.workers[0].env.processes[0].pid, 9)
    assert gone(tmp_path)
    envs.close()


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("nowhere", "env.minerl_python: expected the path of a Python .*'nowhere', no program"),
        ("true", "true: expected MineRL to answer a start, .* ended with code 0"),
        (sys.executable, "minerl and gym are installed, .*No module named 'minerl'"),
    ],
)
def test_a_program_that_has_no_minerl_is_named(program, told):
    with pytest.raises(UserError, match=told):
        make_agent_env(EnvConfig("minerl_navigate", minerl_python=program))


def test_what_the_package_raises_at_its_start_is_told(tmp_path):
    with pytest.raises(EnvironmentFailed, match="constructor: OSError: no Java here") as stop:
        make_agent_env(config(tmp_path, "start"))
    assert 'raise OSError("no Java here")' in user_traceback(stop.value)
    with pytest.raises(UserError, match=r"Navigate's actions .*minerl 0.4.4, received \['ESC'\]"):
        make_agent_env(config(tmp_path, "actions"))
    assert gone(tmp_path)


def test_the_agent_sees_it_as_the_builtin_one(tmp_path):
    real, ours = make_agent_env(config(tmp_path)), make_agent_env(EnvConfig(backend="builtin"))
    assert real.observation_space == ours.observation_space
    assert real.action_space == ours.action_space
    real.close()
    assert gone(tmp_path)


@pytest.mark.skipif("MINERL_PYTHON" not in os.environ, reason="needs MineRL 0.4.4: docs/minerl.md")
def test_the_package_s_spaces_are_those_that_are_mapped():
    """The real package 0.4.4, without the game: what is no game's is refused before it starts."""
    printed = subprocess.run(
        [os.environ["MINERL_PYTHON"], "-c", PACKAGE, Path(adapter.__file__).parent],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    said = json.loads(printed.splitlines()[-1])
    assert said["contained"] and said["nothing"]
    space = observation_space()
    obs = {key: np.array(value["value"], value["kind"]) for key, value in said["obs"].items()}
    assert obs["pov"].shape == space["pov"].shape and obs["pov"].dtype == space["pov"].dtype
    assert set(obs) == {"pov", *adapter.WIDTHS}
