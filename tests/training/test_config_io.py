"""Configs come back equal, strange ones are refused by field, other runs are left untouched."""

import json
import os
import re
import subprocess
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest

from common import MayChange
from envs import EnvConfig
from training import config_io
from training.versions import git_commit


class Colour(Enum):
    RED = 1
    BLUE = 2


@dataclass(frozen=True)
class Chunk:
    length: int = 4


@dataclass(frozen=True)
class Latent:
    codes: tuple[int, int] = (8, 8)


@dataclass(frozen=True)
class Agent:
    horizon: int = 5
    """Ticks."""
    lam: MayChange[float] = 0.95
    codec: Chunk | Latent = field(default_factory=Chunk)
    gradient: Literal["dynamics", "reinforce"] = "dynamics"


@dataclass(frozen=True)
class Config:
    env: str = "minerl_navigate"
    steps: MayChange[int] = 1000
    strides: tuple[int, ...] = (1, 4)
    logdir: Path | None = None
    entropy: float | None = None
    seed: int | Literal["random"] = 0
    sizes: dict[str, float] = field(default_factory=dict)
    colour: Colour = Colour.RED
    rates: tuple[float, ...] = (0.1,)
    agent: Agent = field(default_factory=Agent)


RICH = Config(
    strides=(1, 4, 16),
    logdir=Path("runs/é"),
    entropy=0.1 + 0.2,
    seed="random",
    sizes={"a": 1e-300, "b": 1e300},
    colour=Colour.BLUE,
    agent=Agent(lam=1, codec=Latent((3, 5))),
)


@pytest.mark.parametrize("config", [Config(), RICH], ids=["defaults", "rich"])
def test_comes_back_equal(config: Config, tmp_path: Path) -> None:
    config_io.write_run_files(tmp_path / "run", config)
    loaded = config_io.load_config(Config, tmp_path / "run")
    assert loaded == config
    assert type(loaded.agent.lam) is float
    assert config_io.load_config(Config, tmp_path / "run" / "config.json") == config


def test_versions_are_written(tmp_path: Path) -> None:
    config_io.write_run_files(tmp_path, Config())
    versions = json.loads((tmp_path / "versions.json").read_text())
    for name in ("python", "jax", "jaxlib", "flax", "optax", "gymnasium", "numpy", "device"):
        assert versions[name], name
    assert "git" in versions


def test_the_commit_is_told_and_that_files_differ(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def git(*arguments: str) -> None:
        me = ["-c", "user.name=me", "-c", "user.email=me@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", *me, *arguments]
        subprocess.run(command, cwd=tmp_path, env=plain, check=True, capture_output=True)

    git("init")
    assert git_commit(tmp_path) is None  # before the first commit
    (tmp_path / "file").write_text("before")
    git("add", "file")
    git("commit", "-m", "first")
    commit = git_commit(tmp_path)
    assert commit is not None and re.fullmatch("[0-9a-f]{40}", commit)
    (tmp_path / "file").write_text("changed")
    assert git_commit(tmp_path) == f"{commit}+changes"


def rewrite(tmp_path: Path, change: Any) -> Path:
    """A run directory whose config.json went through `change`."""
    config_io.write_run_files(tmp_path, RICH)
    tree = json.loads((tmp_path / "config.json").read_text())
    change(tree)
    (tmp_path / "config.json").write_text(json.dumps(tree))
    return tmp_path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t["agent"].pop("horizon"), r"the field agent\.horizon, received none"),
        (lambda t: t["agent"].update(typo=1), r"in agent, received also 'typo'"),
        (lambda t: t["agent"].update(horizon=2.5), r"int in agent\.horizon, received 2\.5"),
        (lambda t: t["agent"].update(horizon=True), r"int in agent\.horizon, received True"),
        (lambda t: t["agent"].update(gradient="x"), r"'reinforce'\] in agent\.gradient"),
        (lambda t: t["agent"]["codec"].update(_type="Code"), r"\['Chunk', 'Latent'\] under _type"),
        (lambda t: t["agent"]["codec"].update(codes=[1]), r"a list of 2 in agent\.codec\.codes"),
        (lambda t: t.update(strides=[1, "4"]), r"int in strides\[1\], received '4'"),
        (lambda t: t.update(strides=4), r"a list in strides, received 4"),
        (lambda t: t.update(entropy="high"), r"float in entropy, received 'high'"),
        (lambda t: t.update(seed="fixed"), r"in seed, received 'fixed'"),
        (lambda t: t.update(logdir=3), r"a path in logdir, received 3"),
        (lambda t: t.update(colour="GREEN"), r"\['RED', 'BLUE'\] in colour"),
        (lambda t: t.update(sizes=[1]), r"an object in sizes"),
        (lambda t: t["sizes"].update(a="x"), r"float in sizes\.a, received 'x'"),
        (lambda t: t.update(agent=3), r"the fields of Agent in agent, received 3"),
    ],
)
def test_a_strange_field_is_named(change: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        config_io.load_config(Config, rewrite(tmp_path, change))


def test_no_file_and_no_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no file at .*config.json; check the path"):
        config_io.load_config(Config, tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="expected JSON, .*use another run"):
        config_io.load_config(Config, tmp_path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sizes": {"a": object()}}, r"in sizes\.a, received object"),
        ({"sizes": {1: 2.0}}, r"names that are strings in sizes, received \[1\]"),
        ({"agent": Agent(codec=Latent((1,)))}, r"a list of 2 in agent\.codec\.codes"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_come_back_is_refused_and_nothing_written(
    fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        config_io.write_run_files(tmp_path, Config(**fields))
    assert not list(tmp_path.iterdir())


def test_the_same_config_may_go_on(tmp_path: Path) -> None:
    config_io.check_same_config(tmp_path / "new", RICH)
    config_io.check_same_config(tmp_path, RICH)
    assert not config_io.holds_run(tmp_path)
    config_io.write_run_files(tmp_path, RICH)
    config_io.check_same_config(tmp_path, RICH)
    assert config_io.holds_run(tmp_path)


def test_every_differing_field_is_listed_and_nothing_touched(tmp_path: Path) -> None:
    config_io.write_run_files(tmp_path, Config())
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    other = replace(Config(), steps=2, strides=(1, 8), agent=Agent(horizon=3, codec=Latent()))
    with pytest.raises(ValueError, match="another --logdir") as caught:
        config_io.check_same_config(tmp_path, other)
    assert str(caught.value).splitlines()[1:-1] == [
        "  strides: [1, 4] there, [1, 8] now",
        "  agent.horizon: 5 there, 3 now",
        '  agent.codec._type: "Chunk" there, "Latent" now',
        "  agent.codec.length: 4 there, absent now",
        "  agent.codec.codes: absent there, [8, 8] now",
    ]
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.iterdir()} == before


def test_what_may_change_stands_at_the_field(tmp_path: Path) -> None:
    config_io.write_run_files(tmp_path, Config())
    other = replace(Config(), steps=2, agent=Agent(lam=0.5))
    config_io.check_same_config(tmp_path, other)
    with pytest.raises(ValueError, match=r"seed: 0 there, 1 now"):
        config_io.check_same_config(tmp_path, replace(other, seed=1))


def test_the_file_of_an_environment_may_have_moved(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Run:
        env: EnvConfig

    config_io.write_run_files(tmp_path, Run(EnvConfig("mine.py:Mine")))
    config_io.check_same_config(tmp_path, Run(EnvConfig("/a/mine.py:Mine")))
    for other in ("/a/mine.py:Other", "/a/its.py:Mine", "gym:CartPole-v1"):
        with pytest.raises(ValueError, match=r'env.name: "mine.py:Mine" there'):
            config_io.check_same_config(tmp_path, Run(EnvConfig(other)))


def test_runs_and_recordings_may_have_been_given_by_relative_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass(frozen=True)
    class Run:
        init_from: Path | None
        recordings: Path | None = None

    monkeypatch.chdir(tmp_path)
    config_io.write_run_files(tmp_path / "run", Run(Path("a"), Path("b")))
    config_io.check_same_config(tmp_path / "run", Run(tmp_path / "a", tmp_path / "b"))
    with pytest.raises(ValueError, match=r'init_from: "a" there, null now'):
        config_io.check_same_config(tmp_path / "run", Run(None, tmp_path / "b"))


def test_a_folder_of_seeds_is_told_from_a_run(tmp_path: Path) -> None:
    for seed in (10, 0, 2):
        config_io.write_run_files(tmp_path / f"seed_{seed}", Config())
    (tmp_path / "seed_x").mkdir()
    with pytest.raises(ValueError, match="it holds seeds 0 2 10: add --seeds 0 2 10$"):
        config_io.check_same_config(tmp_path, Config())
    with pytest.raises(ValueError, match="holds seeds 0 2 10: name the run .* as .*/seed_0$"):
        config_io.load_config(Config, tmp_path)


def test_a_foreign_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="holds files but no config.json; choose another --logdir"):
        config_io.check_same_config(tmp_path, Config())
    with pytest.raises(ValueError, match=r"received the file .*thesis\.tex"):
        config_io.check_same_config(tmp_path / "thesis.tex", Config())


def test_an_int_where_a_float_is_declared_is_no_difference(tmp_path: Path) -> None:
    config_io.write_run_files(tmp_path, Config(rates=(1,), entropy=2))
    config_io.check_same_config(tmp_path, Config(rates=(1.0,), entropy=2.0))
