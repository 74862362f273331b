"""Tiny world models and random records that the tests of this folder share."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from worldmodel import ClockworkConfig, ClockworkVAE, Records
from worldmodel.learner import Params, join, split
from worldmodel.level import State

ACTIONS = 2  # floats per action
VECTOR = 3  # floats per observation


class Cases:
    """Builders; everything is as small as shows the point."""

    tiny = ClockworkConfig(
        strides=(1, 4), deter=6, hidden=8, stoch=3, classes=4, embed=5, conv_depth=1
    )

    @classmethod
    def config(cls, **changes: object) -> ClockworkConfig:
        """``tiny`` with changes; without all phases where it looks ahead."""
        if changes.get("window") == "lookahead":
            changes.setdefault("all_phases", False)
        return dataclasses.replace(cls.tiny, **changes)  # type: ignore[arg-type]

    @classmethod
    def model(cls, seed: int = 0, actions: int = ACTIONS, **changes: object) -> ClockworkVAE:
        """Over one vector; its memory is long, so that far effects show in the last bits."""
        model = ClockworkVAE(cls.config(**changes), {"vector": (VECTOR,)}, actions, nnx.Rngs(seed))
        return cls.lively(model)

    @classmethod
    def lively(cls, model: ClockworkVAE) -> ClockworkVAE:
        """All parameters moved off their first values, and slow update gates."""
        graph, params = split(model)
        leaves, tree = jax.tree.flatten(params)
        rng = np.random.default_rng(7)
        leaves = [x + 0.3 * rng.normal(size=x.shape).astype(np.float32) for x in leaves]
        moved = cls._slow(jax.tree.unflatten(tree, leaves), model.config.deter)
        return join(graph, moved)

    @staticmethod
    def _slow(params: Params, deter: int) -> Params:
        for level in params["levels"].values():
            bias = level["gru"]["input"]["bias"]
            level["gru"]["input"]["bias"] = bias.at[:deter].add(2.0)
        return params

    @staticmethod
    def records(
        model: ClockworkVAE, batch: int, length: int, seed: int, firsts: tuple[int, ...] = ()
    ) -> Records:
        """Random records [batch, lead+length, ...]; episodes start at the main times ``firsts``.

        All real, all actions known but those at starts, which are 0.
        """
        rng = np.random.default_rng(seed)
        shape = (batch, model.lead + length)
        is_first = np.zeros(shape, bool)
        is_first[:, [model.lead + t for t in firsts]] = True
        action = rng.normal(size=(*shape, model.action_width))
        action[is_first] = 0
        fields = {
            "action": action,
            "action_mask": np.ones(shape),
            "reward": rng.normal(size=shape),
            "mask": np.ones(shape),
        }
        return Records(
            obs={"vector": jnp.asarray(rng.normal(size=(*shape, VECTOR)), jnp.float32)},
            terminal=jnp.zeros(shape, bool),
            is_first=jnp.asarray(is_first),
            **{name: jnp.asarray(x, jnp.float32) for name, x in fields.items()},
        )

    @staticmethod
    def close(a: object, b: object, rtol: float) -> None:
        """Asserts that trees agree, ``rtol`` relative to each array's largest value."""
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(
                x, y, rtol=0, atol=rtol * float(np.max(np.abs(y), initial=1e-30))
            ),
            a,
            b,
        )

    @staticmethod
    def at(states: State, index: object) -> State:
        """Both arrays of a state at an index."""
        return jax.tree.map(lambda x: x[index], states)


@pytest.fixture(scope="session")
def cases() -> type[Cases]:
    return Cases
