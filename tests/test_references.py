"""What documents, docstrings, comments and messages name exists: files, sections, decisions,
settings, commands and names of the code.

ADRs, the changelog and results are history: they may name what is gone, but no decision and no
section that is not there. Strings of tests may name anything: they plant mistakes.
"""

import ast
import dataclasses
import importlib
import importlib.util
import re
import typing
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from house_tree import FILES, HOLE, PYTHON, ROOT, read_source

DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/design.md",
    "docs/models.md",
    "docs/results.md",
    "docs/protocol.md",
    "docs/index.md",
    "docs/scaling.md",
    "docs/minerl.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs/guide").glob("*.md")),
)
PATHS = {path.relative_to(ROOT).as_posix() for path in FILES}
FOLDERS = {parent.as_posix() for path in PATHS for parent in Path(path).parents}


def plants(path: Path) -> bool:
    """Whether its strings are mistakes that are to be found."""
    return path.relative_to(ROOT).parts[0] in ("tests", ".ci")


@cache
def prose() -> tuple[tuple[str, str], ...]:
    """(where, text) of all that is held to name only what exists."""
    found = [(name, (ROOT / name).read_text(encoding="utf-8")) for name in DOCUMENTS]
    for path in PYTHON:
        source = read_source(path)
        messages = [] if plants(path) else [s for s in source.strings if " " in s[1]]
        for line, text in (*source.comments, *source.docstrings, *messages):
            found.append((f"{path.relative_to(ROOT)}:{line}", text))
    return tuple(found)


def assert_all(pattern: str, exists: Callable[[str], bool]) -> None:
    """Every reference (first group of the pattern) exists."""
    missing = [
        f"{where} names {match[1]}"
        for where, text in prose()
        for match in re.finditer(pattern, text)
        if HOLE not in text[max(match.start() - 1, 0) : match.end() + 1] and not exists(match[1])
    ]
    assert not missing, "\n".join(missing)


def named_by_its_end(name: str, known: set[str]) -> bool:
    return name in known or any(path.endswith(f"/{name}") for path in known)


def is_file(name: str) -> bool:
    """Whether it is the end of a path of ours; of NAME.md and FILE.py, whether the folder is."""
    folder, _, stem = name.rpartition("/")
    return named_by_its_end(name, PATHS) or (
        folder in FOLDERS | {""} and re.search(r"(^|_)[A-Z]+\.(md|py)$", stem) is not None
    )


def test_files_exist() -> None:
    path = r"(?<![\w/.*{}<-])((?:\w[\w.-]*/)*\w[\w-]*\.(?:py|md|toml|sh))\b(?!\.\w)"
    assert_all(path, is_file)


@cache
def keys() -> frozenset[str]:
    """Strings of the code that are no sentence: keys, and names of what it writes."""
    texts = (text for path in PYTHON for _, text in read_source(path).strings)
    return frozenset(text for text in texts if " " not in text)


def test_folders_exist() -> None:
    """Those of ours, and those that the code makes."""
    assert_all(r"`((?:\w+/)*\w+)/`", lambda name: named_by_its_end(name, FOLDERS) or name in keys())


def test_what_documents_link_to_exists() -> None:
    for name in DOCUMENTS:
        text = (ROOT / name).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)(?:#[\w-]*)?\)", text):
            assert ((ROOT / name).parent / target).exists(), f"{name} links to {target}"


def test_what_documents_name_in_a_file_is_there() -> None:
    """`worldmodel/clock.py: window_sum, window_stack`."""
    for name in DOCUMENTS:
        text = (ROOT / name).read_text(encoding="utf-8")
        for path, names in re.findall(r"`([\w/]+\.py): ([^`]+)`", text):
            source = read_source(ROOT / path)
            for wanted in re.findall(r"\w+", names):
                assert wanted in source.defined | source.names, f"{name} names {path}: {wanted}"


def cited(pattern: str) -> Iterator[tuple[str, str]]:
    """(where, what) of every citation in the prose, the changelog and the decisions."""
    history = [path for path in FILES if path.parent.name == "adr" or path.stem == "CHANGELOG"]
    texts = [(path.name, path.read_text(encoding="utf-8")) for path in history]
    for where, text in (*prose(), *texts):
        yield from ((where, found) for found in re.findall(pattern, text))


def test_sections_of_the_design_page_exist() -> None:
    page = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (\w+)$", page, re.MULTILINE)
    for where, section in cited(r"docs/design\.md,\s+([A-Z]\w*)"):
        assert section in headings, f"{where} names section {section}"
    assert not list(cited(r"\bDESIGN\b")), "this project's page is docs/design.md"


def test_decisions_exist() -> None:
    numbers = {int(path.name[:4]) for path in (ROOT / "docs" / "adr").glob("*.md")}
    for where, match in cited(r"\badr[- ]\d+|docs/adr/\d{4}(?:`?,? (?:and |to )?`?\d{4}\b)*"):
        named = {int(number) for number in re.findall(r"\d+", match)}
        assert named <= numbers, f"{where} names {match}"


def test_commands_exist() -> None:
    def module(name: str) -> bool:
        path = ROOT / name.replace(".", "/")
        if path.exists():
            return (path / "__main__.py").is_file()
        return path.with_suffix(".py").is_file() or importlib.util.find_spec(name) is not None

    assert_all(r"\bpython (\w[\w/.-]*\.py)", lambda name: name in PATHS)
    assert_all(r"\bpython -m ([\w.]*\w)", module)


def fields_of(cls: Any) -> Iterator[str]:
    """Dotted names of a settings class's fields, and of those below them."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        yield field.name
        if dataclasses.is_dataclass(hints[field.name]):
            yield from (f"{field.name}.{name}" for name in fields_of(hints[field.name]))


@cache
def settings() -> frozenset[str]:
    """Every setting of every command line: fields of the classes, and of those in tables, that a
    module knows which calls `parse`, `parse_run` or tyro."""
    found: set[str] = set()
    for path in PYTHON:
        called = {ast.unparse(call.func) for call in read_source(path).calls}
        if not plants(path) and called & {"parse", "parse_run", "tyro.cli"}:
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            values = list(vars(importlib.import_module(name)).values())
            tables = [x for value in values if isinstance(value, dict) for x in value.values()]
            for cls in filter(dataclasses.is_dataclass, [*values, *tables]):
                found.update(fields_of(cls))
    return frozenset(found)


@cache
def flags() -> frozenset[str]:
    """Every flag of our command lines, without its dashes."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in PYTHON if not plants(path))
    given = re.findall(
        r"""(?:(?:add_argument|addoption)\(\s*"--|\.arg\(name="|^    "--|^FLAG = "--)([\w.-]+)\"""",
        text,
        re.M,
    )
    given += re.findall(r"== --([\w-]+)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    leaves = {name.rpartition(".")[2] for name in settings()}  # of prefixes that are left out
    return frozenset(name.replace("_", "-") for name in {*settings(), *leaves, *given})


OTHERS = {"help", "version", "flag", "of.flag", "lf", "ff", "build-isolation", "num-cpus"}
"""Flags of every program, of pytest, of pip and of `ray start`."""


def test_flags_exist() -> None:
    def exists(name: str) -> bool:
        name = name.replace("_", "-")
        name = re.sub(r"(^|\.)no-", r"\1", name)  # denied
        return name in flags() | OTHERS or name.startswith("xla-")

    assert_all(r"(?<![\w-])--([a-z][\w.-]*\w)", exists)


@cache
def code_names() -> frozenset[str]:
    """Every name of the code, and the words of its keys."""
    found = {path.stem for path in PYTHON} | set(re.findall(r"\w+", " ".join(keys())))
    for source in map(read_source, PYTHON):
        found |= source.names | source.defined | source.imported
    return frozenset(found)


def test_names_in_backticks_exist() -> None:
    """Such as ``clock.tick_mask`` or `keep_plan`; of `agent.keep_plan`, that it is a setting."""
    imported = set().union(*(read_source(path).imported for path in PYTHON))
    foreign = imported - {path.split("/")[0].removesuffix(".py") for path in PATHS}
    defined = set().union(*(read_source(path).defined for path in PYTHON))
    groups = {part for name in settings() for part in name.split(".")[:-1]}
    ends = {name[m.end() :] for name in settings() for m in re.finditer(r"^|\.", name)}

    def exists(name: str) -> bool:
        first, *rest = name.split(".")
        if first in foreign or re.fullmatch(r"[A-Za-z]|\w+_[a-z]", name) or is_file(name):
            return True  # a symbol such as `x_t` is the paper's
        if name in keys():
            return True  # such as `config.json`
        if rest and first in groups and rest[-1] not in defined:
            return name in ends
        return {first, *rest} <= code_names()

    assert_all(r"(?<!`)``?([A-Za-z_]\w*(?:\.\w+)*)(?:\([^`]*\))?``?(?!`)", exists)


@pytest.mark.parametrize("name", ["agent.keep_plan", "env.name", "optimizer.lr", "steps"])
def test_settings_are_found(name: str) -> None:
    """The tests above would pass with all or none."""
    assert name in settings() and name.replace("_", "-") in flags()
    assert "agent.mark" not in settings() and "agent.mark" not in flags()
