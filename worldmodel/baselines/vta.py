"""VTA: two levels, the slower of which ticks where a segment of the video is inferred to begin.

    m_t ~ p(m | f_{t-1})                       whether frame t begins a segment; the first does
    h_t = GRU(z_{t-1}, h_{t-1}),  z_t ~ p(z | h_t)       where m_t = 1, else as before
    g_t = a_t where m_t = 1, else GRU([s_{t-1}, a_t], g_{t-1}),  s_t ~ p(s | g_t)
    a_t = A[h_t, z_t],  f_t = F[g_t, s_t],  x_t ~ p(x | f_t)

Inference: m_t from a window of frames, z_t from all frames before the segment and those in it, s_t
from the segment's frames so far. The lower level restarts with every segment. In updates, the prior
of m is held to segments of at most l_max frames and to at most N_max segments, and gradients pass
straight through m as through a relaxed Bernoulli whose temperature falls.

Source: Kim, Ahn and Bengio 2019, "Variational Temporal Abstraction", following their code
(github.com/taesupkim/vta, commit 4c23131); docs/models.md lists what differs here.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from worldmodel.baselines.halving import HalvingDecoder, HalvingEncoder
from worldmodel.baselines.segments import (
    COOLEST,
    Detector,
    VTAConfig,
    bernoulli_kl,
    check_settings,
    held,
    straight_through,
    temperature,
)
from worldmodel.config import ClockworkConfig, ObsShapes
from worldmodel.distributions import Gaussian, Stats
from worldmodel.learner import Metrics
from worldmodel.level import GRU, Belief, State, time_first
from worldmodel.objective import log_likelihood, masked_mean, masked_sum
from worldmodel.observations import Decoder, Encoder, Observing
from worldmodel.precision import Linear
from worldmodel.records import Records
from worldmodel.video_model import Clips, Filtered, Rolled, VideoModel


class Noise(NamedTuple):
    """Noise for every frame."""

    top: Array  # [B, T, S] normal
    low: Array  # [B, T, S] normal
    begins: Array  # [B, T] logistic


class Beliefs(NamedTuple):
    """What is inferred for every frame."""

    top: Belief  # [B, T, ·] of the segment that the frame is in
    low: Belief  # [B, T, ·]
    features: Array  # [B, T, D] f_t
    begins: Array  # [B, T] m_t
    odds: Array  # [B, T] log-odds of m_t, inferred


class Seen(NamedTuple):
    """What each level sees of a frame; None if it sees nothing."""

    top: Stats | None  # posterior of z, given that a segment begins
    embed: Array | None  # [B, E]


class Frame(NamedTuple):
    """Both levels at one frame."""

    top: State
    top_stats: Stats  # from which z was drawn
    low: State
    low_stats: Stats
    features: Array  # [B, D]
    begins: Array  # [B]


class Hidden(NamedTuple):
    """What is carried from frame to frame."""

    top: State  # [B, ·] h, z
    low: State  # [B, ·] g, s
    code: Array  # [B, D] of the segment's frames so far
    odds: Array  # [B] prior log-odds that the next frame begins a segment


class VTA(Observing, VideoModel):
    """Variational temporal abstraction over ``obs_shapes``; it reads no actions.

    Widths are those of ``config``: |h| = |g| = `deter`, |z| = |s| = `stoch`, and 4·`conv_depth`
    channels in every convolution.

    Raises:
      UserError: on settings that cannot be built or exclude each other.
    """

    clocks = ("every frame", "where a segment begins")

    def __init__(
        self, config: ClockworkConfig, settings: VTAConfig, obs_shapes: ObsShapes, rngs: nnx.Rngs
    ):
        self.observes(config, obs_shapes)
        check_settings(settings)
        self.settings, self.latent = settings, Gaussian(config.stoch, config.min_std)
        deter, dtype, width = config.deter, jnp.dtype(config.dtype), 4 * config.conv_depth
        final = config.networks.image_final

        def encoder(size: int, channels: int) -> HalvingEncoder:
            return HalvingEncoder(size, channels, width, dtype, rngs)

        def decoder(size: int, channels: int) -> HalvingDecoder:
            return HalvingDecoder(deter, size, channels, width, final, dtype, rngs)

        def gru(inputs: int) -> GRU:
            return GRU(inputs, deter, 0.0, dtype, rngs)

        def linear(inputs: int, outputs: int) -> Linear:
            return Linear(inputs, outputs, dtype=dtype, rngs=rngs)

        def head(inputs: int) -> StatsHead:
            return StatsHead(inputs, self.latent, rngs)

        self.encoder = Encoder(config, obs_shapes, rngs, encoder)
        embed = self.encoder.width
        self.detector = Detector(embed, settings.detector_layers, rngs)
        self.prior_begins = Linear(deter, 1, dtype=jnp.float32, rngs=rngs)
        self.top_past, self.top_segment, self.low_code = gru(embed), gru(embed), gru(embed)
        self.top_gru, self.low_gru = gru(config.stoch), gru(config.stoch + deter)
        self.top_features = linear(deter + config.stoch, deter)
        self.low_features = linear(deter + config.stoch, deter)
        self.prior_top, self.prior_low = head(deter), head(deter)
        self.post_top, self.post_low = head(2 * deter), head(2 * deter)
        self.decoder = Decoder(config, obs_shapes, deter, rngs, decoder)

    @property
    def features(self) -> int:
        """D: floats of f_t."""
        return self.config.deter

    def draw_noise(self, key: PRNGKeyArray, batch: int, length: int) -> Noise:
        """Noise for ``observe`` and ``roll`` of [B, T] frames."""
        top, low, begins = jax.random.split(key, 3)
        return Noise(
            self.latent.noise(top, (batch, length)),
            self.latent.noise(low, (batch, length)),
            jax.random.logistic(begins, (batch, length)),
        )

    def initial(self, batch: int) -> Hidden:
        """State before a first frame, which begins a segment."""
        zeros = State(jnp.zeros((batch, self.config.deter)), jnp.zeros((batch, self.latent.width)))
        return Hidden(zeros, zeros, zeros.h, jnp.full(batch, 1e6))

    def observe(
        self,
        records: Records,
        noise: Noise,
        heat: Array | float = COOLEST,
        blind: tuple[int, ...] = (),
        begins: Float[Array, "B T"] | None = None,
    ) -> tuple[Beliefs, Hidden]:
        """Infer both levels over videos, which begin with their first record.

        Args:
          records: [B, T, ...].
          noise: for as many frames.
          heat: temperature of the relaxation that gives m its gradient.
          blind: levels (from 0) that see nothing; if 1 is blind, segments come from the prior too.
          begins: where segments begin, 1 at the first frame; None: as inferred.
        Returns:
          Beliefs of every frame, and the state from which ``roll`` continues.
        """
        embed = self.encoder(self.units(records.obs))
        odds = self.detector(embed)
        if begins is None:
            begins = straight_through(odds, noise.begins, heat).at[:, 0].set(1.0)
        post_top = self._post_top(embed, begins)

        def frame(hidden: Hidden, step: tuple[Array, Array, Stats, Noise]) -> tuple[Hidden, Frame]:
            embed_t, begins_t, top_t, noise_t = step
            if 1 in blind:
                begins_t = straight_through(hidden.odds, noise_t.begins, heat)
            seen = Seen(None if 1 in blind else top_t, None if 0 in blind else embed_t)
            return self.step(hidden, begins_t, seen, noise_t)

        steps = jax.tree.map(time_first, (embed, begins, post_top, noise))
        last, frames = jax.lax.scan(frame, self.initial(embed.shape[0]), steps)
        f: Frame = jax.tree.map(time_first, frames)
        low_prior = f.low_stats if 0 in blind else self.prior_low(f.low.h)
        top_prior = f.top_stats if 1 in blind else self.prior_top(f.top.h)
        top, low = Belief(f.top, top_prior, f.top_stats), Belief(f.low, low_prior, f.low_stats)
        return Beliefs(top, low, f.features, f.begins, odds), last

    def _post_top(self, embed: Array, begins: Array) -> Stats:
        """q(z) at each frame, given that a segment begins there: from all frames before it and from
        those of the segment from it on."""

        def ahead(h: Array, e: Array) -> tuple[Array, Array]:
            after = self.top_past(e, h)
            return after, h

        def back(h: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
            e, begins_t = step
            h = self.top_segment(e, h)
            return (1 - begins_t[:, None]) * h, h

        frames, starts = time_first(embed), time_first(begins)
        zeros = jnp.zeros((embed.shape[0], self.config.deter))
        _, past = jax.lax.scan(ahead, zeros, frames)
        _, segment = jax.lax.scan(back, zeros, (frames, starts), reverse=True)
        return self.post_top(time_first(jnp.concatenate([past, segment], axis=-1)))

    def step(
        self, hidden: Hidden, begins: Float[Array, " B"], seen: Seen, noise: Noise
    ) -> tuple[Hidden, Frame]:
        """Advance both levels by one frame: where a segment begins, the slower level ticks and the
        faster restarts from its features. Arguments are those of one frame, [B, ...]."""
        m, top, low = begins[:, None], hidden.top, hidden.low
        h = m * self.top_gru(top.z, top.h) + (1 - m) * top.h
        top_stats = self.prior_top(h) if seen.top is None else seen.top
        top = State(h, m * self.latent.sample(top_stats, noise.top) + (1 - m) * top.z)
        above = self.top_features(top.features)
        inputs = jnp.concatenate([low.z, above], axis=-1)
        g = m * above + (1 - m) * self.low_gru(inputs, low.h)
        if seen.embed is None:
            code, low_stats = hidden.code, self.prior_low(g)
        else:
            code = self.low_code(seen.embed, (1 - m) * hidden.code)
            low_stats = self.post_low(jnp.concatenate([code, above], axis=-1))
        low = State(g, self.latent.sample(low_stats, noise.low))
        features = self.low_features(low.features)
        after = Hidden(top, low, code, self.prior_begins(features)[..., 0])
        return after, Frame(top, top_stats, low, low_stats, features, begins)

    def filter(self, records: Records, key: PRNGKeyArray, blind: tuple[int, ...] = ()) -> Filtered:
        """As ``VideoModel.filter``."""
        noise = self.draw_noise(key, *records.mask.shape)
        beliefs, last = self.observe(records, noise, blind=blind)
        return Filtered(beliefs.features, last)

    def roll(
        self,
        state: Hidden,
        action: Float[Array, "B T A"],
        action_mask: Float[Array, "B T"],
        key: PRNGKeyArray,
    ) -> Rolled:
        """As ``VideoModel.roll``; where segments begin is sampled, not set to the mode."""

        def frame(hidden: Hidden, noise: Noise) -> tuple[Hidden, Frame]:
            begins = (hidden.odds + noise.begins > 0).astype(jnp.float32)
            return self.step(hidden, begins, Seen(None, None), noise)

        noise = jax.tree.map(time_first, self.draw_noise(key, *action_mask.shape))
        _, frames = jax.lax.scan(frame, state, noise)
        f: Frame = jax.tree.map(time_first, frames)
        entropy = [self.latent.entropy(stats) for stats in (f.low_stats, f.top_stats)]
        ticks = [jnp.ones_like(f.begins), f.begins]
        return Rolled(f.features, jnp.stack(entropy, axis=-1), jnp.stack(ticks, axis=-1))

    def nats(
        self, beliefs: Beliefs, hold: tuple[int, int] | None = None
    ) -> tuple[Array, Array, Array]:
        """[B, T] KL of every frame: of s, of z where a segment begins, and of m.

        Args:
          hold: (l_max, N_max), to which the prior of m is held; None: it is not held.
        """
        low = self.latent.kl(beliefs.low.post, beliefs.low.prior)
        top = self.latent.kl(beliefs.top.post, beliefs.top.prior)
        top = jax.lax.stop_gradient(beliefs.begins) * top
        prior = self.prior_begins(beliefs.features)[..., 0]
        if hold is not None:
            prior = held(prior, beliefs.begins, *hold)
        begins = bernoulli_kl(beliefs.odds[:, 1:], prior[:, :-1])
        return low, top, jnp.pad(begins, [(0, 0), (1, 0)])  # the first frame begins a segment

    def loss(self, records: Records, key: PRNGKeyArray) -> tuple[Array, Metrics]:
        """-log p(x) and KL of s, z and m, nats per frame; the prior of m is not held."""
        beliefs, _ = self.observe(records, self.draw_noise(key, *records.mask.shape))
        return self._loss(records, beliefs, None)

    def learn(
        self, clips: Clips, carry: Array, key: PRNGKeyArray
    ) -> tuple[Array, tuple[Array, Metrics]]:
        """``loss`` at the temperature of the update, with the prior of m held."""
        records, heat = clips.records, temperature(carry, self.settings)
        noise = self.draw_noise(key, *records.mask.shape)
        beliefs, _ = self.observe(records, noise, heat)
        most = max(1, round(self.settings.max_share * records.mask.shape[1]))
        total, metrics = self._loss(records, beliefs, (self.settings.max_length, most))
        return total, (carry + 1.0, {**metrics, "temperature": heat})

    def start(self, batch: int, streams: bool) -> Array:
        """The number of updates so far."""
        return jnp.zeros(())

    def _loss(
        self, records: Records, beliefs: Beliefs, hold: tuple[int, int] | None
    ) -> tuple[Array, Metrics]:
        mask = records.mask
        likely = log_likelihood(self, records.obs, self.decode(beliefs.features))
        metrics = {f"nll/{name}": -masked_mean(x, mask) for name, x in likely.items()}
        low, top, begins = self.nats(beliefs, hold)
        parts = [*metrics.values(), *(masked_mean(x, mask) for x in (low, top, begins))]
        loss = jnp.sum(jnp.stack(parts))
        ticks = jax.lax.stop_gradient(beliefs.begins) * mask
        return loss, metrics | {
            "kl/level1": masked_mean(low, mask),
            "kl/level2": masked_sum(top, mask) / jnp.maximum(jnp.sum(ticks), 1.0),
            "kl/begins": masked_mean(begins, mask),
            "prior_entropy/level1": masked_mean(self.latent.entropy(beliefs.low.prior), mask),
            "prior_entropy/level2": masked_mean(self.latent.entropy(beliefs.top.prior), ticks),
            "ticks/level2": masked_mean(beliefs.begins, mask),
            "loss/model": loss,
        }

    def kl(self, records: Records, key: PRNGKeyArray) -> Float[Array, "B L"]:
        """As ``VideoModel.kl``; the KL of m counts as level 2's."""
        beliefs, _ = self.observe(records, self.draw_noise(key, *records.mask.shape))
        low, top, begins = self.nats(beliefs)
        return jnp.stack([jax.vmap(masked_sum)(x, records.mask) for x in (low, top + begins)], 1)


class StatsHead(nnx.Module):
    """A Gaussian from a vector: mean, and deviation σ(·) + min_std."""

    def __init__(self, inputs: int, latent: Gaussian, rngs: nnx.Rngs):
        self.min_std = latent.min_std
        self.mean, self.std = (
            Linear(inputs, latent.size, dtype=jnp.float32, rngs=rngs) for _ in range(2)
        )

    def __call__(self, x: Array) -> Stats:
        x = x.astype(jnp.float32)
        return {"mean": self.mean(x), "std": jax.nn.sigmoid(self.std(x)) + self.min_std}
