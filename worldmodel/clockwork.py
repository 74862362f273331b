"""The clockwork world model: a stack of recurrent latent levels, level l ticking every K_l steps. CW-VAE §2; DESIGN §3.

One class holds CW-VAE, NoTmpAbs, RSSM and the agent's model; only settings differ::

    CW-VAE    strides (1, 6, 36), window lookahead, action_width 0
    NoTmpAbs  strides (1, 1, 1),  window lookahead, action_width 0
    RSSM      strides (1,)
    agent     strides (1, 4, 16), window causal, actions, all_phases

``observe`` filters recorded sequences, ``imagine`` rolls the priors of all levels, ``imagine_top`` the top level alone by
one tick (what an actor needs), ``decode`` draws what level 1 believes. Nothing here knows of rewards or policies.
Read next: ``objective.py`` (the loss), ``filter.py`` (the same model one observation at a time).
"""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from worldmodel import clock
from worldmodel.distributions import Categorical, Gaussian, Latent
from worldmodel.level import Belief, CellConfig, Level, State
from worldmodel.networks import MLP, ConvDecoder, ConvEncoder, check_image, symlog
from worldmodel.records import Records

ObsShapes = dict[str, tuple[int, ...]]  # per observation: (64, 64, C) is an image, (n,) a vector


@dataclass(frozen=True)
class ClockworkConfig:
    """Settings of the world model. Defaults suit an agent on a small control task."""

    strides: tuple[int, ...] = (1, 4)
    """Environment steps per tick of each level, lowest first; 1 first, each divides the next. CW-VAE §2."""
    window: clock.Window = "causal"
    """Frames that a tick sees: `causal` those since the last tick (agents), `lookahead` the block to come (CW-VAE eq. 4)."""
    all_phases: bool = True
    """Train the top level at every phase of its clock, as acting filters it. Causal only. DESIGN §3."""
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
    hidden: int = 128
    """Units of hidden layers."""
    post_layers: int = 1
    """Hidden layers of the posterior (original code: 2)."""
    act: Literal["silu", "relu"] = "silu"
    """Activation of dense layers (CW-VAE: relu)."""
    norm: bool = True
    """RMS norm before the activation of dense layers (CW-VAE: none)."""
    embed_layers: int = 1
    """Hidden layers of the per-level MLP over frame embeddings, levels 2 and up (original code: 2)."""
    embed: int = 128
    """Units of that MLP's output; 0 = as many as the frame embedding has (original code)."""
    cumulative: bool = False
    """Each level's MLP reads the level below's output (original code) rather than the frame embedding."""
    conv_depth: int = 8
    """Channels of the first convolution; the others have 2, 4, 8 times as many (CW-VAE: 32)."""
    image_final: Literal["linear", "tanh", "sigmoid"] = "sigmoid"
    """Last activation of the image decoder (original code: tanh)."""
    image_std: float = 0.3
    """Standard deviation of the image likelihood, pixel values in [0, 1]."""
    vector_std: float = 0.3
    """Standard deviation of the vector likelihood, symlog units."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of matrix products; parameters, states and losses stay float32."""


class ClockworkVAE(nnx.Module):
    """World model over observations of ``obs_shapes`` and flat actions of ``action_width`` floats (0: action-free).

    Raises:
      ValueError: on strides that do not divide, a sizes below 1, an image that is not 64×64, or settings that exclude
        each other.
    """

    def __init__(
        self, config: ClockworkConfig, obs_shapes: ObsShapes, action_width: int, rngs: nnx.Rngs
    ):
        check_config(config, obs_shapes)
        self.config, self.action_width = config, action_width
        self.strides = clock.check_strides(config.strides)
        self.lead = clock.lead_in(self.strides, config.window)
        self.latent = make_latent(config)
        self.encoder = Encoder(config, obs_shapes, rngs)
        frame, sizes = self.encoder.width, []
        for stride in self.strides[1:]:
            sizes.append(
                (sizes[-1] if sizes and config.cumulative else frame, config.embed or frame)
            )
        self.level_embeds = nnx.List([self._mlp(a, b, config.embed_layers, rngs) for a, b in sizes])
        self.unknown_action = nnx.Param(jnp.zeros(action_width))
        embeds = [frame, *[b for _, b in sizes]]
        self.levels = nnx.List(
            [
                Level(self._cell(stride, embed, top=index == len(embeds) - 1), rngs)
                for index, (stride, embed) in enumerate(zip(self.strides, embeds, strict=True))
            ]
        )
        self.decoder = Decoder(config, obs_shapes, rngs)

    def _mlp(self, inputs: int, outputs: int, layers: int, rngs: nnx.Rngs) -> MLP:
        c = self.config
        return MLP(
            inputs,
            c.hidden,
            outputs,
            layers=layers,
            act=c.act,
            norm=c.norm,
            dtype=jnp.dtype(c.dtype),
            rngs=rngs,
        )

    def _cell(self, stride: int, embed: int, top: bool) -> CellConfig:
        c = self.config
        newest_apart = c.window == "causal" and stride > 1
        return CellConfig(
            latent=self.latent,
            deter=c.deter,
            hidden=c.hidden,
            post_layers=c.post_layers,
            act=c.act,
            norm=c.norm,
            std_shift=c.std_shift,
            embed=2 * embed if newest_apart else embed,
            context=0 if top else c.deter + self.latent.width,
            action=stride * self.action_width,
            dtype=jnp.dtype(c.dtype),
        )

    @property
    def top(self) -> Level:
        """The slowest level."""
        return self.levels[-1]

    @property
    def stride(self) -> int:
        """K, environment steps per tick of the top level."""
        return self.strides[-1]

    @property
    def features(self) -> int:
        """D+S: floats of [h, z] of any level."""
        return self.config.deter + self.latent.width

    def tick_counts(self, length: int) -> tuple[int, ...]:
        """Ticks of each level in ``length`` steps; the top's at every phase where ``all_phases``."""
        counts = [-(-length // k) for k in self.strides]
        return (*counts[:-1], length if self.config.all_phases else counts[-1])

    def draw_noise(self, key: PRNGKeyArray, batch: int, length: int) -> tuple[Array, ...]:
        """Noise of every level for ``observe``: [B, ticks, ...], level 1 first."""
        keys = jax.random.split(key, len(self.strides))
        return tuple(
            self.latent.noise(k, (batch, n))
            for k, n in zip(keys, self.tick_counts(length), strict=True)
        )

    def frame_embeddings(self, obs: dict[str, Array]) -> tuple[Array, ...]:
        """Embedding of single frames for every level, [..., E_l]; no windows yet."""
        embeds = [self.encoder(obs)]
        for mlp in self.level_embeds:
            embeds.append(mlp(embeds[-1] if self.config.cumulative else embeds[0]))
        return tuple(embeds)

    def known_actions(
        self, action: Array, action_mask: Array, is_first: Array | None = None
    ) -> Array:
        """Actions with the learned stand-in where they are unknown, and zeros at first records. [..., A]."""
        known = (
            action_mask[..., None] * action
            + (1 - action_mask[..., None]) * self.unknown_action[...]
        )
        return known if is_first is None else jnp.where(is_first[..., None], 0.0, known)

    def observe(self, records: Records, noise: tuple[Array, ...]) -> tuple[Belief, ...]:
        """Filters recorded sequences with every level, top first.

        Args:
          records: [B, lead+T, ...]; episodes start at multiples of K after the lead-in (``clock.check_alignment``).
          noise: from ``draw_noise(key, B, T)``.
        Returns:
          Beliefs per level, level 1 first, [B, ticks, ·]; tick n of level l at time n·K_l, but with ``all_phases`` the
          top's tick n at time n (its chains interleaved).
        Raises:
          ValueError: when T is no multiple of K and the window is causal.
        """
        length = records.mask.shape[1] - self.lead
        if self.config.window == "causal" and (length <= 0 or length % self.stride):
            raise ValueError(
                f"observe: expected a lead-in of {self.lead} records and then a positive multiple of the top stride "
                f"{self.stride}, received {records.mask.shape[1]} records; pad the tail and set its mask to 0"
            )
        embeds, actions, restart = self._inputs(records)
        beliefs: list[Belief] = []
        context = None
        for index in reversed(range(len(self.levels))):
            drive = self.levels[index].drive(context, actions[index])
            beliefs.insert(
                0, self._filter(index, drive, embeds[index], restart[index], noise[index])
            )
            if index:
                context = self._context(index - 1, beliefs[0].state.features, length)
        return tuple(beliefs)

    def _filter(
        self, index: int, drive: Array, embed: Array, restart: Array, noise: Array
    ) -> Belief:
        level = self.levels[index]
        chains = self.stride if self.phased(index) else 1
        drive = jnp.broadcast_to(drive, (*embed.shape[:2], level.config.hidden))
        inputs = (drive, embed, restart, noise)
        if chains > 1:
            inputs = jax.tree.map(
                lambda x: merge(jax.vmap(lambda y: clock.to_phases(y, chains))(x)), inputs
            )
        belief = level.observe(level.initial(inputs[1].shape[:1]), *inputs)
        if chains > 1:
            belief = jax.tree.map(
                lambda x: jax.vmap(clock.from_phases)(x.reshape(-1, chains, *x.shape[1:])), belief
            )
        return belief

    def phased(self, index: int) -> bool:
        """Whether level ``index`` (from 0) is filtered at every phase of its clock: the top alone, by setting."""
        return self.config.all_phases and index == len(self.levels) - 1

    def _context(self, index: int, above: Array, length: int) -> Array:
        """Features of the level above at its latest tick, for every tick of level ``index``. [B, T_l, D+S]."""
        stride, upper = self.strides[index], self.strides[index + 1]
        if self.phased(index + 1):
            above = above[:, ::upper]
        return jnp.repeat(above, upper // stride, axis=1)[:, : -(-length // stride)]

    def _inputs(self, records: Records) -> tuple[list[Array], list[Array | None], list[Array]]:
        """Embeddings, actions and restarts of every level's ticks: windows of everything outside the recurrence."""
        frames = self.frame_embeddings(records.obs)
        action = self.known_actions(records.action, records.action_mask, records.is_first)
        embeds, actions, restarts = [], [], []
        for index, stride in enumerate(self.strides):
            cut = 1 if self.phased(index) else stride
            embed, act, restart = jax.vmap(
                lambda f, a, i, m, s=stride, c=cut: self._windows(f, a, i, m, s, c)
            )(frames[index], action, records.is_first, records.mask)
            embeds.append(embed)
            actions.append(act if self.action_width else None)
            restarts.append(restart)
        return embeds, actions, restarts

    def _windows(
        self, frame: Array, action: Array, is_first: Array, mask: Array, stride: int, cut: int
    ) -> tuple[Array, Array, Array]:
        """One sequence's level inputs, at every ``cut``-th main time. frame: [T', E] → [n, E or 2E]."""
        segment = clock.segments(is_first)
        if self.config.window == "lookahead":
            frame, action = (clock.pad_end(x, stride) for x in (frame * mask[:, None], action))
            padded = jnp.pad(segment, (0, frame.shape[0] - segment.shape[0]), mode="edge")
            sums = clock.window_sum(frame, padded, stride)[stride - 1 :: stride]
            stacked = clock.window_stack(action, padded, stride)[stride - 1 :: stride]
            return sums, stacked, clock.restarts(segment, stride, 0)[::stride]
        newest = frame[clock.last_real(mask)]
        if stride > 1:
            sums = clock.window_sum(frame * mask[:, None], segment, stride)
            newest = jnp.concatenate([newest, sums], axis=-1)
        stacked = clock.window_stack(action, segment, stride)
        restart = clock.restarts(segment, stride, self.lead)
        return newest[self.lead :: cut], stacked[self.lead :: cut], restart[::cut]

    def states_at(self, beliefs: tuple[Belief, ...], time: int) -> tuple[State, ...]:
        """Every level's state at main time ``time``, a multiple of K; the start of ``imagine``. [B, ·] each."""
        if time % self.stride:
            raise ValueError(
                f"states_at: expected a multiple of the top stride {self.stride}, received {time}"
            )
        steps = [1 if self.phased(index) else stride for index, stride in enumerate(self.strides)]
        return tuple(
            jax.tree.map(lambda x, n=time // step: x[:, n], belief.state)
            for belief, step in zip(beliefs, steps, strict=True)
        )

    def imagine_top(self, state: State, chunk: Float[Array, "N W"], noise: Array) -> State:
        """One tick of the top level alone: s' ~ p(s' | s, u). DESIGN §4.

        Args:
          state: [N, ·].
          chunk: the K actions of the interval in order, flattened: W = K·A.
          noise: [N, ...] of the latent.
        """
        return self.top.imagine_step(
            state, self.top.drive(None, chunk if self.action_width else None), noise
        )

    def imagine(
        self,
        states: tuple[State, ...],
        action: Float[Array, "B T A"],
        action_mask: Float[Array, "B T"],
        noise: tuple[Array, ...],
        top: State | None = None,
    ) -> tuple[State, ...]:
        """Open loop: every level's prior over T further steps, T a multiple of K.

        Causal, ``states`` are those of a top tick t (``states_at``) and steps t+1 … t+T follow; looking ahead they are the
        last of the context and steps start with the next block.

        Args:
          states: level 1 first, [B, ·].
          action: actions that lead to each step.
          action_mask: 0 where unknown.
          noise: per level, [B, T/K_l, ...] (``imagination_noise``).
          top: the top level's states at its T/K ticks where already imagined, [B, T/K, ·].
        Returns:
          States per level, level 1 first, [B, T/K_l, ·].
        """
        length = action.shape[1]
        if length == 0 or length % self.stride:
            raise ValueError(
                f"imagine: expected a positive multiple of {self.stride} steps, received {length}"
            )
        action = self.known_actions(action, action_mask)
        result: list[State] = []
        for index in reversed(range(len(self.levels))):
            level, stride = self.levels[index], self.strides[index]
            chunks = (
                action.reshape(action.shape[0], length // stride, -1) if self.action_width else None
            )
            context = self._imagined_context(index, states, result[0], length) if result else None
            if top is not None and not result:
                result.insert(0, top)
                continue
            drive = level.drive(context, chunks)
            drive = jnp.broadcast_to(
                drive, (action.shape[0], length // stride, level.config.hidden)
            )
            result.insert(0, level.imagine(states[index], drive, noise[index]))
        return tuple(result)

    def _imagined_context(
        self, index: int, states: tuple[State, ...], above: State, length: int
    ) -> Array:
        ratio = self.strides[index + 1] // self.strides[index]
        features = above.features
        if self.config.window == "lookahead":
            return jnp.repeat(features, ratio, axis=1)
        features = jnp.concatenate([states[index + 1].features[:, None], features], axis=1)
        return jnp.repeat(features, ratio, axis=1)[:, 1 : 1 + length // self.strides[index]]

    def imagination_noise(self, key: PRNGKeyArray, batch: int, length: int) -> tuple[Array, ...]:
        """Noise of every level for ``imagine`` over ``length`` steps."""
        keys = jax.random.split(key, len(self.strides))
        return tuple(
            self.latent.noise(k, (batch, length // s))
            for k, s in zip(keys, self.strides, strict=True)
        )

    def decode(self, features: Float[Array, "*N F"]) -> dict[str, Array]:
        """Means of the observations from level 1's [h, z]: images in [0, 1], vectors in symlog units."""
        return self.decoder(features)


class Encoder(nnx.Module):
    """Frame embedding: every observation's features, concatenated. Images uint8 (or [0, 1] floats), vectors by symlog."""

    def __init__(self, config: ClockworkConfig, obs_shapes: ObsShapes, rngs: nnx.Rngs):
        dtype = jnp.dtype(config.dtype)
        parts: dict[str, nnx.Module] = {}
        for name, shape in sorted(obs_shapes.items()):
            if len(shape) == 3:
                parts[name] = ConvEncoder(shape[-1], config.conv_depth, dtype, rngs)
            else:
                kind = {
                    "layers": 1,
                    "act": config.act,
                    "norm": config.norm,
                    "dtype": dtype,
                    "rngs": rngs,
                }
                parts[name] = MLP(shape[0], config.hidden, config.hidden, **kind)
        self.parts = nnx.Dict(parts)
        self.width = sum(
            self.parts[name].width if len(shape) == 3 else config.hidden
            for name, shape in obs_shapes.items()
        )

    def __call__(self, obs: dict[str, Array]) -> Array:
        outputs = []
        for name in sorted(self.parts):
            x, part = obs[name], self.parts[name]
            if isinstance(part, ConvEncoder):
                batch = x.shape[:-3]
                outputs.append(part(pixels(x).reshape(-1, *x.shape[-3:])).reshape(*batch, -1))
            else:
                outputs.append(part(symlog(x)))
        return jnp.concatenate(outputs, axis=-1)


class Decoder(nnx.Module):
    """Means of every observation from [h, z] of level 1; no skip connections round the latents."""

    def __init__(self, config: ClockworkConfig, obs_shapes: ObsShapes, rngs: nnx.Rngs):
        dtype = jnp.dtype(config.dtype)
        inputs = config.deter + make_latent(config).width
        parts: dict[str, nnx.Module] = {}
        for name, shape in sorted(obs_shapes.items()):
            if len(shape) == 3:
                parts[name] = ConvDecoder(
                    inputs, shape[-1], config.conv_depth, config.image_final, dtype, rngs
                )
            else:
                kind = {
                    "layers": 2,
                    "act": config.act,
                    "norm": config.norm,
                    "dtype": dtype,
                    "rngs": rngs,
                }
                parts[name] = MLP(inputs, config.hidden, shape[0], **kind)
        self.parts = nnx.Dict(parts)

    def __call__(self, features: Array) -> dict[str, Array]:
        result = {}
        for name in sorted(self.parts):
            part = self.parts[name]
            if isinstance(part, ConvDecoder):
                images = part(features.reshape(-1, features.shape[-1]))
                result[name] = images.reshape(*features.shape[:-1], *images.shape[1:])
            else:
                result[name] = part(features)
        return result


def pixels(x: Array) -> Array:
    """Images as floats in [0, 1]."""
    return x.astype(jnp.float32) / 255 if x.dtype == jnp.uint8 else x


def make_latent(config: ClockworkConfig) -> Latent:
    """The latent distribution that ``config`` names."""
    if config.latent == "gaussian":
        return Gaussian(config.stoch, config.min_std)
    return Categorical(config.stoch, config.classes, config.unimix)


def merge(x: Array) -> Array:
    """[B, K, ...] to [B·K, ...]."""
    return x.reshape(-1, *x.shape[2:])


def check_config(config: ClockworkConfig, obs_shapes: ObsShapes) -> None:
    """Raises ValueError on settings that cannot be built."""
    clock.check_strides(config.strides)
    if config.all_phases and config.window != "causal":
        raise ValueError(
            "all_phases: expected window 'causal', received 'lookahead'; set all_phases to False"
        )
    sizes = {
        name: getattr(config, name)
        for name in ("stoch", "classes", "deter", "hidden", "post_layers", "conv_depth")
    }
    bad = {name: size for name, size in sizes.items() if size < 1}
    if bad:
        raise ValueError(f"world model sizes: expected 1 or more, received {bad}; raise them")
    if not obs_shapes:
        raise ValueError("obs_shapes: expected at least one observation, received none")
    for name, shape in obs_shapes.items():
        if len(shape) == 3:
            check_image(name, shape)
        elif len(shape) != 1:
            raise ValueError(
                f"observation {name!r}: expected shape (64, 64, C) or (n,), received {shape}; flatten it"
            )
