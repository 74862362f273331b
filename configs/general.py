"""Any other environment: moderate settings that suit short control tasks.

Command:   python train_agent.py --env gym:CartPole-v1
Cost:      about 20 minutes on 2 CPU cores for vectors, longer for images
Expected:  depends on the environment; look at return/imagined against the evaluation's return
"""

from dataclasses import replace

from configs.schema import TrainConfig


def preset(base: TrainConfig, accelerator: bool) -> TrainConfig:
    """More steps where there is an accelerator."""
    return replace(base, steps=200_000) if accelerator else base
