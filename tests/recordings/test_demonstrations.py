"""Walks as demonstrations: what the agent of Navigate sparse would have lived."""

import numpy as np
import pytest

from configs import parse_train
from configs.data import DataConfig
from envs.images import resize
from recordings.data import open_train
from recordings.demonstrations import make_demonstrations
from replay import ReplayConfig, ReplayStore, first_steps, read_fields
from training.build import Built

AGENT = ["--env", "minerl_navigate", "--env.backend", "builtin", "--env.options", "dense", "False"]


def test_walks_fit_the_agent_and_are_rewarded_where_a_goal_is_touched(tmp_path):
    """Numbers 0 and 1 of seed 1 touch 2 and 3 goals in 320 steps."""
    store = tmp_path / "walks"
    said = make_demonstrations(store, 1, 320, 1)
    assert said == f"{store}: 1 walks of 320 steps, 2 goals touched"
    assert make_demonstrations(store, 2, 320, 1).endswith(
        "2 walks of 320 steps, 5 goals touched"
    )  # goes on
    flags = [*AGENT, "--size", "debug", "--env.image-size", "64", "--agent.keep-plan", "0"]
    ours = Built(parse_train(flags, False, "float32")).fields()  # marks are added when read
    fields = read_fields(store)
    assert all(fields[name] == field for name, field in ours.items())
    with ReplayStore(store, fields, ReplayConfig(), read_only=True) as walks:
        steps = first_steps(walks, 2, 320)
    np.testing.assert_array_equal(
        steps["reward"][:, 1:], 100.0 * np.diff(steps["factor/goals"].astype(int), axis=1)
    )
    assert steps["action_mask"].all() and steps["action"][:, 1:].any(axis=(1, 2)).all()
    assert not steps["terminal"].any()


def test_walks_of_images_of_another_size(tmp_path):
    """Those of 64 pixels resized, as the environment's; a store holds one size."""
    make_demonstrations(tmp_path / "large", 1, 3, 1)
    make_demonstrations(tmp_path / "small", 1, 3, 1, image_size=32)
    large, small = (
        first_steps(open_train(DataConfig(str(tmp_path / name))), 1, 3)["obs"]["pov"]
        for name in ("large", "small")
    )
    np.testing.assert_array_equal(small, resize(large, 32))
    with pytest.raises(ValueError, match="images of 32 pixels .* received 'pov' of 64 in .*large"):
        make_demonstrations(tmp_path / "large", 1, 3, 1, image_size=32)
