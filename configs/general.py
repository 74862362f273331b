"""One preset for all environments: state or image observations, continuous or discrete actions.

Command:   python train_agent.py --env gym:CartPole-v1
Cost:      at 11 to 15 updates per second, measured on one CPU core, 20 to 30 minutes for vectors;
           longer for images
Expected:  docs/results.md, Environments by the general preset; elsewhere compare return/imagined
           with the evaluation's return

On a CPU, the preset makes many small updates: from state, an agent of size xs learns the same as
one of size s, in as many environment steps and a fifth of the time per update (docs/adr/0008,
0031).
"""

from dataclasses import replace

from configs.schema import TrainConfig


def preset(base: TrainConfig, accelerator: bool) -> TrainConfig:
    """Scale vectors by their own deviation; explore with a high-entropy policy, correlated noise,
    and kept plans, which are marked. Windows have 2 steps: with 4, responses come late
    (docs/adr/0017), and most sequences of 4 choices were never tried (docs/adr/0031)."""
    model = replace(base.agent.model, strides=(1, 2), scale_vectors=True)
    behaviour = replace(base.agent.behaviour, entropy_target=0.5)
    exploring = replace(base.agent, noise_correlation=0.75, keep_plan=0.35, novelty=0.1)
    agent = replace(exploring, model=model, behaviour=behaviour)
    return replace(
        base,
        agent=agent,
        steps=200_000 if accelerator else base.steps,
        updates_per_step=1.0,
        batch=base.batch if accelerator else 8,
        length=base.length if accelerator else 32,
    )
