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


def test_one_episode_of_each_is_compared_without_an_interval():
    assert "above random actions" in compared({"eval/return": 1.0}, np.array([0.5]))
    assert "not distinguishable" in compared({"eval/return": 1.0}, np.array([1.0]))


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
