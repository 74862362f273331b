"""Settings of control from state, shared by its presets. docs/adr/0008, 0012 to 0016."""

from dataclasses import replace

from configs.schema import TrainConfig


def control(base: TrainConfig) -> TrainConfig:
    """A short horizon, a high-entropy policy, noise and plans that hold on, marked as such, and
    vectors by their own deviation."""
    behaviour = replace(base.agent.behaviour, horizon=20, entropy_target=0.6)
    model = replace(base.agent.model, scale_vectors=True)
    exploring = replace(base.agent, noise_correlation=0.75, keep_plan=0.35)
    return replace(base, agent=replace(exploring, model=model, behaviour=behaviour))
