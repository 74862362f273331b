"""A name that a file gives makes what is registered, and runs nothing else."""

import sys
from pathlib import Path

import pytest

from common import UserError
from envs import EnvConfig, as_said, check_named, placed, said_again

RUN = Path("a run")
PENDULUM = "gymnasium.envs.classic_control.pendulum:PendulumEnv"


@pytest.mark.parametrize(
    "config",
    [
        EnvConfig("minerl_navigate", options={"goal_distance": "16"}),
        EnvConfig("gym:CartPole-v1"),
        EnvConfig("gym:FrozenLake-v1", options={"map_name": "8x8", "is_slippery": "False"}),
        EnvConfig("pure:pendulum"),
        EnvConfig("dmc:walker_walk"),
        EnvConfig(PENDULUM, options={"g": "-3.0e0"}),
    ],
    ids=lambda config: config.name,
)
def test_what_is_registered_is_made(config):
    __import__("gymnasium.envs.classic_control.pendulum")
    check_named(config, None, RUN)
    assert said_again(config) == ()


@pytest.mark.parametrize(
    "config",
    [
        EnvConfig("os:system", options={"command": "true"}),
        EnvConfig("subprocess:Popen"),
        EnvConfig("gymnasium:make", options={"id": "CartPole-v1"}),  # a factory function
        EnvConfig("gymnasium.spaces:Box"),
        EnvConfig("envs.vector:make_vector"),
        EnvConfig("no_such_module:Env"),
        EnvConfig("gym:os:Nothing-v0"),  # gymnasium.make imports what stands before the colon
        EnvConfig("gym:Nothing-v0"),
        EnvConfig("module.of.a.stranger:Env"),
        EnvConfig("config.json"),
        EnvConfig(":"),
        EnvConfig(""),
        EnvConfig("minerl_navigate", minerl_python="a/program"),
        EnvConfig("gym:Ant-v5", options={"xml_file": "../model.xml"}),
        EnvConfig("gym:CartPole-v1", options={"render_mode": "['/a/path']"}),
        EnvConfig("gym:CartPole-v1", options={"x": "module:Name"}),
    ],
    ids=lambda config: f"{config.name}{''.join(config.options)}",
)
def test_what_could_run_code_is_made_only_where_the_user_says_it(config):
    loaded = set(sys.modules)
    with pytest.raises(UserError, match="a run: expected .*, received .*: --env ") as stop:
        check_named(config, None, RUN)
    assert str(stop.value).endswith(f"--env {config.name}")
    assert set(sys.modules) == loaded
    check_named(config, config.name, RUN)
    assert said_again(config) == ("--env", config.name)


def test_another_name_than_the_run_s_is_refused():
    with pytest.raises(UserError, match="'gym:CartPole-v1', the environment of a run, received 'x"):
        check_named(EnvConfig("gym:CartPole-v1"), "x:Y", RUN)


def test_a_file_of_the_user_s_own_is_made_from_the_path_that_they_give(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mine.py").touch()
    monkeypatch.chdir(tmp_path)
    absolute = f"{tmp_path}/mine.py:Mine"
    assert placed("mine.py:Mine") == placed("elsewhere/../mine.py:Mine") == absolute
    assert placed("none.py:Mine") == "none.py:Mine" and placed("mine.py") == "mine.py"
    for recorded in ("mine.py:Mine", "/of a stranger/mine.py:Mine"):
        assert as_said(EnvConfig(recorded), "mine.py:Mine", RUN).name == absolute
    check_named(EnvConfig(absolute), "mine.py:Mine", RUN)
    monkeypatch.chdir("elsewhere")
    assert as_said(EnvConfig("mine.py:Mine"), "../mine.py:Mine", RUN).name == absolute
    for other in ("../mine.py:Other", "../its.py:Mine", "mine:Mine"):
        with pytest.raises(UserError, match="expected 'mine.py:Mine', the environment of a run"):
            as_said(EnvConfig("mine.py:Mine"), other, RUN)
    with pytest.raises(UserError, match="which names code from elsewhere"):
        as_said(EnvConfig("../mine.py:Mine"), None, RUN)
