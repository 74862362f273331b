"""Settings of the clockwork world model. Read next: ``clockwork.py``, what is built from them."""

from dataclasses import dataclass
from typing import Literal

from worldmodel import clock
from worldmodel.distributions import Categorical, Gaussian, Latent
from worldmodel.networks import check_image

ObsShapes = dict[str, tuple[int, ...]]  # per observation: (64, 64, C) is an image, (n,) a vector


@dataclass(frozen=True)
class ClockworkConfig:
    """Settings of the world model. Defaults suit an agent on a small control task."""

    strides: tuple[int, ...] = (1, 4)
    """Environment steps per tick of each level, lowest first; 1 first, each divides the next."""
    window: clock.Window = "causal"
    """Frames that a tick sees: `causal` those since the last tick (agents), `lookahead` the block
    to come (CW-VAE eq. 4)."""
    all_phases: bool = True
    """Train the top level at every phase of its clock, as acting filters it. Causal only."""
    latent: Literal["gaussian", "categorical"] = "gaussian"
    """Latent distribution: diagonal Gaussian (CW-VAE) or one-hot groups (DreamerV2/V3)."""
    stoch: int = 16
    """|z|: latent dimensions (gaussian) or groups (categorical)."""
    classes: int = 16
    """Classes per group; categorical only."""
    unimix: float = 0.01
    """Uniform share of a categorical. DreamerV3."""
    min_std: float = 0.1
    """Smallest standard deviation of a Gaussian latent (original CW-VAE: 1e-4)."""
    std_shift: float = 0.0
    """Added to the hidden vector before the std's layer (original CW-VAE: 0.54)."""
    deter: int = 128
    """|h|: units of each level's GRU."""
    keep_bias: float = 0.0
    """Added to the GRUs' update gate: at first a tick keeps about sigmoid(keep_bias) of h. Raise it
    where something must be kept for many ticks (DreamerV3: 1)."""
    hidden: int = 128
    """Units of hidden layers."""
    post_layers: int = 1
    """Hidden layers of the posterior (original code: 2)."""
    act: Literal["silu", "relu"] = "silu"
    """Activation of dense layers (CW-VAE: relu)."""
    norm: bool = True
    """RMS norm before the activation of dense layers (CW-VAE: none)."""
    embed_layers: int = 1
    """Hidden layers of the per-level MLP over frame embeddings, levels 2 and up (original code:
    2)."""
    embed_hidden: int = 0
    """Units of that MLP's hidden layers; 0 = as ``hidden``."""
    embed: int = 128
    """Units of that MLP's output; 0 = as many as the frame embedding has (original code)."""
    cumulative: bool = False
    """Each level's MLP reads the level below's output (original code) rather than the frame
    embedding."""
    top_context: bool = False
    """The top level's input layer has weights for a context too, of zeros: they never learn
    (original code, whose parameter count they are part of)."""
    conv_depth: int = 8
    """Channels of the first convolution; the others have 2, 4, 8 times as many (CW-VAE: 32)."""
    image_final: Literal["linear", "tanh", "sigmoid"] = "sigmoid"
    """Last activation of the image decoder (original code: tanh)."""
    image_std: float = 0.3
    """Standard deviation of the image likelihood, pixel values in [0, 1]."""
    vector_std: float = 1.0
    """Standard deviation of the vector likelihood, symlog units; 1 is DreamerV3's squared error and
    measured best on control (adr 8). Lower where small differences matter (a compass, a cue)."""
    scale_vectors: bool = False
    """Read and predict every dimension of a vector by its own mean and deviation, estimated from
    the batches; `vector_std` counts in them. Otherwise what varies little is not kept. adr 14."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of matrix products; parameters, states and losses stay float32."""


def make_latent(config: ClockworkConfig) -> Latent:
    """The latent distribution that ``config`` names."""
    if config.latent == "gaussian":
        return Gaussian(config.stoch, config.min_std)
    return Categorical(config.stoch, config.classes, config.unimix)


def check_config(config: ClockworkConfig, obs_shapes: ObsShapes, action_width: int) -> None:
    """Raises ValueError on settings that cannot be built."""
    clock.check_strides(config.strides)
    if config.all_phases and config.window != "causal":
        raise ValueError(
            f"all_phases: expected window 'causal', received {config.window!r}; set all_phases to "
            "False"
        )
    _check_numbers(config, action_width)
    if not obs_shapes:
        raise ValueError(
            "obs_shapes: expected at least one observation, received none; name what the model sees"
        )
    for name, shape in obs_shapes.items():
        if len(shape) == 3:
            check_image(name, shape)
        elif len(shape) != 1 or shape[0] < 1:
            raise ValueError(
                f"observation {name!r}: expected shape (64, 64, C) or (n,), received {shape}; "
                "flatten it"
            )


def _check_numbers(config: ClockworkConfig, action_width: int) -> None:
    least = {
        **dict.fromkeys(("stoch", "deter", "hidden", "post_layers", "conv_depth"), 1),
        **dict.fromkeys(("embed", "embed_hidden", "embed_layers"), 0),
        "classes": 2 if config.latent == "categorical" else 1,
    }
    for name, low in least.items():
        if getattr(config, name) < low:
            raise ValueError(
                f"{name}: expected {low} or more, received {getattr(config, name)}; raise it"
            )
    for name in ("min_std", "image_std", "vector_std"):
        if not getattr(config, name) > 0:
            raise ValueError(
                f"{name}: expected a positive standard deviation, received {getattr(config, name)}"
            )
    if not 0 <= config.unimix < 1:
        raise ValueError(f"unimix: expected a share in [0, 1), received {config.unimix}")
    if action_width < 0:
        raise ValueError(f"action_width: expected 0 or more floats, received {action_width}")
