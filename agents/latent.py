"""The `latent` action codec: a learned code u of one interval, decoded in closed loop.

The top level is conditioned on u ~ q(u | the interval's K actions) (``worldmodel/codes.py``). This
module adds the prior p(u | s) over codes, near which the actor is kept, and the decoder
π(a_{t+i+1} | s¹_{t+i}, u, i), which acts at every step on what level 1 sees inside the interval::

    time             t     t+1     …     t+K-1    t+K
    top              s_t                          s_{t+K}, conditioned on u_t
    code             u_t = code of [a_{t+1} … a_{t+K}];  prior at s_t
    decoder          s¹_t → a_{t+1},  s¹_{t+1} → a_{t+2},  …,  s¹_{t+K-1} → a_{t+K}

docs/design.md, Plans; docs/adr/0007. Read next: ``policy.py``, how it acts.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from agents.actions import ActionCodec, ActionSample
from agents.actor_critic import ActorCriticConfig, BehaviourState
from agents.codec import Codec, Codes
from agents.config import AgentConfig, layers
from agents.returns import window_targets
from worldmodel.clockwork import ClockworkVAE
from worldmodel.codes import ActionCode
from worldmodel.distributions import Gaussian, Stats
from worldmodel.level import Belief
from worldmodel.networks import MLP
from worldmodel.objective import Metrics, masked_mean, masked_sum
from worldmodel.records import Records

SIZE = 8  # floats of a code
MIN_STD = 0.1  # smallest standard deviation of codes, in encoder, prior and actor
KL = 0.1  # β: weight of a code's KL relative to its actions' nats; lower leaves more to the code
ACTOR_KL = 0.01  # weight of the actor's KL to the prior relative to normalised returns


class LatentCodec(Codec):
    """Prior over codes and closed-loop decoder to primitive actions of any Gymnasium space.

    The actor is regularised by one number, its KL to the prior, whose weight is fixed.
    """

    closed_loop = coded = True
    primitives = parts = 1

    def __init__(
        self,
        actions: ActionCodec,
        stride: int,
        features: int,
        latent: Gaussian,
        **kind: Any,
    ) -> None:
        super().__init__(actions, stride, marked=False)
        self.latent, self.weight = latent, ACTOR_KL
        self.width = self.plan_width = latent.width
        self.outputs = sum(latent.outputs)
        self.prior = MLP(features, outputs=self.outputs, zero=True, **kind)
        inputs = features + latent.width + stride
        self.decoder = MLP(inputs, outputs=actions.outputs, zero=True, **kind)

    @classmethod
    def encoder(cls, config: AgentConfig, actions: ActionCodec, rngs: nnx.Rngs) -> ActionCode:
        """q(u | actions)."""
        latent = Gaussian(SIZE, MIN_STD)
        chunk = config.model.strides[-1] * actions.width
        return ActionCode(chunk, latent, dtype=config.model.dtype, **layers(config, rngs))

    @classmethod
    def make(
        cls, config: AgentConfig, actions: ActionCodec, model: ClockworkVAE, rngs: nnx.Rngs
    ) -> "LatentCodec":
        """See ``Codec``."""
        assert model.code is not None
        kind = {**layers(config, rngs), "dtype": jnp.dtype(config.model.dtype)}
        latent = model.code.latent
        return cls(actions, model.stride, model.features, latent, **kind)

    def stats(self, outputs: Float[Array, "*N P"]) -> Stats:
        """Outputs of prior or actor as a distribution of codes."""
        return self.latent.stats(*jnp.split(outputs, 2, axis=-1))

    def mode(self, outputs: Float[Array, "*N P"]) -> Float[Array, "*N U"]:
        """The likeliest code."""
        return self.latent.mode(self.stats(outputs))

    def sample(
        self, outputs: Float[Array, "*N P"], features: Float[Array, "*N D"], key: PRNGKeyArray
    ) -> ActionSample:
        """u = mean + std·noise, through which the gradient passes, so no score function is needed:
        log_prob is 0.

        The entropy [..., 1] is relative to the prior: -KL[π(u | s) ‖ sg(p(u | s))].
        """
        post, prior = self.stats(outputs), jax.lax.stop_gradient(self.stats(self.prior(features)))
        code = self.latent.sample(post, self.latent.noise(key, outputs.shape[:-1]))
        return ActionSample(
            code, jnp.zeros(code.shape[:-1]), -self.latent.kl(post, prior)[..., None]
        )

    def plan(
        self, outputs: Float[Array, "N P"], features: Float[Array, "N D"], key: PRNGKeyArray | None
    ) -> Float[Array, "N U"]:
        """The code."""
        return self.mode(outputs) if key is None else self.sample(outputs, features, key).flat

    def react(
        self,
        plan: Float[Array, "N U"],
        features: Float[Array, "N D"],
        step: Int[Array, " N"],
        normal: Float[Array, "N A"] | None,
    ) -> Float[Array, "N A"]:
        """The decoder's action, given what level 1 sees."""
        return self.actions.act(self.decode(features, plan, step), normal)

    def decode(
        self, features: Float[Array, "*N F"], code: Float[Array, "*N U"], phase: Int[Array, "*N"]
    ) -> Float[Array, "*N P"]:
        """π(a_{t+i+1} | s¹_{t+i}, u, i): parameters of an ``ActionCodec`` distribution.

        Args:
          features: of level 1, now.
          code: of the interval.
          phase: i, steps of the interval already done, 0 … K-1.
        """
        clock = jax.nn.one_hot(phase, self.stride)
        return self.decoder(jnp.concatenate([features, code, clock], axis=-1))

    def regulate(
        self,
        aux: BehaviourState,
        outputs: Float[Array, "N P"],
        entropy: Float[Array, "N 1"],
        alive: Float[Array, " N"],
        config: ActorCriticConfig,
    ) -> tuple[BehaviourState, Metrics]:
        """The weight of the KL to the prior is fixed."""
        return aux, {"actor/prior_kl": -masked_mean(entropy[:, 0], alive)}

    def encode(self, model: ClockworkVAE, records: Records, key: PRNGKeyArray) -> Codes:
        """Sample q(u | actions) for every tick."""
        assert model.code is not None
        stats = model.code(model.chunks(records))
        noise = self.latent.noise(key, stats["mean"].shape[:-1])
        return Codes(self.latent.sample(stats, noise), stats)

    def loss(
        self, model: ClockworkVAE, records: Records, beliefs: tuple[Belief, ...], codes: Codes
    ) -> tuple[Array, Metrics]:
        """Loss of encoder, prior and decoder on replayed intervals, the mean over valid ones of

        -Σ_{i<K} log π(a_{t+i+1} | sg(s¹_{t+i}), u_t, i) + β KL[q_t ‖ p(u | sg(s_t))]

        with q_t = q(u | a_{t+1} … a_{t+K}) and u_t ~ q_t. Metrics: nats per known
        action, and KL per interval.
        """
        part = intervals(model, records, beliefs, codes)
        shape = part.level1.shape[:3]
        code = jnp.broadcast_to(part.code[:, :, None], (*shape, self.width))
        phase = jnp.broadcast_to(jnp.arange(shape[2])[None, None], shape)
        nll = -self.actions.log_prob(self.decode(part.level1, code, phase), part.action)
        known = part.known * part.valid[..., None]
        kl = self.latent.kl(part.encoded, self.stats(self.prior(part.top)))
        kl = masked_mean(kl, part.valid)
        loss = masked_sum(nll, known) / jnp.maximum(jnp.sum(part.valid), 1.0) + KL * kl
        return loss, {"loss/codec": loss, "codec/nll": masked_mean(nll, known), "codec/kl": kl}


class Intervals(NamedTuple):
    """Intervals of a batch, n of them, from the times t at which the top ticks."""

    code: Array  # [B, n, U] u_t of the interval from t
    encoded: Stats  # [B, n, U] its distribution q
    top: Array  # [B, n, F] of the top at t
    level1: Array  # [B, n, K, F] of level 1 at t … t+K-1
    action: Array  # [B, n, K, A] a_{t+1} … a_{t+K}
    known: Array  # [B, n, K] 1 where that action was taken and is known
    valid: Array  # [B, n] 1 where the interval is known in full


def intervals(
    model: ClockworkVAE, records: Records, beliefs: tuple[Belief, ...], codes: Codes
) -> Intervals:
    """Align codes with what they are predicted from and decoded to; beliefs have no gradient.

    The code that conditions the top at t+K is that of the interval from t. As for the window reward
    (``returns.window_targets``), an interval is valid if no episode starts in it and every record
    is real or follows a terminal inside it; actions after a terminal are not decoded.
    """
    stride, every = model.stride, model.alignment(model.upper).every
    taken = records.mask * records.action_mask
    assert codes.sample is not None
    targets = jax.vmap(lambda r, t, f, m: window_targets(r, t, f, m, stride, 1.0))(
        records.reward, records.terminal, records.is_first, taken
    )
    tops, lower = (jax.lax.stop_gradient(beliefs[n].state.features) for n in (-1, 0))
    ahead = stride // every  # ticks from t to t+K
    start = every * jnp.arange(max(tops.shape[1] - ahead, 0))  # [n] t
    now = start[:, None] + jnp.arange(stride)[None]  # [n, K] t+i
    return Intervals(
        code=codes.sample[:, ahead:],
        encoded=jax.tree.map(lambda x: x[:, ahead:], codes.stats),
        top=tops[:, : start.shape[0]],
        level1=lower[:, now],
        action=records.action[:, model.lead + now + 1],
        known=taken[:, model.lead + now + 1],
        valid=targets.valid[:, model.lead + start + stride],
    )
