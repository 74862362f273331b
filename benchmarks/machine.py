"""Header and footer of a table of speeds: the command, the machine, and its load."""

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numba


@contextmanager
def measured(title: str, module: str) -> Iterator[None]:
    """Print the header of a Markdown page, and the load once the body of the context has run.

    Args:
      title: of the page.
      module: the module that is run, such as `benchmarks.navigate`.
    """
    print(f"# {title}\n\n`{' '.join(['python -m', module, *sys.argv[1:]])}`\n")
    versions = f"Python {platform.python_version()}, numba {numba.__version__}"
    print(f"{versions}; {platform.machine()}, one of {os.cpu_count()} cores.")
    print(f"Load average when it started: {os.getloadavg()[0]:.1f}.\n", flush=True)
    yield
    print(f"\nLoad average when it ended: {os.getloadavg()[0]:.1f}.")
