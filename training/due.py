"""What is due after how many steps: the rules that the loop and the seeds of one program share."""

from configs import TrainConfig


def updates_due(config: TrainConfig, steps: int) -> int:
    """Number of updates due after ``steps`` environment steps of a run, 0 during the prefill."""
    return max(0, int((steps - config.prefill) * config.updates_per_step))


def crossed(before: int, now: int, every: int) -> bool:
    """Whether ``before`` to ``now`` crosses a multiple of ``every`` steps; always False for 0."""
    return every > 0 and now // every > before // every
