"""What a program does, counted from its jaxpr, the same on every machine; nothing is compiled.

A loop counts as often as it turns, which XLA's own count leaves out; of branches, those by platform
too, the largest, number by number.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
from jax.extend import core

from common import UserError


class Count(NamedTuple):
    """Of one call."""

    operations: float = 0.0
    """Floating-point, of matrix products and convolutions alone: two for each multiplication with
    its addition. Zeros between inputs are not counted, which is what a transposed convolution
    has."""
    elements: float = 0.0
    """Numbers that everything else gives, before anything is fused."""


def count(function: Any, *args: Any) -> Count:
    """Of one call with such arguments."""
    return _of(jax.make_jaxpr(function)(*args).jaxpr)


def _of(jaxpr: core.Jaxpr) -> Count:
    found = [_equation(equation) for equation in jaxpr.eqns]
    return Count(sum(x.operations for x in found), sum(x.elements for x in found))


def _equation(equation: core.JaxprEqn) -> Count:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        left = _shape(equation.invars[0])
        return Count(2.0 * _size(equation) * math.prod(left[axis] for axis in contracted))
    if name == "conv_general_dilated":
        kernel, places = _shape(equation.invars[1]), params["dimension_numbers"].rhs_spec
        taps = math.prod(kernel) / kernel[places[0]]  # inputs of an output, of its group
        return Count(2.0 * _size(equation) * taps / math.prod(params["lhs_dilation"]))
    if name == "while":
        raise UserError(
            "operations: expected loops that turn a known number of times, received a while loop; "
            "use scan, or fori_loop with fixed bounds"
        )
    leaf = name.startswith(("scatter", "reduce", "select_and"))  # what is within is for one number
    inner = [] if leaf else [_of(jaxpr) for jaxpr in _inner(params)]
    if name == "cond":
        return Count(*map(max, zip(*inner, strict=True)))
    turns = params["length"] if name == "scan" else 1
    if not inner:
        return Count(0.0, float(sum(map(_numbers, equation.outvars))))
    return Count(*(turns * sum(parts) for parts in zip(*inner, strict=True)))


def _size(equation: core.JaxprEqn) -> int:
    return _numbers(equation.outvars[0])


def _numbers(value: Any) -> int:
    return math.prod(_shape(value))


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
