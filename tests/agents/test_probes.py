"""It learns: on every probe the greedy policy comes within 5% of the best return.

All probes share one compiled update per setting of the strides. A seed has passed as soon as two
evaluations in a row, with re-planning at every step and with whole chunks, have reached the bar;
its margin is the share of the updates that are then left.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs import EnvConfig
from tests.agents import probes
from tests.agents.probe_runs import MOST, Kit, learn, left, make_kit

pytestmark = [
    pytest.mark.learning,
    pytest.mark.slow,
    pytest.mark.usefixtures("unchecked"),
]

TRAIN_LIMIT = 8  # steps at which Invest is cut in training
ASKED = {
    (1, 4): ("OneStep", "Delayed", "Exit", "Invest"),
    (1,): ("Commit",),
    (1, 2, 4): ("Delayed",),
}
PROBES = [
    pytest.param(strides, probe, id=f"{'-'.join(map(str, strides))}-{probe}")
    for strides, asked in ASKED.items()
    for probe in asked
]
UPDATES = {"Commit": 2 * MOST}
"""At the most, where not `MOST`: a needless move of Commit costs a tenth of what its block is
worth, and is unlearned last (adr 22)."""
EPISODES = 4  # of each cue
GRAIN = 0.1 / (2 * EPISODES)
"""Mean returns over the evaluation's episodes are multiples of this where the level does nothing:
all rewards are of 0.1."""


def bar(probe: str) -> float:
    """5% below the best, and then half a grain off every mean return that can be reached: 1.9 of
    Commit's 2 is one, and on another machine it was 1.8999999985."""
    best = float(getattr(probes, probe).best)
    return (round(0.95 * best / GRAIN) + 0.5) * GRAIN


@pytest.fixture(scope="module")
def kits() -> Callable[[tuple[int, ...]], Kit]:
    """By strides. Half of the plans are gone on with: else replay never holds what comes of a whole
    plan, whose later slots are then learned by luck (adr 13)."""
    return cache(partial(make_kit, keep_plan=0.5))


@pytest.mark.parametrize(("strides", "probe"), PROBES)
def test_the_greedy_policy_comes_within_5_percent_of_the_best(
    kits: Callable[[tuple[int, ...]], Kit],
    strides: tuple[int, ...],
    probe: str,
    seeds: list[int],
    tmp_path: Path,
    margins: Callable[..., None],
) -> None:
    kit, invest = kits(strides), probe == "Invest"
    env = EnvConfig(name=f"tests.agents.probes:{probe}", time_limit=TRAIN_LIMIT if invest else None)
    limit = probes.Invest.LIMIT if invest else None
    cues = [replace(env, options={"cue": cue}, time_limit=limit) for cue in ("1", "-1")]

    def evaluate(params: Any) -> list[float]:
        """Of each seed the smaller of the mean returns with re-planning at every step and with
        whole chunks."""
        means = [
            np.mean([kit.scores(params, replan, cue, EPISODES) for cue in cues], axis=0)
            for replan in kit.greedy
        ]
        return np.min(means, axis=0).tolist()

    least, most = bar(probe), UPDATES.get(probe, MOST)
    learned = learn(kit, env, seeds, tmp_path, evaluate, lambda score: score > least, most=most)
    margins(left(learned, most), learned)
