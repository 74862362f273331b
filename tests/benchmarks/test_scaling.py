"""The simulation of rounds and updates agrees with what is known of them."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.scaling import (
    Fleet,
    Learner,
    expected_round,
    queue,
    simulated_rounds,
    simulated_updates,
)

FREE = Learner(per_step=0.0, send=0.0, take=0.0, act=0.0, act_each=0.0, latency=0.0)


def rounds(fleet, learner, count=2000):
    return simulated_rounds(fleet, learner, count, np.random.default_rng(0))


def test_a_worker_costs_what_was_measured():
    """The processor time of each of 16 workers, by the last row of the page."""
    page = Path(__file__).parents[2] / "benchmarks" / "results" / "actors.md"
    [measured] = re.findall(r"^\| 16 \|.*\| ([\d.]+) \|$", page.read_text(), re.MULTILINE)
    assert 1e3 * (Learner().send + Learner().take) == pytest.approx(float(measured))


def test_a_round_waits_for_the_slowest_of_exponential_steps():
    """The mean of the largest of n is the n-th harmonic number."""
    fleet = Fleet(50, step=0.02, spread=1.0, answer=0.0)
    known = 0.02 * sum(1 / k for k in range(1, 51))
    assert rounds(fleet, FREE).mean() == pytest.approx(known, rel=0.02)


def test_a_group_takes_the_sum_of_its_steps():
    fleet = Fleet(1, group=10, step=0.02, spread=1.0, answer=0.0)
    took = rounds(fleet, FREE, 20_000)
    assert took.mean() == pytest.approx(0.2, rel=0.01)
    assert took.std() == pytest.approx(0.02 * 10**0.5, rel=0.02)  # of a gamma distribution


@pytest.mark.parametrize("bound", ["updates", "link", "neither"])
def test_without_chance_a_round_is_the_closed_form(bound):
    """Up to what overlaps: asking and taking of all but one."""
    fleet = Fleet(64, step=0.02, spread=0.0, answer=1e6 if bound == "link" else 100.0)
    learner = Learner(update=0.4 if bound == "updates" else 1e-3, send=1e-6, take=1e-6)
    slack = 64 * (learner.send + learner.take) + 2 * learner.latency
    assert rounds(fleet, learner, 1)[0] == pytest.approx(expected_round(fleet, learner), abs=slack)


def test_a_queue_serves_one_at_a_time():
    served = queue(np.array([0.0, 0.0, 5.0, 5.5]), 1.0)
    assert served.tolist() == [1.0, 2.0, 6.0, 7.0]


@pytest.mark.parametrize("devices", [1, 2, 7, 64])
def test_even_devices_update_in_the_closed_form(devices):
    learner = replace(Learner(), devices=devices, uneven=0.0)
    took = simulated_updates(learner, 3, np.random.default_rng(0))
    np.testing.assert_allclose(took, learner.updating())


def test_an_uneven_ring_waits_for_its_slowest_device():
    """Of 32, where messages cost nothing: the harmonic number again."""
    learner = replace(Learner(), devices=32, uneven=1.0, parameters=0.0, latency=0.0)
    took = simulated_updates(learner, 4000, np.random.default_rng(0)).mean()
    known = learner.update / 32 * sum(1 / k for k in range(1, 33))
    assert took == pytest.approx(known, rel=0.02)
