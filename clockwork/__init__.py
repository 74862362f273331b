"""The public interface for users of trained models; the other packages contain the rest.

    from clockwork import load_agent, metrics_frame

Read next: `training/trained.py`. The command of the same name is `__main__.py`.
"""

from training.metrics import metrics_frame, read_metrics
from training.trained import Future, TrainedAgent, load_agent
from worldmodel import ClockworkConfig, ClockworkVAE, ObjectiveConfig, Records, model_loss
from worldmodel.records import episodes

__all__ = [
    "ClockworkConfig",
    "ClockworkVAE",
    "Future",
    "ObjectiveConfig",
    "Records",
    "TrainedAgent",
    "episodes",
    "load_agent",
    "metrics_frame",
    "model_loss",
    "read_metrics",
]
