"""A run with the latent codec, by the commands: trained, evaluated, imagined; what it refuses."""

import json

import numpy as np
import pytest
from processes import run_here

from analysis.imagine import ImagineConfig, imagine
from configs import parse_train
from replay import ReplayStore
from training import read_metrics
from training.agent_source import open_recordings, open_sampler
from training.build import Built

pytestmark = pytest.mark.usefixtures("unchecked")

SMALL = ["--env", "gym:Pendulum-v1", "--size", "debug", "--prefill", "800", "--steps", "900"]
SMALL += ["--updates-per-step", "0.1", "--batch", "4", "--length", "16", "--eval-episodes", "2"]
SMALL += [
    "--video-every",
    "0",
    "--eval-every",
    "0",
    "--agent.codec",
    "latent",
    "--open-loop",
    "True",
]
SMALL += ["--horizon", "3"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    logdir = tmp_path_factory.mktemp("runs") / "run"
    run_here("train_agent.py", *SMALL, "--logdir", logdir)
    return logdir


@pytest.mark.slow
def test_it_trains_evaluates_and_imagines(run):
    assert json.loads((run / "evaluation.json").read_text())["length"] == 200
    assert "no held action is known for it" in (run / "report.html").read_text(encoding="utf-8")
    numbers = np.load(run / "imagined.npz", allow_pickle=False)
    assert numbers["action"].shape[-1] == 4 and np.isfinite(numbers["reward"]).all()
    names = set().union(*read_metrics(run / "metrics.jsonl"))
    assert {"codec/nll", "codec/kl", "actor/prior_kl"} <= names
    assert "actor/spread" not in names


@pytest.mark.slow
def test_imagining_its_policy_is_refused_before_anything_is_written(run, tmp_path):
    config = ImagineConfig(run=run, output=tmp_path / "out.gif", actions="policy")
    with pytest.raises(ValueError, match="actions: expected 'recorded', received 'policy'"):
        imagine(config)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_it_learns_from_recordings_as_well(run, tmp_path):
    """Such as an earlier run's replay: with its actions and rewards, from the first update on."""
    flags = [*SMALL, "--recordings", str(run / "replay"), "--recordings-share", "0.5"]
    config = parse_train([*flags, "--logdir", str(tmp_path), "--report", "False"], False, "float32")
    built = Built(config)
    with ReplayStore(tmp_path / "own", built.fields(), config.replay) as own:
        reset = {name: np.zeros(f.shape, f.dtype) for name, f in own.fields.items()}
        own.append(0, {**reset, "action_mask": np.float32(1), "is_first": True}, last=True)
        batch = open_sampler(built, own, open_recordings(built)).sample()
    assert batch["mask"].shape[0] == 4 and not batch["reward"][:2].any()
    assert batch["reward"][2:].any() and batch["action"][2:].any()
    assert batch["action_mask"][2:][batch["mask"][2:] > 0].all()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--recordings-share", "0.5"], "recordings_share: received 0.5 and no recordings"),
        (["--recordings-share", "1"], "recordings_share: expected from 0 to below 1"),
        (
            ["--recordings", "nowhere", "--recordings-share", "0.5"],
            "expected a store, received nowhere",
        ),
        (
            ["--recordings", "RUN/replay", "--recordings-share", "0.01"],
            "recordings_share: expected 1 to 3 of 4 sequences, received 0",
        ),
        (["--recordings", "RUN/replay"], "recordings: received .* and no share of the batches"),
    ],
)
def test_shares_of_recordings_that_cannot_be_are_refused(begun_agent, flags, told):
    given = [flag.replace("RUN", str(begun_agent.path)) for flag in flags]
    with pytest.raises(ValueError, match=told):
        parse_train([*SMALL, *given], False, "float32")
