"""Control tasks in pure JAX from state, whose runs can compile as a whole.

Command:   python train_agent.py --env pure:cartpole_swingup
           python -m benchmarks.learning --tasks pure:cartpole_swingup
Cost:      like Pendulum's; the suite's own settings (size xs, 8 sequences of 32 steps) are a
           fraction of it
Expected:  with the suite's settings see benchmarks/results/learning_pendulum.md; with these not
           measured
"""

from dataclasses import replace

from configs.control import control
from configs.schema import TrainConfig


def preset(base: TrainConfig, accelerator: bool) -> TrainConfig:
    """20 000 steps of 5 environments, an update every 5; twice control's horizon, which cart-pole
    wants (docs/adr/0016)."""
    config = control(base)
    behaviour = replace(config.agent.behaviour, horizon=40)
    return replace(
        config,
        agent=replace(config.agent, behaviour=behaviour),
        env=replace(base.env, num_envs=5),
        steps=20_000,
        prefill=1_000,
        updates_per_step=0.2,
    )
