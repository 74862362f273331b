"""The rules of the house that no linter knows: import directions, packages, files, decisions."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from house_tree import FILES, ROOT, text_files

from common.entry import OURS

FLOORS = (
    ("common",),
    ("envs", "replay"),
    ("worldmodel",),
    ("agents",),
    ("configs",),
    ("recordings",),
    ("training",),
    ("analysis",),
    ("benchmarks",),
    ("clockwork",),
)
"""Imports only go down: a room may import those on floors below its own, and itself. What joins two
rooms stands above both. The tests stand above all, and the entry scripts, which nothing imports."""

PACKAGES = tuple(room for floor in FLOORS for room in floor)
FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor}
SCRIPT_LINES = 80

MEGABYTE = 1024 * 1024


def package_files(package: str) -> list[Path]:
    """The Python files of a package, given by dotted name, and of those below it."""
    folder = ROOT / package.replace(".", "/")
    return [path for path in FILES if path.suffix == ".py" and folder in path.parents]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> Iterator[str]:
    """Dotted names of all modules that a file imports, inside functions too."""
    package = module_name(path).split(".")
    package = package if path.name == "__init__.py" else package[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = package[: len(package) - node.level + 1] if node.level else []
            yield ".".join([*up, *filter(None, [node.module])])


def scripts() -> list[Path]:
    """The entry scripts: Python files at the top level."""
    return [path for path in FILES if path.suffix == ".py" and path.parent == ROOT]


@pytest.mark.parametrize("room", FLOOR)
def test_imports_only_go_down(room: str) -> None:
    above = {other for other, floor in FLOOR.items() if other != room and floor >= FLOOR[room]}
    above |= {path.stem for path in scripts()} | {"tests"}
    for path in package_files(room):
        for name in imported(path):
            wrong = name.split(".")[0] in above
            assert not wrong, f"{path.relative_to(ROOT)} imports {name}: see adr-21"


def test_errors_know_which_rooms_are_ours() -> None:
    """A user's traceback is shown from the first file on that is none of them."""
    assert OURS == set(FLOOR)


def test_no_script_is_imported() -> None:
    names = {path.stem for path in scripts()}
    for path in FILES:
        if path.suffix == ".py":
            taken = {name.split(".")[0] for name in imported(path)} & names
            assert not taken, f"{path.relative_to(ROOT)} imports {taken}"


def test_a_script_parses_and_calls() -> None:
    for path in scripts():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines < SCRIPT_LINES, f"{path.name}: {lines} lines"


def test_configs_hold_settings_alone() -> None:
    """Nothing there computes: no arrays, no model, no environment is made."""
    for path in package_files("configs"):
        for name in imported(path):
            wrong = name.split(".")[0] in {"jax", "numpy", "flax", "optax", "gymnasium"}
            assert not wrong, f"{path.relative_to(ROOT)} imports {name}"


CODEC_MODULES = {"agents.chunk", "agents.latent"}
CODEC_REGISTRY = ROOT / "agents" / "agent.py"


def codecs_asked_for(tree: ast.AST) -> Iterator[ast.expr]:
    """Where a codec is asked which it is: `isinstance(x, AnyCodec)`, `config.codec == "any"`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"isinstance", "issubclass"}:
            if re.search(r"\b(?!ActionCodec)\w+Codec\b", ast.unparse(node.args[1])):
                yield node
        elif isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            named = any(re.search(r"\bcodec$", ast.unparse(side)) for side in sides)
            if named and any(isinstance(side, ast.Constant) for side in sides):
                yield node


def test_no_code_asks_which_codec_it_has() -> None:
    """All that is asked of a codec is its interface; `agents/agent.py: CODECS` alone names them."""
    for path in FILES:
        if path.suffix != ".py" or module_name(path) in CODEC_MODULES:
            continue
        for node in codecs_asked_for(ast.parse(path.read_text(encoding="utf-8"))):
            raise AssertionError(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}")
        if path != CODEC_REGISTRY and ROOT / "tests" not in path.parents:
            taken = CODEC_MODULES & set(imported(path))
            assert not taken, f"{path.relative_to(ROOT)} imports {taken}: see agents/codec.py"


def test_packages_in_pyproject_are_those_that_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = project["tool"]["setuptools"]["packages"]
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for package in PACKAGES
        for path in package_files(package)
    }
    assert sorted(listed) == sorted(found)
    for package in found:
        assert (ROOT / package.replace(".", "/") / "__init__.py").is_file(), package


def test_modules_in_pyproject_are_those_that_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = project["tool"]["setuptools"].get("py-modules", [])
    found = [path.stem for path in scripts()]
    assert sorted(listed) == sorted(found)


def is_listing(node: ast.stmt) -> bool:
    """A docstring, an import, or `__all__`."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    if isinstance(node, ast.Assign):
        return [ast.unparse(target) for target in node.targets] == ["__all__"]
    return isinstance(node, ast.Import | ast.ImportFrom)


@pytest.mark.parametrize("package", PACKAGES)
def test_init_files_list_names_and_nothing_else(package: str) -> None:
    for path in package_files(package):
        if path.name == "__init__.py":
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                assert is_listing(node), f"{path.relative_to(ROOT)}:{node.lineno}"


def test_errors_of_ours_are_meant_for_users() -> None:
    """A ValueError of a library keeps its traceback, so one of ours is a UserError."""
    for package in FLOOR:
        for path in package_files(package):
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"(raise|return) ValueError\(", text), path.relative_to(ROOT)


UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve"}
UNSAFE_MODULES |= {"marshal"}


def test_nothing_loaded_from_disk_may_run_code() -> None:
    """Tests are free to: they plant what must be refused."""
    for path in FILES:
        if path.suffix != ".py" or ROOT / "tests" in path.parents:
            continue
        tops = {name.split(".")[0] for name in imported(path)}
        assert not tops & UNSAFE_MODULES, path.relative_to(ROOT)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                value = ast.unparse(node.value)
                assert value == "False", f"{path.relative_to(ROOT)}:{node.value.lineno}"


def test_no_package_registry_is_named() -> None:
    """An install goes where the user's pip is set to go."""
    hosts = re.compile(r"pythonhosted\.org|\bpypi\.org|(extra-)?index-url\s*[=h]|artifactory")
    named = [path for path, text in text_files() if hosts.search(text) and path != Path(__file__)]
    assert not named


def test_no_path_of_one_machine_is_named() -> None:
    paths = re.compile(r"(?<![\w.])/(home|Users|root|work|opt)/\w|(?<![\w.])/tmp/\w")
    for path, text in text_files():
        if path != Path(__file__):
            for number, line in enumerate(text.splitlines(), 1):
                assert not paths.search(line), f"{path.relative_to(ROOT)}:{number}: {line.strip()}"


def test_no_file_is_large() -> None:
    large = [path.relative_to(ROOT) for path in FILES if path.stat().st_size > MEGABYTE]
    assert not large


def test_decisions_are_numbered_without_gaps() -> None:
    records = sorted((ROOT / "docs" / "adr").glob("*.md"))
    for number, path in enumerate(records, 1):
        assert re.fullmatch(rf"{number:04}-[a-z0-9-]+\.md", path.name), path.name
        assert path.read_text(encoding="utf-8").startswith("# "), path.name


def test_contributing_is_short() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()) < 50
