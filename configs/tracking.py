"""Which experiment trackers a run may be sent to."""

from typing import Literal

Tracking = Literal["wandb", "trackio"]
