"""How far predicted frames are from true ones."""
