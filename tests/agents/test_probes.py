"""It learns: on every probe the greedy policy comes within 5% of the best return.

All probes share one compiled update per setting of the strides. A probe stops as soon as two
evaluations in a row, with re-planning at every step and with whole chunks, have reached the bar;
its margin is the share of the updates that are then left. By default one of them runs, at (1, 4).
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs import EnvConfig
from tests.agents import probes
from tests.agents.probe_runs import MOST, Kit, learn, make_kit

pytestmark = [pytest.mark.learning, pytest.mark.usefixtures("unchecked")]

TRAIN_LIMIT = 8  # steps at which Invest is cut in training
OTHERS = ("Delayed", "Commit", "Exit", "Invest")
PROBES = ["OneStep", *[pytest.param(probe, marks=pytest.mark.slow) for probe in OTHERS]]
STRIDES = [
    pytest.param((1,), id="1", marks=pytest.mark.slow),
    pytest.param((1, 4), id="1-4"),
    pytest.param((1, 2, 4), id="1-2-4", marks=pytest.mark.slow),
]
EPISODES = 4  # of each cue
GRAIN = 0.1 / (2 * EPISODES)
"""Mean returns over the evaluation's episodes are multiples of this where the level does nothing:
all rewards are of 0.1."""


def bar(probe: str) -> float:
    """5% below the best, and then half a grain off every mean return that can be reached: 1.9 of
    Commit's 2 is one, and on another machine it was 1.8999999985."""
    best = float(getattr(probes, probe).best)
    return (round(0.95 * best / GRAIN) + 0.5) * GRAIN


@pytest.fixture(scope="module", params=STRIDES)
def kit(request: pytest.FixtureRequest) -> Kit:
    """Half of the plans are gone on with: else replay never holds what comes of a whole plan, whose
    later slots are then learned by luck (adr 13)."""
    return make_kit(request.param, keep_plan=0.5)


@pytest.mark.parametrize("probe", PROBES)
def test_the_greedy_policy_comes_within_5_percent_of_the_best(
    kit: Kit, probe: str, seed: int, tmp_path: Path, margin: Callable[..., None]
) -> None:
    invest = probe == "Invest"
    env = EnvConfig(name=f"tests.agents.probes:{probe}", time_limit=TRAIN_LIMIT if invest else None)
    limit = probes.Invest.LIMIT if invest else None
    cues = [replace(env, options={"cue": cue}, time_limit=limit) for cue in ("1", "-1")]

    def mean(params: Any, replan: int) -> float:
        scores = [score for cue in cues for score in kit.scores(params, replan, cue, EPISODES)]
        return float(np.mean(scores))

    def evaluate(params: Any) -> float:
        """The smaller of the mean returns with re-planning at every step and with whole chunks."""
        return min(mean(params, replan) for replan in kit.greedy)

    least = bar(probe)
    scores, updates = learn(kit, env, seed, tmp_path, evaluate, lambda score: score > least)
    assert min(scores[-2:]) > least, f"bar {least:.4f}, evaluations {np.round(scores, 3)}"
    margin(MOST - updates, of=MOST)
