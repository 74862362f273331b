"""Runs that are kept are reported under their own command alone; no run is made here."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import compiled_speed, pretraining
from benchmarks.kept import claim
from benchmarks.paper import digits, pixels
from common import UserError
from configs.video_presets import parse_pretrain
from training.seeds import run_of

HELD = "expected a run of .*, received one of .*; choose --output anew"


@pytest.fixture
def started(monkeypatch):
    """Commands that are started, each of which leaves the final evaluation of its runs."""
    commands = []

    def run(command, **_):
        words = [str(word) for word in command[1:]]
        commands.append(words)
        logdir = Path(words[words.index("--logdir") + 1])
        seeds = words[words.index("--seeds") + 1 : -2] if "--seeds" in words else []
        for place in [run_of(logdir, int(seed)) for seed in seeds] or [logdir]:
            place.mkdir(parents=True)
            (place / "evaluation.json").write_text("{}")

    for module in (digits, pixels, compiled_speed, pretraining):
        monkeypatch.setattr(module, "subprocess", SimpleNamespace(run=run))
    monkeypatch.setattr(compiled_speed, "gather", lambda runs: {"runs": runs})
    return commands


def test_a_command_is_noted_until_there_is_a_run(tmp_path):
    run = tmp_path / "out" / "run"
    claim(["train_agent.py", "--size", "xs"], run)
    claim(["train_agent.py", "--size", "s"], run)  # none was begun under the first
    run.mkdir()
    claim(["train_agent.py", "--size", "s"], run)
    with pytest.raises(UserError, match="of `python train_agent.py --size xs`, received one of `p"):
        claim(["train_agent.py", "--size", "xs"], run)
    (tmp_path / "out" / "run.command").unlink()
    with pytest.raises(UserError, match="without run.command, so of unknown flags; choose"):
        claim(["train_agent.py", "--size", "s"], run)


def test_digits_of_one_scale_are_not_those_of_another(started, tmp_path):
    runs = digits.train("smoke", 0, tmp_path)
    assert len(started) == len(runs) == len({*runs.values()})
    assert digits.train("smoke", 0, tmp_path) == runs and len(started) == len(runs)
    with pytest.raises(UserError, match=HELD):
        digits.train("cpu", 0, tmp_path)
    digits.train("cpu", 1, tmp_path)  # other runs
    assert len(started) == 2 * len(runs)


def test_pixels_of_other_settings_are_refused(started, tmp_path, monkeypatch):
    runs = pixels.train((5, 6, 7), 0, tmp_path)
    assert pixels.train((5, 6, 7), 0, tmp_path) == runs and len(started) == len(runs) == 3
    pixels.train((5, 6, 8), 0, tmp_path)
    assert len(started) == 4
    monkeypatch.setattr(pixels, "SIZES", (*pixels.SIZES[:-1], "72"))
    with pytest.raises(UserError, match=HELD):
        pixels.train((5, 6, 7), 0, tmp_path)
    assert len(started) == 4


@pytest.mark.parametrize("together", [True, False])
def test_compiled_speed_of_other_flags_is_refused(together, started, tmp_path):
    flags, logdir = ["--env", "pure:pendulum"], tmp_path / "runs"
    first = compiled_speed.run(flags, logdir, [0, 1], together)
    assert first["runs"] == [run_of(logdir, 0), run_of(logdir, 1)]
    assert len(started) == (1 if together else 2)
    assert compiled_speed.run(flags, logdir, [0, 1], together) == first
    with pytest.raises(UserError, match=HELD):
        compiled_speed.run([*flags, "--size", "xs"], logdir, [0, 1], together)
    assert len(started) == (1 if together else 2)


def test_two_seeds_of_a_program_are_not_a_program_of_one(started, tmp_path):
    compiled_speed.run([], tmp_path / "runs", [0, 1], together=True)
    with pytest.raises(UserError, match=HELD):
        compiled_speed.run([], tmp_path / "runs", [0], together=True)


@pytest.mark.parametrize(("steps", "updates"), [(60, 20), (90, 10)])
def test_pretraining_of_other_lengths_is_refused(steps, updates, started, tmp_path):
    arms = list(pretraining.ARMS)
    runs = pretraining.train(tmp_path, 60, 10, [0], arms)
    assert len(started) == 4 and [*runs] == arms
    assert [("--init-from" in words, "--recordings-share" in words) for words in started] == [
        (False, False),
        (False, False),
        (True, False),
        (True, True),
    ]
    assert pretraining.train(tmp_path, 60, 10, [0], arms) == runs and len(started) == 4
    with pytest.raises(UserError, match=HELD):
        pretraining.train(tmp_path, steps, updates, [1, 0], arms)
    assert len(started) == 4  # nothing of the new seed has begun either


def test_kept_runs_may_be_moved(started, tmp_path):
    pretraining.train(tmp_path / "a", 60, 10, [0], ["with"])
    (tmp_path / "a").rename(tmp_path / "b")
    pretraining.train(tmp_path / "b", 60, 10, [0], ["with"])
    assert len(started) == 2


@pytest.mark.parametrize("scale", digits.SCALES)
@pytest.mark.parametrize("model", [*digits.MODELS, *digits.OTHERS], ids=lambda model: model.name)
def test_clips_of_digits_hold_whole_ticks(model, scale):
    """Two or more: of one alone, a top level would never learn what follows it (docs/adr/0030)."""
    config = parse_pretrain(digits.command(model, scale, 0)[1:], False, "float32")
    top = config.model.strides[-1]
    assert config.model.strides == model.strides
    assert config.length % top == 0 and config.length >= 2 * top
    others = (top * ticks for ticks in range(2, 200))
    assert abs(config.length - 72) == min(abs(other - 72) for other in others)
    assert config.length <= config.data.length  # such videos there are


def test_the_page_of_digits_tells_its_clips():
    assert digits.clips().startswith("cwvae-2 72, cwvae-4 64, cwvae-6 72, cwvae-8 128, notmpabs 72")
