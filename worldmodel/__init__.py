"""The clockwork world model.

Read `clock.py`, `level.py`, `clockwork.py`, `objective.py`, `filter.py`, in this order.
"""

from worldmodel.clockwork import ClockworkVAE
from worldmodel.config import ClockworkConfig
from worldmodel.learner import OptimizerConfig, TrainState, make_optimizer, make_update
from worldmodel.level import Belief, State
from worldmodel.objective import ObjectiveConfig, model_loss
from worldmodel.observations import estimate_scale
from worldmodel.records import Records

__all__ = [
    "Belief",
    "ClockworkConfig",
    "ClockworkVAE",
    "ObjectiveConfig",
    "OptimizerConfig",
    "Records",
    "State",
    "TrainState",
    "estimate_scale",
    "make_optimizer",
    "make_update",
    "model_loss",
]
