"""LMC-Memory: convolutional LSTMs predict frames, aided by long motion that short motion recalls.

    h_t, c_t = LSTMs(enc(x_t))                  of observed frames, then of predicted ones
    m = embed(Σ_i softmax_i(cos(q, M_i)) M_i)   at every position of a motion map, q
    x_{t+1} = dec([h_t, a(c_t, m) · m])         a: a weight per channel

Motion is read from differences of frames by 3-D convolutions: from the last few observed frames
(matching) and, in training, by a separate network also from a long stretch that includes the future
(context). An update minimises two losses of predicting the frames after the first few. One
prediction recalls by the long stretch, and so stores in the memory M what is worth recalling; the
other recalls by the few frames, with M fixed, and so learns to match them with what is stored. The
latter is the model.

Source: Lee et al. 2021, "Video Prediction Recalling Long-term Motion Context via Memory Alignment
Learning", by their code (github.com/sangmin-git/LMC-Memory, commit 4ef14c8); docs/models.md lists
the differences.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from common import Count, CountOrZero, UserError, check_bounds
from worldmodel.baselines.svg import Cells, only_image
from worldmodel.config import ClockworkConfig, ObsShapes, check_config
from worldmodel.learner import Metrics
from worldmodel.level import time_first
from worldmodel.objective import masked_mean, normal_log_prob
from worldmodel.observations import pixels
from worldmodel.precision import Linear
from worldmodel.records import Records
from worldmodel.video_model import Clips, Filtered, Rolled, VideoModel

LSTMS = 4
POOLED = {0: (1, 2, 2), 1: (2, 2, 2), 3: (2, 2, 2), 5: (2, 2, 2)}  # after which convolutions
BOTTLENECK = 16  # units between the two layers of a
EARLY = 10  # number of frames predicted in the first updates


@dataclass(frozen=True)
class LMCConfig:
    """Settings of LMC-Memory in addition to those shared with the other models. Defaults: its code,
    on Moving MNIST."""

    short: Annotated[int, Ge(9)] = 10
    """Frames from which motion is recalled: the newest ones seen or, in training, the first of a
    sequence, after which prediction starts. At least 9, the fewest that leave one after halving
    three times."""
    long: Annotated[int, Ge(9)] = 30
    """Frames whose motion is stored in training, from anywhere in a sequence (KTH: 40)."""
    slots: Count = 100
    """Vectors in the memory."""
    early: CountOrZero = 5_000
    """Number of initial updates in which 10 frames are predicted rather than all."""


class Hidden(NamedTuple):
    """State carried from frame to frame."""

    frame: Array  # [B, S, S, C] the newest frame, in [0, 1], which the LSTMs have not read yet
    cells: Cells  # [B, S/4, S/4, 2d] h and c of each LSTM
    recalled: Array  # [B, S/4, S/4, 2d] m


class LMC(VideoModel):
    """Long motion context from a memory, for one image; deterministic, without levels or actions.

    Widths are those of ``config``: d = 2·`conv_depth` channels of the first convolutions.

    Raises:
      UserError: on settings that cannot be built, or observations that are not one image.
    """

    def __init__(
        self, config: ClockworkConfig, settings: LMCConfig, obs_shapes: ObsShapes, rngs: nnx.Rngs
    ):
        check_config(config, obs_shapes, 0, tuple(obs_shapes))
        check_bounds(settings, "lmc")
        self.image, self.shape = only_image("lmc", obs_shapes)
        self.config, self.settings = config, settings
        d, channels, dtype = 2 * config.conv_depth, self.shape[2], jnp.dtype(config.dtype)
        steps, back = [(channels, d), (d, d), (d, 2 * d), (2 * d, 2 * d)], (4 * d, 2 * d, d, d)
        self.encoder = nnx.List(
            [conv(a, b, 2, 2 - n % 2, dtype, rngs) for n, (a, b) in enumerate(steps)]
        )
        self.lstms = nnx.List([ConvLSTM(2 * d, dtype, rngs) for _ in range(LSTMS)])
        self.decoder = nnx.List(
            [
                deconv(a, b, 1 + n % 2, dtype, rngs)
                for n, (a, b) in enumerate(pairwise((*back, channels)))
            ]
        )
        self.matching, self.context = (Motion(channels, d, dtype, rngs) for _ in range(2))
        nnx.update(self.context, nnx.state(self.matching))  # equal motions begin at equal addresses
        self.memory = nnx.Param(jax.random.normal(rngs.params(), (settings.slots, 8 * d)))
        self.embedder = nnx.List(
            [deconv(a, b, 2, dtype, rngs) for a, b in ((8 * d, 4 * d), (4 * d, 2 * d))]
        )
        self.squeeze = Linear(4 * d, BOTTLENECK, dtype=dtype, rngs=rngs)
        self.weigh = Linear(BOTTLENECK, 2 * d, dtype=jnp.float32, rngs=rngs)

    @property
    def features(self) -> int:
        """Number of pixel values of a frame, as frames are their own features."""
        size, _, channels = self.shape
        return size * size * channels

    def encode(self, frames: Float[Array, "N S S C"]) -> Array:
        """Encode frames to maps [N, S/4, S/4, 2d]."""
        x = frames
        for layer in self.encoder:
            x = jax.nn.elu(layer(x))
        return x.astype(jnp.float32)

    def draw(self, h: Array, c: Array, recalled: Array) -> Float[Array, "N S S C"]:
        """Predict frames from the top LSTM's h and c and the recalled maps, [N, S/4, S/4, 2d]."""
        both = jnp.mean(jnp.concatenate([c, recalled], axis=-1), axis=(1, 2))
        weight = jax.nn.sigmoid(self.weigh(jax.nn.relu(self.squeeze(both)).astype(jnp.float32)))
        x = jnp.concatenate([h, weight[:, None, None] * recalled], axis=-1)
        *layers, last = self.decoder
        for layer in layers:
            x = jax.nn.elu(layer(x))
        return jax.nn.sigmoid(last(x).astype(jnp.float32))

    def recall(self, motion: Float[Array, "N s s Q"], memory: Float[Array, "M Q"]) -> Array:
        """Recall stored vectors similar to a motion, per position, as maps [N, S/4, S/4, 2d]."""
        x = like(motion, memory)
        for layer in self.embedder:
            x = jax.nn.relu(layer(x))
        return x.astype(jnp.float32)

    def recognise(self, frames: Float[Array, "B n S S C"]) -> Array:
        """``recall`` by the newest `short` observed frames; if there are fewer, the first is
        repeated. No gradient reaches the memory."""
        missing = max(0, self.settings.short - frames.shape[1])
        ends = [(0, 0), (missing, 0), (0, 0), (0, 0), (0, 0)]
        newest = jnp.pad(frames, ends, mode="edge")[:, -self.settings.short :]
        return self.recall(self.matching(newest), jax.lax.stop_gradient(self.memory[...]))

    def advance(self, cells: Cells, x: Array) -> Cells:
        """Step the LSTMs with a frame's maps."""
        after = []
        for lstm, (h, c) in zip(self.lstms, cells, strict=True):
            x, c = lstm(x, h, c)
            after.append((x, c))
        return tuple(after)

    def see(self, frames: Float[Array, "B n S S C"]) -> tuple[Cells, tuple[Array, Array]]:
        """The LSTMs after all frames but the newest, and the top one's h and c after each frame."""
        batch, count = frames.shape[0], frames.shape[1] - 1
        maps = self.encode(frames[:, :-1].reshape(-1, *self.shape))
        maps = maps.reshape(batch, count, *maps.shape[1:])

        def read(cells: Cells, x: Array) -> tuple[Cells, tuple[Array, Array]]:
            after = self.advance(cells, x)
            return after, after[-1]

        zeros = jnp.zeros((batch, *maps.shape[2:]))
        last, highest = jax.lax.scan(read, ((zeros, zeros),) * LSTMS, time_first(maps))
        h, c = jax.tree.map(time_first, highest)
        return last, (h, c)

    def predict(self, state: Hidden, count: int) -> Float[Array, "B T S S C"]:
        """Predict the next ``count`` frames, feeding each back; rematerialised for gradients."""

        @jax.checkpoint
        def frame(state: Hidden, _: None) -> tuple[Hidden, Array]:
            cells = self.advance(state.cells, self.encode(state.frame))
            drawn = self.draw(*cells[-1], state.recalled)
            return Hidden(drawn, cells, state.recalled), drawn

        return time_first(jax.lax.scan(frame, state, None, length=count)[1])

    def filter(self, records: Records, key: PRNGKeyArray, blind: tuple[int, ...] = ()) -> Filtered:
        """See ``VideoModel.filter``; there are no features for the first frame."""
        frames = pixels(records.obs[self.image])
        cells, (h, c) = self.see(frames)
        recalled = self.recognise(frames)
        count = h.shape[1]
        h, c = (x.reshape(-1, *x.shape[2:]) for x in (h, c))
        drawn = self.draw(h, c, jnp.repeat(recalled, count, axis=0))
        drawn = drawn.reshape(*frames[:, 1:].shape)
        return Filtered(drawn, Hidden(frames[:, -1], cells, recalled))

    def roll(
        self,
        state: Hidden,
        action: Float[Array, "B T A"],
        action_mask: Float[Array, "B T"],
        key: PRNGKeyArray,
    ) -> Rolled:
        """See ``VideoModel.roll``; each predicted frame is fed back."""
        return Rolled(self.predict(state, action_mask.shape[1]))

    def decode(self, features: Array) -> dict[str, Array]:
        """Return the features, which are the frames."""
        return {self.image: features}

    def loss(self, records: Records, key: PRNGKeyArray) -> tuple[Array, Metrics]:
        """-log p of all frames after the first `short`, which alone are seen, in nats per frame."""
        frames = self._frames(records)
        few = frames[:, : self.settings.short]
        cells, _ = self.see(few)
        nll = self._nll(records, Hidden(few[:, -1], cells, self.recognise(few)), records.mask)
        return nll, {f"nll/{self.image}": nll, "loss/model": nll}

    def learn(
        self, clips: Clips, carry: Array, key: PRNGKeyArray
    ) -> tuple[Array, tuple[Array, Metrics]]:
        """Loss of both predictions; in the first updates only of the first 10 frames."""
        records, settings = clips.records, self.settings
        frames = self._frames(records)
        few, length = frames[:, : settings.short], frames.shape[1]
        early = carry < settings.early
        counts = ~early | (jnp.arange(length) < settings.short + EARLY)
        mask = records.mask * counts[None]
        many = min(settings.long, length)
        start = jax.random.randint(key, (), 0, length - many + 1)
        stretch = jax.lax.dynamic_slice_in_dim(frames, jnp.where(early, 0, start), many, axis=1)
        cells, _ = self.see(few)
        stored = self.recall(self.context(stretch), self.memory[...])
        long, short = (
            self._nll(records, Hidden(few[:, -1], cells, m), mask)
            for m in (stored, self.recognise(few))
        )
        metrics = {f"nll/{self.image}": short, "loss/model": short, "nll/by_long": long}
        return long + short, (carry + 1.0, metrics)

    def start(self, batch: int, streams: bool) -> Array:
        """Number of updates so far: 0."""
        return jnp.zeros(())

    def _frames(self, records: Records) -> Float[Array, "B T S S C"]:
        frames = pixels(records.obs[self.image])
        if frames.shape[1] <= self.settings.short:
            raise UserError(
                f"length: expected more than the {self.settings.short} frames after which lmc "
                f"predicts, received {frames.shape[1]}; raise --length"
            )
        return frames

    def _nll(self, records: Records, state: Hidden, mask: Float[Array, "B T"]) -> Array:
        short = self.settings.short
        true, mask = pixels(records.obs[self.image])[:, short:], mask[:, short:]
        drawn = self.predict(state, true.shape[1])
        likely = jnp.sum(normal_log_prob(true, drawn, self.config.image_std), axis=(2, 3, 4))
        return -masked_mean(likely, mask)


class ConvLSTM(nnx.Module):
    """A convolutional LSTM: an LSTM at every position of a map that also reads its neighbours."""

    def __init__(self, width: int, dtype: DTypeLike, rngs: nnx.Rngs):
        self.inputs, self.recurrent = (conv(width, 4 * width, 2, 1, dtype, rngs) for _ in range(2))

    def __call__(self, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
        """(h', c'), all [B, s, s, W]."""
        gates = (self.inputs(x) + self.recurrent(h)).astype(jnp.float32)
        write, candidate, forget, read = jnp.split(gates, 4, axis=-1)
        c = jax.nn.sigmoid(forget) * c + jax.nn.sigmoid(write) * jnp.tanh(candidate)
        return jax.nn.sigmoid(read) * jnp.tanh(c), c


class Motion(nnx.Module):
    """Motion map from frame differences: 3-D convolutions with pooling, and the mean over time.

    64 → 32 → 16 → 8 → 4 pixels; d, 2d, 4d, 4d, 8d, 8d channels
    """

    def __init__(self, channels: int, d: int, dtype: DTypeLike, rngs: nnx.Rngs):
        widths = (channels, d, 2 * d, 4 * d, 4 * d, 8 * d, 8 * d)
        self.layers = nnx.List([conv(a, b, 3, 1, dtype, rngs) for a, b in pairwise(widths)])

    def __call__(self, frames: Float[Array, "B n S S C"]) -> Array:
        """[B, S/16, S/16, 8d]."""
        x = frames[:, 1:] - frames[:, :-1]
        for index, layer in enumerate(self.layers):
            x = jax.nn.relu(layer(x))
            if index in POOLED:
                x = nnx.max_pool(x, POOLED[index], POOLED[index])
        return jnp.mean(x.astype(jnp.float32), axis=1)


def like(query: Float[Array, "*N Q"], memory: Float[Array, "M Q"]) -> Float[Array, "*N Q"]:
    """Σ_i softmax_i(cos(q, M_i)) M_i."""
    near = unit(query) @ unit(memory).T
    return jax.nn.softmax(near, axis=-1) @ memory


def unit(x: Array) -> Array:
    """Normalise vectors to length 1; those of nearly zero length stay nearly 0, as in torch."""
    square = jnp.sum(x**2, axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(square, 1e-24))


def conv(a: int, b: int, dims: int, stride: int, dtype: DTypeLike, rngs: nnx.Rngs) -> nnx.Conv:
    """Convolution with kernels of 3 in every dimension, zero-padded by one pixel."""
    return nnx.Conv(a, b, (3,) * dims, strides=stride, padding=1, dtype=dtype, rngs=rngs)


def deconv(a: int, b: int, stride: int, dtype: DTypeLike, rngs: nnx.Rngs) -> nnx.ConvTranspose:
    """Transposed convolution to maps ``stride`` times as large."""
    strides = (stride, stride)
    return nnx.ConvTranspose(a, b, (3, 3), strides=strides, padding="SAME", dtype=dtype, rngs=rngs)
