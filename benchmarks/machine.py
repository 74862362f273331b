"""What a table of speeds begins and ends with: the command, the machine, what else it was doing."""

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numba


@contextmanager
def measured(title: str, module: str) -> Iterator[None]:
    """Prints the head of a page of Markdown, and the load once what is inside has been measured.

    Args:
      title: of the page.
      module: what is run, such as `benchmarks.navigate`.
    """
    print(f"# {title}\n\n`{' '.join(['python -m', module, *sys.argv[1:]])}`\n")
    versions = f"Python {platform.python_version()}, numba {numba.__version__}"
    print(f"{versions}; {platform.machine()}, one of {os.cpu_count()} cores.")
    print(f"Load average when it started: {os.getloadavg()[0]:.1f}.\n", flush=True)
    yield
    print(f"\nLoad average when it ended: {os.getloadavg()[0]:.1f}.")
