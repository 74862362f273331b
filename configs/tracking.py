"""The experiment trackers to which a run may be logged."""

from typing import Literal

Tracking = Literal["wandb", "trackio"]
