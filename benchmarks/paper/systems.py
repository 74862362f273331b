"""The models that are compared on vector frames, their sizes, and the length of their training.

The whole comparison is meant to take two to three hours on one core, which limits its scope. Speeds
0.5 and 2 and blind levels are run for the middle factor alone. Training ends after 600 updates of
16 videos: in a pilot (factor 6, seed 0), the loss was then -17.7 nats per frame, and -18.4 after
1 000. All predictions begin at frame 64, the largest factor's top tick.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import optax
from flax import nnx

from configs.video_presets import COOLED, ORIGINAL
from worldmodel import ClockworkConfig, ObjectiveConfig, OptimizerConfig, make_optimizer
from worldmodel.baselines.dlh import DLH, DLHConfig
from worldmodel.baselines.segments import VTAConfig
from worldmodel.baselines.vta import VTA
from worldmodel.clockwork_video import ClockworkVideo
from worldmodel.config import ObsShapes
from worldmodel.video_model import VideoModel

OBS = "frame"


class System(NamedTuple):
    """One model on data of one speed."""

    kind: str  # cwvae, vta, dlh
    strides: tuple[int, ...] = (1,)  # of cwvae
    speed: float = 1.0

    @property
    def model(self) -> str:
        """The model's name in tables."""
        if self.kind != "cwvae":
            return self.kind.upper()
        if len(self.strides) == 1:
            return "RSSM"
        factor = self.strides[1]
        return "NoTmpAbs (factor 1)" if factor == 1 else f"CW-VAE, factor {factor}"

    @property
    def name(self) -> str:
        """The system's name in file names."""
        kind = "-".join([self.kind, *map(str, self.strides)]) if self.kind == "cwvae" else self.kind
        return kind + ("" if self.speed == 1 else f"-speed{self.speed:g}")


@dataclass(frozen=True)
class Scale:
    """Sizes of models, data and training."""

    updates: int = 600
    per_program: int = 50  # updates per call
    batch: int = 16  # videos per update and seed
    length: int = 128  # frames of each, or more: `whole`
    context: int = 64  # frames before a prediction, of which a model sees the last whole blocks
    horizon: int = 1_000  # frames predicted
    videos: int = 64  # held out
    deter: int = 96
    stoch: int = 12
    embed: int = 64
    lr: float = 1e-3

    def whole(self, system: System) -> Self:
        """With videos rounded up to whole ticks of a system's top level (docs/adr/0030), and fewer
        of them, so that an update has about as many frames."""
        length = -(-self.length // system.strides[-1]) * system.strides[-1]
        return replace(self, length=length, batch=round(self.batch * self.length / length))

    @property
    def config(self) -> ClockworkConfig:
        """Widths and likelihood of every model."""
        return replace(
            ORIGINAL,
            strides=(1,),
            deter=self.deter,
            hidden=self.deter,
            stoch=self.stoch,
            embed=self.embed,
            vector_std=0.1,
        )

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """The optimizer, the same for all models."""
        config = OptimizerConfig(lr=self.lr, eps=1e-4, clip=10_000.0, warmup=0)
        return make_optimizer(config)


def make(system: System, scale: Scale, obs_width: int, rngs: nnx.Rngs) -> VideoModel:
    """Make a new model. DLH's weight of KL rises over a third of the updates (paper: 10 000), and
    VTA's temperature falls over all of them, as in its code."""
    config = scale.config
    shapes: ObsShapes = {OBS: (obs_width,)}
    if system.kind == "vta":
        return VTA(config, VTAConfig(anneal=scale.updates / COOLED), shapes, rngs)
    if system.kind == "dlh":
        return DLH(config, DLHConfig(ramp=scale.updates // 3), shapes, rngs)
    objective = ObjectiveConfig(kl="elbo")
    config = replace(config, strides=system.strides)
    return ClockworkVideo(config, shapes, 0, objective, rngs)


def clockwork(factor: int, speed: float = 1.0) -> System:
    """CW-VAE with three levels, each slower by ``factor`` than the one below."""
    return System("cwvae", (1, factor, factor**2), speed)


FACTORS = (1, 2, 4, 6, 8)
MIDDLE = 6  # the factor at which levels, speeds and costs are examined. CW-VAE §3
RSSM, VTA_, DLH_ = System("cwvae"), System("vta"), System("dlh")
SPEEDS = (0.5, 1.0, 2.0)
SYSTEMS = (
    clockwork(1),
    clockwork(MIDDLE),
    RSSM,
    clockwork(2),
    clockwork(8),
    clockwork(4),
    VTA_,
    DLH_,
    clockwork(MIDDLE, 0.5),
    clockwork(MIDDLE, 2.0),
)
"""In the order of training: the most informative first."""
