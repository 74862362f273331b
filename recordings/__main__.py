"""`python -m recordings FORMAT SOURCE STORE [options]`: import others' data into our store."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from common import UserError
from common.entry import enter
from common.signals import importing

with importing():
    import tyro
    from rich.console import Console

    from configs.cli import parse
    from recordings import report
    from recordings.importers.formats import FORMATS
    from recordings.importers.images import Look
    from recordings.run import ImportConfig, run_import

PROGRAM = "python -m recordings"

T = TypeVar("T")


@dataclass(frozen=True)
class Target:
    """Where the data go."""

    store: Annotated[Path, tyro.conf.arg(metavar="STORE")]
    """Directory for train/ and test/ (stores), import.json (what was imported) and ledger.jsonl."""


@dataclass(frozen=True)
class Command(Generic[T]):
    """Arguments after FORMAT, in this order."""

    data: T
    target: Target
    config: ImportConfig = ImportConfig()


def main(args: Sequence[str], program: str = PROGRAM) -> int:
    """Run the command; return 0 if the store has episodes, 1 if it has none, 2 for a user error.

    Args:
      program: name by which it was called, for its help.
    """
    if not args or args[0] in ("-h", "--help"):
        print(_usage(program))
        return 0 if args else 2
    if args[0] not in FORMATS:
        close = get_close_matches(args[0], FORMATS, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        return _fail(f"expected a format ({', '.join(FORMATS)}), received {args[0]!r}{hint}")
    try:
        command = parse_format(args[0], args[1:], program)
        imported = run_import(args[0], command.data, command.target.store, command.config)
    except UserError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        print("stopped; run the same command to resume", file=sys.stderr)
        raise
    console = Console(highlight=False, soft_wrap=True)
    for line in report.lines(imported, command.target.store):
        console.print(line, markup=False)
    look = getattr(command.data, "look", None)
    if isinstance(look, Look):
        print(f"images: {look.described} (--size, --fit)")
    return 0 if imported.episodes else 1


def parse_format(name: str, args: Sequence[str], program: str = PROGRAM) -> Command[Any]:
    """Parse the options of one format; exits the program after --help or a wrong flag."""
    generic: Any = Command
    return parse(
        generic[FORMATS[name]],
        args,
        markers=(tyro.conf.OmitArgPrefixes, tyro.conf.PositionalRequiredArgs),
        prog=f"{program} {name}",
        description=FORMATS[name].__doc__,
    )


def _usage(program: str) -> str:
    lines = [f"usage: {program} FORMAT SOURCE STORE [options]", "", "FORMAT is one of:"]
    width = max(map(len, FORMATS))
    lines += [f"  {name:<{width}}  {kind.__doc__}" for name, kind in FORMATS.items()]
    return "\n".join([*lines, "", f"Options of a format: {program} FORMAT --help"])


def _fail(line: str) -> int:
    print(f"error: {line}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    enter(lambda: sys.exit(main(sys.argv[1:])))
