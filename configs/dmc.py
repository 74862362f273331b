"""DeepMind Control, from state and from pixels: the general preset, over the 100 000 frames of many
published results.

Command:   python train_agent.py --env dmc:walker_walk
           python train_agent.py --env dmc:walker_walk --preset dmc_pixels
Cost:      20 to 30 minutes on 2 CPU cores for 20 000 small updates; more from pixels
Expected:  docs/results.md has results of earlier commits with half as many updates, one or two
           seeds per task

Actions are held for 2 frames, as in DreamerV3's report (arXiv 2301.04104v1, Table A.1: repeat 2,
512 replayed steps per action, which is 0.5 updates of 16 sequences of 64). Its current repository
holds them for 1, with 1 024 replayed steps per frame from state and 256 from pixels.
"""

from dataclasses import replace

from configs import general
from configs.schema import TrainConfig


def preset(base: TrainConfig, accelerator: bool) -> TrainConfig:
    """Learn from state: 50 000 steps of 2 frames."""
    config = general.preset(base, accelerator)
    return replace(
        config,
        env=replace(base.env, action_repeat=2, num_envs=8 if accelerator else 4),
        steps=50_000,
        updates_per_step=1.0 if accelerator else 0.4,
    )


def pixels(base: TrainConfig, accelerator: bool) -> TrainConfig:
    """Learn from 64x64 pixels: the same steps, half as many updates. Requires EGL or OSMesa
    (`envs/dmc_render.py`)."""
    config = preset(base, accelerator)
    return replace(
        config,
        env=replace(config.env, pixels=True),
        updates_per_step=0.5 if accelerator else 0.2,
        eval_every=10_000,
    )
