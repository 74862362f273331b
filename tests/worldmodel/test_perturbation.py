"""The clocks, proved by perturbation: a frame or an action touches exactly what the clocks say.

An oracle in plain Python lists, for every tick of every level, the frames and actions on which its
prior and its posterior may depend. Each frame and each action is then changed in a row of its own:
all that depends on it must change, and everything else stay the same to the last bit.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from worldmodel import ClockworkVAE, Records
from worldmodel.learner import join, split
from worldmodel.level import Belief

Inputs = frozenset[tuple[str, int]]  # ("x", t) a frame, ("a", t) an action; main times


class Setting(NamedTuple):
    """A model's clocks, and T."""

    strides: tuple[int, ...]
    window: Literal["causal", "lookahead"]
    length: int

    @property
    def lead(self) -> int:
        return self.strides[-1] - 1 if self.window == "causal" else 0

    @property
    def all_phases(self) -> bool:
        return self.window == "causal"


SETTINGS = [
    Setting((1,), "causal", 5),
    Setting((1, 4), "causal", 12),
    Setting((1, 2, 8), "causal", 24),
    Setting((1, 6, 36), "causal", 72),
    Setting((1,), "lookahead", 5),
    Setting((1, 4), "lookahead", 14),  # the last windows are cut short
    Setting((1, 2, 8), "lookahead", 21),
    Setting((1, 6, 36), "lookahead", 80),
]


def name_of(setting: Setting) -> str:
    strides = "-".join(map(str, setting.strides))
    return f"{strides}-{setting.window}"


class Oracle:
    """docs/design.md, Clocks, in sets. ``firsts`` are the main times at which episodes start."""

    def __init__(self, setting: Setting, firsts: tuple[int, ...]):
        self.setting, self.firsts = setting, firsts
        self.prior, self.post = cache(self._prior), cache(self._post)

    def times(self, level: int) -> range:
        """Main times of a level's ticks (levels from 0), as `observe` returns them."""
        top = level == len(self.setting.strides) - 1
        step = 1 if top and self.setting.all_phases else self.setting.strides[level]
        return range(0, self.setting.length, step)

    def episode(self, time: int) -> int:
        return sum(first <= time for first in self.firsts)

    def window(self, level: int, time: int) -> list[int]:
        stride = self.setting.strides[level]
        start = time - stride + 1 if self.setting.window == "causal" else time
        return [
            s
            for s in range(start, start + stride)
            if -self.setting.lead <= s < self.setting.length
            and self.episode(s) == self.episode(time)
        ]

    def _prior(self, level: int, time: int) -> Inputs:
        """The interval's actions; the state one tick ago; the latest tick of the level above."""
        strides = self.setting.strides
        actions = frozenset(("a", s) for s in self.window(level, time) if s not in self.firsts)
        before, above = time - strides[level], Inputs()
        memory = before >= 0 and self.episode(before) == self.episode(time)
        if level + 1 < len(strides):
            above = self.post(level + 1, time // strides[level + 1] * strides[level + 1])
        return actions | above | (self.post(level, before) if memory else Inputs())

    def _post(self, level: int, time: int) -> Inputs:
        """What the prior depends on, and the frames of the window."""
        return self.prior(level, time) | {("x", s) for s in self.window(level, time)}

    def table(self, kind: str, part: Literal["prior", "post"], level: int) -> np.ndarray:
        """[T', ticks]: whether the input ``kind`` of each time may touch each tick of a level."""
        held = [getattr(self, part)(level, t) for t in self.times(level)]
        inputs = range(-self.setting.lead, self.setting.length)
        return np.array([[(kind, s) in tick for tick in held] for s in inputs])


def test_oracle_causal_in_words() -> None:
    """A tick depends on its episode's past, all of it, and on no later frame; of the top, whose
    chains begin at times 0 to K-1, on what its own chain's first window holds."""
    oracle = Oracle(Setting((1, 2, 8), "causal", 24), firsts=(8,))
    for level in range(3):
        for time in oracle.times(level):
            past = {s for kind, s in oracle.post(level, time) if kind == "x"}
            begins = time - 7 if level == 2 else -7  # of the first episode
            assert past == set(range(8 if time >= 8 else begins, time + 1))


def test_oracle_lookahead_in_words() -> None:
    """A tick of level 1 has seen the whole top window in which it lies: its context has."""
    oracle = Oracle(Setting((1, 2, 8), "lookahead", 21), firsts=())
    for time in range(21):
        block = min((time // 8 + 1) * 8, 21)
        assert {s for kind, s in oracle.post(0, time) if kind == "x"} == set(range(block))
        top = {s for kind, s in oracle.prior(2, time // 8 * 8) if kind == "x"}
        assert top == set(range(time // 8 * 8))


class Observer:
    """``observe`` of one setting, compiled once, over one row per record of the sequence."""

    def __init__(self, cases: Any, setting: Setting):
        strides, window, self.length = setting
        model = cases.model(strides=strides, window=window)
        graph, params = split(model)
        self.model: ClockworkVAE = model
        self.rows = setting.lead + setting.length
        self.noise = model.draw_noise(jax.random.key(3), self.rows, self.length)

        @jax.jit
        def observe(records: Records) -> tuple[Belief, ...]:
            return join(graph, params).observe(records, self.noise)

        self._observe = observe

    def __call__(self, records: Records) -> tuple[Belief, ...]:
        return jax.device_get(self._observe(records))

    def records(self, cases: Any, firsts: tuple[int, ...]) -> Records:
        """The same sequence in every row."""
        one = cases.records(self.model, 1, self.length, 0, firsts)
        return jax.tree.map(lambda x: jnp.repeat(x, self.rows, axis=0), one)


@pytest.fixture(scope="module")
def observer(cases: Any) -> Callable[[Setting], Observer]:
    return cache(lambda setting: Observer(cases, setting))


def differs(a: Any, b: Any) -> np.ndarray:
    """[rows, ticks]: where any bit of any array differs."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return np.any([np.any(bits(x) != bits(y), axis=-1) for x, y in pairs], axis=0)


def bits(x: np.ndarray) -> np.ndarray:
    return np.asarray(x).view(np.int32)


SIZES = (3.0, -4.0)  # of a change: what is left of one may be lost in rounding, hardly of both


def change_diagonal(x: jax.Array, size: float) -> jax.Array:
    """Row i gets another record i."""
    rows = jnp.arange(x.shape[0])
    return x.at[rows, rows].add(size)


def changed(records: Records, kind: str, size: float) -> Records:
    """With another frame or another action in every row."""
    if kind == "a":
        return records._replace(action=change_diagonal(records.action, size))
    return records._replace(obs={k: change_diagonal(x, size) for k, x in records.obs.items()})


def starts(setting: Setting) -> list[tuple[int, ...]]:
    """A sequence from the middle of an episode; a second one packed; from an episode's third step
    or so, which is then inside the lead-in."""
    stride = setting.strides[-1]
    return [(), (stride,), *([(-(stride // 2),)] if setting.lead else [])]


@pytest.mark.parametrize(
    ("setting", "firsts"),
    [
        pytest.param(setting, firsts, marks=[pytest.mark.slow] * (len(setting.strides) == 2))
        for setting in SETTINGS
        for firsts in starts(setting)
    ],
    ids=lambda x: name_of(x) if isinstance(x, Setting) else f"starts{x}",
)
def test_a_change_touches_what_it_may_and_nothing_else(
    cases: Any, observer: Callable[[Setting], Observer], setting: Setting, firsts: tuple[int, ...]
) -> None:
    observe, oracle = observer(setting), Oracle(setting, firsts)
    records = observe.records(cases, firsts)
    base = observe(records)
    for kind in ("x", "a"):
        others = [observe(changed(records, kind, size)) for size in SIZES]
        for level, a in enumerate(base):
            beliefs = [other[level] for other in others]
            prior = [differs((a.prior, a.state.h), (b.prior, b.state.h)) for b in beliefs]
            post = [differs((a.post, a.state.z), (b.post, b.state.z)) for b in beliefs]
            where = f"{kind}, level {level + 1}"
            for found, part in ((prior, "prior"), (post, "post")):
                expected = oracle.table(kind, part, level)  # type: ignore[arg-type]
                np.testing.assert_array_equal(np.any(found, axis=0), expected, where)
