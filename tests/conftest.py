"""What every test runs under: checked shapes, strict JAX, compiled programs kept between runs.

Each of these is shown to bite in `tests/test_strictness.py`.
"""

import gc
import os
import resource
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

# Compiling is most of the tests' time, so LLVM does not optimise, and fusions are emitted by XLA's
# older code, in half the time (adr 11): here and in the commands that tests start.
# `XLA_FLAGS=--xla_backend_optimization_level=3 pytest` compiles as users do.
LEVEL, QUICK = "--xla_backend_optimization_level", "--xla_cpu_use_fusion_emitters=false"
if LEVEL not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {LEVEL}=0 {QUICK}".strip()

import jax  # noqa: E402  (reads XLA_FLAGS)
import pytest  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

# Shapes and types are checked at the boundaries of these packages, in tests only. `envs` is left
# out: its kernels are numba's, which compiles plain functions and not checked wrappers.
install_import_hook(["worldmodel", "agents", "replay"], "strict_types.check")

from training.device import (  # noqa: E402  (after the hook)
    enable_compilation_cache,
    keep_freed_memory,
)

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)
enable_compilation_cache(None)
keep_freed_memory()
# Loaded after the hook.
pytest_plugins = ["fixtures.checks", "fixtures.models", "fixtures.agents", "fixtures.runs"]
gc.freeze()  # what imports made is not looked at again: JAX's traces collect often


def resident() -> int:
    """Bytes that this process holds; where the system does not tell, the most that it ever held."""
    pages = Path("/proc/self/statm")
    if not pages.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(pages.read_text().split()[1]) * resource.getpagesize()


@pytest.fixture(scope="module", autouse=True)
def forget() -> Iterator[None]:
    """Programs of earlier files go once a worker holds 2 GB, or it would come to 5: a machine of 8
    has two workers."""
    yield
    if resident() > 2e9:
        jax.clear_caches()
        gc.collect()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Seeds of the learning tests."""
    parser.addoption("--seeds", default="0", help="seeds of tests that learn, such as 0,1,2")


@pytest.fixture
def seeds(pytestconfig: pytest.Config) -> list[int]:
    """Of a test that learns: each is to pass."""
    return [int(seed) for seed in pytestconfig.getoption("--seeds").split(",")]


@pytest.fixture
def margins(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """``margins(shares, told)`` of a learning test: by how much each seed passed, above 0, as a
    share of what it is measured by. Noted for `.ci/verdicts.py`, which shows the least."""

    def note(shares: Sequence[float], told: object = None) -> None:
        plain = [round(float(share), 4) for share in shares]  # plain: it goes between processes
        record_property("margins", plain)
        assert min(plain) > 0, f"{plain}: {told}"

    return note
