"""A program that `test_devices.py` starts where JAX has four devices: runs of 20 updates on one and
on four, each then gone on with by ten more on the other number. Prints the losses of both as JSON.

  python tests/training/on_devices.py agent|video FOLDER
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from configs import parse_train
from configs.video_presets import parse_pretrain
from training import read_metrics
from training.agent_source import AgentSource
from training.device import enable_compilation_cache
from training.loop import Evaluation, train
from training.video_source import VideoSource

AGENT = "--env pure:pendulum --size debug --strides 1,2 --length 16 --prefill 40 --batch 4 "
AGENT += "--updates-per-step 1 --env.num-envs 1 --env.time-limit 30 --log-every 1 --video-every 0 "
AGENT += "--eval-every 0 --agent.model.deter 8 --agent.model.hidden 8"
VIDEO = "--data moving_digits --size debug --strides 1,2 --context 2 --length 4 --batch 4 "
VIDEO += "--streams True --log-every 1 --video-every 0 --eval-every 0 --data.image-size 32 "
VIDEO += "--data.episodes 6 --data.length 30 --data.test-episodes 2 --data.test-length 30 "
VIDEO += "--model.deter 8 --model.hidden 8"


def unevaluated(kind: Any) -> Callable[[Any], Any]:
    """A source whose programs are compiled once for each number of devices."""
    learners: dict[int, Any] = {}

    class Unevaluated(kind):  # type: ignore[misc]
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.learner = learners.setdefault(config.devices, self.learner)

        def evaluate(self, state: Any, key: Any) -> Evaluation:
            return Evaluation({}, "", None)

        def write_film(self, state: Any, film: Any, key: Any) -> None:
            pass

    return Unevaluated


def losses(kind: str, folder: Path) -> list[list[float]]:
    agent = kind == "agent"
    source = unevaluated(AgentSource if agent else VideoSource)
    parse: Callable[..., Any] = parse_train if agent else parse_pretrain
    flags = (AGENT if agent else f"{VIDEO} --data.folder {folder / 'data'}").split()
    found = []
    for counts in ((1, 4), (4, 1)):
        run = folder / f"{kind}_{counts[0]}"
        for count, updates in zip(counts, (20, 30), strict=True):
            steps = updates + 40 * agent
            told = ["--devices", str(count), "--steps", str(steps), "--logdir", str(run)]
            assert train(parse([*flags, *told], False, "float32"), source)
        rows = read_metrics(run / "metrics.jsonl")
        found.append([row["loss/total"] for row in rows if "loss/total" in row])
    return found


if __name__ == "__main__":
    enable_compilation_cache(None)
    lines = losses(sys.argv[1], Path(sys.argv[2]))
    print(json.dumps(lines))
