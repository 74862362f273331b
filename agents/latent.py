"""The `latent` action codec: a learned code u of one interval, decoded in closed loop.

The top level is conditioned on u ~ q(u | the interval's K actions) (``worldmodel/codes.py``). Here
are the prior p(u | s) over codes, from which the actor may not stray far, and the decoder
π(a_{t+i+1} | s¹_{t+i}, u, i), which acts at every step on what level 1 sees inside the interval::

    time             t     t+1     …     t+K-1    t+K
    top              s_t                          s_{t+K}, conditioned on u_t
    code             u_t = code of [a_{t+1} … a_{t+K}];  prior at s_t
    decoder          s¹_t → a_{t+1},  s¹_{t+1} → a_{t+2},  …,  s¹_{t+K-1} → a_{t+K}

docs/design.md, Plans; docs/adr/0007. Read next: ``policy.py``, how it acts.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from agents.actions import ActionCodec, ActionSample
from agents.returns import window_targets
from worldmodel.clockwork import ClockworkVAE
from worldmodel.distributions import Gaussian, Stats
from worldmodel.level import Belief
from worldmodel.networks import MLP
from worldmodel.objective import Metrics, masked_mean, masked_sum
from worldmodel.records import Records


@dataclass(frozen=True)
class LatentConfig:
    """Settings of the `latent` codec."""

    size: int = 8
    """Floats of a code."""
    min_std: float = 0.1
    """Smallest standard deviation of codes, in encoder, prior and actor."""
    kl: float = 0.1
    """β: weight of KL[q(u | actions) ‖ p(u | s)] in nats beside the actions' log-likelihood. Higher
    leaves more to the decoder's reactions, lower more to the code."""
    actor_kl: float = 0.01
    """Weight of KL[π(u | s) ‖ p(u | s)] in nats in the actor's loss, beside normalised returns."""


class LatentCodec(nnx.Module):
    """Prior over codes and closed-loop decoder to primitive actions of any Gymnasium space."""

    sizes = (1,)  # one regulariser, the KL to the prior, in place of an entropy per factor
    primitives = 1

    def __init__(
        self,
        codec: ActionCodec,
        stride: int,
        features: int,
        latent: Gaussian,
        hidden: int,
        **kind: Any,
    ) -> None:
        self.codec, self.stride, self.latent = codec, stride, latent
        self.width, self.outputs = latent.width, sum(latent.outputs)
        self.prior = MLP(features, hidden, self.outputs, zero=True, **kind)
        inputs = features + latent.width + stride
        self.decoder = MLP(inputs, hidden, codec.outputs, zero=True, **kind)

    def stats(self, outputs: Float[Array, "*N P"]) -> Stats:
        """Numbers of prior or actor as a distribution of codes."""
        return self.latent.stats(*jnp.split(outputs, 2, axis=-1))

    def mode(self, outputs: Float[Array, "*N P"]) -> Float[Array, "*N U"]:
        """The likeliest code."""
        return self.latent.mode(self.stats(outputs))

    def sample(
        self, outputs: Float[Array, "*N P"], features: Float[Array, "*N F"], key: PRNGKeyArray
    ) -> ActionSample:
        """u = mean + std·noise, which passes the gradient; log_prob 0: no score function is needed.

        Its entropy [..., 1] is that relative to the prior, -KL[π(u | s) ‖ sg(p(u | s))].

        Args:
          outputs: the actor's numbers at ``features`` of the top.
        """
        post, prior = self.stats(outputs), jax.lax.stop_gradient(self.stats(self.prior(features)))
        code = self.latent.sample(post, self.latent.noise(key, outputs.shape[:-1]))
        return ActionSample(
            code, jnp.zeros(code.shape[:-1]), -self.latent.kl(post, prior)[..., None]
        )

    def decode(
        self, features: Float[Array, "*N F"], code: Float[Array, "*N U"], phase: Int[Array, "*N"]
    ) -> Float[Array, "*N P"]:
        """π(a_{t+i+1} | s¹_{t+i}, u, i): numbers of an ``ActionCodec`` distribution.

        Args:
          features: of level 1, now.
          code: of the interval.
          phase: i, steps of it already done, 0 … K-1.
        """
        clock = jax.nn.one_hot(phase, self.stride)
        return self.decoder(jnp.concatenate([features, code, clock], axis=-1))

    def react(
        self,
        features: Float[Array, "N F"],
        code: Float[Array, "N U"],
        phase: Int[Array, " N"],
        normal: Float[Array, "N A"] | None,
    ) -> Float[Array, "N A"]:
        """The decoder's action by ``ActionCodec.act``; without numbers to draw by, its mode."""
        outputs = self.decode(features, code, phase)
        return self.codec.mode(outputs) if normal is None else self.codec.act(outputs, normal)


class Codes(NamedTuple):
    """Codes of the intervals that end at every tick of the top, [B, n, ·]."""

    stats: Stats
    sample: Array


def draw_codes(model: ClockworkVAE, records: Records, key: PRNGKeyArray) -> Codes | None:
    """Samples q(u | actions) for every tick; None where the top reads the actions themselves."""
    if model.code is None:
        return None
    stats, latent = model.code(model.chunks(records)), model.code.latent
    return Codes(stats, latent.sample(stats, latent.noise(key, stats["mean"].shape[:-1])))


class Intervals(NamedTuple):
    """Known intervals of a batch, n of them at the times where the top ticks."""

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
    """Lays codes beside what they are predicted from and decoded to; beliefs without gradient.

    The code that conditions the top at t+K is that of the interval from t. As for the window reward
    (``returns.window_targets``), an interval is valid if no episode starts in it and every record
    is real, or follows a terminal inside it; what is done after a terminal is not decoded.
    """
    stride, every = model.stride, model.alignment(model.upper).every
    taken = records.mask * records.action_mask
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


def codec_loss(
    codec: LatentCodec,
    model: ClockworkVAE,
    records: Records,
    beliefs: tuple[Belief, ...],
    codes: Codes,
    config: LatentConfig,
) -> tuple[Array, Metrics]:
    """Trains encoder, prior and decoder on replayed intervals, by their mean over valid ones of

    -Σ_{i<K} log π(a_{t+i+1} | sg(s¹_{t+i}), u_t, i) + β KL[q(u | a_{t+1}…a_{t+K}) ‖ p(u | sg(s_t))]

    with u_t ~ q. Metrics: nats per known action, and KL per interval.
    """
    part = intervals(model, records, beliefs, codes)
    shape = part.level1.shape[:3]
    code = jnp.broadcast_to(part.code[:, :, None], (*shape, codec.width))
    phase = jnp.broadcast_to(jnp.arange(shape[2])[None, None], shape)
    nll = -codec.codec.log_prob(codec.decode(part.level1, code, phase), part.action)
    known = part.known * part.valid[..., None]
    kl = codec.latent.kl(part.encoded, codec.stats(codec.prior(part.top)))
    kl = masked_mean(kl, part.valid)
    loss = masked_sum(nll, known) / jnp.maximum(jnp.sum(part.valid), 1.0) + config.kl * kl
    return loss, {"loss/codec": loss, "codec/nll": masked_mean(nll, known), "codec/kl": kl}
