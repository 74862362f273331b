"""One level: the recurrent cell that ticks, its prior and its posterior. CW-VAE §2, eqs. 2–3.

h = GRU(h_prev, in[z_prev, action embedding, context]);   prior p(z | h);   posterior q(z | h, e)

A level is one ``lax.scan`` over its own ticks. Everything that does not depend on the recurrence is
computed for all ticks at once outside the scan: the contributions of context and actions to the
input layer, that of the embedding to the posterior, and every prior.
Read next: ``clockwork.py``, the stack of levels.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from worldmodel import clock
from worldmodel.config import ClockworkConfig, make_latent
from worldmodel.distributions import Latent, Stats
from worldmodel.networks import Dense
from worldmodel.precision import Linear
from worldmodel.recurrence import scan_ticks


class State(NamedTuple):
    """What a level carries from tick to tick."""

    h: Array  # [N, D] deterministic
    z: Array  # [N, S] sample

    @property
    def features(self) -> Array:
        """[h, z], the input to everything downstream: [N, D+S]."""
        return jnp.concatenate([self.h, self.z], axis=-1)


class Belief(NamedTuple):
    """A level's beliefs over its ticks, [..., T_l, ·]."""

    state: State
    prior: Stats
    post: Stats


class Inputs(NamedTuple):
    """Widths, in floats, of the inputs to one level at each of its ticks."""

    embed: int
    context: int  # 0 if there is no level above
    action: int  # stride·A of one interval, 0 without actions


class Level(nnx.Module):
    """Cell of one level that ticks every ``stride`` steps. All methods take a batch [N, ...]."""

    def __init__(self, config: ClockworkConfig, inputs: Inputs, stride: int, rngs: nnx.Rngs):
        c = self.config = config
        self.inputs, self.latent, dtype = inputs, make_latent(c), jnp.dtype(c.dtype)
        kind = (c.networks.act, c.networks.norm, dtype, rngs)
        # The bias and norm of the whole input layer belong to the part that reads z.
        self.input = Dense(self.latent.width, c.hidden, *kind)
        self.context = (
            Linear(inputs.context, c.hidden, use_bias=False, dtype=dtype, rngs=rngs)
            if inputs.context
            else None
        )
        self.action_embed = Dense(inputs.action, c.hidden, *kind) if inputs.action else None
        self.action = (
            Linear(c.hidden, c.hidden, use_bias=False, dtype=dtype, rngs=rngs)
            if inputs.action
            else None
        )
        self.gru = GRU(c.hidden, c.deter, c.keep_bias(stride), dtype, rngs)
        self.prior_hidden = Dense(c.deter, c.hidden, *kind)
        self.prior_out = StatsHead(c, self.latent, rngs)
        self.post_hidden = Dense(c.deter, c.hidden, *kind)
        self.post_embed = Linear(inputs.embed, c.hidden, use_bias=False, dtype=dtype, rngs=rngs)
        self.post_more = nnx.List(
            [Dense(c.hidden, c.hidden, *kind) for _ in range(c.networks.post_layers - 1)]
        )
        self.post_out = StatsHead(c, self.latent, rngs)

    def initial(self, batch: tuple[int, ...]) -> State:
        """Zeros, [*batch, ·]: the state before a first tick."""
        return State(jnp.zeros((*batch, self.config.deter)), jnp.zeros((*batch, self.latent.width)))

    def drive(self, context: Array | None, action: Array | None) -> Array:
        """Contribution of context and actions to the input layer, outside the recurrence.

        [..., D'+S'] and [..., K·A] to [..., hidden]; a scalar 0 if the level has neither.
        """
        share = jnp.zeros((), self.config.dtype)
        if self.context is not None and context is not None:
            share = share + self.context(context)
        if self.action is not None and self.action_embed is not None and action is not None:
            share = share + self.action(self.action_embed(action))
        return share

    def advance(self, state: State, drive: Array) -> Array:
        """Deterministic step: the next h, [N, D]."""
        return self.gru(self.input.finish(self.input.linear(state.z) + drive), state.h)

    def prior(self, h: Array) -> Stats:
        """p(z | h)."""
        return self.prior_out(self.prior_hidden(h))

    def posterior(self, h: Array, embed_share: Array) -> Stats:
        """q(z | h, e), given the embedding's contribution to the first layer, ``post_embed(e)``."""
        x = self.post_hidden.finish(self.post_hidden.linear(h) + embed_share)
        for layer in self.post_more:
            x = layer(x)
        return self.post_out(x)

    def filter_step(self, state: State, drive: Array, embed: Array, noise: Array) -> State:
        """One tick with an observation: [N, ·] each."""
        h = self.advance(state, drive)
        post = self.posterior(h, self.post_embed(embed))
        return State(h, self.latent.sample(post, noise))

    def imagine_step(self, state: State, drive: Array, noise: Array) -> State:
        """One tick without an observation: the sample comes from the prior."""
        h = self.advance(state, drive)
        return State(h, self.latent.sample(self.prior(h), noise))

    def observe(
        self,
        carry: State,
        drive: Float[Array, "N T W"],
        embed: Float[Array, "N T E"],
        restart: Bool[Array, "N T"],
        noise: Array,
        blind: bool = False,
    ) -> Belief:
        """Filter all ticks of a level: the fast equivalent of a plain loop over ``filter_step``.

        Args:
          carry: state before the first tick, [N, ·].
          drive: from ``drive``, for all ticks.
          embed: the level's embedding of every tick.
          restart: True where the state is reset to zeros before the tick.
          noise: of the latent, [N, T, ...].
          blind: the posterior is the prior: the level sees no observation, only its context.
        Returns:
          Beliefs, [N, T, ·].
        """
        inputs = jax.tree.map(time_first, (drive, self.post_embed(embed), restart, noise))

        def tick(
            own: Level, state: State, step: tuple[Array, Array, Array, Array]
        ) -> tuple[State, tuple[State, Stats]]:
            drive_t, embed_t, restart_t, noise_t = step
            state = reset(state, restart_t)
            h = own.advance(state, drive_t)
            post = own.prior(h) if blind else own.posterior(h, embed_t)
            state = State(h, own.latent.sample(post, noise_t))
            return state, (state, post)

        _, outputs = scan_ticks(tick, self, carry, inputs)
        state, post = jax.tree.map(time_first, outputs)
        return Belief(state, post if blind else self.prior(state.h), post)

    def observe_chains(
        self,
        chains: int,
        drive: Array,
        embed: Array,
        restart: Array,
        noise: Array,
        blind: bool = False,
    ) -> Belief:
        """Filter from zeros, with the K interleaved chains of a sequence as rows of one batch.

        Args:
          chains: K if the ticks are those of all phases, 1 for a plain sequence.
          drive, embed, restart, noise, blind: as in ``observe``, [B, T, ...], T a multiple of
            ``chains``.
        Returns:
          Beliefs in the order of the ticks given, [B, T, ·].
        """

        def to_rows(x: Array) -> Array:
            phases = jax.vmap(lambda y: clock.to_phases(y, chains))(x)
            return phases.reshape(-1, *phases.shape[2:])

        def from_rows(x: Array) -> Array:
            return jax.vmap(clock.from_phases)(x.reshape(-1, chains, *x.shape[1:]))

        drive = jnp.broadcast_to(drive, (*embed.shape[:2], self.config.hidden))
        drive, embed, restart, noise = jax.tree.map(to_rows, (drive, embed, restart, noise))
        initial = self.initial(drive.shape[:1])
        beliefs = self.observe(initial, drive, embed, restart, noise, blind)
        return jax.tree.map(from_rows, beliefs)

    def imagine(self, carry: State, drive: Float[Array, "N T W"], noise: Array) -> State:
        """Roll out the prior over all ticks of ``drive``: states [N, T, ·]."""

        def tick(state: State, step: tuple[Array, Array]) -> tuple[State, State]:
            state = self.imagine_step(state, *step)
            return state, state

        _, states = jax.lax.scan(tick, carry, jax.tree.map(time_first, (drive, noise)))
        return jax.tree.map(time_first, states)


class GRU(nnx.Module):
    """Gated recurrent unit, with the reset after the matrix product (Keras, as in the original).

    u = σ(x_u + h_u + keep_bias),   h' = u h + (1 - u) tanh(x_c + σ(x_r + h_r) h_c)

    Columns are ordered update, reset, candidate. The carry is float32.
    """

    def __init__(self, inputs: int, deter: int, keep_bias: float, dtype: DTypeLike, rngs: nnx.Rngs):
        self.keep_bias = keep_bias
        orthogonal = nnx.initializers.orthogonal()
        self.input = Linear(inputs, 3 * deter, dtype=dtype, rngs=rngs)
        self.recurrent = Linear(deter, 3 * deter, kernel_init=orthogonal, dtype=dtype, rngs=rngs)

    def __call__(self, x: Array, h: Array) -> Array:
        xz, xr, xh = jnp.split(self.input(x).astype(jnp.float32), 3, axis=-1)
        hz, hr, hh = jnp.split(self.recurrent(h).astype(jnp.float32), 3, axis=-1)
        update = jax.nn.sigmoid(xz + hz + self.keep_bias)
        candidate = jnp.tanh(xh + jax.nn.sigmoid(xr + hr) * hh)
        return update * h + (1 - update) * candidate


class StatsHead(nnx.Module):
    """Output layers of a latent.

    ``Architecture.std_shift`` is added to the hidden vector before the deviation's layer.
    """

    def __init__(self, config: ClockworkConfig, latent: Latent, rngs: nnx.Rngs):
        self.latent, self.shift = latent, config.networks.std_shift
        self.layers = nnx.List(
            [Linear(config.hidden, n, dtype=jnp.float32, rngs=rngs) for n in latent.outputs]
        )

    def __call__(self, x: Array) -> Stats:
        x = x.astype(jnp.float32)
        first, *rest = self.layers
        return self.latent.stats(first(x), *[layer(x + self.shift) for layer in rest])


def reset(state: State, restart: Bool[Array, " N"]) -> State:
    """``state``, with zeros where ``restart``."""
    return jax.tree.map(lambda x: jnp.where(restart[:, None], 0.0, x), state)


def time_first(x: Array) -> Array:
    """[N, T, ...] to [T, N, ...], and back."""
    return jnp.swapaxes(x, 0, 1)
