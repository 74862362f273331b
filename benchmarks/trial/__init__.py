"""The trial of clocks, by docs/protocol.md. Read `arms.py`, then `__main__.py`."""
