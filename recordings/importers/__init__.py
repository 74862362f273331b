"""Real formats into the store, one file each."""
