"""Updates beside those of other systems."""
