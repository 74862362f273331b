"""MiniGrid in JAX by navix (Pignatelli et al. 2024): `navix:Navix-MemoryS7-v0`, ...

The agent sees the 7 x 7 cells in front of it; the entity, colour and state of each cell are one-hot
encoded. Options are `max_steps` and `observation`, the name of one of navix's symbolic
observations: `symbolic` shows the whole grid.
"""

from typing import Any

import jax
import jax.numpy as jnp
from gymnasium import spaces
from jaxtyping import Array, PRNGKeyArray

from envs.pure.environment import PureEnv, Transition
from envs.pure.of_library import as_at_first, check_known, imported

OBSERVATIONS = ("symbolic", "symbolic_first_person")
ENTITIES, COLOURS, STATES = 11, 6, 4  # values of a cell's three numbers; others become all zeros


class Navix(PureEnv):
    """One environment of navix; all of its random numbers derive from the key passed to `reset`.

    Args:
      name: a name that `navix.make` accepts.
      observation: one of `OBSERVATIONS`.
      options: `max_steps`, if given.
    Raises:
      UserError: for an unknown name or option.
    """

    terminates = True

    def __init__(
        self, name: str, observation: str = "symbolic_first_person", **options: Any
    ) -> None:
        library = imported("navix")
        check_known("environment of navix", [name], library.registry())
        check_known(f"observation of navix:{name}", [observation], OBSERVATIONS)
        check_known(f"options of navix:{name}", options, ["max_steps"])
        seen = getattr(library.observations, observation)
        self.inner = library.make(name, observation_fn=seen, disable_autoreset=True, **options)
        self.length = int(self.inner.max_steps)
        self.action_space = spaces.Discrete(len(self.inner.action_set))
        self.first = jax.eval_shape(self.inner.reset, jax.random.key(0))
        cells = self.first.observation.size // 3
        self.observation_space = spaces.MultiBinary(cells * (ENTITIES + COLOURS + STATES))

    def reset(self, key: PRNGKeyArray) -> Any:
        """The library's reset."""
        return as_at_first(self.inner.reset(key), self.first)

    def step(self, state: Any, action: Array, key: PRNGKeyArray) -> Transition:
        """The library's step."""
        moved = self.inner.step(state, action)
        return Transition(as_at_first(moved, self.first), moved.reward, moved.is_termination())

    def observe(self, state: Any) -> Array:
        """The cells, one-hot encoded, int8 [n]."""
        cells = state.observation.reshape(-1, 3)
        sizes = (ENTITIES, COLOURS, STATES)
        parts = [jax.nn.one_hot(cells[:, i], n, dtype=jnp.int8) for i, n in enumerate(sizes)]
        return jnp.concatenate(parts, axis=-1).ravel()
