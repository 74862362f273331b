"""Learning curves of agents over tasks, clocks and seeds: `python -m benchmarks.learning`."""
