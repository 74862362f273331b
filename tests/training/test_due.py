"""What is due after how many steps, by hand; the keys of a run."""

import jax
import numpy as np

from configs import parse_train
from training.due import crossed, updates_due
from training.loop import fold


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


def test_keys_are_those_of_older_runs():
    """A resumed run draws as before: the purpose, then the counter, folded into the seed's key."""
    for purpose, count in ((1, 0), (2, 7), (3, 3_000_000_000)):
        expected = jax.random.fold_in(jax.random.fold_in(jax.random.key(5), purpose), count)
        got = fold(jax.random.key(5), np.uint32(purpose), np.uint32(count))
        assert (jax.random.key_data(got) == jax.random.key_data(expected)).all()
