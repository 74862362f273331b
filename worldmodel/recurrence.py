"""A scan over ticks that computes the gradient of each weight as one product, after the scan.

Differentiated directly, ``lax.scan`` accumulates every weight's gradient tick by tick: a product of
N rows and an addition, both as large as the weight. With few rows, this is most of the cost of
training a level. Here the backward scan yields only δ_t, the gradient of each linear layer's output
at each tick; the gradient of a layer with input x_t is then

dW = Σ_t x_tᵀ δ_t

computed as one product of [inputs, T·N] and [T·N, outputs]. Used by ``level.py``.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array

from worldmodel.precision import Linear, Watch

Carry = TypeVar("Carry")
Given = TypeVar("Given")
Path = tuple[Any, ...]  # names on the way to a part of a module
Named = dict[Path, Array]
Tick = Callable[[Named, dict[Path, Watch], Any, Any], Any]  # of (parameters, watches, carry, x)


def scan_ticks(
    step: Callable[[Any, Carry, Any], tuple[Carry, Given]], cell: nnx.Module, carry: Carry, xs: Any
) -> tuple[Carry, Given]:
    """``lax.scan`` of ``step(cell, carry, x)``: the last carry, and the ticks' outputs, stacked.

    Args:
      step: a pure function. Gradients of linear layers that it calls once are computed from all
        ticks at once; those of other parameters are accumulated tick by tick.
      cell: the module whose parameters the step reads.
      xs: arrays of the ticks, [T, ...].
    """
    graph, state = nnx.split(cell)
    params: Named = flatten_dict(nnx.to_pure_dict(state))
    paths = [path for path, part in nnx.iter_modules(cell) if isinstance(part, Linear)]
    paths = [path for path in paths if (*path, "kernel") in params]  # others share one of these

    def tick(params: Named, watches: dict[Path, Watch], carry: Carry, x: Any) -> Any:
        own = nnx.merge(graph, nnx.State(unflatten_dict(params)))
        for path, part in nnx.iter_modules(own):
            if isinstance(part, Linear) and path in watches:
                part.watch = watches[path]
        return step(own, carry, x)

    def plain(params: Named, carry: Carry, xs: Any) -> tuple[Carry, Given]:
        return jax.lax.scan(lambda carry, x: tick(params, {}, carry, x), carry, xs)

    run = jax.custom_vjp(plain)
    run.defvjp(partial(_forward, tick, paths), _backward)
    return run(params, carry, xs)


def _forward(tick: Tick, paths: list[Path], params: Named, carry: Any, xs: Any) -> Any:
    """The scan, with a probe at the output of every layer that a tick calls once."""
    shapes = _outputs(tick, paths, params, carry, jax.tree.map(lambda x: x[0], xs))
    count = len(jax.tree.leaves(xs)[0])
    probes = {path: jnp.zeros((count, *x.shape), x.dtype) for path, x in shapes.items()}
    turned = {path: params[*path, "kernel"].astype(x.dtype).T for path, x in shapes.items()}

    def scan(probes: Named, params: Named, carry: Any, xs: Any) -> Any:
        def watched(carry: Any, x: Any) -> Any:
            probe, x = x
            watches = {path: Watch(turned[path], probe[path]) for path in shapes}
            carry, given = tick(params, watches, carry, x)
            return carry, (given, {path: watch.read for path, watch in watches.items()})

        carry, (given, read) = jax.lax.scan(watched, carry, (probes, xs))
        return (carry, given), read

    found, back, read = jax.vjp(scan, probes, params, carry, xs, has_aux=True)
    return found, (back, read)


def _outputs(
    tick: Tick, paths: list[Path], params: Named, carry: Any, x: Any
) -> dict[Path, jax.ShapeDtypeStruct]:
    """Output shapes of the linear layers that a tick calls once."""

    def outputs(carry: Any, x: Any) -> Named:
        watches = {path: Watch() for path in paths}
        tick(params, watches, carry, x)
        once = {path: watch.output for path, watch in watches.items() if watch.calls == 1}
        return {path: x for path, x in once.items() if x is not None}

    shapes: dict[Path, jax.ShapeDtypeStruct] = jax.eval_shape(outputs, carry, x)
    return shapes


def _backward(kept: Any, found: Any) -> tuple[Named, Any, Any]:
    """The gradients, with the layers' products added to what the parameters receive otherwise."""
    back, read = kept
    deltas, gradients, carry, xs = back(found)
    for path, delta in deltas.items():
        name = *path, "kernel"
        gradients[name] += kernel_gradient(read[path], delta).astype(gradients[name].dtype)
    return gradients, carry, xs


def kernel_gradient(read: Array, delta: Array) -> Array:
    """Σ_t x_tᵀ δ_t of x [T, ..., inputs] and δ [T, ..., outputs], in float32: [inputs, outputs]."""
    read, delta = (x.reshape(-1, x.shape[-1]) for x in (read, delta))
    over = (((0,), (0,)), ((), ()))
    return jax.lax.dot_general(read, delta, over, preferred_element_type=jnp.float32)
