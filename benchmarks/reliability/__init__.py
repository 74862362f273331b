"""Kills, damage and faults at random, and what must hold after each. Read `__main__.py`."""
