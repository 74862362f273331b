"""Benchmarks and their tables of results; each module is a command."""
