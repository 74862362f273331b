"""What a report says first: beside random actions, the first evaluation, and what was foreseen."""

import numpy as np
import pytest

from analysis.agent.verdict import compared, promised, verdict_section

LAST = {"step": 900, "eval/return": -100.0, "eval/return_95": 20.0, "eval/success": 0.5}
FIRST = {"step": 300, "eval/return": -400.0, "eval/return_95": 10.0}
CHANCE = np.array([-500.0, -490.0, -510.0])


@pytest.mark.parametrize(
    ("chance", "words"),
    [
        (CHANCE, "above random actions, -500."),
        (CHANCE + 600, "below random actions, 100."),
        (np.array([-150.0, -90.0, -60.0]), "not distinguishable from random actions, -100."),
        (np.zeros(0), "successful."),
    ],
)
def test_it_stands_beside_random_actions(chance, words):
    text = compared(LAST, chance)
    assert text.startswith("The greedy agent's return is -100.00 ± 20.00 (95%), with 50% of")
    assert text.endswith(words)


@pytest.mark.parametrize(
    ("last", "chance"),
    [({"eval/return": 1.0}, [0.5]), (LAST, [-500.0]), ({"eval/return": 1.0}, [0.5, 0.6, 0.4])],
)
def test_from_one_episode_nothing_is_said_to_be_above_random_actions(last, chance):
    text = compared(last, np.array(chance))
    assert text.endswith(
        f"; that of random actions is {chance[0]:.4g}. One episode does not tell more."
    )
    assert "above" not in text and "distinguishable" not in text


def test_it_names_the_first_evaluation_and_the_best():
    best = FIRST | {"step": 600, "eval/return": -50.0}
    lead, table = verdict_section([{"step": 1}, FIRST, best, LAST], CHANCE)
    assert "Its first evaluation was -400: +300 since." in lead
    for row in (
        "<td>greedy agent, step 900</td><td>-100.00 ± 20.00 (95%)</td>",
        "<td>first evaluation, step 300</td><td>-400.00 ± 10.00 (95%)</td>",
        "<td>best evaluation, step 600</td><td>-50.00 ± 10.00 (95%)</td>",
        "<td>random actions, the same seeds</td><td>-500.00 ± 24.84 (95%)</td>",
    ):
        assert row in table


def test_what_was_foreseen_stands_beside_what_came():
    assert promised(12.0, 9.5).endswith(
        "predicted a discounted return of 12; 9.5 was observed: 2.5 too much."
    )
    assert promised(-3.0, 1.0).endswith("4 too little.")
    assert verdict_section([], np.zeros(0)) == [
        '<p class="lead">The agent has not been evaluated.</p>'
    ]
