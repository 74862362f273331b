"""What the documentation's pages say runs: every command is one of ours, every block of Python is
an example, every table has all that it is made of."""

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import ROOT

from analysis.agent.episode import AnalyseAgentConfig
from analysis.agent.evaluate import EvalConfig
from analysis.video.evaluate import EvaluateVideoConfig
from analysis.video.findings import AnalyseVideoConfig
from clockwork.__main__ import BY_KIND, LOOKING
from clockwork.completion import SETTINGS, SHELLS
from configs import parse_train
from configs.cli import parse, take_seeds
from configs.schema import TrainConfig
from configs.settings import AGENT_FIRST, VIDEO_FIRST, settings
from configs.video import PretrainConfig
from configs.video_presets import parse_pretrain
from recordings.__main__ import parse_format
from training.numbers import NUMBERS

PAGES = sorted([ROOT / "docs" / "index.md", *(ROOT / "docs" / "guide").glob("*.md")])
OF_AGENTS = {"evaluate": EvalConfig, "analyse": AnalyseAgentConfig}
OF_VIDEO = {"evaluate": EvaluateVideoConfig, "analyse": AnalyseVideoConfig}


SCRIPTS = {
    "train_agent.py": "train",
    "pretrain_video.py": "pretrain",
    "imagine.py": "imagine",
    "analyse_agent.py": AnalyseAgentConfig,
    "analyse_video.py": AnalyseVideoConfig,
    "evaluate_video.py": EvaluateVideoConfig,
}


def commands() -> Iterator[tuple[str, str]]:
    """(page, line) of every shell block, and of every command of ours within a sentence."""
    for page in (ROOT / "README.md", *PAGES):
        text = page.read_text()
        for block in re.findall(r"```(?:sh|bash)\n(.*?)```", text, re.DOTALL):
            lines = block.replace("\\\n", "").replace(" && ", "\n").splitlines()
            yield from ((page.name, line) for line in lines if line)
        ours = r"`((?:clockwork|python [a-z_]+\.py) [^`]+)`"
        yield from ((page.name, line) for line in re.findall(ours, text))


def check_ours(name: str, args: list[str]) -> None:
    """Raises where the command would refuse its arguments."""
    if name == "train":
        seeds, args = take_seeds(args)
        parse_train(args, False, "float32")
    elif name == "pretrain":
        parse_pretrain(args, False, "float32")
    elif name == "import":
        parse_format(args[0], args[1:])
    elif name == "completion":
        assert args[0] in SHELLS
    elif name in BY_KIND:
        run, *args = args if args[0] != "--run" else args[1:]
        of_video = {"--run", "--levels"} & {*args}  # else the run says which it is
        kind = OF_VIDEO if of_video else OF_AGENTS
        flag = "--eval" if kind[name] is EvalConfig else "--run"
        parse(kind[name], [flag, run, *args])
    else:
        args = ["--run", *args] if name in LOOKING and not args[0].startswith("-") else args
        parse(SETTINGS[name], args)


def check_script(script: str, *args: str) -> None:
    """Raises where a script of a clone would refuse its arguments."""
    kind = EvalConfig if "--eval" in args else SCRIPTS[script]
    if isinstance(kind, str):
        check_ours(kind, list(args))
    else:
        parse(kind, list(args))


@pytest.mark.parametrize(("page", "line"), sorted({*commands()}))
def test_every_command_is_one(page, line):
    program, *args = shlex.split(line)
    if program == "clockwork" and "--help" not in args:
        check_ours(args[0], args[1:])
    elif program == "pip":
        assert args[0] == "install" and args[-1].startswith(".")
    elif program == "pytest":
        assert (ROOT / args[0]).is_file()
    elif program == "python" and args[0] in SCRIPTS and not {"--help", "…"} & {*args}:
        check_script(*args)
    elif program == "python":
        assert (ROOT / args[0]).is_file()
    else:
        assert program in ("clockwork", "tensorboard"), line


def test_there_are_many_commands():
    assert len({line for _, line in commands()}) > 30
    with pytest.raises(ValueError, match="did you mean --batch"):
        check_ours("train", ["--batch-size", "3"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_python_is_an_example(page):
    """Which `tests/test_examples.py` runs."""
    blocks = re.findall(r"^```(.*)\n((?:.*\n)*?)```$", page.read_text(), re.M)
    for head, block in blocks:
        if head != "sh":
            found = re.fullmatch(r' \{ \.python title="(.*)" \}', head)
            assert found and block == f'--8<-- "{found[1]}"\n' and (ROOT / found[1]).is_file()
            assert found[1].startswith("examples/")


def hooks():
    """The site's, which MkDocs calls."""
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_have_every_setting_and_number():
    page = (ROOT / "docs" / "guide" / "settings.md").read_text()
    made = hooks().on_page_markdown(page)
    first, agent, video = made.split("## All settings")
    assert "<!--" not in made
    assert len(re.findall(r"^\| `--", first, re.M)) == len(AGENT_FIRST) + len(VIDEO_FIRST)
    for config, table in ((TrainConfig, agent), (PretrainConfig, video)):
        known = list(settings(config))
        assert len(re.findall(r"^\| `--", table, re.M)) == len(known)
        assert all(f"`--{one.name}`" in table for one in known)
    numbers = hooks().on_page_markdown((ROOT / "docs" / "guide" / "run.md").read_text())
    assert all(one.text in numbers for one in NUMBERS)


def test_every_page_is_in_the_site():
    site = (ROOT / "mkdocs.yml").read_text()
    for page in PAGES:
        assert f": {page.relative_to(ROOT / 'docs').as_posix()}" in site
    left_out = site[site.index("exclude_docs:") : site.index("not_in_nav:")]
    for page in (ROOT / "docs").glob("*.md"):
        assert f": {page.name}" in site or page.name in left_out, page.name
    for name in re.findall(r": (\S+\.md)$", site, re.M):
        assert Path(ROOT / "docs" / name).is_file()
