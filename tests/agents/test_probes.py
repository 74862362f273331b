"""It learns: on every probe the greedy policy comes within 5% of the best return.

All probes share one compiled update per setting of the strides. A probe stops as soon as two
evaluations in a row, with re-planning at every step and with whole chunks, have reached the bar.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs import EnvConfig
from tests.agents import probes
from tests.agents.probe_runs import Kit, learn, make_kit

pytestmark = pytest.mark.usefixtures("unchecked")

TRAIN_LIMIT = 8  # steps at which Invest is cut in training
PROBES = ("OneStep", "Delayed", "Commit", "Exit", "Invest")


@pytest.fixture(scope="module", params=[(1,), (1, 4), (1, 2, 4)], ids=["1", "1-4", "1-2-4"])
def kit(request: pytest.FixtureRequest) -> Kit:
    return make_kit(request.param)


@pytest.mark.parametrize("probe", PROBES)
def test_the_greedy_policy_comes_within_5_percent_of_the_best(
    kit: Kit, probe: str, tmp_path: Path
) -> None:
    best, invest = getattr(probes, probe).best, probe == "Invest"
    env = EnvConfig(name=f"tests.agents.probes:{probe}", time_limit=TRAIN_LIMIT if invest else None)
    limit = probes.Invest.LIMIT if invest else None
    cues = [replace(env, options={"cue": cue}, time_limit=limit) for cue in ("1", "-1")]

    def evaluate(params: Any) -> float:
        """The smaller of the mean returns with re-planning at every step and with whole chunks."""
        return min(
            float(np.mean([score for cue in cues for score in kit.scores(params, replan, cue, 4)]))
            for replan in kit.greedy
        )

    bar = best - 0.05 * abs(best)
    scores = learn(kit, env, tmp_path, evaluate, lambda score: score >= bar)
    assert min(scores[-2:]) >= bar, f"best {best:.2f}, evaluations {np.round(scores, 2)}"
