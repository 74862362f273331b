"""Generated videos, determined by seed and number, the same on every machine."""
