"""Updates beside other systems': the table by hand, and what is read of the other program."""

import pytest

from benchmarks.peers.__main__ import PEERS, count, number, page


def test_ratios_are_medians_of_turns():
    turns = {"DreamerV3": [0.1, 0.2, 0.4], "flat": [0.1, 0.1, 0.1]}
    rows = page("dreamerv3", turns, {"DreamerV3": 1_000, "flat": 990}).splitlines()[-2:]
    assert rows == [
        "| DreamerV3 | 1,000 | 200 | 1 |",
        "| flat | 990 | 100 | 0.50 (0.38 to 0.75) |",
    ]


def test_what_is_no_number_is_left_out():
    lines = iter(["Policy devices: 0\n", "640479\n", "0.25\n"])
    assert [number(lines), number(lines)] == [640479, 0.25]
    with pytest.raises(SystemExit, match="the other program ended"):
        number(lines)


@pytest.mark.parametrize(("peer", "parameters"), [("dreamerv3", 645_000), ("cwvae", 12_470_000)])
def test_ours_have_as_many_parameters(peer, parameters):
    """As the other system has, to 2%."""
    works = map(PEERS[peer].work, PEERS[peer].rows.values())
    assert all(abs(count(work) / parameters - 1) < 0.02 for work in works)
