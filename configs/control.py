"""What measured best on control from state, shared by its presets. docs/adr/0008."""

from dataclasses import replace

from configs.schema import TrainConfig


def control(base: TrainConfig) -> TrainConfig:
    """A short horizon, an undecided policy, steps small enough not to lose what is solved."""
    behaviour = replace(base.agent.behaviour, horizon=10, entropy_target=0.6)
    return replace(
        base,
        agent=replace(base.agent, behaviour=behaviour),
        optimizer=replace(base.optimizer, lr=5e-4),
    )
