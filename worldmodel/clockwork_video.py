"""The clockwork world model as a video model: CW-VAE, NoTmpAbs, RSSM, and an agent's own model.

Read next: ``clockwork.py``, the model itself; ``pretraining.py``, the loss that is minimised.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from worldmodel.clockwork import ClockworkVAE
from worldmodel.config import ClockworkConfig, ObsShapes
from worldmodel.learner import Metrics
from worldmodel.level import Belief, State
from worldmodel.objective import ObjectiveConfig, model_loss, sequence_kl
from worldmodel.records import Records
from worldmodel.video_model import Clips, Filtered, Rolled, VideoModel, from_to


class ClockworkVideo(ClockworkVAE, VideoModel):
    """A ``ClockworkVAE`` that implements ``VideoModel``, trained by ``objective``.

    With streams, the states at the end of a clip are carried to the clip that follows it, without
    gradient, so that levels whose stride is a large part of a clip are trained over many ticks.
    """

    def __init__(
        self,
        config: ClockworkConfig,
        obs_shapes: ObsShapes,
        action_width: int,
        objective: ObjectiveConfig,
        rngs: nnx.Rngs,
    ):
        super().__init__(config, obs_shapes, action_width, rngs)
        self.objective = objective

    @property
    def lookahead(self) -> bool:
        """Whether a tick sees the block to come."""
        return self.config.window == "lookahead"

    @property
    def block(self) -> int:
        """K if looking ahead: the top level sees whole blocks (as in the original code). Else 1."""
        return self.stride if self.lookahead else 1

    @property
    def clocks(self) -> tuple[str, ...]:
        """Every level ticks once per stride, in frames."""
        return tuple("every frame" if k == 1 else f"every {k} frames" for k in self.strides)

    def filter(self, records: Records, key: PRNGKeyArray, blind: tuple[int, ...] = ()) -> Filtered:
        """As ``VideoModel.filter``.

        A causal model's clock is shifted so that its top level ticks at the last frame; the first
        frames are then its lead-in, as in training, and have no features.
        """
        batch, count = records.mask.shape
        last = 0 if self.lookahead else (count - 1) // self.stride * self.stride  # main time
        early = 0 if self.lookahead else count - 1 - last
        after = 0 if self.lookahead else self.stride - 1

        def pad(x: Array) -> Array:
            return jnp.pad(x, [(0, 0), (self.lead - early, after), *[(0, 0)] * (x.ndim - 2)])

        seen = jax.tree.map(pad, records)
        noise = self.draw_noise(key, batch, seen.mask.shape[1] - self.lead)
        beliefs = self.observe(seen, noise, blind)
        features = beliefs[0].state.features[:, : count - early]
        return Filtered(features, self.states_at(beliefs, count if self.lookahead else last))

    def roll(
        self,
        state: tuple[State, ...],
        action: Float[Array, "B T A"],
        action_mask: Float[Array, "B T"],
        key: PRNGKeyArray,
    ) -> Rolled:
        """As ``VideoModel.roll``: whole top-level windows, cut to T. Entropy: TALD Figure 10."""
        batch, length = action_mask.shape
        steps = -(-length // self.stride) * self.stride
        noise = self.imagination_noise(key, batch, steps)
        action, known = (from_to(x, 0, steps) for x in (action, action_mask))
        states = self.imagine(state, action, known, noise)
        entropy, ticks = [], []
        for index, (level, stride) in enumerate(zip(self.levels, self.strides, strict=True)):
            h, skipped = states[index].h, 0
            if not self.lookahead:  # before a level's first tick, its state is the one given
                h, skipped = jnp.concatenate([state[index].h[:, None], h], axis=1), 1
            certain = jnp.repeat(self.latent.entropy(level.prior(h)), stride, axis=1)
            entropy.append(certain[:, skipped : skipped + length])
            time = jnp.arange(length) if self.lookahead else 1 + jnp.arange(length)
            ticks.append(jnp.broadcast_to((time % stride == 0).astype(float), (batch, length)))
        features = states[0].features[:, :length]
        return Rolled(features, jnp.stack(entropy, axis=2), jnp.stack(ticks, axis=2))

    def loss(self, records: Records, key: PRNGKeyArray) -> tuple[Array, Metrics]:
        """CW-VAE eq. 5 or, for agents, the balanced objective (``objective.py``)."""
        return model_loss(self, records, self._beliefs(records, key, None), self.objective)

    def kl(self, records: Records, key: PRNGKeyArray) -> Float[Array, "B L"]:
        """As ``VideoModel.kl``."""
        return sequence_kl(self, records, self._beliefs(records, key, None))

    def start(self, batch: int, streams: bool) -> tuple[State, ...]:
        """Zero states of every level, [B, ·]; empty without streams."""
        levels = self.levels if streams else []
        return tuple(level.initial((batch,)) for level in levels)

    def learn(
        self, clips: Clips, carry: tuple[State, ...], key: PRNGKeyArray
    ) -> tuple[Array, tuple[tuple[State, ...], Metrics]]:
        """The loss; with streams, rows that continue start from the end of their last clip."""
        before = carried(carry, clips.continues) if carry else None
        beliefs = self._beliefs(clips.records, key, before)
        total, metrics = model_loss(self, clips.records, beliefs, self.objective)
        if carry:
            last = tuple(jax.tree.map(lambda x: x[:, -1], belief.state) for belief in beliefs)
            carry = jax.lax.stop_gradient(last)
        return total, (carry, metrics)

    def _beliefs(
        self, records: Records, key: PRNGKeyArray, carry: tuple[State, ...] | None
    ) -> tuple[Belief, ...]:
        batch, length = records.mask.shape
        noise = self.draw_noise(key, batch, length - self.lead)
        return self.observe(records, noise, carry=carry)


def carried(carry: tuple[State, ...], continues: Bool[Array, " B"]) -> tuple[State, ...]:
    """``carry``, with zeros where a row does not continue its last clip."""
    return jax.tree.map(lambda x: jnp.where(continues[:, None], x, 0.0), carry)
