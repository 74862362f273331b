"""What every test runs under: checked shapes, strict JAX, compiled programs kept between runs.

Each of these is shown to bite in `tests/test_strictness.py`.
"""

import jax
from jaxtyping import install_import_hook

# Shapes and types are checked at the boundaries of these packages, in tests only. `envs` is left
# out: its kernels are numba's, which compiles plain functions and not checked wrappers.
install_import_hook(["worldmodel", "agents", "replay"], "strict_types.check")

from worldmodel.runs.device import enable_compilation_cache  # noqa: E402  (after the hook)

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)
enable_compilation_cache(None)
