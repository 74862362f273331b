"""The device and precision that a run computes with, and the cache of compiled programs.

Read next: `config_io.py`, which records the choice.
"""

import contextlib
import ctypes
import hashlib
import os
import platform
import resource
import sys
import tempfile
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Literal, NamedTuple, ParamSpec, TypeVar

import jax

from common import UserError

Kind = Literal["cpu", "gpu", "tpu"]
Precision = Literal["float32", "bfloat16"]

P = ParamSpec("P")
T = TypeVar("T")

GIB = 1024**3

CACHE_BYTES = 2 * GIB
"""Size limit of the cache of compiled programs; on start, the oldest beyond it are deleted."""

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Parameters of mallopt(3)."""

MMAP_BYTES, TRIM_BYTES, PAD_BYTES = 2**30, 2**31 - 1, 2**26
"""More than an update allocates at a time, the largest value that mallopt accepts, and the size of
the heap of a thread. Up to glibc 2.34, the first is refused."""

BFLOAT16_CAPABILITY = 8.0
"""First CUDA compute capability (Ampere) that multiplies bfloat16 natively."""


class Accelerator(NamedTuple):
    """The device of a run, and one printable line: why it was chosen, and how to change it."""

    kind: Kind
    name: str
    dtype: Precision
    line: str


def choose_device() -> Accelerator:
    """Choose the first device that JAX offers: an accelerator if there is one, else the CPU.

    `JAX_PLATFORMS=cpu` in the environment forces the CPU, as for every JAX program.

    Raises:
      UserError: if JAX cannot start the requested platform.
    """
    try:
        device = jax.local_devices()[0]
    except RuntimeError as error:
        raise UserError(
            "expected a device that JAX can start, received none for JAX_PLATFORMS="
            f"{os.environ.get('JAX_PLATFORMS', '')!r}: {error}; unset JAX_PLATFORMS or set it to "
            "'cpu'"
        ) from error
    if device.platform == "cpu":
        return _cpu(nvidia_driver=Path("/proc/driver/nvidia/version").exists())
    kind: Kind = "tpu" if device.platform == "tpu" else "gpu"
    return _accelerator(kind, device, count=jax.device_count())


def _cpu(nvidia_driver: bool) -> Accelerator:
    cores = cpu_cores()
    name = f"CPU, {cores} {'core' if cores == 1 else 'cores'}"
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        why, more = "asked for by JAX_PLATFORMS=cpu", "unset it to use an accelerator"
    elif nvidia_driver:
        why = "there is an NVIDIA driver, but this JAX has no CUDA"
        more = "pip install -e '.[cuda]' to use the GPU"
    else:
        why = "JAX finds no accelerator"
        more = "on a machine with an NVIDIA GPU: pip install -e '.[cuda]'"
    return Accelerator("cpu", name, "float32", f"device: {name} ({why}), float32; {more}")


def _accelerator(kind: Kind, device: Any, count: int) -> Accelerator:
    capability = getattr(device, "compute_capability", None)
    slow = capability is not None and float(capability) < BFLOAT16_CAPABILITY
    dtype: Precision = "float32" if slow else "bfloat16"
    name = f"{device.device_kind} ({kind})"
    why = f"first of {count} that JAX offers"
    if slow:
        why += f"; compute capability {capability} has no fast bfloat16"
    line = f"device: {name} ({why}), {dtype}; JAX_PLATFORMS=cpu forces the CPU"
    return Accelerator(kind, name, dtype, line)


def cpu_cores() -> int:
    """Number of cores that this process may use: under cgroups or taskset, fewer than exist."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_use() -> dict[str, float]:
    """Peak memory so far in GiB, by metric name: of this process, and of the device if known.

    A peak never falls; a leak shows as a curve that never flattens.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    use = {"memory/host_peak_gib": peak * unit / GIB}
    stats = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        use["memory/device_peak_gib"] = stats["peak_bytes_in_use"] / GIB
    return use


def in_float32(function: Callable[P, T]) -> Callable[P, T]:
    """Make a function compute in float32 and int32, the types in checkpoints, even if the caller or
    the environment has enabled `jax_enable_x64`."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with jax.enable_x64(False):
            return function(*args, **kwargs)

    return run


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory for later allocations of this process.

    XLA on a CPU allocates and frees the same megabytes in every update. By default, glibc returns
    such blocks to the kernel, which then clears every page again (benchmarks/page_faults.py). The
    trim threshold holds for the main heap alone: the heaps of other threads, of 64 MB each, are
    given back whenever they are empty, unless that leaves less than the top pad. Larger blocks of
    other threads are given back all the same. One heap for all threads would keep them too, but
    after XLA has compiled in it, finding room there takes longer than clearing pages.

    Returns:
      Whether the C library accepted it: glibc 2.35 or newer does. Others are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no such function; no such library
        return False
    wanted = {M_MMAP_THRESHOLD: MMAP_BYTES, M_TRIM_THRESHOLD: TRIM_BYTES, M_TOP_PAD: PAD_BYTES}
    return all([mallopt(name, value) for name, value in wanted.items()])


def enable_compilation_cache(directory: Path | None) -> Path | None:
    """Cache compiled programs on disk, so that later runs do not compile them again.

    All programs are cached: the small ones, hundreds per run, together take longer to compile than
    the few large ones. JAX's own size limit reads the whole folder for every program that it
    writes, so instead the folder is trimmed to `CACHE_BYTES` here, once.

    Args:
      directory: a folder used by this project alone; None for the default one, under
        $JAX_COMPILATION_CACHE_DIR or else the user's cache folder.
    Returns:
      The directory in use; if it is not writable, None, after printing a line.
    """
    try:
        directory = directory or _default_cache()
        directory.mkdir(parents=True, exist_ok=True)
        _drop_oldest(directory)
        tempfile.TemporaryFile(dir=directory).close()
    except (OSError, RuntimeError) as error:  # RuntimeError: no home directory
        print(f"compilation cache disabled: {error}; set JAX_COMPILATION_CACHE_DIR")
        return None
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_compilation_cache_max_size", -1)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return directory


def _drop_oldest(directory: Path) -> None:
    """Delete the oldest programs until the others fit into `CACHE_BYTES`."""
    programs = []
    for program in directory.glob("*-cache"):
        with contextlib.suppress(FileNotFoundError):  # another process deleted it
            status = program.stat()
            programs.append((status.st_mtime_ns, status.st_size, program))
    total = 0
    for _, size, program in sorted(programs, reverse=True):
        total += size
        if total > CACHE_BYTES:
            program.unlink(missing_ok=True)


def _default_cache() -> Path:
    """One folder per kind of CPU: different machines with a shared home must not share programs."""
    chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    caches = Path(chosen) if chosen else Path.home() / ".cache"
    return caches / "clockwork-world-model" / f"compiled-{_cpu_fingerprint()}"


def _cpu_fingerprint() -> str:
    """Eight hex digits that identify this CPU's features, as far as the system reports them."""
    features = f"{platform.machine()} {platform.processor()}"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(errors="replace").splitlines()
        kept = {line for line in lines if line.startswith(("model name", "flags", "Features"))}
        features += "\n".join(sorted(kept))
    return hashlib.sha256(features.encode()).hexdigest()[:8]
