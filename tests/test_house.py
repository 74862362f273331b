"""The rules of the house that no linter knows: import directions, packages, files."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_packages_are_listed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    for package in listed:
        assert (ROOT / package.replace(".", "/") / "__init__.py").is_file(), package
