"""DLH: levels whose state either stays or changes at each frame, which is inferred.

For level n of N, bottom to top, at frame t; there is no level above N, so c^N = 0:

    e_t = 0    s_t ~ q_{t-1}, the previous belief         static prior                    (eq. 2)
    e_t = 1    s_t ~ p(s | d_t, c_t)                      change prior                    (2, 14)
    q_t = q(s | x_t, c_t),   x^{n+1} = f_enc(x^n)         posterior                       (10, 13)
    c^{n-1} = f_dec(s^n, c^n),   d_{t+1} = f_tem(s_t, d_t)                                (11, 12)
    p(e_t | d_t)                                                                          (15)

The indicator e is inferred by comparing how close the posterior is to each prior,

    e_t = 1    where  KL[q_t ‖ change prior] ≤ KL[q_t ‖ static prior]                     (4)

from the bottom up, with the contexts c of the frame before (25). Level 1 always changes; if a level
stays, so do all levels above it (5), and only the first level that stays is inferred, which draws
its state towards the previous belief. In training, KL is weighted by β, which rises over the first
updates.

Source: Zakharov, Guo and Fountas 2023, "Long-Horizon Video Prediction Using a Dynamic Latent
Hierarchy", equations 1 to 25, algorithm 1, Table 4. There is no public code; docs/models.md lists
what the paper leaves open.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from common import Count, CountOrZero, check_bounds
from worldmodel.config import ClockworkConfig, ObsShapes
from worldmodel.distributions import Gaussian, Stats
from worldmodel.learner import Metrics
from worldmodel.level import GRU, time_first
from worldmodel.networks import MLP, Dense
from worldmodel.objective import log_likelihood, masked_mean
from worldmodel.observations import Decoder, Encoder, Observing
from worldmodel.precision import Linear
from worldmodel.records import Records
from worldmodel.video_model import Clips, Filtered, Rolled, VideoModel


@dataclass(frozen=True)
class DLHConfig:
    """Settings of DLH in addition to those shared with the other models."""

    levels: Count = 3
    """N: number of levels (paper: 3, moving ball 2)."""
    units: Count = 40
    """Units of the three hidden layers of posterior and change prior (paper: 40)."""
    ramp: CountOrZero = 10_000
    """Updates over which the weight of the KL rises linearly from 0 to 1 (paper: 10 000)."""


class Level(NamedTuple):
    """State that a level carries from frame to frame."""

    s: Array  # [B, S] latent state
    believed: Stats  # [B, S] the Gaussian that s was drawn from: the next frame's static prior
    c: Array  # [B, D] context from the levels above
    d: Array  # [B, D] temporal summary of the states up to this one
    counts: Array  # [B, D] recurrent state of the prior of e, which reads d at every frame


class Noise(NamedTuple):
    """Noise of every frame and level."""

    s: Array  # [B, T, N, S] normal
    e: Array  # [B, T, N] logistic


class Beliefs(NamedTuple):
    """Beliefs of all levels at every frame; all but features [B, T, N], level 1 first."""

    features: Array  # [B, T, S+D] of level 1: s, c
    changes: Array  # e: 1 or 0
    kl: Array  # KL of s, nats: of the posterior from the prior selected by e; 0 if not inferred
    surprise: Array  # -log p(e), nats; 0 where e is certain
    odds: Array  # prior log-odds of e
    entropy: Array  # of the Gaussian that s is expected from, nats


class DLH(Observing, VideoModel):
    """Dynamic latent hierarchy over ``obs_shapes``; it reads no actions.

    Widths are those of ``config``: |x| = |c| = |d| = `deter`, |s| = `stoch`.

    Raises:
      UserError: on settings from which no model can be built.
    """

    def __init__(
        self, config: ClockworkConfig, settings: DLHConfig, obs_shapes: ObsShapes, rngs: nnx.Rngs
    ):
        self.observes(config, obs_shapes)
        check_bounds(settings, "dlh")
        self.settings, self.latent = settings, Gaussian(config.stoch, config.min_std)
        deter, stoch, count = config.deter, config.stoch, settings.levels
        act, dtype = config.networks.act, jnp.dtype(config.dtype)
        kind: dict[str, Any] = {"act": act, "norm": False, "dtype": dtype, "rngs": rngs}

        def stats() -> MLP:
            return MLP(2 * deter, settings.units, 2 * stoch, layers=3, **kind)

        def gru(inputs: int) -> GRU:
            return GRU(inputs, deter, 0.0, dtype, rngs)

        self.encoder = Encoder(config, obs_shapes, rngs)
        self.embed = Dense(self.encoder.width, deter, act, False, dtype, rngs)
        above = range(1, count)
        self.up = nnx.List([MLP(deter, deter, deter, layers=1, **kind) for _ in above])
        self.down = nnx.List([MLP(stoch + deter, deter, deter, layers=1, **kind) for _ in above])
        self.posterior = nnx.List([stats() for _ in range(count)])
        self.change = nnx.List([stats() for _ in range(count)])
        self.temporal = nnx.List([gru(stoch) for _ in range(count)])
        self.counter = nnx.List([gru(deter) for _ in above])
        self.factor = nnx.List([Linear(deter, 1, dtype=jnp.float32, rngs=rngs) for _ in above])
        self.decoder = Decoder(config, obs_shapes, self.features, rngs)

    @property
    def features(self) -> int:
        """S+D: width of s and c of level 1."""
        return self.config.stoch + self.config.deter

    @property
    def clocks(self) -> tuple[str, ...]:
        """Level 1 ticks at every frame, the levels above where their state changes."""
        return ("every frame", *["where it changes"] * (self.settings.levels - 1))

    def draw_noise(self, key: PRNGKeyArray, batch: int, length: int) -> Noise:
        """Draw noise for ``observe`` or ``roll`` over [B, T]."""
        shape, (s, e) = (batch, length, self.settings.levels), jax.random.split(key)
        return Noise(self.latent.noise(s, shape), jax.random.logistic(e, shape))

    def initial(self, batch: int) -> tuple[Level, ...]:
        """State before a first frame, at which every level changes."""
        zeros = jnp.zeros((batch, self.config.deter))
        s = jnp.zeros((batch, self.config.stoch))
        one = Level(s, {"mean": s, "std": jnp.ones_like(s)}, zeros, zeros, zeros)
        return (one,) * self.settings.levels

    def observe(
        self,
        records: Records,
        noise: Noise,
        blind: tuple[int, ...] = (),
        changes: Float[Array, "B T N"] | None = None,
    ) -> tuple[Beliefs, tuple[Level, ...]]:
        """Infer all levels along videos, which begin with their first record.

        Args:
          records: [B, T, ...].
          noise: for the same number of frames.
          blind: levels, from 0, that see nothing; whether they change is drawn from their prior.
          changes: e, which must be 1 at the first frame and at level 1; None: e is inferred.
        Returns:
          Beliefs at every frame, and the state from which ``roll`` continues.
        """
        x = [self.embed(self.encoder(self.units(records.obs)))]
        for layer in self.up:
            x.append(layer(x[-1]))
        seen = [None if n in blind else time_first(part) for n, part in enumerate(x)]
        first = jnp.broadcast_to(jnp.arange(x[0].shape[1]) == 0, x[0].shape[:2])

        def frame(
            levels: tuple[Level, ...],
            step: tuple[list[Array | None], Noise, Array, Array | None],
        ) -> tuple[tuple[Level, ...], Beliefs]:
            seen_t, noise_t, first_t, changes_t = step
            if changes_t is None:
                changes_t = self.indicators(levels, seen_t, noise_t.e, first_t)
            return self.step(levels, seen_t, noise_t.s, first_t, changes_t)

        given = None if changes is None else time_first(changes)
        steps = (seen, jax.tree.map(time_first, noise), time_first(first), given)
        last, beliefs = jax.lax.scan(frame, self.initial(x[0].shape[0]), steps)
        return jax.tree.map(time_first, beliefs), last

    def indicators(
        self,
        levels: tuple[Level, ...],
        seen: Sequence[Array | None],
        noise: Float[Array, "B N"],
        first: Bool[Array, " B"],
    ) -> Float[Array, "B N"]:
        """Infer e of every level at a frame, from the bottom up; eqs. 4, 5, 25.

        Args:
          levels: state after the frame before; its contexts c stand in for the current ones.
          seen: x of every level; None: e is drawn from its prior.
          noise: logistic.
          first: 1 where a video begins, so that every level changes.
        """
        changes = [jnp.ones_like(noise[:, 0])]
        for n, (level, x) in enumerate(zip(levels[1:], seen[1:], strict=True), 1):
            if x is None:
                moved = self.odds(n, level) + noise[:, n] > 0
            else:
                q, change = self.infer(n, x, level.c), self.predict(n, level.d, level.c)
                moved = self.latent.kl(q, change) <= self.latent.kl(q, level.believed)
            changes.append(changes[-1] * (moved | first))
        return jnp.stack(changes, axis=1)

    def step(
        self,
        levels: tuple[Level, ...],
        seen: Sequence[Array | None],
        noise: Float[Array, "B N S"],
        first: Bool[Array, " B"],
        changes: Float[Array, "B N"],
    ) -> tuple[tuple[Level, ...], Beliefs]:
        """Step all levels by a frame, from the top down, given which change. See ``indicators``.

        A level that sees is inferred where the level below changes; a level that sees nothing is
        drawn from its change prior where it changes, and stays otherwise.
        """
        after: list[Level] = []
        told: list[tuple[Array, ...]] = []
        c = jnp.zeros_like(levels[-1].c)
        for n in reversed(range(len(levels))):
            level, x, e = levels[n], seen[n], changes[:, n]
            below = changes[:, n - 1] if n else jnp.ones_like(e)
            prior = choose(e, self.predict(n, level.d, c), level.believed)
            q, moves = (prior, e) if x is None else (self.infer(n, x, c), below)
            s = choose(moves, self.latent.sample(q, noise[:, n]), level.s)
            believed = choose(moves, q, level.believed)
            expected = prior if x is not None else believed
            d = self.temporal[n](s, level.d)
            odds = self.odds(n, level)
            counts = self.counter[n - 1](d, level.counts) if n else level.counts
            certain = first | (below == 0) if n else jnp.ones_like(first)
            after.append(Level(s, believed, c, d, counts))
            told.append(
                (
                    jnp.where(below > 0, self.latent.kl(q, prior), 0.0),
                    jnp.where(certain, 0.0, jax.nn.softplus((1 - 2 * e) * odds)),
                    odds,
                    self.latent.entropy(expected),
                )
            )
            if n:
                c = self.down[n - 1](jnp.concatenate([s, c], axis=-1))
        kl, surprise, odds, entropy = (jnp.stack(x[::-1], 1) for x in zip(*told, strict=True))
        features = jnp.concatenate([after[-1].s, after[-1].c], axis=-1)
        beliefs = Beliefs(features, changes, kl, surprise, odds, entropy)
        return tuple(reversed(after)), beliefs

    def infer(self, n: int, x: Array, c: Array) -> Stats:
        """q(s | x, c), eq. 13."""
        return self.stats(self.posterior[n](jnp.concatenate([x, c], axis=-1)))

    def predict(self, n: int, d: Array, c: Array) -> Stats:
        """The change prior p(s | d, c), eq. 14."""
        return self.stats(self.change[n](jnp.concatenate([d, c], axis=-1)))

    def stats(self, x: Array) -> Stats:
        """Statistics from mean and deviation, concatenated in x."""
        return self.latent.stats(*jnp.split(x, 2, axis=-1))

    def odds(self, n: int, level: Level) -> Float[Array, " B"]:
        """Prior log-odds that level n changes at the next frame, eq. 15; level 1 always does."""
        return self.factor[n - 1](level.counts)[:, 0] if n else jnp.zeros_like(level.counts[:, 0])

    def filter(self, records: Records, key: PRNGKeyArray, blind: tuple[int, ...] = ()) -> Filtered:
        """See ``VideoModel.filter``."""
        noise = self.draw_noise(key, *records.mask.shape)
        beliefs, last = self.observe(records, noise, blind)
        return Filtered(beliefs.features, last)

    def roll(
        self,
        state: tuple[Level, ...],
        action: Float[Array, "B T A"],
        action_mask: Float[Array, "B T"],
        key: PRNGKeyArray,
    ) -> Rolled:
        """See ``VideoModel.roll``; a level that stays keeps its state."""
        batch, nothing = action_mask.shape[0], [None] * self.settings.levels
        first = jnp.zeros(batch, bool)

        def frame(levels: tuple[Level, ...], noise: Noise) -> tuple[tuple[Level, ...], Beliefs]:
            changes = self.indicators(levels, nothing, noise.e, first)
            return self.step(levels, nothing, noise.s, first, changes)

        noise = jax.tree.map(time_first, self.draw_noise(key, *action_mask.shape))
        _, beliefs = jax.lax.scan(frame, state, noise)
        beliefs = jax.tree.map(time_first, beliefs)
        return Rolled(beliefs.features, beliefs.entropy, beliefs.changes)

    def loss(self, records: Records, key: PRNGKeyArray) -> tuple[Array, Metrics]:
        """Eq. 8, nats per frame."""
        return self._loss(records, key, 1.0)

    def learn(
        self, clips: Clips, carry: Array, key: PRNGKeyArray
    ) -> tuple[Array, tuple[Array, Metrics]]:
        """As ``loss``, with this update's weight of the KL."""
        weight = jnp.minimum(1.0, (carry + 1.0) / max(1, self.settings.ramp))
        total, metrics = self._loss(clips.records, key, weight)
        return total, (carry + 1.0, {**metrics, "kl/weight": weight})

    def start(self, batch: int, streams: bool) -> Array:
        """Number of updates so far: 0."""
        return jnp.zeros(())

    def _loss(
        self, records: Records, key: PRNGKeyArray, weight: Array | float
    ) -> tuple[Array, Metrics]:
        mask = records.mask
        beliefs, _ = self.observe(records, self.draw_noise(key, *mask.shape))
        likely = log_likelihood(self, records.obs, self.decode(beliefs.features))
        metrics = {f"nll/{name}": -masked_mean(x, mask) for name, x in likely.items()}
        nll = jnp.sum(jnp.stack(list(metrics.values())))
        surprise = masked_mean(jnp.sum(beliefs.surprise, axis=-1), mask)
        nats = surprise
        for n in range(self.settings.levels):
            kl, changes = (masked_mean(x[..., n], mask) for x in (beliefs.kl, beliefs.changes))
            nats = nats + kl
            metrics[f"kl/level{n + 1}"], metrics[f"ticks/level{n + 1}"] = kl, changes
            metrics[f"prior_entropy/level{n + 1}"] = masked_mean(beliefs.entropy[..., n], mask)
        metrics |= {"kl/changes": surprise, "loss/model": nll + nats}
        return nll + weight * nats, metrics

    def kl(self, records: Records, key: PRNGKeyArray) -> Float[Array, "B L"]:
        """See ``VideoModel.kl``; the sum over state and indicator."""
        beliefs, _ = self.observe(records, self.draw_noise(key, *records.mask.shape))
        mask = jnp.broadcast_to(records.mask[..., None], beliefs.kl.shape)
        return jnp.sum(jnp.where(mask > 0, beliefs.kl + beliefs.surprise, 0.0), axis=1)


def choose(which: Float[Array, " B"], one: Any, other: Any) -> Any:
    """Rows of ``one`` where ``which`` is 1, else of ``other``; pytrees of [B, ·]."""
    return jax.tree.map(lambda a, b: jnp.where(which[:, None] > 0, a, b), one, other)
