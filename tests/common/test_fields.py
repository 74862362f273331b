"""Bounds are checked over a whole nested config; what may change and what was before are found."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
from annotated_types import Gt, Lt

from common import Before, Count, CountOrZero, MayChange, NonNegative, Positive, Share, check_bounds
from common.fields import before, changeable


@dataclass(frozen=True)
class Inner:
    lr: MayChange[Positive] = 1e-3
    keep_bias: Annotated[float, Before(0.5)] = 1.0
    part: Annotated[float, Gt(0), Lt(1)] = 0.5


@dataclass(frozen=True)
class Outer:
    run: Path
    steps: MayChange[Count] = 10
    ticks: Count | None = None
    prefill: CountOrZero = 0
    weight: NonNegative = 0.0
    share: Share = 0.0
    strides: tuple[Count, ...] = (1, 4)
    kind: Literal["a", "b"] = "a"
    mode: MayChange[Literal[1] | Literal["auto"] | None] = None
    kinds: tuple[Literal["x", "y"], ...] = ()
    other: Literal["a"] | Path = "a"
    inner: Inner = field(default_factory=Inner)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps: expected 1 or more, received 0; raise --steps; the default is 10"),
        ({"ticks": 0}, "ticks: expected 1 or more, received 0; raise --ticks"),
        ({"prefill": -5}, "prefill: expected 0 or more, received -5; raise --prefill; the"),
        ({"weight": -0.5}, "weight: expected 0 or more, received -0.5; raise --weight"),
        ({"weight": float("nan")}, "weight: expected a finite number, received nan; set --weight"),
        ({"share": 1.5}, "share: expected from 0 to 1, received 1.5; lower --share"),
        ({"share": float("inf")}, "share: expected a finite number, received inf"),
        ({"strides": (1, 0)}, "strides: expected 1 or more, received 0; raise --strides"),
        ({"inner": Inner(lr=-1.0)}, "inner.lr: expected above 0, received -1; raise --inner.lr"),
        ({"inner": Inner(part=1.0)}, "inner.part: expected above 0 to below 1, received 1; lower"),
        ({"kind": "c"}, "kind: expected a or b, received c; set --kind to one of these"),
        ({"mode": 3}, "mode: expected 1 or auto, received 3; set --mode"),
        ({"kinds": ("x", "z")}, "kinds: expected x or y, received z; set --kinds"),
        ({"inner": Inner(keep_bias=float("nan"))}, r"keep_bias: .*nan; set --inner.keep-bias"),
    ],
)
def test_out_of_bounds_is_refused_with_the_remedy(settings, message):
    with pytest.raises(ValueError, match=message):
        check_bounds(Outer(Path("x"), **settings))


def test_what_is_within_bounds_passes():
    check_bounds(
        Outer(Path("x"), steps=1, ticks=None, share=1.0, strides=(1,), inner=Inner(keep_bias=-3))
    )
    check_bounds(Outer(Path("x"), kind="b", mode="auto", kinds=("y", "x"), other=Path("x")))


def test_what_may_change_and_what_was_before_are_found():
    assert changeable(Outer) == {"steps", "mode", "inner.lr"}
    assert before(Inner) == {"keep_bias": 0.5} and before(Outer) == {}
