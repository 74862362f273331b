"""Reading a run of a stranger runs nothing that it names, and writes nowhere that it names."""

from dataclasses import replace
from pathlib import Path

import pytest
from processes import run_here

from common import UserError
from configs import parse_train
from configs.video_presets import parse_pretrain
from envs import EnvConfig
from recordings.data import generate, unplaced
from training.build import kept_settings
from training.build_video import read_video_config
from training.config_io import check_same_config, write_run_files

pytestmark = pytest.mark.usefixtures("unchecked")

SMALL = ["--size", "debug"]


def agent(logdir, name, **options):
    """The settings of a run that names an environment."""
    config = parse_train([*SMALL, "--env", "pure:pendulum"], False, "float32")
    write_run_files(logdir, replace(config, env=EnvConfig(name, options=options)))
    return logdir


def video(logdir, **data):
    config = parse_pretrain([*SMALL, "--data", "navigate"], False, "float32")
    write_run_files(logdir, replace(config, data=replace(config.data, **data)))
    return logdir


def refused(capsys, script, *args):
    with pytest.raises(SystemExit) as stop:
        run_here(script, *args)
    said = capsys.readouterr()
    assert stop.value.code == 2 and said.err.startswith("error: "), said
    return said.err


AGENTS = [
    ("train_agent.py", "--eval", ()),
    ("imagine.py", "--run", ("--output", "out.gif")),
    ("analyse_agent.py", "--run", ()),
    ("train_agent.py", "--init-from", ("--env", "pure:pendulum", "--logdir", "new")),
]


@pytest.mark.parametrize(("script", "flag", "more"), AGENTS, ids=lambda x: str(x))
def test_an_agent_s_run(script, flag, more, tmp_path, capsys, monkeypatch):
    """Neither a function that is there, nor a module in the run's own directory, nor one that
    `gymnasium.make` would import. Said again, the name passes: there is no checkpoint then."""
    monkeypatch.chdir(tmp_path)
    run = agent(tmp_path / "run", "os:system", command="touch ran")
    (run / "theirs.py").write_text("open('ran', 'w')")
    monkeypatch.syspath_prepend(run)
    assert "received 'os:system'" in refused(capsys, script, flag, run, *more)
    for name in ("theirs:Env", "gym:theirs:Env-v0"):
        agent(run, name)
        assert f"repeat the name: --env {name}" in refused(capsys, script, flag, run, *more)
    assert not Path("ran").exists() and not Path("new").exists()
    agent(run, "gymnasium:make", id="CartPole-v1")
    if "--env" not in more:
        said = refused(capsys, script, flag, run, *more, "--env", "gymnasium:make")
        assert "expected a checkpoint" in said


@pytest.mark.parametrize(
    ("script", "flag", "more"),
    [
        ("evaluate_video.py", "--run", ()),
        ("analyse_video.py", "--run", ()),
        ("imagine.py", "--run", ("--output", "out.gif")),
        ("train_agent.py", "--init-from", ("--env", "pure:pendulum", "--logdir", "new")),
        ("pretrain_video.py", "--logdir", ()),
    ],
    ids=lambda x: str(x),
)
def test_a_video_model_s_run(script, flag, more, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = video(tmp_path / "run", env="os:system")
    assert "received 'os:system'" in refused(capsys, script, flag, run, *more)


def test_a_moved_file_of_one_s_own_is_read_where_it_lies_now(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").touch()
    run = agent(tmp_path / "run", "/before/mine.py:Mine")
    kept = kept_settings(run, "mine.py:Mine")
    assert kept is not None and kept.env.name == f"{tmp_path}/mine.py:Mine"
    seen = video(tmp_path / "video", env="/before/mine.py:Mine")
    assert read_video_config(seen, "mine.py:Mine").data.env == kept.env.name


def test_data_of_a_run_are_made_in_a_folder_of_the_reader(tmp_path):
    small = {"name": "moving_digits", "episodes": 2, "length": 2, "test_episodes": 1}
    run = video(tmp_path / "run", folder=tmp_path / "theirs", **small, test_length=2)
    data = read_video_config(run).data
    assert data.folder == unplaced(data).folder == Path("data")
    theirs = replace(data, folder=tmp_path / "theirs")
    generate(theirs, "test")
    assert read_video_config(run).data == theirs


def test_data_given_by_a_relative_path_are_found_from_every_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    config = parse_pretrain([*SMALL, "--data", "videos"], False, "float32")
    assert (config.data.name, config.data.folder) == (f"{tmp_path}/videos", tmp_path / "data")
    before = replace(config, data=replace(config.data, name="videos", folder=Path("data")))
    write_run_files(tmp_path / "run", before)  # as runs kept it before
    check_same_config(tmp_path / "run", config)
    other = replace(config, data=replace(config.data, name="/elsewhere/videos"))
    with pytest.raises(UserError, match=r"data\.name: \"videos\" there, \"/elsewhere/videos\" now"):
        check_same_config(tmp_path / "run", other)
