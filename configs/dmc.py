"""DeepMind Control, from state and from pixels, over the 100 000 frames that are often published.

Command:   python train_agent.py --env dmc:walker_walk
           python train_agent.py --env dmc:walker_walk --preset dmc_pixels
Cost:      on 2 CPU cores about 10 000 updates, by Pendulum's cost under an hour; at size xs with 8
           sequences of 32 steps 8 to 9 minutes on one core; from pixels 0.35 s
           per update of that size (cartpole_swingup at 32 000 frames, 3 000 updates: 153)
Expected:  docs/results.md has what earlier commits reached, one or two seeds a task; with these
           settings not measured

Actions are held for 2 frames, as in DreamerV3's report (arXiv 2301.04104v1, Table A.1: repeat 2,
512 replayed steps per action, which is 0.5 updates of 16 sequences of 64). Its present repository
holds them for 1, with 1 024 replayed steps per frame from state and 256 from pixels.
"""

from dataclasses import replace

from configs.control import control
from configs.schema import TrainConfig


def preset(base: TrainConfig, accelerator: bool) -> TrainConfig:
    """From state: 50 000 steps of 2 frames; 1 update per step on an accelerator, else 0.2. Windows
    of 2 steps, for with 4 it is long to wait for an answer (docs/adr/0017)."""
    config = control(base)
    model = replace(config.agent.model, strides=(1, 2))
    return replace(
        config,
        agent=replace(config.agent, model=model),
        env=replace(base.env, action_repeat=2, num_envs=8 if accelerator else 4),
        steps=50_000,
        prefill=1_000,
        updates_per_step=1.0 if accelerator else 0.2,
    )


def pixels(base: TrainConfig, accelerator: bool) -> TrainConfig:
    """From 64x64 pixels: the same steps, half as many updates on an accelerator, smaller ones on a
    CPU. Needs egl or osmesa (`envs/dmc_render.py`)."""
    config = preset(base, accelerator)
    return replace(
        config,
        env=replace(config.env, pixels=True),
        updates_per_step=0.5 if accelerator else 0.2,
        batch=16 if accelerator else 8,
        length=64 if accelerator else 32,
        eval_every=10_000,
    )
