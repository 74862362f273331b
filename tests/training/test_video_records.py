"""Batches of a store as the model's records: actions of its width, unknown ones, marks."""

from dataclasses import replace

import numpy as np
import pytest

from configs.video_presets import parse_pretrain
from training.build_video import marks_plans, to_records


def batch(width):
    """Two sequences of three: the second starts an episode at its middle; one action unknown."""
    no = np.zeros((2, 3), bool)
    return {
        "obs": {"x": np.ones((2, 3, 1), np.float32)},
        "action": np.full((2, 3, width), 0.5, np.float32),
        "action_mask": np.array([[1, 1, 0], [1, 1, 1]], np.float32),
        "reward": np.zeros((2, 3), np.float32),
        "terminal": no,
        "is_first": np.array([[0, 0, 0], [0, 1, 0]], bool),
        "mask": np.ones((2, 3), np.float32),
    }


def test_known_actions_stay_and_missing_ones_are_unknown():
    assert to_records(batch(2), 2, False).action.tolist() == batch(2)["action"].tolist()
    records = to_records(batch(0), 2, False)
    assert records.action.shape == (2, 3, 2) and not records.action_mask.any()


def test_recorded_actions_count_as_planned_anew():
    """For a model that reads marks of plans: 1 where an action is known and led somewhere."""
    records = to_records(batch(2), 3, True)
    assert records.action[..., :2].tolist() == batch(2)["action"].tolist()
    assert records.action[..., 2].tolist() == [[1, 1, 0], [1, 0, 1]]
    assert records.action.dtype == np.float32


@pytest.mark.parametrize(
    ("flags", "marked"),
    [
        (["--preset", "agent", "--data", "navigate", "--data.env", "pure:pendulum"], True),
        (["--preset", "agent", "--data", "navigate"], True),
        (["--preset", "agent", "--data", "navigate", "--strides", "1"], False),  # no plans to mark
        (["--preset", "cwvae"], False),
    ],
)
def test_marks_are_those_of_the_agent_to_be(flags, marked):
    assert marks_plans(parse_pretrain(flags, False, "float32")) == marked


@pytest.mark.parametrize(
    ("env", "marked"), [("minerl_navigate", False), ("pure:pendulum", True), ("gym:A-v0", False)]
)
def test_older_runs_marked_plans_as_their_presets_had_it(env, marked):
    config = parse_pretrain(["--preset", "agent", "--data.env", env], False, "float32")
    assert marks_plans(replace(config, plans_marked=None)) == marked


@pytest.mark.parametrize(
    ("width", "marked", "words"),
    [
        (1, True, "expected actions of 3 floats, or 2 without the mark of plans, received 1"),
        (4, True, "received 4; give data of the same environment"),
        (2, False, "expected actions of 3 floats, received 2; give data of the same environment"),
    ],
)
def test_actions_of_another_environment_are_refused(width, marked, words):
    """One float short is another environment too, unless the model's last one marks plans."""
    with pytest.raises(ValueError, match=words):
        to_records(batch(width), 3, marked)
