"""The jitted update of video models and agents: one pure function of (state, batch, key).

Parameters are defined in NNX modules; they are split off once, here, and all code above handles
plain pytrees.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, PRNGKeyArray

from common import Before, CountOrZero, MayChange, Positive

Params = Any  # pytree of arrays, the module's parameters by name
Aux = Any  # pytree of arrays that the loss carries between updates without gradient descent
Metrics = dict[str, Array]
Estimate = Callable[[Params, Any], Params]  # of (params, batch)
Loss = Callable[[Params, Aux, Any, PRNGKeyArray], tuple[Array, tuple[Aux, Metrics]]]

AVERAGE_RATE = 0.005  # minimum weight of the newest parameters in the average. docs/adr/0008

M = TypeVar("M", bound=nnx.Module)


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam with global-norm clipping."""

    lr: MayChange[Positive] = 1e-3
    """Learning rate (CW-VAE: 3e-4)."""
    eps: Positive = 1e-8
    """Adam's epsilon (CW-VAE: 1e-4)."""
    eps_hat: Annotated[bool, Before(False)] = False
    """Whether `eps` is Kingma and Ba's epsilon hat, added before bias correction (Keras, and so the
    original CW-VAE), rather than the epsilon of their algorithm 1, added after it."""
    clip: MayChange[Positive] = 100.0
    """Maximum global gradient norm; larger gradients are scaled down to it."""
    warmup: CountOrZero = 100
    """Updates over which the learning rate rises linearly from 0."""


SKIPPED = "update/skipped"
"""Metric of an update: 1 if the result was not finite and the state was left unchanged, else 0."""


class TrainState(NamedTuple):
    """State of training, as carried and checkpointed."""

    params: Params
    opt_state: optax.OptState
    aux: Aux
    step: Array  # [] number of updates done
    average: Params = ()  # average parameters over recent updates, if kept


def make_optimizer(
    config: OptimizerConfig, apart: tuple[str, ...] = ()
) -> optax.GradientTransformation:
    """Gradient clipping followed by Adam with linear warm-up.

    Args:
      apart: top-level names of parameters that are each clipped by their own norm; the others
        share one. An image model's gradient is a thousand times that of an actor: under a common
        norm, its noise would determine the actor's step.
    """
    schedule = optax.linear_schedule(0.0, config.lr, config.warmup) if config.warmup else config.lr

    def one() -> optax.GradientTransformation:
        clip = optax.clip_by_global_norm(config.clip)
        return optax.chain(clip, adam(schedule, eps=config.eps))

    adam = adam_eps_hat if config.eps_hat else optax.adam

    def labels(params: Params) -> Params:
        return {
            name: jax.tree.map(lambda _, n=name: n if n in apart else "others", part)
            for name, part in params.items()
        }

    if not apart:
        return one()
    return optax.multi_transform({name: one() for name in (*apart, "others")}, labels)


def adam_eps_hat(lr: optax.ScalarOrSchedule, eps: float) -> optax.GradientTransformation:
    """Adam with epsilon added before bias correction; the state is that of ``optax.adam``.

    θ' = θ - lr √(1-β₂ᵗ)/(1-β₁ᵗ) m_t / (√v_t + eps)

    which is Adam with epsilon eps/√(1-β₂ᵗ) added after it: 32 eps at first, 3.2 eps at t = 100,
    1.26 eps at 1 000. Source: Kingma and Ba 2015, the end of §2 (epsilon hat); Keras.
    """

    def update(grads: Params, state: optax.OptState, params: Params = None) -> Any:
        decay = 0.999 ** (state[0].count + 1.0)  # β₂ᵗ
        return optax.adam(lr, b2=0.999, eps=eps / jnp.sqrt(1 - decay)).update(grads, state, params)

    return optax.GradientTransformation(optax.adam(lr).init, update)


def split(module: nnx.Module) -> tuple[nnx.GraphDef, Params]:
    """Split a module into its static part and its parameters, a nested dict of arrays."""
    graph, state = nnx.split(module, nnx.Param)
    return graph, nnx.to_pure_dict(state)


def join(graph: nnx.GraphDef, params: Params) -> Any:
    """Inverse of ``split``: return the module, for use within one trace."""
    return nnx.merge(graph, nnx.State(params))


def initial_state(
    params: Params, aux: Aux, optimizer: optax.GradientTransformation, keep_average: bool = False
) -> TrainState:
    """State before the first update; with ``keep_average``, updates also average the parameters."""
    average = jax.tree.map(jnp.array, params) if keep_average else ()  # copies: both are donated
    return TrainState(params, optimizer.init(params), aux, jnp.zeros((), jnp.int32), average)


def averaged(average: Params, params: Params, updates: Array) -> Params:
    """Move an average of the parameters towards the newest ones.

    ā' = ā + w (θ - ā),   w = max(1/200, 10 / (10 + n))

    The average spans about the last tenth of the updates so far, but never more than 200 of them.
    Source: Polyak and Juditsky 1992; Shamir and Zhang 2013, polynomial decay (η = 9), with a floor.

    Args:
      updates: n, [] number of updates before the one that led to ``params``.
    """
    weight = jnp.maximum(AVERAGE_RATE, 10.0 / (10.0 + updates))
    return jax.tree.map(lambda a, p: a + weight.astype(a.dtype) * (p - a), average, params)


def make_update(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    estimate: Estimate | None = None,
    sharding: jax.sharding.Sharding | None = None,
) -> Callable[[TrainState, Any, PRNGKeyArray], tuple[TrainState, Metrics]]:
    """Make the jitted update; it consumes (donates) the state passed to it.

    If the loss or its gradient norm is not finite, the whole state stays unchanged and the metric
    `update/skipped` is 1; otherwise it is 0.

    Args:
      loss: function from (params, aux, batch, key) to (scalar, (aux, metrics)).
      optimizer: from ``make_optimizer``, or any other over the same params.
      estimate: sets the parameters that are estimated from the batch rather than by gradients.
      sharding: sharding of the outputs; None: XLA's choice, which is that of the arguments.
    """

    def update(state: TrainState, batch: Any, key: PRNGKeyArray) -> tuple[TrainState, Metrics]:
        params = state.params if estimate is None else estimate(state.params, batch)
        descend = jax.value_and_grad(loss, has_aux=True)
        (value, (aux, metrics)), grads = descend(params, state.aux, batch, key)
        updates, opt_state = optimizer.update(grads, state.opt_state, params)
        params = optax.apply_updates(params, updates)
        norm = optax.tree.norm(grads)
        finite = jnp.isfinite(value) & jnp.isfinite(norm)
        metrics = {**metrics, "grad_norm": norm, SKIPPED: 1.0 - finite}
        average = state.average
        if jax.tree.leaves(average):
            average = averaged(average, params, state.step)
        done = TrainState(params, opt_state, aux, state.step + 1, average)
        return jax.tree.map(lambda new, old: jnp.where(finite, new, old), done, state), metrics

    return jax.jit(update, donate_argnums=0, out_shardings=sharding)


class Learner(Generic[M]):
    """A module and how to train it; the parameters are kept in a ``TrainState``, not here.

    Args:
      make: makes the module.
      make_loss: function from the module's static part to its loss.
      make_aux: function from (params, module) to the loss's first aux; it must read only shapes of
        the module.
      optimizer, estimate: as for ``make_update``.
      keep_average: as for ``initial_state``.
    """

    def __init__(
        self,
        make: Callable[[], M],
        make_loss: Callable[[nnx.GraphDef], Loss],
        make_aux: Callable[[Params, M], Aux],
        optimizer: optax.GradientTransformation,
        estimate: Estimate | None = None,
        keep_average: bool = False,
    ):
        self.module: M = nnx.eval_shape(make)  # parameters are abstract: shapes only
        self.graph, self.shapes = split(self.module)
        self.optimizer, self._make, self._make_aux = optimizer, make, make_aux
        self._keep_average = keep_average
        self._make_update = partial(make_update, make_loss(self.graph), optimizer, estimate)
        self.sharding: jax.sharding.Sharding | None = None
        """Sharding of the state that an update returns; must be set before the first update."""

    @cached_property
    def update(self) -> Callable[[TrainState, Any, PRNGKeyArray], tuple[TrainState, Metrics]]:
        """The jitted update."""
        return self._make_update(sharding=self.sharding)

    def join(self, params: Params) -> M:
        """The module with these parameters."""
        module: M = join(self.graph, params)
        return module

    def initial(self) -> TrainState:
        """The state before the first update; computed by one program rather than one per array."""
        return jax.jit(self._initial)()

    def abstract(self) -> TrainState:
        """Shapes of ``initial()``, without computing it."""
        return jax.eval_shape(self._initial)

    def _initial(self) -> TrainState:
        params = split(self._make())[1]
        aux = self._make_aux(params, self.module)
        return initial_state(params, aux, self.optimizer, self._keep_average)
