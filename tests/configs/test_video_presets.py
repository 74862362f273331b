"""Presets of video pretraining: the paper's numbers, sizes, and flags over them."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from configs import parse_train
from configs.video import check
from configs.video_presets import STRIDES, parse_pretrain, resolve_video
from worldmodel import ClockworkVAE
from worldmodel.baselines.segments import temperature
from worldmodel.learner import split

MILLION = 1e6


def parameters(preset: str, like: str, channels: int) -> int:
    """Of the paper's size."""
    config = resolve_video(preset, "moving_digits", like, "paper", True, "float32")
    shapes = {"image": (64, 64, channels)}
    model = nnx.eval_shape(lambda: ClockworkVAE(config.model, shapes, 0, nnx.Rngs(0)))
    return sum(leaf.size for leaf in jax.tree.leaves(split(model)[1]))


@pytest.mark.parametrize(
    "preset, like, millions",
    [("cwvae", "moving_mnist", 12.47), ("rssm", "moving_mnist", 5.11), ("cwvae", "minerl", 34.40)],
)
def test_parameter_counts_are_those_of_the_original(preset, like, millions):
    assert parameters(preset, like, 3) == pytest.approx(millions * MILLION, abs=0.006 * MILLION)


def test_notmpabs_has_as_many_parameters_as_the_clockwork():
    assert parameters("notmpabs", "mazes", 3) == parameters("cwvae", "mazes", 3)


def test_the_paper_size_carries_the_papers_hyperparameters():
    config = resolve_video("cwvae", "hallways", "auto", "paper", True, "float32")
    assert (config.batch, config.length, config.context, config.like) == (100, 100, 36, "mazes")
    assert config.model.strides == (1, 6, 36) and config.model.image_std == 0.1
    assert (config.optimizer.lr, config.optimizer.eps) == (3e-4, 1e-4)
    assert config.objective.kl == "elbo" and config.optimizer.warmup == 0
    large = resolve_video("cwvae", "x", "minerl", "paper", True, "float32").model
    assert (large.stoch, large.deter, large.hidden) == (100, 800, 800)


@pytest.mark.parametrize("preset", ["cwvae", "notmpabs", "rssm", "vta", "dlh", "svg", "lmc"])
@pytest.mark.parametrize("like", ["moving_mnist", "kth", "mazes", "minerl"])
@pytest.mark.parametrize("size", ["debug", "xs", "s", "m", "l", "paper"])
def test_every_preset_can_run(preset, like, size):
    for data in ("moving_digits", "orbiting_ball"):
        check(resolve_video(preset, data, like, size, False, "float32"))


def test_the_device_chooses_the_size():
    assert resolve_video("cwvae", "hallways", "auto", "auto", False, "float32").size == "s"
    assert resolve_video("cwvae", "hallways", "auto", "auto", True, "bfloat16").size == "paper"


def test_flags_override_presets():
    args = [
        "--data=hallways",
        "--strides",
        "1",
        "4",
        "--steps",
        "9",
        "--logdir",
        "x",
        "--like",
        "auto",
    ]
    config = parse_pretrain(args, False, "float32")
    assert config.data.name == "hallways" and config.model.strides == (1, 4) and config.steps == 9
    assert config.like == "mazes" and config.logdir == Path("x")


@pytest.mark.parametrize(
    "args, line",
    [
        (["--preset", "cwave"], "did you mean 'cwvae'"),
        (["--context", "40"], "set --context 72"),
        (["--streams", "True", "--length", "70"], "set --length 72"),
        (["--steps", "0"], "raise --steps"),
        (["--like", "mnist"], "expected one of auto"),
        (["--preset", "agent", "--like", "kth"], "like: expected auto with preset agent, .* kth"),
        (["--size", "xl"], "expected one of auto, debug, xs, s, m, l, paper"),
    ],
)
def test_mistakes_are_one_line(args, line):
    with pytest.raises(ValueError, match=line):
        parse_pretrain(args, False, "float32")


def test_an_agents_model_is_that_of_its_environment():
    config = resolve_video("agent", "navigate", "auto", "auto", False, "float32")
    assert config.model.strides == (1, 4) and config.model.window == "causal"
    assert config.objective.kl == "balanced" and config.batch == 8
    check(config)


@pytest.mark.parametrize("env", ["dmc:walker_walk", "pure:pendulum", "minerl_navigate"])
def test_an_agents_model_has_the_preset_of_the_environment_that_is_named(env):
    """So that train_agent.py can start from it."""
    for flags in (["--data.env", env], [f"--data.env={env}"]):
        video = parse_pretrain(["--preset", "agent", "--data", "x", *flags], False, "float32")
        agent = parse_train(["--env", env], False, "float32")
        assert (video.data.env, video.model) == (env, agent.agent.model)
        assert (video.objective, video.optimizer) == (agent.agent.objective, agent.optimizer)


@pytest.mark.parametrize("data", ["orbiting_ball", "moving_digits", "videos"])
@pytest.mark.parametrize("size", ["debug", "s", "paper"])
def test_every_system_gets_the_same_task(data, size):
    """So that `evaluate_video.py` compares them; schedules end well before a run of that length."""
    task = None
    for preset in STRIDES:
        config = resolve_video(preset, data, "auto", size, False, "float32")
        own = (config.data, config.length, config.steps, config.batch, config.context)
        task = task or own
        assert own == task
        assert max(config.dlh.ramp, config.lmc.early) < config.steps
        if size != "paper":
            assert float(temperature(jnp.array(float(config.steps)), config.vta)) < 0.12


def test_a_first_look_is_small_and_flags_override_it():
    """The orbiting ball on a CPU; at the paper's size it is as other data are."""
    small = parse_pretrain(["--data", "orbiting_ball"], False, "float32")
    assert (small.data.image_size, small.length, small.steps) == (32, 144, 2_500)
    other = parse_pretrain(
        ["--data", "orbiting_ball", "--data.image-size", "64", "--length", "72"], False, "float32"
    )
    assert (other.data.image_size, other.length) == (64, 72)
    paper = parse_pretrain(["--data", "orbiting_ball"], True, "float32")
    assert (paper.data.image_size, paper.length) == (None, 100)
