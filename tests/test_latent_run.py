"""A run with the latent codec, by the commands: trained, evaluated, imagined; what it refuses."""

import json

import numpy as np
import pytest

import imagine
import train_agent
from configs import parse_train
from worldmodel.runs import read_metrics

SMALL = ["--env", "gym:Pendulum-v1", "--size", "debug", "--prefill", "800", "--steps", "900"]
SMALL += ["--updates-per-step", "0.1", "--batch", "4", "--length", "16", "--eval-episodes", "2"]
SMALL += ["--video-every", "0", "--eval-every", "0", "--agent.codec", "latent", "--replan", "2"]
SMALL += ["--horizon", "3"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    logdir = tmp_path_factory.mktemp("runs") / "run"
    train_agent.train(parse_train([*SMALL, "--logdir", str(logdir)], False, "float32"))
    return logdir


def test_it_trains_evaluates_and_imagines(run):
    assert json.loads((run / "evaluation.json").read_text())["length"] == 200
    assert "no held action is known for it" in (run / "report.html").read_text(encoding="utf-8")
    numbers = np.load(run / "imagined.npz", allow_pickle=False)
    assert numbers["action"].shape[-1] == 4 and np.isfinite(numbers["reward"]).all()
    names = set().union(*read_metrics(run / "metrics.jsonl"))
    assert {"codec/nll", "codec/kl", "actor/prior_kl"} <= names
    assert "actor/spread" not in names


def test_imagining_its_policy_is_refused_before_anything_is_written(run, tmp_path):
    config = imagine.ImagineConfig(run=run, output=tmp_path / "out.gif", actions="policy")
    with pytest.raises(ValueError, match="actions: expected 'recorded', received 'policy'"):
        imagine.imagine(config)
    assert not list(tmp_path.iterdir())


def test_it_starts_from_no_pretrained_model(run):
    with pytest.raises(ValueError, match="init_from: expected codec 'chunk', received 'latent'"):
        parse_train([*SMALL, "--init-from", str(run)], False, "float32")
