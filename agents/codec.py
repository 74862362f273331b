"""What an abstract action is: the interface of action codecs. docs/design.md, Plans.

An abstract action ``u`` stands for one window, the K environment steps between two ticks of the
top. A codec defines what ``u`` consists of, how the actor samples it, and how it is executed step
by step. ``agents.agent.CODECS`` lists the codecs; no other code distinguishes between them. Read
next: ``chunk.py``, the default, and ``latent.py``, a learned one.
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
    """What the top reads for the intervals that end at its ticks, [B, n, ·]."""

    sample: Array | None  # None: the recorded actions themselves
    stats: Stats  # distribution of the sample


class Codec(nnx.Module):
    """Maps between abstract actions ``u`` of one window and primitive actions. A codec that learns
    nothing, and whose ``u`` the top reads as the K primitive actions, defines only the abstract
    methods."""

    closed_loop: ClassVar[bool] = False
    """Whether the codec acts on what level 1 sees inside the window. If so, levels below the top
    are filtered when acting, and ``u`` alone does not determine its actions."""
    coded: ClassVar[bool] = False
    """Whether the top reads codes from ``encoder`` in place of actions."""

    width: int  # W, floats of u as the top reads it
    outputs: int  # P, outputs of the actor that parametrise u
    plan_width: int  # floats of ``plan``
    primitives: int  # independent random numbers in one u
    parts: int  # F, parts of u that regularise the actor, each with its own weight
    weight: float  # of each part before the first update

    def __init__(self, actions: ActionCodec, stride: int, marked: bool) -> None:
        """A codec over primitive actions, which replay holds marked (``join``) if ``marked``."""
        self.actions, self.stride, self.marked = actions, stride, marked

    @classmethod
    def encoder(
        cls, config: AgentConfig, actions: ActionCodec, rngs: nnx.Rngs
    ) -> ActionCode | None:
        """The encoder of what the top reads, part of the model; None: the top reads the actions."""
        return None

    @classmethod
    @abstractmethod
    def make(
        cls, config: AgentConfig, actions: ActionCodec, model: ClockworkVAE, rngs: nnx.Rngs
    ) -> "Codec":
        """The codec of an agent whose world model, ``encoder`` included, has already been made."""

    @abstractmethod
    def sample(
        self, outputs: Float[Array, "*N P"], features: Float[Array, "*N D"], key: PRNGKeyArray
    ) -> ActionSample:
        """u [..., W] sampled from the actor's outputs at ``features`` of the top; entropy [..., F]
        of the parts that regularise the actor."""

    @abstractmethod
    def mode(self, outputs: Float[Array, "*N P"]) -> Float[Array, "*N W"]:
        """The likeliest u."""

    @abstractmethod
    def plan(
        self, outputs: Float[Array, "N P"], features: Float[Array, "N D"], key: PRNGKeyArray | None
    ) -> Float[Array, "N Q"]:
        """What is kept of a u while it is executed.

        Args:
          outputs: the actor's outputs at ``features`` of the top.
          key: for what is drawn once per window; None: the mode.
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
          features: of level 1 now if ``closed_loop``, else of the top.
          step: steps of the plan already done, 0 … K-1.
          normal: standard normal noise to draw it with (``ActionCodec.act``); None: its mode.
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
        """Update the weights of the actor's regulariser; metrics show how far the actor is from its
        target.

        Args:
          outputs: the actor's outputs at the starts of imagination.
          entropy: of the ``sample`` there.
          alive: 1 where a start is a state to act in.
        """

    def encode(self, model: ClockworkVAE, records: Records, key: PRNGKeyArray) -> Codes:
        """What the top reads at its ticks for replayed records."""
        return Codes(None, {})

    def loss(
        self, model: ClockworkVAE, records: Records, beliefs: tuple[Belief, ...], codes: Codes
    ) -> tuple[Array, Metrics]:
        """The codec's own loss on replayed records, given ``encode`` and the resulting beliefs."""
        return jnp.zeros(()), {}

    def slots(self, x: Array) -> Array:
        """[..., K·P] to [..., K, P]."""
        return x.reshape(*x.shape[:-1], self.stride, -1)

    def join(self, actions: Float[Array, "*N K A"]) -> Float[Array, "*N M"]:
        """Primitive actions of a window as the top reads them, the one executed first in slot 0.

        If they are marked, each carries one more float, for the model alone: 1 if it begins a plan,
        0 if it continues one. A plan is therefore marked 1, 0, …, 0, and actions that were each
        planned again 1, 1, …, 1, so that the model can separate the outcomes of plans from those of
        reactions. docs/adr/0016.
        """
        if self.marked:
            begins = (jnp.arange(self.stride) == 0).astype(actions.dtype)[:, None]
            marks = jnp.broadcast_to(begins, (*actions.shape[:-1], 1))
            actions = jnp.concatenate([actions, marks], axis=-1)
        return actions.reshape(*actions.shape[:-2], -1)

    def executed(self, action: Float[Array, "N A"], step: Int[Array, " N"]) -> Float[Array, "N C"]:
        """A primitive action as replay holds it, marked as ``join`` marks that step of a plan."""
        begins = (step == 0).astype(action.dtype)[:, None]
        return jnp.concatenate([action, begins], axis=-1) if self.marked else action

    def hold(self, action: Float[Array, "*N A"]) -> Float[Array, "*N W"]:
        """The abstract action that repeats a primitive action at each of the K steps.

        Raises:
          UserError: if ``closed_loop``.
        """
        if self.closed_loop:
            raise UserError(
                "hold: expected abstract actions that tell their primitive ones, received those of "
                f"{type(self).__name__}, which reacts; no held action is known for it, leave these "
                "futures out"
            )
        shape = (*action.shape[:-1], self.stride, action.shape[-1])
        return self.join(jnp.broadcast_to(action[..., None, :], shape))
