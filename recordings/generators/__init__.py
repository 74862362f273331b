"""Videos that are made: by seed and number, the same on every machine."""
