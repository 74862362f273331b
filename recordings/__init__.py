"""Videos and recorded episodes for the store: importers and generators. Read `episode.py`."""
