"""The interface of every video model.

Training, evaluation, analysis and imagination use it and nothing else.

    filter   the state after the frames seen
    roll     the future from that state, as features
    decode   observations from features
    loss     of recorded sequences, per frame

Frames are those of records (``records.py``); a model never sees beyond the frames it is given. The
methods below ``loss`` are for models that have several levels, or whose training needs more than
sequences; other models may leave them as they are. Read next: ``clockwork_video.py``, which
implements the interface for CW-VAE, NoTmpAbs and RSSM.
"""

from abc import abstractmethod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from common import UserError
from worldmodel.learner import Metrics
from worldmodel.records import Records

Carry = Any
"""A pytree of arrays that training carries from one update to the next, without gradient."""


class Clips(NamedTuple):
    """A batch of video."""

    records: Records  # [B, lead+T, ...]
    continues: Bool[Array, " B"]  # the clip continues the row's last one; else starts from zeros


class Filtered(NamedTuple):
    """Features and state of a model after the frames it has seen."""

    features: Array  # [B, n, ...] at the newest n frames, for `decode`
    state: Any  # pytree of [B, ...], for `roll`


class Rolled(NamedTuple):
    """A future of T frames; a model without levels gives only features."""

    features: Array  # [B, T, ...], for `decode`
    entropy: Array | None = None  # [B, T, L] of each level's prior, nats, held between its ticks
    ticks: Array | None = None  # [B, T, L] 1 where the level ticks, or the probability that it does


class VideoModel(nnx.Module):
    """A video model over sequences of observations, with or without actions."""

    action_width: int = 0
    """A: floats of an action that the model reads; 0: none."""
    lead: int = 0
    """Records before a sequence's own first one that ``loss`` and ``kl`` need."""

    @property
    @abstractmethod
    def features(self) -> int:
        """Floats of one frame's features."""

    @abstractmethod
    def filter(self, records: Records, key: PRNGKeyArray, blind: tuple[int, ...] = ()) -> Filtered:
        """Filter the first frames of videos.

        Args:
          records: [B, n, ...] from each video's first frame on, without lead-in; n is a multiple
            of ``block``.
          blind: levels (from 0) that see no frame: their posterior is their prior. CW-VAE §3.6.
        """

    @abstractmethod
    def roll(
        self,
        state: Any,
        action: Float[Array, "B T A"],
        action_mask: Float[Array, "B T"],
        key: PRNGKeyArray,
    ) -> Rolled:
        """Predict T frames from ``Filtered.state``, given each frame's action; mask 0: unknown."""

    @abstractmethod
    def decode(self, features: Array) -> dict[str, Array]:
        """Means of observations: images in [0, 1], vectors in the model's own units.

        Features [..., F], as ``filter`` and ``roll`` return them, to [..., S, S, C] and [..., n].
        """

    @abstractmethod
    def loss(self, records: Records, key: PRNGKeyArray) -> tuple[Array, Metrics]:
        """The loss to minimise, per real frame of records [B, lead+T, ...], by which runs are
        compared: `loss/model` of the metrics, which also hold `kl/level<l>` for each level."""

    def to_observations(self, means: dict[str, Array]) -> dict[str, Array]:
        """Convert the output of ``decode`` to observations. Here all are images: uint8."""
        return {name: to_bytes(x) for name, x in means.items()}

    @property
    def block(self) -> int:
        """Only multiples of this number of frames can be seen before a prediction."""
        return 1

    @property
    def clocks(self) -> tuple[str, ...]:
        """When each of the L levels ticks, in words, level 1 first; empty without levels."""
        return ()

    def kl(self, records: Records, key: PRNGKeyArray) -> Float[Array, "B L"]:
        """Total nats that each level takes from a sequence [lead+T, ...]. CW-VAE Table 1."""
        return jnp.zeros((records.mask.shape[0], 0))

    def start(self, batch: int, streams: bool) -> Carry:
        """The carry before the first update; with ``streams``, states that clips continue from."""
        return ()

    def learn(
        self, clips: Clips, carry: Carry, key: PRNGKeyArray
    ) -> tuple[Array, tuple[Carry, Metrics]]:
        """The loss of an update and the carry for the next; here ``loss`` and the same carry."""
        total, metrics = self.loss(clips.records, key)
        return total, (carry, metrics)


def open_loop(
    model: VideoModel,
    records: Records,
    context: int,
    horizon: int,
    key: PRNGKeyArray,
    blind: tuple[int, ...] = (),
) -> tuple[Filtered, Rolled]:
    """Filter the first ``context`` frames and predict ``horizon`` more.

    The same key and horizon give the same noise whichever levels are blind, so futures differ only
    by what was seen.

    Args:
      records: [B, T, ...] from each video's first frame on, without lead-in, T at least
        ``context``. After the context only actions are read; past the records' end they are
        unknown.
      blind: levels (from 0) that see no frame.
    Raises:
      UserError: if the horizon is not positive, or a blind level does not exist.
    """
    if horizon < 1:
        raise UserError(f"horizon: expected 1 frame or more, received {horizon}; raise it")
    if not set(blind) <= set(range(len(model.clocks))):
        raise UserError(
            f"blind: expected levels 0 to {len(model.clocks) - 1}, received {blind}; count from 0"
        )
    filter_key, roll_key = jax.random.split(key)
    seen = jax.tree.map(lambda x: x[:, :context], records)
    filtered = model.filter(seen, filter_key, blind)
    action, known = (
        from_to(x, context, context + horizon) for x in (records.action, records.action_mask)
    )
    return filtered, model.roll(filtered.state, action, known, roll_key)


def from_to(x: Array, start: int, stop: int) -> Array:
    """x[:, start:stop], padded with zeros beyond the end of x."""
    x = x[:, start:stop]
    return jnp.pad(x, [(0, 0), (0, stop - start - x.shape[1]), *[(0, 0)] * (x.ndim - 2)])


def to_bytes(frames: Array) -> Array:
    """Pixel values as uint8, clipped to [0, 1]."""
    return jnp.round(jnp.clip(frames, 0, 1) * 255).astype(jnp.uint8)
