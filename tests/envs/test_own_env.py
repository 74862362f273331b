"""A user's own environment: a file wherever it lies, or a module found from where they stand."""

import subprocess
import sys

import gymnasium
import pytest
from house_tree import ROOT

from envs import make

SOURCE = """
import gymnasium
import numpy as np
from gymnasium import spaces
{imports}

class Mine(gymnasium.Env):
    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, size=1):
        self.size = size

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {{}}

    def step(self, action):
        return np.zeros(2, np.float32), 1.0, False, False, {{}}
"""


def write(path, imports=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SOURCE.format(imports=imports))
    return path


@pytest.fixture(autouse=True)
def paths(monkeypatch, tmp_path):
    """The working directory is another, and the path is put back."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "place", ["mine.py", "envs/mine.py", "configs/deep er/a:x.py", "agents.py"]
)
def test_a_file_is_an_environment_whatever_the_packages_around_it(tmp_path, place):
    write(tmp_path / place)
    for name in (place, str(tmp_path / place)):
        env = make(f"{name}:Mine", size=3)
        assert isinstance(env, gymnasium.Env) and env.size == 3
    assert type(make(f"{place}:Mine")) is type(env)  # the same module, not read twice


def test_what_lies_beside_a_file_can_be_imported(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "helper_of_mine.py").write_text("SIZE = 7")
    write(tmp_path / "code" / "mine.py", "from helper_of_mine import SIZE")
    assert make("code/mine.py:Mine").size == 1


def test_a_module_is_found_from_where_the_user_stands(tmp_path):
    write(tmp_path / "package_of_mine" / "worlds.py")
    assert make("package_of_mine.worlds:Mine").size == 1


def test_a_run_of_ones_own_file_needs_no_path(tmp_path):
    """As the command is given, in an interpreter of its own."""
    write(tmp_path / "envs" / "mine.py")
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from envs import EnvConfig, "
    code += "make_agent_env; print(make_agent_env(EnvConfig('envs/mine.py:Mine')))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert "Mine" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("name", "imports", "message"),
    [
        ("envs.mine:Mine", "", "envs is a package of this project .*: name .*, envs/mine.py:Class"),
        ("envs/mine.py:Mine", "import envs.helper", "envs is a package of this project too"),
        ("envs/mine.py:Mine", "import no_such_library", "install no_such_library, which envs/mine"),
        ("no_such_module:Mine", "", "name the file: FILE.py:Class"),
        ("envs/none.py:Mine", "", "expected a file of Python, .*: No such file"),
        ("envs/mine.py:Mime", "", "has no attribute 'Mime'; did you mean 'envs/mine.py:Mine'"),
        ("envs/mine.py:Other", "", "no attribute 'Other'; its environments are envs/mine.py:Mine"),
        ("envs/mine.py", "", "FILE.py:Class, .* the class is left out; .* are envs/mine.py:Mine"),
        ("json:Mine", "", "package.module:Class, .*; none of its classes is a gymnasium.Env"),
    ],
)
def test_what_is_not_found_is_told_in_one_line(tmp_path, name, imports, message):
    write(tmp_path / "envs" / "mine.py", imports)
    with pytest.raises(ValueError, match=message):
        make(name)
