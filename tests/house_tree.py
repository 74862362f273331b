"""The tree as the rules of the house read it: its files, and what stands in them."""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
HOLE = "\0"  # stands where a message is filled in


def tree_files() -> list[Path]:
    """Every file that git tracks or would track; all but caches where git does not tell."""
    if not (ROOT / ".git").exists():
        return _walked()
    # Whoever owns the checkout: git refuses that of another user.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    command += ["--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return _walked()
    paths = (ROOT / name for name in done.stdout.split("\0") if name)
    return sorted(path for path in paths if path.is_file())


def _walked() -> list[Path]:
    inside = (path.relative_to(ROOT) for path in sorted(ROOT.rglob("*")) if path.is_file())
    hidden = re.compile(r"^\.git(/|$)|(^|/)(__pycache__|\.\w+_cache|[^/]+\.egg-info)(/|$)")
    return [ROOT / path for path in inside if not hidden.search(path.as_posix())]


FILES = tree_files()
PYTHON = [path for path in FILES if path.suffix == ".py"]


def text_files() -> Iterator[tuple[Path, str]]:
    """Every file of text, with its text."""
    for path in FILES:
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


class Source(NamedTuple):
    """What a Python file says, as (line, text), and the names that it uses."""

    comments: list[tuple[int, str]]
    docstrings: list[tuple[int, str]]  # of fields too
    strings: list[tuple[int, str]]  # the others; a formatted one has a HOLE for every value
    names: set[str]
    defined: set[str]  # functions and classes
    imported: set[str]  # top-level packages
    calls: list[ast.Call]


@cache
def read_source(path: Path) -> Source:
    """Reads a file once for all rules."""
    text = path.read_text(encoding="utf-8")
    source = Source([], [], [], set(), set(), set(), [])
    if "#" in text:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                source.comments.append((token.start[0], token.string))
    inside: set[int] = set()  # parts of what has been read
    for node in ast.walk(ast.parse(text)):
        if id(node) not in inside:
            _read(node, source, inside)
    return source


def _read(node: ast.AST, source: Source, inside: set[int]) -> None:
    match node:
        case ast.Expr(value=ast.Constant(value=str() as text) as constant):
            source.docstrings.append((node.lineno, text))
            inside.add(id(constant))
        case ast.JoinedStr(values=values):
            parts = (part.value if isinstance(part, ast.Constant) else HOLE for part in values)
            source.strings.append((node.lineno, "".join(map(str, parts))))
            inside.update(id(part) for part in values if isinstance(part, ast.Constant))
        case ast.Constant(value=str() as text):
            source.strings.append((node.lineno, text))
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            source.defined.add(name)
        case ast.Call():
            source.calls.append(node)
        case _:
            _read_name(node, source)


def _read_name(node: ast.AST, source: Source) -> None:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            source.names.add(name)
        case ast.arg(arg=name) | ast.keyword(arg=str() as name):
            source.names.add(name)
        case ast.Import(names=names):
            source.imported.update(alias.name.split(".")[0] for alias in names)
        case ast.ImportFrom(module=str() as name, names=names):
            source.imported.add(name.split(".")[0])
            source.names.update(alias.name for alias in names)
