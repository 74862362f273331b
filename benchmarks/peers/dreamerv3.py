"""DreamerV3's update, measured on request: run by its own Python, which has none of our packages.

  PYTHON benchmarks/peers/dreamerv3.py REPOSITORY

Prints its number of parameters once it is compiled, then answers as `turns.py` says.
"""

import sys
from importlib import import_module as load
from pathlib import Path
from typing import Any

SIZES = ("--batch_size", "4", "--batch_length", "32", "--report_length", "32")
ON_CPU = ("platform", "cpu"), ("compute_dtype", "float32"), ("prealloc", "False")


def main() -> None:
    """Build the agent of size 1m for 24 numbers and 6 actions, 16 imagined steps."""
    repository = Path(sys.argv[1])
    sys.path[:0] = [str(repository), str(repository / "dreamerv3")]
    elements, jax, np, program = map(load, ("elements", "jax", "numpy", "dreamerv3.main"))

    class Spaces:
        """Only its spaces are read."""

        flags = {name: elements.Space(bool) for name in ("is_first", "is_last", "is_terminal")}
        obs_space = {
            "vector": elements.Space(np.float32, (24,)),
            "reward": elements.Space(np.float32),
            **flags,
        }
        act_space = {
            "action": elements.Space(np.float32, (6,), -1, 1),
            "reset": elements.Space(bool),
        }

        def close(self) -> None:
            """Nothing is open."""

    vars(program)["make_env"] = lambda config, index: Spaces()
    yaml = load("ruamel.yaml").YAML(typ="safe")
    configs = yaml.load((repository / "dreamerv3" / "configs.yaml").read_text())
    config = elements.Config(configs["defaults"]).update(configs["size1m"])
    given = [*SIZES, "--agent.imag_length", "16", "--agent.report", "False", "--logdir", "unused"]
    config = elements.Flags(config).parse(
        [*given, *(x for name, value in ON_CPU for x in (f"--jax.{name}", value))]
    )
    agent = program.make_agent(config)
    rng = np.random.default_rng(0)

    def draw(space: Any) -> Any:
        shape = (4, 32 + config.replay_context, *space.shape)
        if space.dtype == np.float32:
            return rng.normal(size=shape).clip(-1, 1).astype(np.float32)
        return np.zeros(shape, space.dtype)

    data = {name: draw(space) for name, space in agent.spaces.items()}
    batch = next(iter(agent.stream(iter(lambda: data, None))))
    carry = agent.init_train(4)

    def update() -> None:
        jax.block_until_ready(agent.train(carry, dict(batch)))

    update()
    other = ("opt", "slowval", "retnorm", "valnorm", "advnorm")  # not learned by gradient
    learned = [x.size for name, x in agent.params.items() if not name.startswith(other)]
    load("turns").answer(sum(learned), update)


if __name__ == "__main__":
    main()
