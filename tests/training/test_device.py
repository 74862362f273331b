"""The printed line says what, why and how to get more; compiled programs outlive the process."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import pytest

from training import device

ROOT = Path(__file__).parents[2]


class Card(NamedTuple):
    """What JAX tells of a GPU, as far as the choice looks at it."""

    device_kind: str
    compute_capability: str


def run_python(code: str, **environment: str) -> Any:
    """The JSON that a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_the_choice_is_what_jax_computes_on() -> None:
    chosen = device.choose_device()
    assert chosen.kind == jax.devices()[0].platform
    assert chosen.name in chosen.line
    assert chosen.dtype in chosen.line
    assert "\n" not in chosen.line


def test_cpu_says_how_to_get_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    line = device._cpu(nvidia_driver=False).line
    assert "JAX finds no accelerator" in line
    assert "pip install -e '.[cuda]'" in line
    line = device._cpu(nvidia_driver=True).line
    assert "there is an NVIDIA driver, but this JAX has no CUDA" in line


def test_cpu_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert "asked for by JAX_PLATFORMS=cpu" in device._cpu(nvidia_driver=True).line


@pytest.mark.parametrize(
    ("capability", "dtype"), [("9.0", "bfloat16"), ("8.0", "bfloat16"), ("7.0", "float32")]
)
def test_bfloat16_where_it_is_fast(capability: str, dtype: str) -> None:
    chosen = device._accelerator("gpu", Card("NVIDIA X", capability), count=2)
    assert (chosen.kind, chosen.dtype) == ("gpu", dtype)
    assert "first of 2" in chosen.line
    assert ("no fast bfloat16" in chosen.line) == (dtype == "float32")


def test_a_platform_that_is_not_there_is_one_clear_error() -> None:
    code = """
import json
from training.device import choose_device
try:
    choose_device()
except ValueError as error:
    print(json.dumps(str(error)))
"""
    message = run_python(code, JAX_PLATFORMS="tpu")
    assert message.startswith("expected a device that JAX can start")
    assert "unset JAX_PLATFORMS" in message


COMPILE = """
import json
import jax, jax.monitoring, jax.numpy as jnp
from training import device

hits = []
jax.monitoring.register_event_listener(
    lambda event, **_: event == "/jax/compilation_cache/cache_hits" and hits.append(event)
)
directory = device.enable_compilation_cache(None)
jax.jit(lambda x: jnp.tanh(x @ x).sum())(jnp.ones((17, 17)))
print(json.dumps([str(directory), len(hits)]))
"""


def test_the_second_process_compiles_nothing_again(tmp_path: Path) -> None:
    """However quickly it was compiled."""
    chosen = str(tmp_path / "cache")
    place, hits = run_python(COMPILE, JAX_COMPILATION_CACHE_DIR=chosen)
    assert Path(place).is_relative_to(chosen) and hits == 0
    again, hits = run_python(COMPILE, JAX_COMPILATION_CACHE_DIR=chosen)
    assert again == place and hits > 0


@pytest.mark.slow
def test_a_cache_whose_writer_was_killed_is_written_all_the_same(tmp_path: Path) -> None:
    """Half a program, without what JAX would note of its use."""
    chosen = str(tmp_path / "cache")
    place = Path(run_python(COMPILE, JAX_COMPILATION_CACHE_DIR=chosen)[0])
    for program in place.iterdir():
        program.unlink()
    (place / "jit_other-0-cache").write_bytes(b"half")
    run_python(COMPILE, JAX_COMPILATION_CACHE_DIR=chosen)
    assert run_python(COMPILE, JAX_COMPILATION_CACHE_DIR=chosen)[1] > 0


def test_the_oldest_programs_are_dropped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(device, "CACHE_BYTES", 10)
    for age, name in enumerate(("new", "old", "older")):
        program = tmp_path / f"{name}-cache"
        program.write_bytes(b"x" * 5)
        os.utime(program, (1000 - age, 1000 - age))
    (tmp_path / "else").write_bytes(b"x" * 50)
    device._drop_oldest(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["else", "new-cache", "old-cache"]


def test_what_other_programs_keep_is_left_alone(tmp_path: Path) -> None:
    """JAX without a bound on the cache's size, its default, writes no note of use."""
    other = tmp_path / "jit_other-0-cache"
    other.write_bytes(b"of another program")
    run_python(COMPILE, JAX_COMPILATION_CACHE_DIR=str(tmp_path))
    assert other.read_bytes() == b"of another program"
    assert {path.name for path in tmp_path.iterdir()} == {other.name, "clockwork-world-model"}


def test_a_user_without_a_home_compiles_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert device.enable_compilation_cache(tmp_path / "file" / "cache") is None
    assert "compilation cache disabled: [Errno 20]" in capsys.readouterr().out
    for name in ("JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert device.enable_compilation_cache(None) is None
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_the_default_cache_is_the_users_and_of_this_cpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = device._default_cache()
    assert place.parent == tmp_path / "clockwork-world-model"
    assert place == device._default_cache()
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "jax"))
    assert device._default_cache().parent == tmp_path / "jax" / "clockwork-world-model"
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert Path.home() in device._default_cache().parents


def test_memory_is_counted_in_gib() -> None:
    assert 0.05 < device.memory_use()["memory/host_peak_gib"] < 1000


def test_cores_are_those_allowed() -> None:
    assert 1 <= device.cpu_cores() <= (os.cpu_count() or 1)


FREED = """
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from training.device import keep_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

kept = KEEP and keep_freed_memory()
before = resident()

def make_and_drop():
    first, block = b"x" * SIZE, b"x" * SIZE
    del block
    return resident() - before - len(first)

with ThreadPoolExecutor(1) as pool:
    held = pool.submit(make_and_drop).result() if THREAD else make_and_drop()
print(json.dumps([kept, held]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc takes thresholds")
@pytest.mark.parametrize(
    ("size", "thread"), [(10**8, False), (4 * 10**7, True)], ids=["main", "other"]
)
def test_freed_memory_is_kept_for_the_next_allocation(size: int, thread: bool) -> None:
    """Of a block made and dropped, by the main thread or in a second heap of another (64 MB), the
    process holds all or nothing."""
    code = FREED.replace("SIZE", str(size)).replace("THREAD", str(thread))
    kept, held = run_python(code.replace("KEEP", "True"))
    assert kept and held > 0.9 * size
    kept, held = run_python(code.replace("KEEP", "False"))
    assert not kept and held < 0.1 * size
