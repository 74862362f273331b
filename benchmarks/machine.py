"""The machine; header and footer of a table of speeds, with the command and the load."""

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


def processor() -> str:
    """The processor's model, as far as the system reports one."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(errors="replace").splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
