"""The live line: numbers by hand, and how it looks on a terminal and in a file."""

import io

import pytest
from rich.console import Console

from training.progress import Progress


class Clock:
    """A clock that only tests move."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def plain() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=False, width=60), out


def test_the_numbers() -> None:
    clock, (console, _) = Clock(), plain()
    with Progress(10_000, console=console, clock=clock) as progress:
        progress.update(1_000, 0)
        assert "ETA –" in progress.line()
        clock.seconds += 10
        progress.update(2_000, 25, last_return=-153.64, success_rate=0.25)
        assert progress.line() == (
            "███░░░░░░░░░░░░░  20% · 2,000/10,000 steps, 100/s · 25 updates, 2.5/s · "
            "return -153.6 · success 25% · ETA 1:20"
        )


def test_without_an_environment_there_are_updates_alone() -> None:
    clock, (console, _) = Clock(), plain()
    with Progress(100, environment=False, console=console, clock=clock) as progress:
        progress.update(10, 10)
        clock.seconds += 10
        progress.update(50, 50)
        assert progress.line() == "████████░░░░░░░░  50% · 50/100 updates, 4.0/s · ETA 0:12"


def test_speed_is_that_of_the_last_window() -> None:
    clock, (console, _) = Clock(), plain()
    with Progress(1_000_000, console=console, clock=clock) as progress:
        for second in range(60):
            clock.seconds += 1
            progress.update(min(second, 20) * 1000 + max(0, second - 20) * 10, second)
        assert "10/s" in progress.line()
        assert "ETA 27:12:41" in progress.line()


def test_a_file_gets_a_plain_line_every_so_often_and_a_last_one() -> None:
    clock, (console, out) = Clock(), plain()
    with Progress(100, every=30.0, console=console, clock=clock) as progress:
        for step in range(100):
            progress.update(step + 1, step)
            clock.seconds += 1
    lines = out.getvalue().splitlines()
    assert [line.split("· ")[1].split("/")[0] for line in lines] == ["1", "31", "61", "91", "100"]
    assert "\x1b" not in out.getvalue()


def test_nothing_is_printed_without_an_update() -> None:
    console, out = plain()
    with Progress(100, console=console):
        pass
    assert out.getvalue() == ""


def test_a_terminal_gets_a_live_line(capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=200)
    with Progress(100, console=console) as progress:
        progress.update(50, 5)
        print("a line beside it")
    assert "50/100 steps" in out.getvalue()
    assert "\x1b[?25l" in out.getvalue()  # the cursor is hidden while the line lives
    assert capsys.readouterr().out == "a line beside it\n"


def test_a_terminal_that_is_narrow_keeps_to_one_line() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=40)
    with Progress(100, console=console) as progress:
        progress.update(50, 5)
    assert all(len(line) <= 60 for line in out.getvalue().splitlines())
    assert "…" in out.getvalue()


def test_updates_are_cheap() -> None:
    """Ten thousand take well under a second, so that every environment step may tell."""
    console, _ = plain()
    clock = Clock()
    with Progress(10_000, console=console, clock=clock) as progress:
        for step in range(10_000):
            progress.update(step, step)
        assert progress.line().startswith("███")


def test_what_is_compiled_is_told_and_does_not_count_for_the_speed() -> None:
    clock, (console, out) = Clock(), plain()
    with Progress(1_000, console=console, clock=clock) as progress:
        progress.update(100, 0)
        with progress.doing("compiling the update"):
            clock.seconds += 102
            assert progress.line().endswith(" · compiling the update 1:42")
        progress.update(100, 1)
        clock.seconds += 10
        progress.update(200, 51)
        assert "200/1,000 steps, 10/s · 51 updates, 5.0/s" in progress.line()
        assert progress.line().endswith(" · ETA 1:20")
    lines = out.getvalue().splitlines()
    assert lines[1:3] == ["compiling the update …", "compiling the update: 1:42"]


def test_speeds_are_known_where_updates_are_rare() -> None:
    """Also where none came within the window."""
    clock, (console, _) = Clock(), plain()
    with Progress(10_000, console=console, clock=clock) as progress:
        for step in range(0, 5_000, 1_000):
            progress.update(step, step // 10)
            clock.seconds += 100
        assert "10/s · 400 updates, 1.0/s" in progress.line()


def test_the_part_that_takes_most_is_told() -> None:
    clock, (console, _) = Clock(), plain()
    with Progress(1_000, console=console, clock=clock) as progress:
        progress.update(0, 0)
        for name, seconds in (("environments", 2), ("updates", 7), ("data", 1)):
            with progress.part(name):
                clock.seconds += seconds
        before = progress.sample(0, 0)
        progress.update(100, 10)
        assert " · 70% updates · ETA" in progress.line()
        with progress.part("data"):
            clock.seconds += 4
        assert progress.sample(100, 10).shares(before)["data"] == 1.0
