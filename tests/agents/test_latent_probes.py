"""The latent codec learns: a choice that pays at once, and to react inside a window."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from envs import EnvConfig
from tests.agents.probe_runs import Kit, learn, left, make_kit
from tests.agents.probes import OneStep, Probe, React

pytestmark = [
    pytest.mark.learning,
    pytest.mark.slow,
    pytest.mark.usefixtures("unchecked"),
]

STRIDE = 4
REACTED = 14.0  # return on React that no blind chunk gets: 13 is the most, 16 the best


@pytest.fixture(scope="module")
def kit() -> Kit:
    """One compiled update for both."""
    return make_kit((1, STRIDE), "latent", apart=("actor", "critic"))


@pytest.fixture
def reach(
    kit: Kit, seeds: list[int], tmp_path: Path, margins: Callable[..., None]
) -> Callable[..., None]:
    """Mean greedy returns over 16 episodes, by the interval between plans, are enough twice in a
    row. The margin is the share of the updates that are left."""

    def reach(probe: type[Probe], enough: Callable[[Any], bool], behave: Any = None) -> None:
        env = EnvConfig(name=f"tests.agents.probes:{probe.__name__}")

        def evaluate(params: Any) -> list[dict[int, float]]:
            scores = {r: kit.scores(params, r, env, 16) for r in kit.greedy}
            return [{r: float(scores[r][n]) for r in scores} for n in range(len(seeds))]

        learned = learn(kit, env, seeds, tmp_path, evaluate, enough, behave)
        margins(left(learned), learned)

    return reach


def test_a_choice_that_pays_at_once(reach: Callable[..., None]) -> None:
    """With re-planning at every step and with whole windows: at most half an episode of 16 lost."""
    reach(OneStep, lambda scores: min(scores.values()) > OneStep.best - 0.5 / 16)


def follow(
    params: Any, carry: Any, obs: dict[str, np.ndarray], is_first: np.ndarray, key: Any
) -> tuple[Any, np.ndarray]:
    """The cue's move at every step, at a level drawn at random."""
    level = jax.random.uniform(key, (len(is_first), 1), minval=-1.0)
    move = np.eye(2, dtype=np.float32)[(obs["observation"][:, 0] > 0).astype(int)]
    return carry, np.concatenate([level, move], axis=1)


def test_reaction_inside_a_window(reach: Callable[..., None]) -> None:
    """From behaviour that reacts to each step's cue: the actor picks the level by its code, the
    decoder goes on reacting. With whole windows, to which a chunk would be blind."""
    reach(React, lambda scores: scores[STRIDE] > REACTED, follow)
