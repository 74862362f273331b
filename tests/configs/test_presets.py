"""What a name, a size and a device fill in, and how flags override it."""

from dataclasses import replace
from pathlib import Path

import pytest

from configs import TrainConfig, check, parse_train, resolve
from configs.cli import expand, one_line
from configs.presets import PRESETS
from configs.sizes import larger


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("accelerator", [False, True])
@pytest.mark.parametrize("size", ["debug", "xs", "s", "m", "l"])
def test_every_preset_can_run(name, accelerator, size):
    config = resolve(name, None, size, accelerator, "bfloat16" if accelerator else "float32")
    check(config)
    assert config.preset == name and config.size == size
    assert PRESETS[name].__globals__["__doc__"].count("Command:") == 1


def test_the_environment_chooses_its_preset_and_the_device_its_size():
    cpu = resolve("auto", "gym:Pendulum-v1", "auto", False, "float32")
    images = resolve("auto", None, "auto", False, "float32")
    gpu = resolve("auto", None, "auto", True, "bfloat16")
    assert (cpu.preset, cpu.size, cpu.agent.model.dtype) == ("general", "xs", "float32")
    assert (gpu.preset, gpu.size, gpu.agent.model.dtype) == ("minerl_navigate", "m", "bfloat16")
    assert (images.preset, images.size) == ("minerl_navigate", "xs")
    assert gpu.agent.model.deter > cpu.agent.model.deter


def test_what_was_a_preset_by_name_has_the_general_one():
    for name in ("gym:Pendulum-v1", "pure:cartpole_swingup", "gymnax:CartPole-v1", "a.b:Mine"):
        config = resolve("auto", name, "xs", False, "float32")
        assert config == resolve("general", name, "xs", False, "float32")
        assert config.agent == resolve("auto", "dmc:walker_walk", "xs", False, "float32").agent


def test_the_settings_of_a_run_go_on_in_its_directory_and_flags_over_them(tmp_path):
    asked = []

    def kept(logdir, env):
        asked.append((logdir, env))
        return replace(resolve("general", "pure:reacher", "debug", False, "float32"), batch=3)

    args = ["--logdir", str(tmp_path), "--steps", "1070", "--env", "pure:reacher"]
    config = parse_train(args, False, "float32", kept)
    assert (config.batch, config.steps, config.size, config.logdir) == (3, 1070, "debug", tmp_path)
    assert parse_train(["--size", "xs"], False, "float32", kept).batch != 3
    assert asked == [(tmp_path, "pure:reacher")]


def test_every_dmc_task_has_the_same_preset_and_pixels_are_asked_for_by_name():
    state = resolve("auto", "dmc:ball_in_cup_catch", "s", False, "float32")
    assert (state.preset, state.env.action_repeat, state.env.pixels) == ("dmc", 2, False)
    assert state.agent.model.strides == (1, 2)
    assert state.steps * state.env.action_repeat == 100_000
    pixels = resolve("dmc_pixels", "dmc:walker_walk", "s", False, "float32")
    assert pixels.env.pixels and pixels.env.name == "dmc:walker_walk"
    args = ["--env", "dmc:walker_walk", "--env.action-repeat", "1", "--env.options", "camera", "1"]
    flags = parse_train(args, False, "float32")
    assert flags.env.action_repeat == 1 and flags.env.options == {"camera": "1"}


def test_flags_override_presets_and_short_ones_are_written_out():
    args = [
        "--env",
        "gym:CartPole-v1",
        "--strides",
        "1",
        "2",
        "8",
        "--horizon=3",
        "--open-loop",
        "True",
    ]
    config = parse_train([*args, "--logdir", "x", "--seed", "5"], False, "float32")
    assert config.env.name == "gym:CartPole-v1" and config.agent.model.strides == (1, 2, 8)
    assert config.agent.behaviour.horizon == 3 and config.agent.replan == 8
    assert config.logdir == Path("x") and config.seed == 5
    assert expand(["--env=a", "3"], TrainConfig) == ["--env.name=a", "3"]


def test_auto_may_be_asked_for_by_name():
    config = parse_train(["--size", "auto", "--preset=auto"], False, "float32")
    assert config.size == "xs" and config.preset == "minerl_navigate"


def test_no_flags_at_all_is_the_main_job():
    config = parse_train([], False, "float32")
    assert config.env.name == "minerl_navigate" and config.logdir.parent == Path("runs")


def test_each_default_lives_once():
    assert resolve("general", "gym:CartPole-v1", "s", False, "float32").steps == TrainConfig().steps


def test_a_boxed_message_becomes_one_line():
    box = "╭─ Parsing error ───╮\n│ \x1b[31mbad\x1b[0m value │\n╰──────────╯\n"
    assert one_line(box) == "bad value; see --help"


def test_a_larger_size_is_suggested_below_it():
    assert larger("xs", "m", "--size m") == "; to scale up: --size m"
    assert larger("m", "m", "--size m") == larger("l", "m", "--size m") == ""
    assert larger("s", "paper", "x") and not larger("paper", "paper", "x")
