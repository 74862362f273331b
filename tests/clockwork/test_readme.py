"""The README's Python runs as it stands there."""

import re

import gymnasium
import jax
import numpy as np
from processes import ROOT


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_an_agent_in_one_s_own_loop(agent_run):
    names = {"env": gymnasium.make("Pendulum-v1")}
    exec(blocks()[0].replace("runs/mine", str(agent_run.path)), names)
    assert names["env"].action_space.contains(names["action"])
    assert names["future"].reward.shape == (16, 5)


def test_the_world_model_alone():
    time = np.arange(24)[None] + np.arange(8)[:, None]
    x = np.stack([np.sin(time / 3), np.cos(time / 3), time / 24], -1).astype(np.float32)
    names = {"x": x, "action": np.ones((8, 23, 1), np.float32)}
    exec(blocks()[1], names)
    losses = []
    for key in jax.random.split(jax.random.key(0), 20):
        arguments = names["model"], names["optimizer"], names["records"], key
        losses.append(float(names["update"](*arguments)["loss/model"]))
    assert losses[-1] < losses[0] / 2, losses  # a sixth, here
