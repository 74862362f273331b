"""The trial of clocks, following docs/protocol.md. Read `arms.py`, then `__main__.py`."""
