"""What measured best on control from state, shared by its presets. docs/adr/0008 and 0012."""

from dataclasses import replace

from configs.schema import TrainConfig


def control(base: TrainConfig) -> TrainConfig:
    """A short horizon, an undecided policy, and noise that holds on for some steps."""
    behaviour = replace(base.agent.behaviour, horizon=10, entropy_target=0.6)
    return replace(base, agent=replace(base.agent, behaviour=behaviour, noise_correlation=0.75))
