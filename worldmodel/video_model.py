"""What is asked of a model of video, whichever it is: training, evaluation, analysis and
imagination use this and nothing else.

    filter   what it holds after frames that it has seen
    roll     the future from there, as features
    decode   observations of features
    loss     of recorded sequences, per frame

Frames are records' (``records.py``); nothing past those given is ever seen. What is below ``loss``
is for models of several levels, or whose training needs more than sequences, and may be left.
Read next: ``clockwork_video.py``, CW-VAE, NoTmpAbs and RSSM by it.
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
"""A pytree of arrays that training hands from an update to the next, without gradient."""


class Clips(NamedTuple):
    """A batch of video."""

    records: Records  # [B, lead+T, ...]
    continues: Bool[Array, " B"]  # the clip goes on where the row's last ended; else from zeros


class Filtered(NamedTuple):
    """What a model holds after frames that it has seen."""

    features: Array  # [B, n, ...] at the newest n of them, for `decode`
    state: Any  # pytree of [B, ...], for `roll`


class Rolled(NamedTuple):
    """A future of T frames; of a model without levels features alone."""

    features: Array  # [B, T, ...], for `decode`
    entropy: Array | None = None  # [B, T, L] of each level's prior, nats, held between its ticks
    ticks: Array | None = None  # [B, T, L] 1 where the level ticks, or how probably it does


class VideoModel(nnx.Module):
    """A model of video over sequences of observations, led by actions or by none."""

    action_width: int = 0
    """A: floats of an action that it reads; 0: none."""
    lead: int = 0
    """Records before a sequence's own first one that ``loss`` and ``kl`` want."""

    @property
    @abstractmethod
    def features(self) -> int:
        """Floats of one frame's features."""

    @abstractmethod
    def filter(self, records: Records, key: PRNGKeyArray, blind: tuple[int, ...] = ()) -> Filtered:
        """Sees the first frames of videos.

        Args:
          records: [B, n, ...] from each video's first on, without lead-in; n whole ``block``s.
          blind: levels, from 0, that see none of them: their posterior is their prior. CW-VAE §3.6.
        """

    @abstractmethod
    def roll(
        self,
        state: Any,
        action: Float[Array, "B T A"],
        action_mask: Float[Array, "B T"],
        key: PRNGKeyArray,
    ) -> Rolled:
        """Predicts T frames from ``Filtered.state`` by what leads to each; mask 0: not known."""

    @abstractmethod
    def decode(self, features: Array) -> dict[str, Array]:
        """Means of observations: images in [0, 1], vectors in units of the model's own.

        [..., F] as ``filter`` and ``roll`` give them to [..., S, S, C] and [..., n].
        """

    @abstractmethod
    def loss(self, records: Records, key: PRNGKeyArray) -> tuple[Array, Metrics]:
        """What is descended, per real frame of records [B, lead+T, ...], and by which runs are
        compared: `loss/model` of the metrics, among which are `kl/level<l>` of its levels."""

    def to_observations(self, means: dict[str, Array]) -> dict[str, Array]:
        """What ``decode`` gives as observations. Here all are images: uint8."""
        return {name: to_bytes(x) for name, x in means.items()}

    @property
    def block(self) -> int:
        """Only a multiple of so many frames can be seen before a prediction."""
        return 1

    @property
    def clocks(self) -> tuple[str, ...]:
        """When each of its L levels ticks, in words, level 1 first; empty without levels."""
        return ()

    def kl(self, records: Records, key: PRNGKeyArray) -> Float[Array, "B L"]:
        """Nats that each level takes from a sequence [lead+T, ...], all in all. CW-VAE Table 1."""
        return jnp.zeros((records.mask.shape[0], 0))

    def start(self, batch: int, streams: bool) -> Carry:
        """What training begins with; with ``streams`` states that clips go on from."""
        return ()

    def learn(
        self, clips: Clips, carry: Carry, key: PRNGKeyArray
    ) -> tuple[Array, tuple[Carry, Metrics]]:
        """The loss of an update, and what is handed on; here ``loss``."""
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
    """Sees the first ``context`` frames and predicts ``horizon`` more.

    The same key and horizon give the same noise whoever is blind: futures differ by what was seen
    alone.

    Args:
      records: [B, T, ...] from each video's first frame on, without lead-in, T at least
        ``context``; of what follows only actions are read, unknown where the records end.
      blind: levels, from 0.
    Raises:
      UserError: if the horizon is not positive, or there is no such level.
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
    """x[:, start:stop], zeros where it does not reach that far."""
    x = x[:, start:stop]
    return jnp.pad(x, [(0, 0), (0, stop - start - x.shape[1]), *[(0, 0)] * (x.ndim - 2)])


def to_bytes(frames: Array) -> Array:
    """Pixel values as uint8, clipped to [0, 1]."""
    return jnp.round(jnp.clip(frames, 0, 1) * 255).astype(jnp.uint8)
