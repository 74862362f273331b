"""What is due after how many steps, by hand."""

from configs import parse_train
from training.due import crossed, updates_due


def test_updates_due_after_the_prefill():
    config = parse_train(
        ["--env", "pure:pendulum", "--prefill", "100", "--updates-per-step", "0.25"],
        False,
        "float32",
    )
    assert [updates_due(config, steps) for steps in (0, 99, 103, 104, 120)] == [0, 0, 0, 1, 5]


def test_a_multiple_is_crossed_once():
    """By a round that ends at it or beyond, however many steps it has."""
    assert [crossed(s - 16, s, 50) for s in range(16, 176, 16)] == [
        *(False, False, False, True),  # 64
        *(False, False, True),  # 112
        *(False, False, True),  # 160
    ]
    assert crossed(40, 50, 50) and not crossed(50, 60, 50)
    assert not crossed(0, 100, 0)
