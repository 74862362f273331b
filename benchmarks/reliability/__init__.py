"""Random kills, damage and faults, and what must hold after each. Read `__main__.py`."""
