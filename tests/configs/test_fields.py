"""How many settings there are, and that each says what it is."""

import ast
import dataclasses
import inspect
import textwrap
import typing
from collections.abc import Iterator
from typing import Any

import pytest

from configs.schema import TrainConfig
from configs.video import PretrainConfig
from training.config_io import settings_of

MOST = 75  # settings of an agent's run


def configs(config: type[Any]) -> Iterator[type[Any]]:
    """A dataclass of settings and those within it."""
    yield config
    for hint in typing.get_type_hints(config).values():
        if dataclasses.is_dataclass(hint):
            yield from configs(hint)  # type: ignore[arg-type]


def docstrings(config: type[Any]) -> dict[str, str]:
    """What stands below every field of a class, or is its help; empty where nothing does."""
    hints = typing.get_type_hints(config, include_extras=True)
    helps = {
        name: getattr(mark, "help", None) or ""
        for name, hint in hints.items()
        for mark in getattr(hint, "__metadata__", ())
    }
    body = ast.parse(textwrap.dedent(inspect.getsource(config))).body[0].body  # type: ignore[attr-defined]
    found = {}
    for node, below in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(node, ast.AnnAssign):
            value = below.value if isinstance(below, ast.Expr) else None
            text = value.value if isinstance(value, ast.Constant) else ""
            name = node.target.id  # type: ignore[union-attr]
            found[name] = text if isinstance(text, str) and text else helps.get(name, "")
    return found


def test_an_agents_run_has_few_settings() -> None:
    assert len(settings_of(TrainConfig())) <= MOST


@pytest.mark.parametrize(
    "config", sorted({*configs(TrainConfig), *configs(PretrainConfig)}, key=repr)
)
def test_every_setting_says_what_it_is(config: type[Any]) -> None:
    found = docstrings(config)
    assert list(found) == [field.name for field in dataclasses.fields(config)]
    assert [name for name, text in found.items() if not text.strip().endswith((".", ")"))] == []


def test_a_setting_that_says_nothing_is_found() -> None:
    assert docstrings(Silent) == {"said": "Units.", "silent": "", "last": ""}


class Silent:
    """Two fields without a word."""

    said: int = 0
    """Units."""
    silent: int = 0
    last: int = 0
