"""SVG-LP: each frame is predicted from the one before and from a latent with a learned prior.

    h_t = enc(x_t);   p(z_t | x_{<t}) = LSTM(h_{t-1}),   q(z_t | x_{≤t}) = LSTM(h_t)
    g_t = LSTM([h_{t-1}, z_t]);   x_t ~ N(dec(g_t, maps), σ²)

The decoder also receives the encoder's feature maps of an observed frame through skip connections:
among the first `past` frames those of the frame before, afterwards those of the last of these. In
prediction, frames are fed back, and the maps are those of the last observed frame.

Source: Denton and Fergus 2018, "Stochastic Video Generation with a Learned Prior", §2 and §3, and
their code (github.com/edenton/svg, commit 3f19f0b); docs/models.md lists the differences.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from common import Count, UserError, check_bounds
from worldmodel.baselines.dcgan import SkipDecoder, SkipEncoder
from worldmodel.config import ClockworkConfig, ObsShapes, check_config
from worldmodel.distributions import Gaussian, Stats
from worldmodel.learner import Metrics
from worldmodel.level import time_first
from worldmodel.objective import masked_mean, masked_sum, normal_log_prob
from worldmodel.observations import pixels
from worldmodel.precision import Linear
from worldmodel.records import Records
from worldmodel.recurrence import scan_ticks
from worldmodel.video_model import Filtered, Rolled, VideoModel


@dataclass(frozen=True)
class SVGConfig:
    """Settings of SVG-LP in addition to those shared with the other models."""

    past: Count = 5
    """First frames of a training sequence, whose skip connections carry the maps of the frame
    before; later frames use the maps of the last of these (SVG: 5)."""
    layers: Count = 2
    """Stacked LSTMs of the frame predictor (SVG: 2)."""


Maps = tuple[Array, ...]
Cells = tuple[tuple[Array, Array], ...]  # of stacked LSTMs: [B, D] hidden and cell of each


class Hidden(NamedTuple):
    """State carried from frame to frame."""

    frame: Array  # [B, S, S, C] the newest frame, in [0, 1]
    maps: Maps  # [B, ...] of the last observed frame
    prior: Cells
    draws: Cells


class Beliefs(NamedTuple):
    """Beliefs about every frame but the first, [B, T-1, ...]."""

    frames: Array  # predicted means
    prior: Stats
    post: Stats


class SVG(VideoModel):
    """Stochastic video generation with a learned prior, for one image; it reads no actions.

    Widths are those of ``config``: `deter` of the LSTMs, `stoch` of z, 2·`conv_depth` channels of
    the first convolution and 4·`conv_depth` floats of h.

    Raises:
      UserError: on settings that cannot be built, or observations that are not one image.
    """

    clocks = ("every frame",)

    def __init__(
        self, config: ClockworkConfig, settings: SVGConfig, obs_shapes: ObsShapes, rngs: nnx.Rngs
    ):
        check_config(config, obs_shapes, 0, tuple(obs_shapes))
        check_bounds(settings, "svg")
        self.image, self.shape = only_image("svg", obs_shapes)
        self.config, self.settings = config, settings
        self.latent = Gaussian(config.stoch, config.min_std)
        deter, stoch, dtype = config.deter, config.stoch, jnp.dtype(config.dtype)
        code = 4 * config.conv_depth
        size, _, channels = self.shape
        image = (size, channels, 2 * config.conv_depth, code, dtype, rngs)
        self.encoder, self.decoder = SkipEncoder(*image), SkipDecoder(*image)
        self.prior, self.posterior = (
            Recurrent(code, deter, 2 * stoch, 1, dtype, rngs) for _ in range(2)
        )
        self.draws = Recurrent(code + stoch, deter, code, settings.layers, dtype, rngs)

    @property
    def features(self) -> int:
        """Number of pixel values of a frame, as frames are their own features."""
        size, _, channels = self.shape
        return size * size * channels

    def encode(self, frames: Array) -> tuple[Array, Maps]:
        """Encode frames [B, T, S, S, C] to codes [B, T, G] and maps [B, T, ...]."""
        rows = self.encoder(frames.reshape(-1, *self.shape))
        codes, maps = jax.tree.map(lambda x: x.reshape(*frames.shape[:2], *x.shape[1:]), rows)
        return codes, maps

    def draw(self, codes: Array, maps: Maps) -> Array:
        """Means of frames [B, n, S, S, C] from codes [B, n, G] and maps [B, n, ...]."""
        rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (codes, maps))
        return self.decoder(jnp.tanh(rows[0]), rows[1]).reshape(*codes.shape[:2], *self.shape)

    def stats(self, x: Array) -> Stats:
        """Statistics from mean and deviation, concatenated in x."""
        return self.latent.stats(*jnp.split(x, 2, axis=-1))

    def observe(
        self, records: Records, noise: Array, blind: tuple[int, ...] = ()
    ) -> tuple[Beliefs, Hidden]:
        """Predict each frame from the one before and its own latent; return the state for ``roll``.

        Args:
          records: [B, T, ...].
          noise: [B, T, S]; that of the first frame is not used.
          blind: (0,) draws the latent from its prior.
        """
        frames = pixels(records.obs[self.image])
        codes, maps = self.encode(frames)
        prior, prior_state = self.prior.all(codes[:, :-1])
        post, _ = self.posterior.all(codes[:, 1:])
        p, q = self.stats(prior), self.stats(prior if blind else post)
        z = self.latent.sample(q, noise[:, 1:])
        drawn, draws_state = self.draws.all(jnp.concatenate([codes[:, :-1], z], axis=-1))
        before = jnp.minimum(jnp.arange(frames.shape[1] - 1), self.settings.past - 1)
        means = self.draw(drawn, jax.tree.map(lambda x: x[:, before], maps))
        last = jax.tree.map(lambda x: x[:, -1], maps)
        return Beliefs(means, p, q), Hidden(frames[:, -1], last, prior_state, draws_state)

    def filter(self, records: Records, key: PRNGKeyArray, blind: tuple[int, ...] = ()) -> Filtered:
        """See ``VideoModel.filter``; there are no features for the first frame."""
        beliefs, last = self.observe(records, self.latent.noise(key, records.mask.shape), blind)
        return Filtered(beliefs.frames, last)

    def roll(
        self,
        state: Hidden,
        action: Float[Array, "B T A"],
        action_mask: Float[Array, "B T"],
        key: PRNGKeyArray,
    ) -> Rolled:
        """See ``VideoModel.roll``; each predicted frame is fed back."""

        def frame(hidden: Hidden, noise: Array) -> tuple[Hidden, tuple[Array, Array]]:
            code, _ = self.encoder(hidden.frame)
            prior, prior_state = self.prior(code, hidden.prior)
            stats = self.stats(prior)
            z = self.latent.sample(stats, noise)
            drawn, draws = self.draws(jnp.concatenate([code, z], axis=-1), hidden.draws)
            mean = self.decoder(jnp.tanh(drawn), hidden.maps)
            after = Hidden(mean, hidden.maps, prior_state, draws)
            return after, (mean, self.latent.entropy(stats))

        noise = time_first(self.latent.noise(key, action_mask.shape))
        _, outputs = jax.lax.scan(frame, state, noise)
        frames, entropy = jax.tree.map(time_first, outputs)
        entropy = entropy[..., None]
        return Rolled(frames, entropy, jnp.ones_like(entropy))

    def decode(self, features: Array) -> dict[str, Array]:
        """Return the features, which are the frames."""
        return {self.image: features}

    def loss(self, records: Records, key: PRNGKeyArray) -> tuple[Array, Metrics]:
        """-log p(x) plus KL of z, nats per frame; a video's first frame is not predicted."""
        beliefs, _ = self.observe(records, self.latent.noise(key, records.mask.shape))
        true, mask = pixels(records.obs[self.image])[:, 1:], records.mask[:, 1:]
        likely = jnp.sum(normal_log_prob(true, beliefs.frames, self.config.image_std), (2, 3, 4))
        nll, kl = -masked_mean(likely, mask), masked_mean(self._kl(beliefs), mask)
        return nll + kl, {
            f"nll/{self.image}": nll,
            "kl/level1": kl,
            "prior_entropy/level1": masked_mean(self.latent.entropy(beliefs.prior), mask),
            "loss/model": nll + kl,
        }

    def kl(self, records: Records, key: PRNGKeyArray) -> Float[Array, "B L"]:
        """See ``VideoModel.kl``."""
        beliefs, _ = self.observe(records, self.latent.noise(key, records.mask.shape))
        return jax.vmap(masked_sum)(self._kl(beliefs), records.mask[:, 1:])[:, None]

    def _kl(self, beliefs: Beliefs) -> Float[Array, "B n"]:
        return self.latent.kl(beliefs.post, beliefs.prior)


def only_image(preset: str, obs_shapes: ObsShapes) -> tuple[str, tuple[int, ...]]:
    """Name and shape of the only observation, an image.

    Raises:
      UserError: if there is not exactly one observation, or it is not an image.
    """
    if [len(shape) for shape in obs_shapes.values()] != [3]:
        raise UserError(
            f"{preset}: expected one image, received {obs_shapes}; take data of one image, or "
            "another --preset"
        )
    return next(iter(obs_shapes.items()))


class Recurrent(nnx.Module):
    """A linear layer, stacked LSTMs, a linear layer."""

    def __init__(
        self,
        inputs: int,
        deter: int,
        outputs: int,
        layers: int,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.deter = deter
        self.embed = Linear(inputs, deter, dtype=dtype, rngs=rngs)
        self.inputs, self.recurrent = (
            nnx.List([Linear(deter, 4 * deter, dtype=dtype, rngs=rngs) for _ in range(layers)])
            for _ in range(2)
        )
        self.output = Linear(deter, outputs, dtype=jnp.float32, rngs=rngs)

    def initial(self, batch: int) -> Cells:
        """Initial cells: zeros."""
        zeros = jnp.zeros((batch, self.deter))
        return ((zeros, zeros),) * len(self.inputs)

    def __call__(self, x: Float[Array, "B I"], cells: Cells) -> tuple[Array, Cells]:
        """One step: [B, I] to [B, O]."""
        x, after = self.embed(x), []
        for inputs, recurrent, (h, c) in zip(self.inputs, self.recurrent, cells, strict=True):
            gates = (inputs(x) + recurrent(h)).astype(jnp.float32)
            write, forget, candidate, read = jnp.split(gates, 4, axis=-1)
            c = jax.nn.sigmoid(forget) * c + jax.nn.sigmoid(write) * jnp.tanh(candidate)
            x = jax.nn.sigmoid(read) * jnp.tanh(c)
            after.append((x, c))
        return self.output(x.astype(jnp.float32)), tuple(after)

    def all(self, x: Float[Array, "B T I"]) -> tuple[Float[Array, "B T O"], Cells]:
        """Run all steps, starting from zeros; also return the cells after the last."""

        def step(own: Recurrent, cells: Cells, x: Array) -> tuple[Cells, Array]:
            y, cells = own(x, cells)
            return cells, y

        last, y = scan_ticks(step, self, self.initial(x.shape[0]), time_first(x))
        return time_first(y), last
