"""What measured best on control from state, shared by its presets. docs/adr/0008, 0012 to 0014."""

from dataclasses import replace

from configs.schema import TrainConfig


def control(base: TrainConfig) -> TrainConfig:
    """A short horizon, an undecided policy, noise and plans that hold on, and vectors
    by their own deviation."""
    behaviour = replace(base.agent.behaviour, horizon=10, entropy_target=0.6)
    model = replace(base.agent.model, scale_vectors=True)
    exploring = replace(base.agent, model=model, noise_correlation=0.75, keep_plan=0.5)
    return replace(base, agent=replace(exploring, behaviour=behaviour))
