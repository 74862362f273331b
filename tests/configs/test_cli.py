"""One way to write values for every command; what is out of bounds is refused with the remedy."""

import re
import shlex
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest
import tyro

from analysis.agent.episode import AnalyseAgentConfig
from analysis.agent.evaluate import EvalConfig
from analysis.imagine import ImagineConfig
from analysis.video.evaluate import EvaluateVideoConfig
from analysis.video.findings import AnalyseVideoConfig
from common import Count, UserError
from common.fields import Bound
from configs import TrainConfig, parse_train
from configs.cli import EXAMPLES, fail, parse, take_seeds
from configs.settings import AGENT_FIRST, GONE, VIDEO_FIRST, meant, sentence, settings
from configs.spelling import switched, whole
from configs.video import PretrainConfig
from configs.video_presets import EXAMPLES as VIDEO_EXAMPLES
from configs.video_presets import parse_pretrain
from recordings.__main__ import Command
from recordings.importers.kth import Kth
from recordings.run import ImportConfig


def train(*args):
    return parse_train(["--env", "gym:Pendulum-v1", *args], False, "float32")


def pretrain(*args):
    return parse_pretrain(list(args), False, "float32")


@dataclass(frozen=True)
class Inner:
    deep: bool = True


@dataclass(frozen=True)
class Outer:
    steps: int = 3
    report: bool = True
    inner: Inner = field(default_factory=Inner)


def test_whole_numbers_may_be_powers_of_ten():
    assert train("--steps", "1e5").steps == pretrain("--steps=1e5").steps == 100_000
    assert parse(EvalConfig, ["--eval", "1e5", "--episodes", "2e1"]) == EvalConfig(Path("1e5"), 20)
    assert whole("1.5e3") == 1_500
    for wrong in ("1.5", "1e-1", "1.25e1", "inf", "1e999", "20k", "many"):
        with pytest.raises(ValueError, match=f"expected a whole number, received '{wrong}'"):
            whole(wrong)


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ("--steps 20k", "--steps: expected a whole number, received '20k'; see --help"),
        ("--env.time-limit 2k", "--env.time-limit: expected a whole number, received '2k'; see"),
        ("--batch 1.5", "--batch: expected a whole number, received '1.5'; see --help"),
    ],
)
def test_a_value_of_another_kind_is_told_with_its_flag(args, line, capsys):
    with pytest.raises(SystemExit):
        train(*args.split())
    assert capsys.readouterr().err.startswith(f"error: {line}")


def test_several_numbers_for_one_seed_are_told_of_seeds():
    with pytest.raises(UserError, match="--seed: .*, received '0,1'; .*: --seeds 0,1"):
        train("--seed", "0,1")


@pytest.mark.parametrize("written", [["--env.keys", "a,b.*"], ["--env.keys=a,", "b.*"]])
def test_words_with_commas_or_apart(written):
    assert train(*written).env.keys == ("a", "b.*")
    assert train("--track", "wandb,trackio", "--logdir", "a,b").track == ("wandb", "trackio")


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ("--seed 1 --seed=2", "--seed: expected once, received 1 and 2; for .*: --seeds 1 2"),
        ("--env.options g 4 --env.options m 9", "received g 4 and m 9; .*: --env.options g 4 m 9"),
        ("--env.num-envs 1 --env.num_envs 2", "num_envs: expected once, .* 1 and 2; leave one out"),
        ("--env a:B --env.name c:D", "--env.name: expected once, received a:B and c:D"),
        ("--report --no-report", "--report: expected once, received True and False"),
        ("--size s --size auto", "--size: expected once, received s and auto"),
    ],
)
def test_a_command_takes_each_flag_once(args, line):
    with pytest.raises(UserError, match=line):
        parse_train(args.split(), False, "float32", lambda logdir, env: None)
    with pytest.raises(UserError, match="--data.name: expected once, received a and b"):
        parse_pretrain("--data a --data b".split(), False, "float32", lambda logdir, env: None)
    found = parse(EvaluateVideoConfig, ["--run", "a", "--run", "b"])
    assert found.run == (Path("a"), Path("b"))


def test_the_file_of_an_own_environment_is_kept_with_its_whole_path(tmp_path, monkeypatch):
    (tmp_path / "mine.py").touch()
    monkeypatch.chdir(tmp_path)
    assert train("--env", "mine.py:Mine").env.name == f"{tmp_path}/mine.py:Mine"
    own = pretrain("--data.env", "mine.py:Mine", "--data", "navigate").data.env
    assert own == f"{tmp_path}/mine.py:Mine"


@pytest.mark.parametrize("written", [["1,4,8"], ["1", "4", "8"], ["1 4 8"], ["1,4", "8"]])
def test_strides_with_commas_or_apart(written):
    assert train("--strides", *written).agent.model.strides == (1, 4, 8)
    assert pretrain("--strides", *written, "--context", "8").model.strides == (1, 4, 8)
    assert train(f"--strides={','.join(written)}").agent.model.strides == (1, 4, 8)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ((), (True, True)),
        (("--report",), (True, True)),
        (("--no-report", "--inner.deep"), (False, True)),
        (("--report", "False", "--inner.no-deep"), (False, False)),
        (("--report=False", "--no-inner.deep", "--steps", "4"), (False, False)),
        (("--report", "True"), (True, True)),
    ],
)
def test_switches_have_three_forms(written, expected):
    found = parse(Outer, written)
    assert (found.report, found.inner.deep) == expected
    assert [one.name for one in settings(Outer)] == ["steps", "report", "inner.deep"]


def test_a_format_s_own_switches_are_switches():
    """`--whole` of KTH, whose class the command is generic in."""
    found = {one.name: one for one in settings(Command[Kth], prefixes=False)}
    assert found["whole"].kind is bool and found["whole"].text.startswith("Store whole videos")
    args = ["kth", "store", "--whole"]
    markers = (tyro.conf.OmitArgPrefixes, tyro.conf.PositionalRequiredArgs)
    assert parse(Command[Kth], args, markers=markers).data.whole


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("--evaluate", "--eval"),
        ("--batch-size", "--batch"),
        ("--lr", "--optimizer.lr"),
        ("--learning-rate", "--optimizer.lr"),
        ("--num-envs", "--env.num-envs"),
        ("--num_env", "--env.num-envs"),
        ("--gamma", "--agent.behaviour.discount"),
        ("--stride", "--strides"),
        ("--eval-episode", "--eval-episodes"),
        ("--seedz", "--seed"),
    ],
)
def test_a_near_miss_is_told_what_may_be_meant(written, said):
    with pytest.raises(
        UserError, match=rf"received none of that name; did you mean {said}( or .*)?\?"
    ):
        train(written, "3")


def test_what_is_like_nothing_is_sent_to_the_help():
    with pytest.raises(UserError, match="--qqqqq: .*; see --help"):
        train("--qqqqq")
    assert meant("dim", ["a.dim", "b.dim"]) == ["a.dim", "b.dim"]


@pytest.mark.parametrize(("run", "first"), [(train, AGENT_FIRST), (pretrain, VIDEO_FIRST)])
def test_help_begins_with_the_ten_settings_that_matter(run, first, capsys):
    with pytest.raises(SystemExit):
        run("--help")
    out = capsys.readouterr().out
    most = out[out.index("Main settings") : out.index("Examples:")].splitlines()[1:]
    lines = [line for line in most if line.startswith("  --")]
    assert len(lines) == len(first) == 10
    assert [line.split()[0].removeprefix("--") for line in lines] == [
        name.removeprefix("agent.model.").removeprefix("agent.behaviour.")
        .removeprefix("model.").removesuffix(".name") for name in first
    ]  # fmt: skip
    assert max(map(len, most)) < 100
    assert "\n\nResume a stopped run with --logdir RUN" in out or run is pretrain


@pytest.mark.parametrize(("run", "text"), [(train, EXAMPLES), (pretrain, VIDEO_EXAMPLES)])
def test_examples_of_the_help_run(run, text):
    lines = [line for line in text.splitlines() if line.startswith("  {program} ")]
    for line in lines:
        words = shlex.split(line.split("     ")[0].removeprefix("  {program} "))
        if words[0] != "--eval":
            run(*take_seeds(words)[1])
    assert len(lines) >= 3


def test_a_sentence_ends_before_its_reasons():
    assert sentence("T: steps. More.") == "T: steps"
    assert sentence("Steps (one: 1) at which it ends; or not.") == "Steps at which it ends"


def test_all_commands_take_the_three_forms():
    assert not train("--no-report").report and not train("--report", "False").report
    assert pretrain("--streams", "--length", "72").streams
    assert switched(["--no-run", "x"], {"run-it"}) == ["--no-run", "x"]


@pytest.mark.parametrize(
    ("run", "args", "line"),
    [
        (train, "--optimizer.lr -1", "optimizer.lr: expected above 0, received -1; raise"),
        (train, "--optimizer.lr nan", "optimizer.lr: expected a finite number, received nan"),
        (train, "--optimizer.clip -5", "optimizer.clip: expected above 0, received -5"),
        (train, "--optimizer.warmup -3", "optimizer.warmup: expected 0 or more, received -3"),
        (train, "--prefill -5", "prefill: expected 0 or more, received -5; raise --prefill"),
        (train, "--eval-every -5", "eval_every: expected 0 or more, received -5"),
        (train, "--keep 0", "keep: expected 1 or more, received 0; raise --keep"),
        (train, "--updates-per-step nan", "updates_per_step: expected a finite number"),
        (train, "--updates-per-step inf", "updates_per_step: expected a finite number"),
        (train, "--env.action-repeat 0", "env.action_repeat: expected 1 or more, received 0"),
        (train, "--env.time-limit 0", "env.time_limit: expected 1 or more, received 0"),
        (train, "--replay.capacity-gb 0", "replay.capacity_gb: expected above 0, received 0"),
        (train, "--seed -1", "seed: expected 0 or more, received -1; raise --seed"),
        (train, "--steps 1000 --prefill 1000", "steps: expected enough for one update, .*lower"),
        (train, "--steps 1000", "steps: expected enough for one update, received 1,000 of which"),
        (train, "--agent.objective.free-nats -1", "free_nats: expected 0 or more, received -1"),
        (train, "--agent.model.deter 0", "agent.model.deter: expected 1 or more, received 0"),
        (train, "--agent.model.half-life nan", "half_life: expected a finite number"),
        (train, "--agent.model.vector-std 0", "vector_std: expected above 0, received 0"),
        (train, "--horizon 0", "agent.behaviour.horizon: expected 1 or more, received 0"),
        (train, "--agent.behaviour.discount 1.1", "discount: expected from 0 to 1, received 1.1"),
        (train, "--agent.keep-plan nan", "agent.keep_plan: expected a finite number"),
        (train, "--agent.recent-decoder -1", "recent_decoder: expected 0 or more, received -1"),
        (pretrain, "--model.stoch 0", "model.stoch: expected 1 or more, received 0"),
        (pretrain, "--data.episodes 0", "data.episodes: expected 1 or more, received 0; raise"),
        (pretrain, "--data.change nan", "data.change: expected a finite number, received nan"),
        (pretrain, "--data.speed 0", "data.speed: expected above 0, received 0"),
        (pretrain, "--keep 0", "keep: expected 1 or more, received 0"),
        (pretrain, "--eval-every -1", "eval_every: expected 0 or more, received -1"),
        (pretrain, "--optimizer.eps inf", "optimizer.eps: expected a finite number"),
    ],
)
def test_out_of_bounds_is_refused_before_anything_is_written(run, args, line, tmp_path):
    with pytest.raises(ValueError, match=line):
        run(*args.split(), "--logdir", str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("config", "args", "line"),
    [
        (EvalConfig, "--eval x --episodes 0", "episodes: expected 1 or more, received 0"),
        (ImagineConfig, "--run x --output y.mp4 --ticks 0", "ticks: expected 1 or more"),
        (EvaluateVideoConfig, "--run x --samples 0", "samples: expected 1 or more"),
        (AnalyseVideoConfig, "--run x --window 0", "window: expected 1 or more"),
        (AnalyseAgentConfig, "--run x --start -1", "start: expected 0 or more"),
        (AnalyseAgentConfig, "--run x --ticks 0", "ticks: expected 1 or more"),
    ],
)
def test_every_command_checks_its_settings(config, args, line):
    with pytest.raises(ValueError, match=line):
        parse(config, args.split())


def test_a_list_of_settings_keeps_its_lines(capsys):
    with pytest.raises(SystemExit) as stop:
        fail("run was written by another config:\n  a: 1 there, 2 now\n  b: 3 there, 4 now\nchoose")
    assert stop.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: run was written by another config:",
        "  a: 1 there, 2 now",
        "  b: 3 there, 4 now",
        "choose",
    ]


CONFIGS = (TrainConfig, PretrainConfig, EvalConfig, ImagineConfig, EvaluateVideoConfig)
CONFIGS += (AnalyseVideoConfig, AnalyseAgentConfig, ImportConfig)


def unbounded(hint, name="", bounded=False):
    """Names of the numbers that declare no bounds, in a dataclass and those in it."""
    if get_origin(hint) is Annotated:
        kind, *marks = get_args(hint)
        yield from unbounded(kind, name, bounded or any(isinstance(x, Bound) for x in marks))
    elif is_dataclass(hint):
        for part, kind in get_type_hints(hint, include_extras=True).items():
            yield from unbounded(kind, f"{name}.{part}".strip("."))
    elif hint in (int, float):
        yield from () if bounded else (name,)
    else:  # a union or a tuple, or nothing with numbers
        for kind in get_args(hint):
            yield from unbounded(kind, name, bounded)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.__name__)
def test_every_number_declares_its_bounds(config):
    assert not list(unbounded(config))


def test_a_number_without_bounds_is_found():
    @dataclass
    class Free:
        most: int | None
        least: Count | None
        strides: tuple[int, ...]

    @dataclass
    class Above:
        inner: Free
        name: str

    assert list(unbounded(Above)) == ["inner.most", "inner.strides"]


def test_options_of_navigate_are_checked_before_anything_is_written():
    flags = ["--env", "minerl_navigate", "--env.options"]
    with pytest.raises(ValueError, match="camera_limit: expected above 0 to 180 .* received 181"):
        train(*flags, "camera_limit", "181")


def test_options_are_added_to_those_of_the_preset():
    preset = train("--env", "minerl_navigate").env.options
    given = train(
        "--env", "minerl_navigate", "--env.options", "camera_limit", "9", "dense", "False"
    )
    assert given.env.options == {**preset, "camera_limit": "9", "dense": "False"}
    assert preset["held_keys"] and preset["camera_limit"] == "5"


def test_what_became_of_a_setting_is_told():
    said = "--env.dense: this setting no longer exists: .*--env.options dense"
    with pytest.raises(UserError, match=said):
        train("--env.dense", "False")
    flags = {flag.removeprefix("--") for one in settings(TrainConfig) for flag in one.flags}
    assert not flags & GONE.keys()
    named = {name for text in GONE.values() for name in re.findall(r"--([a-z.-]*[a-z])", text)}
    assert named and named <= flags


def test_a_name_without_a_value_is_told():
    options = "held_keys", "jump=1", "attack=0"
    with pytest.raises(UserError, match="alternating names and values, received 3: .*in quotes"):
        train("--env.options", *options, "--steps", "9000")
    assert train("--env.options", "g", "3", "--steps", "9000").env.options == {"g": "3"}


def test_runs_and_recordings_are_named_by_absolute_paths(tmp_path, monkeypatch):
    """So that a run which was given them finds them from every directory."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "store.json").touch()
    monkeypatch.chdir(tmp_path)
    config = train("--init-from", "a/b", "--recordings", "store", "--recordings-share", "0.5")
    assert (config.init_from, config.recordings) == (tmp_path / "a" / "b", tmp_path / "store")
    assert (train().init_from, train().recordings) == (None, None)
