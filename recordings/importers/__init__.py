"""Importers of real formats into the store, one file per format."""
