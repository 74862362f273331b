"""Labels of videos: every record's own step, reward and action, in words."""

import numpy as np
import pytest
from gymnasium import spaces

from agents.actions import ActionCodec
from training.labels import episode_texts, imagined_texts, in_words

KEYS = spaces.Dict(
    {"forward": spaces.Discrete(2), "camera": spaces.Box(-9, 9, (2,)), "place": spaces.Discrete(3)}
)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (np.array([0.5, -1.25], np.float32), "+0.50 -1.25"),
        (np.arange(8.0), "+0.00 +1.00 +2.00 +3.00 +4.00 +5.00 …"),
        (3, "3"),
        (
            {"forward": 1, "camera": np.array([3.0, 0.0]), "place": 2},
            "forward, camera +3.00 +0.00, place 2",
        ),
        ({"forward": 0, "camera": np.zeros(2), "place": 0}, "nothing"),
        (({"a": 1}, np.array([0, 1])), "a, 1 0 1"),
    ],
)
def test_actions_in_words(action, words):
    assert in_words(action) == words


def test_an_episode_s_lines_are_of_the_action_that_led_there():
    codec = ActionCodec(KEYS)
    actions = [KEYS.sample() for _ in range(3)]
    flat = np.stack([np.append(codec.encode(action), 1.0) for action in actions])  # with a mark
    texts = episode_texts(flat, np.array([0.0, -0.5, 2.0]), codec)
    assert texts[0] == ["step 0   reward +0", "action none yet"]
    assert texts[1] == ["step 1   reward -0.5", f"action {in_words(codec.decode(flat[1, :-1]))}"]
    assert texts[2][0] == "step 2   reward +2"


def test_what_is_imagined_says_how_far_ahead_it_is():
    texts = imagined_texts(4, 2)
    assert [text for (text,) in texts] == [
        "t = 0, seen",
        "t = 1, seen",
        "t = 2, imagined +1",
        "t = 3, imagined +2",
    ]
