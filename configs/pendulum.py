"""Pendulum swing-up from state, the smallest task on which clocks show.

Command:   python train_agent.py --env gym:Pendulum-v1
Cost:      about 15 minutes on 2 CPU cores
Expected:  evaluation return above -170 (benchmarks/results/learning_gym.md: -158 at worst of five
           seeds, size xs)
"""

from dataclasses import replace

from configs.control import control
from configs.schema import TrainConfig


def preset(base: TrainConfig, accelerator: bool) -> TrainConfig:
    """20 000 steps and about 4 000 updates of 16 sequences of 64 steps, by half the usual step."""
    return replace(
        control(base),
        optimizer=replace(base.optimizer, lr=5e-4),
        steps=20_000,
        prefill=1_000,
        updates_per_step=0.21,
    )
