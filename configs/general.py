"""One preset for every environment, from state or from images, of numbers or of choices.

Command:   python train_agent.py --env gym:CartPole-v1
Cost:      by 11 to 15 updates a second, measured on one CPU core, 20 to 30 minutes for vectors;
           longer for images
Expected:  docs/results.md, Environments by one preset; elsewhere look at return/imagined against
           the evaluation's return

On a CPU many small updates: an agent of size xs learns from state what one of size s does, in as
many environment steps and a fifth of the time per update (docs/adr/0008, 0031).
"""

from dataclasses import replace

from configs.schema import TrainConfig


def preset(base: TrainConfig, accelerator: bool) -> TrainConfig:
    """Vectors by their own deviation, a high-entropy policy, noise and plans that hold on, marked
    as such. Windows of 2 steps: with 4 it is long to wait for an answer (docs/adr/0017), and of 4
    choices in a row most were never tried (docs/adr/0031)."""
    model = replace(base.agent.model, strides=(1, 2), scale_vectors=True)
    behaviour = replace(base.agent.behaviour, entropy_target=0.5)
    exploring = replace(base.agent, noise_correlation=0.75, keep_plan=0.35, novelty=1.0)
    agent = replace(exploring, model=model, behaviour=behaviour)
    return replace(
        base,
        agent=agent,
        steps=200_000 if accelerator else base.steps,
        updates_per_step=1.0,
        batch=base.batch if accelerator else 8,
        length=base.length if accelerator else 32,
    )
