"""The clockwork world model: recurrent latent levels, level l ticking every K_l steps. CW-VAE §2.

One class covers CW-VAE, NoTmpAbs, RSSM and the agent's model, which differ only in settings::

    CW-VAE    strides (1, 6, 36), window lookahead, action_width 0
    NoTmpAbs  strides (1, 1, 1),  window lookahead, action_width 0
    RSSM      strides (1,)
    agent     strides (1, 4, 16), window causal, actions

``observe`` filters recorded sequences, ``imagine`` rolls out the priors of all levels, and
``imagine_top`` advances the top level alone by one tick (all that an actor needs). ``decode``
predicts observations from level 1's beliefs, and ``to_observations`` converts the predictions to
the units of observations (``observations.py: Observing``). Nothing here knows about rewards or
policies. Read next: ``objective.py`` (the loss), ``filter.py`` (the same model one observation at a
time).
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from common import UserError
from worldmodel import clock
from worldmodel.codes import ActionCode
from worldmodel.config import ClockworkConfig, ObsShapes, make_latent
from worldmodel.level import Belief, Inputs, Level, State
from worldmodel.observations import Decoder, Encoder, Observing, make_mlp
from worldmodel.records import Records


class ClockworkVAE(Observing):
    """World model over ``obs_shapes`` and flat actions of ``action_width`` floats (0: action-free).

    The observations named in ``predicted`` are decoded (None: all); the others are only read.
    With a ``code``, the top level reads a learned code of an interval's actions in their place; the
    levels below still read the actions themselves.

    Raises:
      UserError: if strides do not divide each other, a size is below 1, an image has an unsupported
        size, or settings exclude each other.
    """

    def __init__(
        self,
        config: ClockworkConfig,
        obs_shapes: ObsShapes,
        action_width: int,
        rngs: nnx.Rngs,
        code: ActionCode | None = None,
        predicted: Sequence[str] | None = None,
    ):
        self.observes(config, obs_shapes, action_width, predicted)
        self.action_width, self.code = action_width, code
        self.strides = clock.check_strides(config.strides)
        if code is not None and code.chunk != self.stride * action_width:
            raise UserError(
                f"code: expected one of chunks of {self.stride} actions of {action_width} floats, "
                f"received one of chunks of {code.chunk} floats; make it of their product"
            )
        self.lead = clock.lead_in(self.strides, config.window)
        self.latent = make_latent(config)
        self.encoder = Encoder(config, obs_shapes, rngs)
        frame, original = self.encoder.width, config.architecture == "original"
        embeds = [frame] + [frame if original else config.embed] * self.upper
        self.level_embeds = nnx.List(
            [
                make_mlp(
                    config,
                    embeds[index if config.networks.cumulative else 0],
                    embeds[index + 1],
                    layers=config.networks.embed_layers,
                    hidden=config.embed if original else config.hidden,
                    rngs=rngs,
                )
                for index in range(self.upper)
            ]
        )
        self.unknown_action = nnx.Param(jnp.zeros(action_width)) if action_width else None
        self.levels = nnx.List(
            [
                Level(config, self._inputs(index, embed), stride, rngs)
                for index, (embed, stride) in enumerate(zip(embeds, self.strides, strict=True))
            ]
        )
        self.decoder = Decoder(config, self.shown(obs_shapes), self.features, rngs)

    def _inputs(self, index: int, embed: int) -> Inputs:
        """Input widths of level ``index`` (from 0) with frame embeddings of ``embed`` floats."""
        stride = self.strides[index]
        newest_apart = self.config.window == "causal" and stride > 1
        code = self.code if index == self.upper else None
        return Inputs(
            embed=2 * embed if newest_apart else embed,
            context=self.features if index < self.upper or self.config.networks.top_context else 0,
            action=stride * self.action_width if code is None else code.latent.width,
        )

    @property
    def upper(self) -> int:
        """L-1, the number of levels above the first."""
        return len(self.strides) - 1

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

    def phased(self, index: int) -> bool:
        """Whether level ``index`` (from 0) is filtered at every phase: only the top, if causal."""
        return self.config.window == "causal" and index == self.upper

    def alignment(self, index: int) -> clock.Alignment:
        """How the ticks of level ``index`` (from 0) lie in a sequence, for ``observe``."""
        stride = self.strides[index]
        every = 1 if self.phased(index) else stride
        return clock.Alignment(self.config.window, stride, self.lead, every)

    def draw_noise(self, key: PRNGKeyArray, batch: int, length: int) -> tuple[Array, ...]:
        """Noise for every level in ``observe``: [B, ticks, ...], level 1 first; ``length`` is T."""
        keys = jax.random.split(key, len(self.strides))
        counts = [-(-length // self.alignment(n).every) for n in range(len(self.strides))]
        return tuple(self.latent.noise(k, (batch, n)) for k, n in zip(keys, counts, strict=True))

    def frame_embeddings(self, obs: dict[str, Array]) -> tuple[Array, ...]:
        """Embeddings of single frames for every level, [..., E_l], not yet summed over windows."""
        embeds = [self.encoder(self.units(obs))]
        for mlp in self.level_embeds:
            embeds.append(mlp(embeds[-1] if self.config.networks.cumulative else embeds[0]))
        return tuple(embeds)

    def known_actions(self, action: Array, action_mask: Array) -> Array:
        """Actions, with the learned unknown action where ``action_mask`` is 0. [..., A], [...].

        Raises:
          UserError: if the width of the actions is not the model's.
        """
        if action.shape[-1] != self.action_width:
            raise UserError(
                f"action: expected {self.action_width} floats per step, received "
                f"{action.shape[-1]}; encode it as the model's action space"
            )
        if self.unknown_action is None:
            return action
        unknown = jnp.broadcast_to(self.unknown_action[...], action.shape)
        return jnp.where(action_mask[..., None] > 0, action, unknown)

    def observe(
        self,
        records: Records,
        noise: tuple[Array, ...],
        blind: tuple[int, ...] = (),
        carry: tuple[State, ...] | None = None,
        code: Float[Array, "B n U"] | None = None,
    ) -> tuple[Belief, ...]:
        """Filter recorded sequences at every level, top first.

        Args:
          records: [B, lead+T, ...]; episodes start at multiples of K after the lead-in.
          noise: from ``draw_noise(key, B, T)``.
          blind: levels (from 0) that see no observation: their posterior is their prior, so their
            KL is 0 (CW-VAE §3.6; used by ``analysis/levels.py``).
          carry: states per level, [B, ·], at the last ticks of the same video's earlier records;
            the first ticks continue from them unless ``is_first``. None: from zeros. Lookahead
            only.
          code: what the top reads at its ticks; None: ``interval`` of the recorded actions.
        Returns:
          Beliefs per level, level 1 first, [B, ticks, ·]. Tick n of level l is at time n·K_l,
          except at the causal top, whose chains are interleaved: its tick n is at time n.
        Raises:
          UserError: if the window is causal and T is not a multiple of K; if a carry is given and
            the window is causal or T is not a multiple of K; if actions or observations do not fit;
            or (on concrete arrays) if an episode starts off the clock.
        """
        length = records.mask.shape[1] - self.lead
        self._check_length(length)
        if carry is not None:
            self._check_carry(length)
        if not isinstance(records.is_first, jax.core.Tracer):
            clock.check_alignment(np.asarray(records.is_first), self.stride, self.lead)
        beliefs: tuple[Belief, ...] = ()
        inputs = self.tick_inputs(records)
        for index in reversed(range(len(self.levels))):
            level, (embed, action, restart) = self.levels[index], inputs[index]
            if index == self.upper:
                action = self.interval(action) if code is None else code
            context = self._context(index, beliefs[0].state, length) if beliefs else None
            drive = level.drive(context, action if self.action_width else None)
            chains = self.stride if self.phased(index) else 1
            unseen = index in blind
            if carry is None:
                belief = level.observe_chains(chains, drive, embed, restart, noise[index], unseen)
            else:
                restart = restart.at[:, 0].set(records.is_first[:, 0])
                drive = jnp.broadcast_to(drive, (*embed.shape[:2], level.config.hidden))
                belief = level.observe(carry[index], drive, embed, restart, noise[index], unseen)
            beliefs = (belief, *beliefs)
        return beliefs

    def _check_length(self, length: int) -> None:
        multiple = self.stride if self.config.window == "causal" else 1
        if length <= 0 or length % multiple:
            raise UserError(
                f"observe: expected a lead-in of {self.lead} records and then a positive multiple "
                f"of {multiple}, received {self.lead + length} records; pad the tail and set its "
                "mask to 0"
            )

    def _check_carry(self, length: int) -> None:
        if self.config.window != "lookahead" or length % self.stride:
            raise UserError(
                f"carry: expected window 'lookahead' and a multiple of the top stride "
                f"{self.stride} records, received {self.config.window!r} and {length}; only whole "
                "blocks can be gone on from"
            )

    def tick_inputs(self, records: Records) -> list[clock.TickInputs]:
        """Embeddings, actions and restarts of every level's ticks, all outside the recurrence."""
        frames = self.frame_embeddings(records.obs)
        return [self._tick_inputs(index, frame, records) for index, frame in enumerate(frames)]

    def _tick_inputs(self, index: int, frame: Array, records: Records) -> clock.TickInputs:
        if self.action_width:
            action = self.known_actions(records.action, records.action_mask)
            action = jnp.where(records.is_first[..., None], 0.0, action)
        else:
            action = jnp.zeros((*records.mask.shape, 0))
        inputs = partial(clock.tick_inputs, alignment=self.alignment(index))
        return jax.vmap(inputs)(frame, action, records.is_first, records.mask)

    def chunks(self, records: Records) -> Float[Array, "B n W"]:
        """The K actions that lead to each tick of the top, in order, as ``observe`` reads them."""
        nothing = jnp.zeros((*records.mask.shape, 0))
        return self._tick_inputs(self.upper, nothing, records).action

    def interval(self, chunk: Float[Array, "*N W"]) -> Float[Array, "*N U"]:
        """What the top reads for an interval: its K actions, or the mean of their code."""
        return chunk if self.code is None else self.code.mean(chunk)

    def _context(self, index: int, above: State, length: int) -> Array:
        """Features of the level above at its latest tick, for every tick of level ``index``."""
        stride, upper = self.strides[index], self.strides[index + 1]
        features = above.features[:, :: upper // self.alignment(index + 1).every]
        return jnp.repeat(features, upper // stride, axis=1)[:, : -(-length // stride)]

    def states_at(self, beliefs: tuple[Belief, ...], time: int) -> tuple[State, ...]:
        """Every level's state from which ``imagine`` continues, [B, ·] each.

        Args:
          beliefs: from ``observe``.
          time: a multiple of K. Causal: the main time of the top tick to start from. Lookahead: the
            number of records seen; the states are those of the last ticks before that time.
        Raises:
          UserError: if ``time`` is not a multiple of K or lies outside the sequence.
        """
        back = 0 if self.config.window == "causal" else 1
        ticks = [time // self.alignment(index).every - back for index in range(len(beliefs))]
        sizes = [belief.state.h.shape[1] for belief in beliefs]
        if time % self.stride or any(
            not 0 <= n < size for n, size in zip(ticks, sizes, strict=True)
        ):
            raise UserError(
                f"states_at: expected a multiple of the top stride {self.stride} in the sequence "
                f"of {sizes[0]} steps, received {time}"
            )
        return tuple(
            jax.tree.map(lambda x, n=tick: x[:, n], belief.state)
            for belief, tick in zip(beliefs, ticks, strict=True)
        )

    def imagine_top(self, state: State, chunk: Float[Array, "N W"], noise: Array) -> State:
        """One tick of the top level alone: s' ~ p(s' | s, u). docs/design.md, Imagination.

        Args:
          state: [N, ·].
          chunk: u, the K actions of the interval in order, flattened: W = K·A; or their code.
          noise: of the latent, [N, ...].
        """
        drive = self.top.drive(None, chunk if self.action_width else None)
        return self.top.imagine_step(state, drive, noise)

    def imagine(
        self,
        states: tuple[State, ...],
        action: Float[Array, "B T A"],
        action_mask: Float[Array, "B T"],
        noise: tuple[Array, ...],
        top: State | None = None,
    ) -> tuple[State, ...]:
        """Roll out every level's prior in open loop for T further steps, T a multiple of K.

        Causal: ``states`` are those at a top tick t, and steps t+1 … t+T follow. Lookahead: they
        are the last states of the context, and the steps start with the next block.

        Args:
          states: from ``states_at``, level 1 first, [B, ·].
          action: the action that leads to each step.
          action_mask: 0 where unknown.
          noise: per level, [B, T/K_l, ...] (``imagination_noise``).
          top: the top level's states at its T/K ticks, if already imagined, [B, T/K, ·].
        Returns:
          States per level, level 1 first, [B, T/K_l, ·].
        Raises:
          UserError: if T is not a positive multiple of K, or actions do not fit.
        """
        batch, length = action_mask.shape
        if length == 0 or length % self.stride:
            raise UserError(
                f"imagine: expected a positive multiple of the top stride {self.stride}, received "
                f"{length} steps"
            )
        if self.action_width:
            action = self.known_actions(action, action_mask)
        result: tuple[State, ...] = () if top is None else (top,)
        for index in reversed(range(len(self.levels) - len(result))):
            level, count = self.levels[index], length // self.strides[index]
            context = self._imagined_context(index, states, result[0], length) if result else None
            chunks = action.reshape(batch, count, -1)
            chunks = self.interval(chunks) if index == self.upper else chunks
            drive = level.drive(context, chunks if self.action_width else None)
            drive = jnp.broadcast_to(drive, (batch, count, level.config.hidden))
            result = (level.imagine(states[index], drive, noise[index]), *result)
        return result

    def _imagined_context(
        self, index: int, states: tuple[State, ...], above: State, length: int
    ) -> Array:
        """As ``_context``; causal ticks before the next one of the level above see its last one."""
        ratio = self.strides[index + 1] // self.strides[index]
        features = above.features
        if self.config.window == "lookahead":
            return jnp.repeat(features, ratio, axis=1)
        features = jnp.concatenate([states[index + 1].features[:, None], features], axis=1)
        return jnp.repeat(features, ratio, axis=1)[:, 1 : 1 + length // self.strides[index]]

    def imagination_noise(self, key: PRNGKeyArray, batch: int, length: int) -> tuple[Array, ...]:
        """Noise for every level in ``imagine`` over ``length`` steps."""
        keys = jax.random.split(key, len(self.strides))
        return tuple(
            self.latent.noise(k, (batch, length // s))
            for k, s in zip(keys, self.strides, strict=True)
        )
