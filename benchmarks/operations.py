"""Operations of a program, counted from its jaxpr: the same on every machine, without compilation.

A loop's body is counted once per iteration, unlike in XLA's own count. Of branches, including those
by platform, the largest counts, for each of the two numbers separately.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
from jax.extend import core

from common import UserError


class Count(NamedTuple):
    """Counts for one call."""

    operations: float = 0.0
    """Floating-point operations of matrix products and convolutions alone: two per multiplication
    with its addition. The zeros between inputs of a transposed convolution are not counted."""
    elements: float = 0.0
    """Numbers that all other operations output, before fusion."""


def count(function: Any, *args: Any) -> Count:
    """Count one call with these arguments."""
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
        taps = math.prod(kernel) / kernel[places[0]]  # inputs per output, within its group
        return Count(2.0 * _size(equation) * taps / math.prod(params["lhs_dilation"]))
    if name == "while":
        raise UserError(
            "operations: expected loops that turn a known number of times, received a while loop; "
            "use scan, or fori_loop with fixed bounds"
        )
    leaf = name.startswith(("scatter", "reduce", "select_and"))  # what is inside is for one number
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
    """The jaxprs among an equation's parameters."""
    for value in params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, core.ClosedJaxpr):
                yield one.jaxpr
            elif isinstance(one, core.Jaxpr):
                yield one
