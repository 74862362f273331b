"""Videos and recorded episodes into the store: real formats and generators. Read `episode.py`."""
