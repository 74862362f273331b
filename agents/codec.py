"""What an abstract action is: the interface of action codecs. docs/design.md, Plans.

An abstract action ``u`` stands for one window, the K environment steps between two ticks of the
top. A codec says what it is made of, how the actor samples it, and how it is acted out step by
step. ``agents.agent.CODECS`` names those that there are; nothing else asks which of them it has to
do with. Read next: ``chunk.py``, the default, and ``latent.py``, a learned one.
"""

from abc import abstractmethod
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from agents.actions import ActionCodec, ActionSample
from agents.actor_critic import ActorCriticConfig, BehaviourState
from agents.config import AgentConfig
from common import UserError
from worldmodel.clockwork import ClockworkVAE
from worldmodel.codes import ActionCode
from worldmodel.distributions import Stats
from worldmodel.level import Belief
from worldmodel.objective import Metrics
from worldmodel.records import Records


class Codes(NamedTuple):
    """What the top reads of the intervals that end at its ticks, [B, n, ·]."""

    sample: Array | None  # None: the recorded actions themselves
    stats: Stats  # its distribution


class Codec(nnx.Module):
    """Between abstract actions ``u`` of one window and primitive ones. Where nothing is learned and
    the top reads the K primitive actions, the abstract methods are all there is to say."""

    closed_loop: ClassVar[bool] = False
    """Whether it acts on what level 1 sees inside the window, so that levels below the top are
    filtered in acting, and no ``u`` tells its actions beforehand."""
    coded: ClassVar[bool] = False
    """Whether the top reads codes of its ``encoder`` in place of actions."""

    width: int  # W, floats of u as the top reads it
    outputs: int  # P, numbers of the actor that parametrise u
    plan_width: int  # floats of ``plan``
    primitives: int  # independent random numbers in one u
    parts: int  # F, of u that the actor is regularised by, each with a weight of its own
    weight: float  # of each before the first update

    def __init__(self, actions: ActionCodec, stride: int, marked: bool) -> None:
        """Of primitive actions, which replay holds marked (``join``) or not."""
        self.actions, self.stride, self.marked = actions, stride, marked

    @classmethod
    def encoder(
        cls, config: AgentConfig, actions: ActionCodec, rngs: nnx.Rngs
    ) -> ActionCode | None:
        """What makes the code that the top reads; None: it reads the actions. Part of the model."""
        return None

    @classmethod
    @abstractmethod
    def make(
        cls, config: AgentConfig, actions: ActionCodec, model: ClockworkVAE, rngs: nnx.Rngs
    ) -> "Codec":
        """The codec of an agent whose world model, with ``encoder`` in it, has been made."""

    @abstractmethod
    def sample(
        self, outputs: Float[Array, "*N P"], features: Float[Array, "*N D"], key: PRNGKeyArray
    ) -> ActionSample:
        """u [..., W], by the actor's numbers at ``features`` of the top; entropy [..., F] of what
        the actor is regularised by."""

    @abstractmethod
    def mode(self, outputs: Float[Array, "*N P"]) -> Float[Array, "*N W"]:
        """The likeliest u."""

    @abstractmethod
    def plan(
        self, outputs: Float[Array, "N P"], features: Float[Array, "N D"], key: PRNGKeyArray | None
    ) -> Float[Array, "N Q"]:
        """What is kept of a u while it is acted out.

        Args:
          outputs: the actor's, at ``features`` of the top.
          key: of what is drawn once for a window; None: its mode.
        """

    @abstractmethod
    def react(
        self,
        plan: Float[Array, "N Q"],
        features: Float[Array, "N D"],
        step: Int[Array, " N"],
        normal: Float[Array, "N A"] | None,
    ) -> Float[Array, "N C"]:
        """The action of one step of a plan, as replay holds it.

        Args:
          features: of level 1 now where ``closed_loop``, else of the top.
          step: steps of the plan already done, 0 … K-1.
          normal: standard normal numbers to draw it by (``ActionCodec.act``); None: its mode.
        """

    @abstractmethod
    def regulate(
        self,
        aux: BehaviourState,
        outputs: Float[Array, "N P"],
        entropy: Float[Array, "N F"],
        alive: Float[Array, " N"],
        config: ActorCriticConfig,
    ) -> tuple[BehaviourState, Metrics]:
        """Moves the weights of the actor's regulariser, and says how far the actor is from its aim.

        Args:
          outputs: the actor's at the starts of imagination.
          entropy: of the ``sample`` there.
          alive: 1 where a start is a state to act in.
        """

    def encode(self, model: ClockworkVAE, records: Records, key: PRNGKeyArray) -> Codes:
        """What the top reads at its ticks of replayed records."""
        return Codes(None, {})

    def loss(
        self, model: ClockworkVAE, records: Records, beliefs: tuple[Belief, ...], codes: Codes
    ) -> tuple[Array, Metrics]:
        """Its own loss on replayed records, of ``encode`` and the beliefs that follow."""
        return jnp.zeros(()), {}

    def slots(self, x: Array) -> Array:
        """[..., K·P] to [..., K, P]."""
        return x.reshape(*x.shape[:-1], self.stride, -1)

    def join(self, actions: Float[Array, "*N K A"]) -> Float[Array, "*N M"]:
        """Primitive actions of a window as the top reads them, the one executed first in slot 0.

        Where they are marked each carries a float more, for the model alone: 1 if it begins a plan,
        0 if it goes on with one. So a plan is marked 1, 0, …, 0, actions that were each planned
        anew 1, 1, …, 1, and the model need not take what reactions led to for what plans lead to.
        docs/adr/0016.
        """
        if self.marked:
            begins = (jnp.arange(self.stride) == 0).astype(actions.dtype)[:, None]
            marks = jnp.broadcast_to(begins, (*actions.shape[:-1], 1))
            actions = jnp.concatenate([actions, marks], axis=-1)
        return actions.reshape(*actions.shape[:-2], -1)

    def executed(self, action: Float[Array, "N A"], step: Int[Array, " N"]) -> Float[Array, "N C"]:
        """A primitive action as replay holds it, marked as ``join`` marks its step of a plan."""
        begins = (step == 0).astype(action.dtype)[:, None]
        return jnp.concatenate([action, begins], axis=-1) if self.marked else action

    def hold(self, action: Float[Array, "*N A"]) -> Float[Array, "*N W"]:
        """A primitive action that is done at each of the K steps, as an abstract one.

        Raises:
          UserError: where ``closed_loop``.
        """
        if self.closed_loop:
            raise UserError(
                "hold: expected abstract actions that tell their primitive ones, received those of "
                f"{type(self).__name__}, which reacts; no held action is known for it, leave these "
                "futures out"
            )
        shape = (*action.shape[:-1], self.stride, action.shape[-1])
        return self.join(jnp.broadcast_to(action[..., None, :], shape))
