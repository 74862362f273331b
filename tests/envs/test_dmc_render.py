"""DeepMind Control's pictures: drawn without a screen, like dm_control's own, or not asked for."""

import ctypes.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from envs import EnvConfig, make, make_agent_env, make_vector
from envs.dmc_render import gl_context, gl_library

ROOT = Path(__file__).resolve().parents[2]


def undrawable():
    """Why no picture can be drawn here, or None."""
    try:
        gl_context(8).free()
    except ValueError as error:
        return str(error)
    return None


needs_gl = pytest.mark.skipif(undrawable() is not None, reason=str(undrawable()))


def python(code, **variables):
    """A program in an interpreter of its own; no MUJOCO_GL unless given, nor what drawing sets."""
    left_out = ("MUJOCO_GL", "PYOPENGL_PLATFORM")
    inherited = {k: v for k, v in os.environ.items() if k not in left_out}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env={**inherited, "PYTHONPATH": str(ROOT), **variables},
        text=True,
        capture_output=True,
    )


STATE = """
from envs import make
env = make("dmc:walker_walk")
env.reset(seed=0)
print(env.step(env.action_space.sample())[1])
import os, sys
assert not any(name.startswith("OpenGL") for name in sys.modules)
assert "PYOPENGL_PLATFORM" not in os.environ
print(os.environ.get("MUJOCO_GL", "unset"))
"""


@pytest.mark.parametrize(
    ("variables", "left"), [({"MUJOCO_GL": "disable"}, "disable"), ({}, "unset")]
)
def test_state_touches_no_graphics_library(variables, left):
    run = python(STATE, **variables)
    assert run.returncode == 0 and run.stdout.split()[1] == left, run.stderr


DRAW = """
from envs import make
env = make("dmc:walker_walk", render_mode="rgb_array")
env.reset(seed=0)
env.render()
"""


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"MUJOCO_GL": "disable"}, "expected MUJOCO_GL egl, osmesa or unset for pixels"),
        ({"MUJOCO_GL": "disk"}, "expected MUJOCO_GL that can be used, received 'disk'"),
    ],
)
def test_settings_that_rule_pictures_out_are_named(variables, message):
    run = python(DRAW, **variables)
    assert run.returncode == 1 and f"UserError: {message}" in run.stderr


def test_without_a_graphics_library_pixels_name_the_packages(monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    config = EnvConfig(name="dmc:walker_walk", pixels=True)
    with pytest.raises(ValueError, match="apt install libegl1 .* libosmesa6") as caught:
        make_agent_env(config)
    assert "\n" not in str(caught.value)
    make_agent_env(EnvConfig(name="dmc:walker_walk"))


def test_a_task_that_draws_while_it_resets_says_so():
    code = 'from envs import make; make("dmc:quadruped_escape").reset(seed=0)'
    run = python(code, MUJOCO_GL="disable")
    assert "UserError: expected a graphics library, which this task needs" in run.stderr


@pytest.mark.parametrize("name", ["minerl_navigate", "envs.navigate:NavigateEnv"])
def test_pixels_are_for_environments_that_draw_them(name):
    with pytest.raises(ValueError, match="leave out --env.pixels"):
        make_agent_env(EnvConfig(name=name, pixels=True))


@needs_gl
def test_pixels_are_an_image_of_the_agents_size_that_moves(monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    config = EnvConfig(name="dmc:cartpole_swingup", pixels=True, image_size=32, action_repeat=2)
    envs = make_vector(config, 2, seed=0)
    try:
        first = envs.reset()[0]["image"].copy()
        assert first.shape == (2, 32, 32, 3) and first.dtype == np.uint8
        assert first.std() > 10 and not np.array_equal(*first)
        for _ in range(5):
            obs, *_ = envs.step(np.ones((2, 1), np.float32))
        assert list(obs) == ["image"] and not np.array_equal(obs["image"], first)
    finally:
        envs.close()


@needs_gl
def test_the_same_seed_draws_the_same_pictures():
    def picture(task, **options):
        env = make(f"dmc:{task}", render_mode="rgb_array", **options)
        env.reset(seed=4)
        image = env.render()
        env.close()
        return image

    np.testing.assert_array_equal(picture("finger_spin"), picture("finger_spin"))
    assert not np.array_equal(picture("finger_spin"), picture("finger_spin", camera=1))
    assert picture("finger_spin", size=20, camera=-1).shape == (20, 20, 3)
    assert make("dmc:finger_spin").render() is None
    assert make("dmc:quadruped_run").camera == 2 and make("dmc:finger_spin").camera == 0


TWIN = """
import numpy as np
from envs import make
for task in ("walker_walk", "quadruped_walk"):
    env = make(f"dmc:{task}", render_mode="rgb_array", size=48)
    env.reset(seed=0)
    ours, physics = env.render(), env.dm_env.physics
    flags = {"shadow": False, "reflection": False}
    theirs = physics.render(48, 48, camera_id=env.camera, render_flag_overrides=flags)
    np.testing.assert_array_equal(ours, theirs)
    physics.free()
    env.close()
"""


@needs_gl
def test_pictures_are_dm_controls_own_under_the_same_settings():
    run = python(TWIN, MUJOCO_GL=gl_library())
    assert run.returncode == 0, run.stderr


@needs_gl
def test_an_environment_left_open_ends_quietly():
    run = python(DRAW)
    assert run.returncode == 0 and not run.stderr
