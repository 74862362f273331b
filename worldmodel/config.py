"""Settings of the clockwork world model. Read next: ``clockwork.py``, the model built from them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import tyro
from annotated_types import Ge

from common import Count, NonNegative, Positive, UserError, check_bounds
from worldmodel import clock
from worldmodel.distributions import UNIMIX, Categorical, Gaussian, Latent
from worldmodel.networks import check_image

ObsShapes = dict[str, tuple[int, ...]]  # per observation: (S, S, C) is an image, (n,) a vector


class Architecture(NamedTuple):
    """Structure of the networks, apart from sizes."""

    act: str  # activation of dense layers
    norm: bool  # RMS norm before the activation
    post_layers: int  # hidden layers of the posterior
    std_shift: float  # added to the hidden vector before the layer of a latent's deviation
    embed_layers: int  # hidden layers of the MLPs over frame embeddings, levels 2 and up
    cumulative: bool  # each of these MLPs reads the output below it; else the frame embedding
    top_context: bool  # the top has context weights too; its context is zero: they never learn
    image_final: str  # last activation of the image decoder


ARCHITECTURES = {
    "ours": Architecture(
        act="silu",
        norm=True,
        post_layers=1,
        std_shift=0.0,
        embed_layers=1,
        cumulative=False,
        top_context=False,
        image_final="sigmoid",
    ),
    # github.com/vaibhavsaxena11/cwvae, commit 62dd505
    "original": Architecture(
        act="relu",
        norm=False,
        post_layers=2,
        std_shift=0.54,
        embed_layers=2,
        cumulative=True,
        top_context=True,
        image_final="tanh",
    ),
}


@dataclass(frozen=True)
class ClockworkConfig:
    """Settings of the world model. Defaults suit an agent on a small control task."""

    strides: Annotated[tuple[Count, ...], tyro.conf.arg(aliases=("--strides",))] = (1, 4)
    """Environment steps per tick of each level, lowest first; the first is 1, and each divides the
    next."""
    window: clock.Window = "causal"
    """Frames that a tick reads: `causal`, those since the last tick, with the top trained at every
    phase of its clock, as acting filters it (agents); or `lookahead`, the block to come (CW-VAE
    eq. 4)."""
    architecture: Literal["ours", "original"] = "ours"
    """Layers, norms and activations: `ours`, as in DreamerV3 (RMS norm, silu), or `original`, as in
    the code of CW-VAE, whose numbers it reproduces (``ARCHITECTURES``)."""
    latent: Literal["gaussian", "categorical"] = "gaussian"
    """Latent distribution: diagonal Gaussian (CW-VAE) or one-hot groups (DreamerV2/V3)."""
    stoch: Count = 16
    """|z|: latent dimensions (gaussian) or number of groups (categorical)."""
    classes: Annotated[int, Ge(2)] = 16
    """Classes per group; categorical only."""
    min_std: Positive = 0.1
    """Minimum standard deviation of a Gaussian latent (original CW-VAE: 1e-4)."""
    deter: Count = 128
    """|h|: units of each level's GRU."""
    half_life: NonNegative = 0.0
    """Environment steps over which the GRUs, when initialised, keep half of h, at every level: k
    per step with k^half_life = 1/2, k^K per tick. Raise it where something must be remembered for
    long (DreamerV3's cell: 2.2). 0: each tick of any level keeps half, as in CW-VAE."""
    hidden: Count = 128
    """Units of hidden layers."""
    embed: Count = 128
    """Units of the MLPs over frame embeddings, levels 2 and up: of their output or, in the original
    architecture, whose output is as wide as the frame embedding, of their hidden layers (original
    code: 1000)."""
    conv_depth: Count = 8
    """Channels of the first convolution; the next ones have 2, 4, 8 times as many (CW-VAE: 32)."""
    image_std: Positive = 0.3
    """Standard deviation of the image likelihood, for pixel values in [0, 1]."""
    vector_std: Positive = 1.0
    """Standard deviation of the vector likelihood, in symlog units; 1 gives DreamerV3's squared
    error and was chosen for control (adr 8). Lower it where small differences matter (a compass, a
    cue)."""
    scale_vectors: bool = False
    """Read and predict each dimension of a vector normalised by its own mean and deviation,
    estimated from the batches; `vector_std` is then in these units. Without it, dimensions that
    vary little are not kept. The trainers estimate them; in a training loop of your own, call
    `worldmodel.estimate_scale` before each update, or they stay 0 and 1. adr 14."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of matrix products; parameters, states and losses stay float32."""

    def keep_bias(self, stride: int) -> float:
        """Bias of the update gate of a level that ticks every ``stride`` steps: logit(k^K)."""
        if self.half_life == 0:
            return 0.0
        return -math.log(math.expm1(min(stride / self.half_life * math.log(2), 80.0)))

    @property
    def networks(self) -> Architecture:
        """Structure of the networks."""
        return ARCHITECTURES[self.architecture]


def make_latent(config: ClockworkConfig) -> Latent:
    """Make the latent distribution that ``config`` selects."""
    if config.latent == "gaussian":
        return Gaussian(config.stoch, config.min_std)
    return Categorical(config.stoch, config.classes, UNIMIX)


def check_config(
    config: ClockworkConfig, obs_shapes: ObsShapes, action_width: int, predicted: Sequence[str]
) -> None:
    """Raise UserError on settings from which no model can be built."""
    check_bounds(config, "model")
    clock.check_strides(config.strides)
    if action_width < 0:
        raise UserError(f"action_width: expected 0 or more floats, received {action_width}")
    if not obs_shapes:
        raise UserError(
            "obs_shapes: expected at least one observation, received none; name what the model sees"
        )
    if not predicted or not set(predicted) <= set(obs_shapes):
        raise UserError(
            f"predicted: expected some of {', '.join(obs_shapes)}, received "
            f"{', '.join(predicted) or 'none'}; name what the model sees and shall decode"
        )
    for name, shape in obs_shapes.items():
        if len(shape) == 3:
            check_image(name, shape)
        elif len(shape) != 1 or shape[0] < 1:
            raise UserError(
                f"observation {name!r}: expected shape (S, S, C) or (n,), received {shape}; "
                "flatten it"
            )
