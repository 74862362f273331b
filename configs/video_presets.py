"""What a preset, a data set and a size fill in for video pretraining, and the parsing of its flags.

The paper's hyperparameters are in ``PAPER``: Saxena et al. 2021, appendix D. Where paper and
original code differ (github.com/vaibhavsaxena11/cwvae, commit 62dd505), we use:

    batch               paper 100, code 50: the paper's
    learning rate       MineRL: paper 3e-4, code 1e-4: the paper's
    shared weights      paper: all but the output layers; code: input layer and GRU: the code's,
                        whose numbers are reproduced (tests/worldmodel/test_golden_cwvae.py)
    decoder std         only in the code: 1.0 digits, 0.1 mazes, 0.4 MineRL; KTH has none: 0.4, ours
    Adam's epsilon      the code's, before bias correction (Keras)
    updates             paper 300 epochs, code 100 to 600: `paper` size 30 000 updates

Command:   python pretrain_video.py --data orbiting_ball
Cost:      15 minutes on 2 CPU cores (docs/adr/0035); the paper's size took 20 hours on a 2017 GPU
Expected:  docs/results.md, a first look
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from common import UserError
from common.images import ImageSize
from configs.cli import Help, choices, expand, parse_run
from configs.data import GENERATED, Like, absolute
from configs.presets import resolve, unknown
from configs.settings import VIDEO_FIRST
from configs.sizes import AGENT_SIZES, SIZES, resize_model
from configs.video import PretrainConfig, check
from envs import placed
from worldmodel import ClockworkConfig, OptimizerConfig

STRIDES = {
    "cwvae": (1, 6, 36),
    "notmpabs": (1, 1, 1),
    "rssm": (1,),
    "vta": (1,),
    "dlh": (1,),
    "svg": (1,),
    "lmc": (1,),
}

EXAMPLES = """Examples:
  {program} --data orbiting_ball
  {program} --data my_videos/ --preset rssm --logdir runs/mine
  {program} --data navigate --preset agent       a world model to initialise an agent from

Train one run on several processes with --hosts ADDRESS:PORT,INDEX,COUNT (docs/scaling.md)."""
"""Examples in the help of `parse_pretrain`."""

ORIGINAL = ClockworkConfig(window="lookahead", architecture="original", min_std=1e-4)
"""The model of the original code, without a size."""


class Paper(NamedTuple):
    """Hyperparameters of one data set of the paper."""

    image_std: float
    larger: bool = False  # |z| 100 instead of 20, |h| and hidden units 800 instead of 200


class Own(NamedTuple):
    """Hyperparameters of a system from another paper."""

    stoch: int  # |z| at every size
    deter: int  # |h| at the paper's size
    hidden: int  # units of hidden layers at the paper's size
    optimizer: OptimizerConfig


class Small(NamedTuple):
    """Settings specific to a data set for training clockwork models at sizes below the paper's."""

    image_size: ImageSize
    length: int  # frames per clip
    steps: int


SMALL = {"orbiting_ball": Small(32, 144, 2_500)}
"""A first look in minutes: a quarter of the pixels, and clips of four ticks of the top."""

PAPER: dict[Like, Paper] = {
    "moving_mnist": Paper(image_std=1.0),
    "kth": Paper(image_std=0.4),
    "mazes": Paper(image_std=0.1),
    "minerl": Paper(image_std=0.4, larger=True),
}

OWN: dict[str, Own] = {
    "vta": Own(8, 128, 128, OptimizerConfig(lr=5e-4, clip=10.0, warmup=0)),
    "dlh": Own(20, 200, 200, OptimizerConfig(lr=5e-4, eps=1e-4, clip=10_000.0, warmup=0)),
    "svg": Own(10, 256, 256, OptimizerConfig(lr=2e-3, clip=10_000.0, warmup=0)),
    "lmc": Own(20, 200, 200, OptimizerConfig(lr=2e-4, clip=10_000.0, warmup=0)),
}
"""Hyperparameters of the systems from other papers, by preset (docs/models.md)."""

COOLED = 5_000
"""Updates over `anneal` at which VTA's code ends, its temperature then being nearly its lowest."""

OPTIMIZER = OptimizerConfig(lr=3e-4, eps=1e-4, eps_hat=True, clip=10_000.0, warmup=0)


def resolve_video(
    preset: str,
    data: str,
    like: str,
    size: str,
    accelerator: bool,
    dtype: Literal["float32", "bfloat16"],
    env: str = "",
) -> PretrainConfig:
    """Settings before any flag overrides them.

    Args:
      data: name or path of the videos.
      like: data set whose hyperparameters in the paper are used, or `auto`.
      size: one of ``SIZES``, for an agent's model one of ``AGENT_SIZES``, or `auto`: s on a CPU and
        paper on an accelerator; for an agent's model, xs and m.
      accelerator: whether there is an accelerator.
      dtype: precision of matrix products on the device.
      env: for an agent's model, that agent's environment; empty: minerl_navigate.
    Raises:
      UserError: on an unknown preset, data set or size, or `like` with an agent's model.
    """
    base = PretrainConfig()
    if preset not in ("agent", *STRIDES):
        raise UserError(unknown("preset", preset, [*STRIDES, "agent"]))
    own = GENERATED[data].like if data in GENERATED else "minerl"
    chosen = own if like == "auto" else like
    if chosen not in PAPER:
        raise UserError(unknown("like", like, ["auto", *PAPER]))
    sizes = list(AGENT_SIZES) if preset == "agent" else list(SIZES)
    small, large = ("xs", "m") if preset == "agent" else ("s", "paper")
    picked = (large if accelerator else small) if size == "auto" else size
    if picked not in sizes:
        raise UserError(unknown("size", size, ["auto", *sizes]))
    base = replace(base, preset=preset, like=chosen, data=replace(base.data, name=data))  # type: ignore[arg-type]
    if preset == "agent":
        base = replace(base, data=replace(base.data, env=env or "minerl_navigate"))
        return _agent(base, like, picked, accelerator, dtype)
    strides = STRIDES[preset]
    model = replace(ORIGINAL, strides=strides, dtype=dtype)
    model, optimizer = _sized(model, PAPER[chosen], picked), OPTIMIZER
    if preset in OWN:
        system = OWN[preset]
        model, optimizer = replace(model, stoch=system.stoch), system.optimizer
        if picked == "paper":
            model = replace(model, deter=system.deter, hidden=system.hidden)
    base = replace(base, model=model, size=picked)  # type: ignore[arg-type]
    if chosen == "kth":
        base = replace(base, lmc=replace(base.lmc, long=40))
    if picked == "paper":
        return replace(
            base,
            optimizer=optimizer,
            batch=100,
            length=100,
            steps=30_000,
            save_every=1_000,
            eval_every=1_000,
            data=replace(base.data, episodes=10_000, length=100, test_length=1_036),
        )
    if data in SMALL:
        image_size, length, updates = SMALL[data]
        base = replace(base, length=length, steps=updates)
        base = replace(base, data=replace(base.data, image_size=image_size))
    # for the few updates of a small model on a CPU: a higher learning rate and shorter schedules
    return replace(
        base,
        optimizer=replace(optimizer, lr=1e-3),
        vta=replace(base.vta, anneal=base.steps / COOLED),
        dlh=replace(base.dlh, ramp=base.steps // 3),
        lmc=replace(base.lmc, early=base.steps // 6),
    )


def _sized(model: ClockworkConfig, paper: Paper, size: str) -> ClockworkConfig:
    """Set the widths of a size, except |z|, which is the paper's at every size."""
    model = replace(resize_model(model, size), stoch=20, image_std=paper.image_std)
    if size == "paper" and paper.larger:
        return replace(model, stoch=100, deter=800, hidden=800)
    return model


def _agent(
    base: PretrainConfig,
    like: str,
    size: str,
    accelerator: bool,
    dtype: Literal["float32", "bfloat16"],
) -> PretrainConfig:
    """Settings for the world model of the agent in `data.env`, with its loss and optimiser."""
    if like != "auto":
        raise UserError(
            f"like: expected auto with preset agent, whose hyperparameters are those of the agent "
            f"in --data.env, received {like}; leave it out"
        )
    agent = resolve("auto", base.data.env, size, accelerator, dtype)
    return replace(
        base,
        size=size,  # type: ignore[arg-type]
        data=replace(base.data, image_size=agent.env.image_size, image_fit=agent.env.image_fit),
        model=agent.agent.model,
        objective=agent.agent.objective,
        optimizer=agent.optimizer,
        batch=agent.batch,
        length=agent.length,
        context=-(-16 // agent.agent.model.strides[-1]) * agent.agent.model.strides[-1],
    )


def parse_pretrain(
    args: Sequence[str],
    accelerator: bool,
    dtype: Literal["float32", "bfloat16"],
    kept: Callable[[Path, str | None], PretrainConfig | None] | None = None,
) -> PretrainConfig:
    """Parse the settings of `pretrain_video.py` from its flags.

    Args:
      kept: maps (`--logdir`, `--data.env` or None) to the settings of the run there, which flags
        then override in place of a preset's; None if there is no run. Without ``kept``, as for
        `parse_train`.
    Raises:
      UserError: on settings that cannot run, one line with the remedy; what `kept` raises.
      SystemExit: 0 after --help; 2 on a wrong flag, after printing a line.
    """

    def base(preset: str | None, data: str | None, like: str | None, size: str | None) -> Any:
        name = data or PretrainConfig().data.name
        names = (preset or "cwvae", name, like or "auto", size or "auto")
        return resolve_video(*names, accelerator, dtype, env or "")

    given = expand(args, PretrainConfig)
    logdir, env = choices(given, ("logdir", "data.env"))
    before = kept(Path(logdir), env) if kept is not None and logdir is not None else None
    first = before or base(*choices(given, ("preset", "data.name", "like", "size")))
    about = Help(VIDEO_FIRST, EXAMPLES, ("hosts",))
    auto, once = ("like", "size"), kept is not None
    config: PretrainConfig = parse_run(first, given, auto, about, _named, once)
    found = absolute(config.data)
    config = replace(config, data=replace(found, env=placed(found.env)))
    check(config)
    return config


def _named(config: PretrainConfig) -> str:
    return f"{Path(config.data.name).name}-{config.preset}"
