"""Floating-point operations of a program, counted from its jaxpr: those of matrix products and
convolutions alone, two for each multiplication with its addition. A loop counts as often as it
turns, which XLA's own count leaves out; of branches the largest. Zeros between inputs are not
counted, which is what a transposed convolution has."""

import math
from collections.abc import Iterator
from typing import Any

import jax
from jax.extend import core

from common import UserError


def operations(function: Any, *args: Any) -> float:
    """Of one call with such arguments; nothing is compiled."""
    return _of(jax.make_jaxpr(function)(*args).jaxpr)


def _of(jaxpr: core.Jaxpr) -> float:
    return sum(map(_equation, jaxpr.eqns))


def _equation(equation: core.JaxprEqn) -> float:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        left = _shape(equation.invars[0])
        return 2.0 * _size(equation) * math.prod(left[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel, places = _shape(equation.invars[1]), params["dimension_numbers"].rhs_spec
        taps = math.prod(kernel) / kernel[places[0]]  # inputs of an output, of its group
        return 2.0 * _size(equation) * taps / math.prod(params["lhs_dilation"])
    if name == "cond":
        return max(map(_of, _inner(params)), default=0.0)
    if name == "while":
        raise UserError(
            "operations: expected loops that turn a known number of times, received a while loop; "
            "use scan, or fori_loop with fixed bounds"
        )
    turns = params["length"] if name == "scan" else 1
    return turns * sum(map(_of, _inner(params)))


def _size(equation: core.JaxprEqn) -> int:
    return math.prod(_shape(equation.outvars[0]))


def _shape(value: Any) -> tuple[int, ...]:
    shape: tuple[int, ...] = value.aval.shape
    return shape


def _inner(params: dict[str, Any]) -> Iterator[core.Jaxpr]:
    """Programs within an equation's parameters."""
    for value in params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, core.ClosedJaxpr):
                yield one.jaxpr
            elif isinstance(one, core.Jaxpr):
                yield one
